/*
 * A PIT for the host's unit tests, at a pulse of its clock (pit.c, pit_ticks.c).
 */
#pragma once

#include <vmm/dev/pit.h>

#define CW(ch, access, mode, bcd) ((ch) << 6 | (access) << 4 | (mode) << 1 | (bcd))
#define LOW                       1
#define HIGH                      2
#define BOTH                      3
#define START                     1000 /* where scripts begin */

static struct pit p;
static uint64_t k; /* the pulse that it is now */

/* The first ns of pulse t, in 128 bits. */
static inline uint64_t
ns(uint64_t t)
{
	return ((unsigned __int128)t * 1000000000 + PIT_HZ - 1) / PIT_HZ;
}

static inline void
out(uint16_t port, uint8_t value)
{
	pit_write(&p, port, value, ns(k));
}

static inline uint8_t
in(uint16_t port)
{
	return pit_read(&p, port, ns(k));
}

static inline void
count(unsigned ch, uint16_t n)
{
	out(PIT_BASE + ch, n);
	out(PIT_BASE + ch, n >> 8);
}

/* The latched count, both bytes. */
static inline uint16_t
latched(unsigned ch)
{
	uint8_t low;

	out(PIT_CONTROL, ch << 6);
	low = in(PIT_BASE + ch);
	return low | in(PIT_BASE + ch) << 8;
}

static inline void
gate(bool level)
{
	out(PIT_PORT_B, level ? PORT_B_GATE2 : 0);
}
