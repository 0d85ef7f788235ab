/*
 * What the engines share of the CPU and each wants otherwise. An engine's load() fills it whole,
 * and so nothing is left of the engine that ran before.
 */
#pragma once

#include <stdint.h>

#include <inc/x86.h>
#include <kern/map.h>

struct cpu_setup {
	uint64_t cr3;
	uint64_t efer; /* EFER.SCE: whether syscall leads anywhere */
	uint64_t star, lstar, cstar, sfmask;
	uint32_t tsc_aux;        /* what rdtscp and rdpid show, in any ring */
	uint32_t sysenter_cs;    /* 0: sysenter is #GP */
	uint32_t ldt_limit;      /* of the LDT window; 0: no LDT */
	uint64_t rsp0;           /* where a trap from an outer ring pushes */
	void (*ring_exit)(void); /* ... and who gets it */
	uint8_t callout_dpl;     /* of the gate of CALLOUT_VECTOR */
	void (*leave)(void);     /* what is undone before another engine's; NULL: nothing */
};

void cpu_setup_load(const struct cpu_setup *s);
void cpu_setup_tsc_aux(uint32_t value); /* this one alone, which a guest has written meanwhile */

#define IN_HOLE(a) (((a) >> 39 & 511) - HOLE_FIRST_SLOT <= HOLE_LAST_SLOT - HOLE_FIRST_SLOT)

/*
 * Of a guest's DR7 what may be armed while the host's own code is about to run: nothing that
 * watches Zeno's addresses, and no general detect, which would hit the host's next move to a debug
 * register. On AMD-V svm arms it before VMRUN, which on QEMU does not. A VM entry of VT-x arms it
 * with the guest already in (SDM 3C 27.3.2.1), so there the rule only makes guests see the same.
 */
static inline uint64_t
breakpoints_allowed(const uint64_t dr[8])
{
	uint64_t dr7 = dr[7] & ~DR7_GD;

	for (unsigned i = 0; i < 4; i++)
		if (IN_HOLE(dr[i]) || IN_HOLE(dr[i] + 7))
			dr7 &= ~(3ul << 2 * i);
	return dr7;
}
