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
	 */
	exercise_todo("5.5", "handouts/lab5b.md#ex-5-5");
	(void)s;
	(void)real_mode;
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
	 */
	exercise_todo("5.5", "handouts/lab5b.md#ex-5-5");
	(void)v;
	(void)vector;
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
	 */
	exercise_todo("5.5", "handouts/lab5b.md#ex-5-5");
	v->signals &= SIGNAL_NMI;
	/* END EXERCISE 5.5c */
}

static const struct startup startup = { startup_reset, startup_init, startup_sipi, startup_take };
SET_ADD(startups, startup);
