/*
 * What a CPU delivers before its next instruction: an exception, a software interrupt, an
 * interrupt. vmm/event.h has what Zeno does with one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A software interrupt is one that an instruction asks for: int n, int3, into. */
enum event_kind { EVENT_NONE, EVENT_FAULT, EVENT_SOFTWARE, EVENT_INTERRUPT, EVENT_NMI };

/* Fixed layout: a part of struct cpu_state. */
struct event {
	uint8_t kind; /* enum event_kind */
	uint8_t vector;
	uint8_t has_error;
	uint8_t insn_len; /* EVENT_SOFTWARE, int1: the handler returns so many bytes behind rip */
	uint32_t error;
};
_Static_assert(sizeof(struct event) == 8, "layout is fixed");

/* SDM 3A 6.13: the vectors that push an error code. */
static inline bool
event_has_error(unsigned vector)
{
	return vector < 32 && 0x00227d00u >> vector & 1;
}
