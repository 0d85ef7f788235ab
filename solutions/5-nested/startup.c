/*
 * A domain's second CPU, from INIT to its first instruction: exercise 5.5.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <vmm/dev/apic/startup.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/vcpu.h>

/* EXERCISE 5.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 5.0 */

/* A data segment as real mode loads one. */
static struct segment
real_mode(uint16_t sel)
{
	return (struct segment){ .sel = sel,
				 .attr = ATTR_S | ATTR_P | ATTR_RW | ATTR_A,
				 .limit = 0xffff,
				 .base = (uint64_t)sel << 4 };
}

void
startup_reset(struct cpu_state *s)
{
	/*
	 * EXERCISE 5.5a: as INIT leaves it
	 * Holds: the state is what the manual's table has for INIT, and the CPU runs. CR0, XCR0
	 *  and the page attribute table are as after power-up.
	 * Beware: the clock and the local APIC's address outlive it, and nothing else does. A code
	 *  segment need not lie where its selector says.
	 * Manual: SDM 3A "Processor State After Reset", and its table; what else it does not list
	 *  is 0. LDTR's type is 2; TR is the engine's.
	 * Tools: ATTR_CODE, CPU_STATE_VERSION, cpuid(), DR6_RESET, DR7_RESET, rdtsc(), real_mode()
	 * Hint: what can the first instruction behind INIT find out about the time before?
	 * Hint: a hotel room for the next guest: what is made anew, what is taken away, and what
	 *  belongs to the house and stays? Write the last list first; it is the shortest.
	 * Hint: start_registers() of vmm/load/load.c makes the first CPU's state, with paging off
	 *  but in protected mode, as a loader leaves it: the same fields have other values there.
	 * until then: (void)s; (void)real_mode;
	 */
	const struct cpu_state old = *s;
	uint32_t r[4];

	cpuid(1, 0, r);
	*s = (struct cpu_state){ .version = CPU_STATE_VERSION,
				 .rip = 0xfff0,
				 .rflags = FLAG_ONE,
				 .ldtr = { .attr = ATTR_P | 2, .limit = 0xffff },
				 .gdtr.limit = 0xffff,
				 .idtr.limit = 0xffff,
				 .cr0 = CR0_CD | CR0_NW | CR0_ET,
				 .pat = 0x0007040600070406,
				 .apic_base = old.apic_base,
				 .tsc_offset = old.tsc_offset,
				 .xcr0 = 1 };
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = real_mode(0);
	s->seg[SEG_CS] = real_mode(0xf000);
	s->seg[SEG_CS].attr |= ATTR_CODE;
	s->seg[SEG_CS].base = 0xffff0000;
	s->gpr[RDX] = r[0]; /* family, model, stepping */
	s->dr[6] = DR6_RESET;
	s->dr[7] = DR7_RESET;
	/* END EXERCISE 5.5a */
}

/* Whatever came before is over. */
void
startup_init(struct vcpu *v)
{
	v->signals = 0;
	startup_signal(v, SIGNAL_INIT);
}

void
startup_sipi(struct vcpu *v, uint8_t vector)
{
	/*
	 * EXERCISE 5.5b: a start-up IPI
	 * Holds: it is noted, with its vector, if this CPU is to take it at its next turn.
	 * Beware: kernels send two, to be sure, and to everybody; the INIT before it may not have
	 *  been taken yet. If it has, this CPU sleeps.
	 * Manual: SDM 3A "MP Initialization Protocol Algorithm for MP Systems".
	 * Tools: ACTIVITY_WAITS_FOR_SIPI, lapic_accept(), SIGNAL_INIT, SIGNAL_SIPI,
	 *  startup_signal()
	 * Hint: what does a CPU do with one that runs its kernel?
	 * Hint: somebody is to be woken and told a room number. He has been told to go to bed, and
	 *  may not lie there yet. Then a second person comes, with another number.
	 * Hint: startup_init() above notes what always counts; lapic_accept() of
	 *  vmm/dev/apic/lapic.c notes what may count for nothing.
	 * until then: (void)v; (void)vector;
	 */
	bool waits = v->signals & SIGNAL_INIT || v->state.activity == ACTIVITY_WAITS_FOR_SIPI;

	if (!waits || v->signals & SIGNAL_SIPI)
		return;
	v->sipi = vector;
	startup_signal(v, SIGNAL_SIPI);
	/* END EXERCISE 5.5b */
}

void
startup_take(struct vcpu *v)
{
	/*
	 * EXERCISE 5.5c: its next turn
	 * Holds: what was noted has happened, and is noted no more: the CPU waits, or begins in
	 *  real mode at the page that it was told.
	 * Beware: both may have come since its last turn. What outlives INIT the engine may have,
	 *  and the state not yet. NMIs are somebody else's.
	 * Manual: SDM 3A "MP Initialization Protocol Algorithm for MP Systems".
	 * Tools: ATTR_CODE, real_mode(), SIGNAL_INIT, SIGNAL_NMI, startup_wait(), STATE_ALL,
	 *  vcpu_changed(), vcpu_need()
	 * Hint: who beside struct cpu_state knows something of this CPU that is still so?
	 * Hint: a house is sold, and only the piano is taken along. It must be known where it
	 *  stands before the house is pulled down.
	 * Hint: a handler that reads the time stamp's offset asks for its group first: look for
	 *  tsc_offset in vmm/exits.
	 * until then: v->signals &= SIGNAL_NMI;
	 */
	struct segment *cs = &v->state.seg[SEG_CS];

	if (v->signals & SIGNAL_INIT) {
		vcpu_need(v, STATE_ALL);
		startup_wait(v);
	}
	if (v->signals & SIGNAL_SIPI) { /* all of its state is dirty since it waits */
		*cs = real_mode((uint16_t)(v->sipi << 8));
		cs->attr |= ATTR_CODE;
		v->state.rip = 0;
		v->state.activity = ACTIVITY_RUNS;
	}
	v->signals &= SIGNAL_NMI;
	/* END EXERCISE 5.5c */
}

static const struct startup startup = { startup_reset, startup_init, startup_sipi, startup_take };
SET_ADD(startups, startup);
