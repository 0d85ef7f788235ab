/*
 * What the files of this guest share.
 */
#pragma once

#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/text.h>
#include <inc/control.h>
#include <inc/errno.h>

#define PAGE   4096u
#define DIRECT 0xffff830000000000ul

static inline int64_t
control(unsigned op, uint64_t a, uint64_t b, uint64_t c)
{
	return pv_call(ZENO_CONTROL, op, a, b, c);
}

static inline int64_t
create(const struct zeno_create *c)
{
	return control(ZENO_CREATE, (uint64_t)c, 0, 0);
}

#define REFUSES(err, what, call)                           \
	do {                                               \
		int64_t got = call;                        \
		check(got == -(err), what, (uint64_t)got); \
	} while (0)

/* devices.c: of two domains that have not run yet; when they are no more. */
void devices(uint64_t id, uint64_t other);
void devices_are_back(void);

extern struct zeno_create good; /* one that is as it should be */
void wait_for_end(uint64_t id);

/* empty.c: those that are to be brought back, and what harm that could do; `rounds` of any such. */
void built_ones(uint64_t id); /* of one that the builder has made, and that has not run */
void empty_ones(unsigned rounds);
int leave_empty(void);
