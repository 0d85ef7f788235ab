/*
 * The local APIC's timer by deadlines: where the guest names the time stamp at which it wants its
 * interrupt, in an MSR. A build has it with whoever does SET_ADD(deadline_timers, ...), and CPUID
 * says so; without, the timer counts, and that is all.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023: 3A 11.5.4.1
 * "TSC-Deadline Mode".
 */
#pragma once

#include <vmm/dev/apic/lapic.h>

#define MSR_TSC_DEADLINE 0x6e0

/*
 * tsc is the guest's time stamp now, hz how often it counts in a second. l->tsc_deadline is theirs;
 * lapic.c has set it to 0 where the mode has changed.
 */
struct deadline_timer {
	void (*msr)(struct lapic *l, bool write, uint64_t *value);
	void (*tick)(struct lapic *l, uint64_t tsc);
	uint64_t (*left)(const struct lapic *l, uint64_t tsc, uint64_t hz);
};

/* deadline.c (exercise 5.7). RDMSR into *value, or WRMSR of it. */
void deadline_msr(struct lapic *l, bool write, uint64_t *value);
/* What is due by now has come. */
void deadline_tick(struct lapic *l, uint64_t tsc);
/* In how many ns there will be more; LAPIC_NEVER. */
uint64_t deadline_left(const struct lapic *l, uint64_t tsc, uint64_t hz);
