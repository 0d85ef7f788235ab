/*
 * How a domain's other CPUs come to life: by INIT and a start-up IPI of one that runs, which the
 * platform brings here.
 *
 * The CPU that they are for does not run meanwhile, for there is one physical CPU; it may be at an
 * exit of its own, with an event on its way. So a signal is noted, and taken at the start of the
 * next turn.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <vmm/dev/apic/startup.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/vcpu.h>

#define RESET_CR0 ((uint64_t)CR0_CD | CR0_NW | CR0_ET)
#define RESET_CS  0xf000

static struct segment
real_mode(uint16_t sel, uint16_t type)
{
	return (struct segment){ .sel = sel,
				 .attr = type | ATTR_S | ATTR_P | ATTR_RW | ATTR_A,
				 .limit = 0xffff,
				 .base = (uint64_t)sel << 4 };
}

/* SDM 3A table 10-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT" */
void
startup_reset(struct cpu_state *s)
{
	const struct cpu_state old = *s;
	uint32_t r[4];

	cpuid(1, 0, r);
	*s = (struct cpu_state){ .version = CPU_STATE_VERSION,
				 .rip = 0xfff0,
				 .rflags = FLAG_ONE,
				 .ldtr = { .attr = ATTR_P | 2, .limit = 0xffff },
				 .gdtr.limit = 0xffff,
				 .idtr.limit = 0xffff,
				 .cr0 = RESET_CR0,
				 .pat = 0x0007040600070406,
				 .apic_base = old.apic_base,
				 .tsc_offset = old.tsc_offset,
				 .xcr0 = 1 };
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = real_mode(0, 0);
	s->seg[SEG_CS] = real_mode(RESET_CS, ATTR_CODE);
	s->seg[SEG_CS].base = 0xffff0000;
	s->gpr[RDX] = r[0]; /* family, model, stepping */
	s->dr[6] = DR6_RESET;
	s->dr[7] = DR7_RESET;
}

/* It may be the one that runs: then its turn ends. */
static void
signal(struct vcpu *v, unsigned what)
{
	v->signals |= (uint8_t)what;
	v->thread.deadline = 0;
	need_resched = true;
}

bool
startup_init(struct vcpu *v)
{
	if (v->number) {
		v->signals = 0; /* whatever came before */
		signal(v, SIGNAL_INIT);
		return true;
	}
	domain_stop(v->domain, "it sent INIT to its first CPU, and there is no firmware that would "
			       "start it again [see handouts/guide.md#smp]");
	return false;
}

void
startup_sipi(struct vcpu *v, uint8_t vector)
{
	bool waits = v->signals & SIGNAL_INIT || v->state.activity == ACTIVITY_WAITS_FOR_SIPI;

	if (!waits || v->signals & SIGNAL_SIPI)
		return;
	v->sipi = vector;
	signal(v, SIGNAL_SIPI);
}

void
startup_nmi(struct vcpu *v)
{
	if (v->state.activity != ACTIVITY_WAITS_FOR_SIPI && !(v->signals & SIGNAL_INIT))
		signal(v, SIGNAL_NMI);
}

/* Its engine forgets what it was about to deliver. */
void
startup_wait(struct vcpu *v)
{
	startup_reset(&v->state);
	v->state.activity = ACTIVITY_WAITS_FOR_SIPI;
	v->engine->reset(v);
	v->valid = v->dirty = STATE_ALL;
	v->flush = true;
}

/* ... and the MMU mode that paging was on. */
static void
take_init(struct vcpu *v)
{
	bool paged;

	v->engine->load(v);
	vcpu_need(v, STATE_ALL);
	paged = v->state.cr0 & CR0_PG;
	startup_wait(v);
	if (paged && v->domain->mmu->load(v))
		domain_stop(v->domain, "the host has no memory for CPU %u's page tables",
			    v->number);
}

void
startup_take(struct vcpu *v)
{
	struct segment *cs = &v->state.seg[SEG_CS];

	if (v->signals & SIGNAL_INIT)
		take_init(v);
	if (v->signals & SIGNAL_SIPI) { /* SDM 3A 9.4.4.2: it begins at 000VV000H */
		*cs = real_mode((uint16_t)(v->sipi << 8), ATTR_CODE);
		v->state.rip = 0;
		v->state.activity = ACTIVITY_RUNS;
		v->valid = v->dirty = STATE_ALL;
	}
	v->signals &= SIGNAL_NMI;
}
