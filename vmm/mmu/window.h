/*
 * The VMM window: the part of a classic guest's 4 GiB of linear addresses that is Zeno's (DESIGN,
 * "Address map and descriptors").
 *
 * The host trusts nothing in it and keeps no address and no secret there. Under te it holds one
 * page, read-only, which says whose guest this is; bt will put its translation cache here.
 * Truncated segments keep a guest from reading it (where the CPU checks limits); paging keeps it
 * from writing it, everywhere.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <kern/paging.h>
#include <vmm/domain.h>

#define WINDOW_MAGIC   0x6f6e657a /* "zeno" */
#define WINDOW_VERSION 1

struct window_page {
	uint32_t magic;
	uint32_t version;
	uint32_t domain;
};

/* For the domain's first vCPU, whose root its page tables hang on. */
int window_init(struct vcpu *v); /* 0, -ENOMEM; window_free() takes a half-made one too */
void window_free(struct domain *d);
/* Maps a frame at this offset in the window; the frame stays the caller's. U is never given. */
void window_map(struct domain *d, uint64_t offset, mfn_t f, pte_t flags);
/* Whether any byte of [linear, linear + len) lies in the VMM window. */
static inline bool
in_window(const struct domain *d, uint64_t linear, size_t len)
{
	return linear < d->window + WINDOW_SIZE && linear + len > d->window;
}
/*
 * Moves it away from addresses that the guest has use for: to the highest 4 MiB of the last GiB
 * where its page tables, as they are now, have nothing. 0, or -EBUSY: there are none, and the
 * window stays.
 */
int window_move(struct domain *d);
