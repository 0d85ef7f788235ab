/*
 * What the engines share of the CPU and each wants otherwise. An engine's load() fills it whole,
 * and so nothing is left of the engine that ran before.
 */
#pragma once

#include <stdint.h>

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

/*
 * Of a guest's DR7 what may be armed while the host's own code is about to run: nothing that
 * watches Zeno's addresses, and no general detect, which would hit the host's next move to a debug
 * register.
 */
uint64_t breakpoints_allowed(const uint64_t dr[8]);
