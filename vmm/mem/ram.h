/*
 * What a domain has of RAM, and where its frames come from (create/ram.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <inc/addr.h>

struct domain;
struct frame;

#define RAM_BLOCK  512u /* frames of 2 MiB */
#define RAM_RANGES 4u

/* Guest frames that are RAM; none where both are the same. */
struct ram_range {
	uint64_t from, to;
};

bool ram_is(const struct domain *d, gfn_t g);
uint64_t ram_end(const struct domain *d); /* the guest frame behind the last one */
/* All of it. 0 or -ENOMEM; p2m_free() takes a half-made one. */
int ram_give(struct domain *d);
/* A part; what an MMU mode has of its own in each frame begins with it, if not NULL. */
int ram_give_range(struct domain *d, const struct ram_range *r,
		   void (*begin)(struct frame *f, uint64_t gfn));
