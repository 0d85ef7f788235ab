/*
 * What the files of this guest share.
 */
#pragma once

#include <guest/pv/lib/check.h>
#include <inc/control.h>
#include <inc/errno.h>

int64_t control(unsigned op, uint64_t a, uint64_t b, uint64_t c);

#define REFUSES(err, what, call)                           \
	do {                                               \
		int64_t got = call;                        \
		check(got == -(err), what, (uint64_t)got); \
	} while (0)

/* devices.c: of two domains that have not run yet; when they are no more. */
void devices(uint64_t id, uint64_t other);
void devices_are_back(void);
