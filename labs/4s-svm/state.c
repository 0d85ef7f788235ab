/*
 * The guest's state: one truth in struct cpu_state, and what the CPU takes in the VMCB: exercise
 * 4s.3. Filling in the records is given; when, and what besides them, is not.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <kern/cpu.h>
#include <vmm/cpu_setup.h>
#include <vmm/svm/svm.h>

static void
segments_out(struct vmcb *b, const struct cpu_state *s)
{
	b->es = s->seg[SEG_ES];
	b->cs = s->seg[SEG_CS];
	b->ss = s->seg[SEG_SS];
	b->ds = s->seg[SEG_DS];
	b->fs = s->seg[SEG_FS];
	b->gs = s->seg[SEG_GS];
	b->ldtr = s->ldtr;
	b->tr = s->tr;
}

static void
segments_in(struct cpu_state *s, const struct vmcb *b)
{
	s->seg[SEG_ES] = b->es;
	s->seg[SEG_CS] = b->cs;
	s->seg[SEG_SS] = b->ss;
	s->seg[SEG_DS] = b->ds;
	s->seg[SEG_FS] = b->fs;
	s->seg[SEG_GS] = b->gs;
	s->ldtr = b->ldtr;
	s->tr = b->tr;
}

static void
tables_out(struct vmcb *b, const struct cpu_state *s)
{
	b->gdtr = (struct vmcb_table){ .limit = s->gdtr.limit, .base = s->gdtr.base };
	b->idtr = (struct vmcb_table){ .limit = s->idtr.limit, .base = s->idtr.base };
}

static void
tables_in(struct cpu_state *s, const struct vmcb *b)
{
	s->gdtr = (struct table_reg){ .limit = (uint16_t)b->gdtr.limit, .base = b->gdtr.base };
	s->idtr = (struct table_reg){ .limit = (uint16_t)b->idtr.limit, .base = b->idtr.base };
}

static void
msrs_out(struct vmcb *b, const struct cpu_state *s)
{
	b->star = s->star;
	b->lstar = s->lstar;
	b->cstar = s->cstar;
	b->sfmask = s->sfmask;
	b->kernel_gs_base = s->kernel_gs_base;
	b->sysenter_cs = s->sysenter_cs;
	b->sysenter_esp = s->sysenter_esp;
	b->sysenter_eip = s->sysenter_eip;
	b->pat = s->pat;
	b->tsc_offset = s->tsc_offset;
}

static void
msrs_in(struct cpu_state *s, const struct vmcb *b)
{
	s->star = b->star;
	s->lstar = b->lstar;
	s->cstar = b->cstar;
	s->sfmask = b->sfmask;
	s->kernel_gs_base = b->kernel_gs_base;
	s->sysenter_cs = b->sysenter_cs;
	s->sysenter_esp = b->sysenter_esp;
	s->sysenter_eip = b->sysenter_eip;
	s->pat = b->pat;
	s->tsc_offset = b->tsc_offset;
}

/*
 * DR0 to DR3, which no VMCB has: while a vCPU runs, and up to its thread's next switch, the CPU
 * holds the guest's (kern/sched/thread.c).
 */
static void
load_breakpoints(const uint64_t dr[8])
{
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3"
			 :
			 : "r"(dr[0]), "r"(dr[1]), "r"(dr[2]), "r"(dr[3]));
}

static void
read_breakpoints(uint64_t dr[8])
{
	__asm__ volatile("mov %%dr0, %0; mov %%dr1, %1; mov %%dr2, %2; mov %%dr3, %3"
			 : "=r"(dr[0]), "=r"(dr[1]), "=r"(dr[2]), "=r"(dr[3]));
}

/*
 * The guest's EFER as this CPU may have it, and back.
 *
 * An exit with LME=1 and PAE=0 is the host's end on QEMU 7.2: it puts the host's CR0 back while
 * those two are still the guest's, and drops it, paging and all. LME does nothing before PAE is
 * set, which exits; so the CPU does not get it until then. What would fault with it is a move to
 * CR0 that turns paging on: it exits, too.
 */
static uint64_t
efer_out(struct svm *svm, const struct cpu_state *s)
{
	struct vmcb *b = svm->vmcb;

	svm->hides_lme = s->efer & EFER_LME && !(s->cr4 & CR4_PAE);
	b->cr_writes =
		svm->hides_lme ? (uint16_t)(b->cr_writes | 1) : (uint16_t)(b->cr_writes & ~1);
	return s->efer & ~(svm->hides_lme ? (uint64_t)EFER_LME : 0);
}

static uint64_t
efer_in(const struct svm *svm)
{
	return svm->vmcb->efer | (svm->hides_lme ? (uint64_t)EFER_LME : 0);
}

/* EXERCISE 4s.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4s.0 */

/* Before an entry, behind a handler that has changed a group of the state. */
static APART void
groups_out(struct vcpu *v)
{
	/*
	 * EXERCISE 4s.3a: into the VMCB
	 * Holds: the guest goes on with what its state says, and the CPU takes it.
	 *  Nothing is written that nobody has changed since the last time.
	 * Beware: of what the CPU wants and no guest sees. A selector can have anything in it. A
	 *  guest may arm breakpoints at Zeno's addresses.
	 * Manual: APM 2 "Canonicalization and Consistency Checks", "VMCB Layout" with its State
	 *  Save Area, "Debug Registers".
	 * Tools: breakpoints_allowed() of vmm/cpu_setup.h, efer_out(), EFER_SVME,
	 *  load_breakpoints(), msrs_out(), segments_out(), state_group of vmm/vcpu.h, tables_out(),
	 *  vcpu_cpl()
	 */
	exercise_todo("4s.3", "handouts/lab4sa.md#ex-4s-3");
	(void)segments_out; (void)tables_out; (void)msrs_out; (void)load_breakpoints;
	(void)efer_out; (void)v;
	/* END EXERCISE 4s.3a */
}

/* Before an entry. The usual one, without a change, takes the registers alone: run() in svm.c. */
void
svm_state_to_vmcb(struct vcpu *v)
{
	svm_registers_to_vmcb(v);
	if (v->dirty)
		groups_out(v);
}

/* Behind each exit. */
void
svm_state_from_vmcb(struct vcpu *v)
{
	/*
	 * EXERCISE 4s.3b: what is always true
	 * Holds: general registers, rip and rflags are the guest's as it left. All else of the
	 *  state is known to be old.
	 * Beware: whoever believes that a group is there does not ask for it. An exit is dear, and
	 *  most handlers need no more than this.
	 * Manual: APM 2 "State Saved on Exit".
	 * Tools: state_group of vmm/vcpu.h, vcpu_changed()
	 */
	exercise_todo("4s.3", "handouts/lab4sa.md#ex-4s-3");
	(void)v;
	/* END EXERCISE 4s.3b */
}

/* A handler asks for these groups. */
void
svm_fetch(struct vcpu *v, unsigned groups)
{
	/*
	 * EXERCISE 4s.3c: the rest, when asked
	 * Holds: these groups of the state are as the guest left them, and as it would see them
	 *  on a machine without Zeno.
	 * Beware: another group may have been changed by a handler, and not be in the VMCB yet.
	 *  What the guest has armed is not what the CPU may watch.
	 * Manual: APM 2 "VMCB Layout", "Extended Feature Enable Register".
	 * Tools: efer_in(), EFER_SVME, msrs_in(), read_breakpoints(), segments_in(), state_group,
	 *  tables_in(), vcpu_changed() of vmm/vcpu.h
	 */
	exercise_todo("4s.3", "handouts/lab4sa.md#ex-4s-3");
	(void)segments_in; (void)tables_in; (void)msrs_in; (void)read_breakpoints;
	(void)efer_in; (void)v; (void)groups;
	/* END EXERCISE 4s.3c */
}
