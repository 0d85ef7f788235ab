/*
 * What the guest is to receive before its next instruction: an exception, a software interrupt, an
 * interrupt.
 *
 * A handler raises an event and is done; the run loop hands it to the engine once the handler has
 * returned. The engine injects it, or refuses it for now: then it stays in the state, and is
 * offered again before each entry. When an exit comes in the middle of a delivery that the CPU
 * makes itself, the engine puts the event back. (event.c)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <vmm/exit.h>
#include <vmm/x86/event.h>

struct vcpu;

/* What an engine does with an event. */
enum injection {
	INJECTED, /* the guest has it, or will with the next entry */
	REFUSED,  /* not now */
	ENDED,    /* it has ended the domain: a triple fault */
};

/*
 * Raises it: FAULTED. A fault on top of an event that is on its way to its handler makes both a
 * double fault, or the guest's end: then STOP. For a #PF the caller has set CR2 (event_page_fault()
 * does).
 */
enum verdict event_raise(struct vcpu *v, struct event event);
/* A fault of the instruction at rip, whose error code (0 if it has none) the vector says. */
enum verdict event_fault(struct vcpu *v, unsigned vector, uint32_t error);
/*
 * A #DB, whose handler may look at the debug registers: it finds DR7.GD clear (SDM 3B 17.2.4). DR6
 * is the caller's. insn_len is that of int1, and 0 for all others.
 */
enum verdict event_debug(struct vcpu *v, uint8_t insn_len);
/* The #PF in v->page_fault. */
enum verdict event_page_fault(struct vcpu *v);
/* Offers what waits to the engine: RESUME, though it may wait on, or STOP: the domain has ended. */
enum verdict event_inject(struct vcpu *v);

/* SDM 3A table 6-5: a fault with this vector, met on the way of a first event, makes both a #DF. */
bool event_is_double(enum event_kind kind, unsigned first, unsigned second);
