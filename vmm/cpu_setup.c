/*
 * Loads what the engines share of the CPU (cpu_setup.h).
 */
#include <kern/cpu.h>
#include <kern/map.h>
#include <kern/trap.h>
#include <vmm/cpu_setup.h>
#include <vmm/exit.h>

/* A write to an MSR is slow, and most engines want what the one before wanted. */
static void
msr_load(uint32_t number, uint64_t value)
{
	if (rdmsr(number) != value)
		wrmsr(number, value);
}

/* SDM 3B 18.17.2: a CPU with neither RDTSCP nor RDPID has no such register. */
void
cpu_setup_tsc_aux(uint32_t value)
{
	static int has = -1;
	uint32_t r[4];

	if (has < 0) {
		cpuid(0x80000001, 0, r);
		has = !!(r[3] & 1u << 27);
		cpuid(7, 0, r);
		has |= !!(r[2] & 1u << 22);
	}
	if (has)
		msr_load(MSR_TSC_AUX, value);
}

void
cpu_setup_load(const struct cpu_setup *s)
{
	static void (*leave)(void);

	if (leave && leave != s->leave)
		leave();
	leave = s->leave;
	write_cr3(s->cr3);
	msr_load(MSR_EFER, s->efer);
	msr_load(MSR_STAR, s->star);
	msr_load(MSR_LSTAR, s->lstar);
	msr_load(MSR_CSTAR, s->cstar);
	msr_load(MSR_SFMASK, s->sfmask);
	msr_load(MSR_SYSENTER_CS, s->sysenter_cs);
	cpu_setup_tsc_aux(s->tsc_aux);
	gdt_set_ldt(LDT_WINDOW, s->ldt_limit);
	tss_set_rsp0(s->rsp0);
	ring_exit = s->ring_exit;
	trap_gate_dpl(CALLOUT_VECTOR, s->callout_dpl);
}
