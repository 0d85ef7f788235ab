/*
 * The guest's state: one truth in struct cpu_state, and what the CPU takes in the VMCB.
 *
 * What every exit needs goes to and fro each time; the groups of the state (vmm/vcpu.h) go to the
 * VMCB where a handler has changed them, and come back when one asks.
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
	b->cpl = ATTR_DPL(s->seg[SEG_SS].attr);
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

static struct vmcb_table
table_out(const struct table_reg *t)
{
	return (struct vmcb_table){ .limit = t->limit, .base = t->base };
}

static struct table_reg
table_in(const struct vmcb_table *t)
{
	return (struct table_reg){ .limit = (uint16_t)t->limit, .base = t->base };
}

/*
 * VMRUN wants EFER.SVME (APM 2 15.5.1), which the guest does not see.
 *
 * An exit with LME=1 and PAE=0 is the host's end on QEMU 7.2: it puts the host's CR0 back while
 * those two are still the guest's, and drops it, paging and all. LME does nothing before PAE is
 * set, which exits; so the CPU does not get it until then. What would fault with it is a move to
 * CR0 that turns paging on: it exits, too.
 */
static void
control_registers_out(struct svm *svm, const struct cpu_state *s)
{
	struct vmcb *b = svm->vmcb;

	b->cr0 = s->cr0;
	b->cr2 = s->cr2;
	b->cr3 = s->cr3;
	b->cr4 = s->cr4;
	svm->hides_lme = s->efer & EFER_LME && !(s->cr4 & CR4_PAE);
	b->efer = (s->efer | EFER_SVME) & ~(svm->hides_lme ? (uint64_t)EFER_LME : 0);
	b->cr_writes =
		svm->hides_lme ? (uint16_t)(b->cr_writes | 1) : (uint16_t)(b->cr_writes & ~1);
}

static void
control_registers_in(struct cpu_state *s, const struct svm *svm)
{
	const struct vmcb *b = svm->vmcb;

	s->cr0 = b->cr0;
	s->cr2 = b->cr2;
	s->cr3 = b->cr3;
	s->cr4 = b->cr4;
	s->efer = b->efer & ~(uint64_t)EFER_SVME;
	if (svm->hides_lme)
		s->efer |= EFER_LME;
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

/* DR0 to DR3 are the thread's: the CPU holds them while the vCPU runs (kern/thread.c). */
static void
debug_registers_out(struct svm *svm, const struct cpu_state *s)
{
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3"
			 :
			 : "r"(s->dr[0]), "r"(s->dr[1]), "r"(s->dr[2]), "r"(s->dr[3]));
	svm->dr7 = s->dr[7];
	svm->vmcb->dr6 = s->dr[6];
	svm->vmcb->dr7 = breakpoints_allowed(s->dr);
}

static void
debug_registers_in(struct cpu_state *s, const struct svm *svm)
{
	__asm__ volatile("mov %%dr0, %0; mov %%dr1, %1; mov %%dr2, %2; mov %%dr3, %3"
			 : "=r"(s->dr[0]), "=r"(s->dr[1]), "=r"(s->dr[2]), "=r"(s->dr[3]));
	s->dr[6] = svm->vmcb->dr6;
	s->dr[7] = svm->dr7;
}

void
svm_state_to_vmcb(struct vcpu *v)
{
	struct vmcb *b = svm_of(v)->vmcb;
	const struct cpu_state *s = &v->state;

	if (v->dirty & STATE_SEG)
		segments_out(b, s);
	if (v->dirty & STATE_TABLES) {
		b->gdtr = table_out(&s->gdtr);
		b->idtr = table_out(&s->idtr);
	}
	if (v->dirty & STATE_CR)
		control_registers_out(svm_of(v), s);
	if (v->dirty & STATE_MSR)
		msrs_out(b, s);
	if (v->dirty & STATE_DR)
		debug_registers_out(svm_of(v), s);
	v->dirty = 0;
	b->rax = s->gpr[RAX];
	b->rsp = s->gpr[RSP];
	b->rip = s->rip;
	b->rflags = s->rflags;
}

void
svm_state_from_vmcb(struct vcpu *v)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	struct cpu_state *s = &v->state;

	s->gpr[RAX] = b->rax;
	s->gpr[RSP] = b->rsp;
	s->rip = b->rip;
	s->rflags = b->rflags;
	s->seg[SEG_CS].attr = b->cs.attr;
	s->seg[SEG_SS].attr = b->ss.attr;
	v->valid = 0;
}

void
svm_fetch(struct vcpu *v, unsigned groups)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	struct cpu_state *s = &v->state;

	if (groups & STATE_SEG)
		segments_in(s, b);
	if (groups & STATE_TABLES) {
		s->gdtr = table_in(&b->gdtr);
		s->idtr = table_in(&b->idtr);
	}
	if (groups & STATE_CR)
		control_registers_in(s, svm_of(v));
	if (groups & STATE_MSR)
		msrs_in(s, b);
	if (groups & STATE_DR)
		debug_registers_in(s, svm_of(v));
}
