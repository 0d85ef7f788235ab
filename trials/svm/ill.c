/*
 * `ill`: exercise 4s.8. Each of a person's five patients has a VMCB that the CPU takes, and one
 * field of it is wrong. It runs until something comes that its plan has not.
 *
 * It needs nothing of Lab 4s but what turns AMD-V on and what enters a guest. Nothing that is
 * printed depends on where this kernel lies.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <trials/diagnosis/patient.h>
#include <trials/svm/ill.h>
#include <vmm/words/monitor.h>

#define NPT_ALL      7u  /* present, writable, the user's: to nested tables every guest is that */
#define TURNS_MAX    50u /* ticks of the host's in a row: it goes round and round */
#define TWO_BYTES    2u  /* of cpuid, and of out with a port in it */
#define MARK_PORT    0x80u
#define BUSY         2u /* a TSS in use: APM 2 4.8.3, table 4-6 */
#define VINTR_VECTOR 32 /* APM 2 15.21.1: from this bit on */
#define MAP_PAGES    3u /* APM 2 15.10.1: what the CPU reads of a map of ports */

#define WHAT(name, member) name, offsetof(struct vmcb, member), sizeof(((struct vmcb *)0)->member)

/* Each of a person's five has one of its own group. */
static const struct ill_fault begins[] = {
	{ WHAT("rax", rax), false, ILL_MORE(0x100) },
	{ WHAT("rsp", rsp), false, ILL_MORE(-4) },
	{ WHAT("rip", rip), false, ILL_MORE(1) },
	{ WHAT("cs.base", cs.base), false, ILL_MORE(0x11000) },
	{ WHAT("cs.attr", cs.attr), false, ILL_BITS(ATTR_DB) },
	{ WHAT("ss.base", ss.base), false, ILL_MORE(0x400) },
	{ WHAT("ss.attr", ss.attr), false, ILL_BITS(ATTR_DB) },
	{ WHAT("es.base", es.base), false, ILL_MORE(0x20) },
	{ WHAT("ds.base", ds.base), false, ILL_MORE(0x100000) },
	{ WHAT("rsp", rsp), true, ILL_MORE(0x1000) },
	{ WHAT("rip", rip), true, ILL_MORE(-1) },
};
static const struct ill_fault modes[] = {
	{ WHAT("rflags", rflags), false, ILL_BITS(FLAG_DF) },
	{ WHAT("rflags", rflags), false, ILL_BITS(FLAG_TF) },
	{ WHAT("rflags", rflags), true, ILL_BITS(FLAG_NT) },
	{ WHAT("cr0", cr0), false, ILL_BITS(CR0_EM) },
	{ WHAT("cr0", cr0), false, ILL_BITS(CR0_TS) },
	{ WHAT("cr0", cr0), false, ILL_BITS(CR0_WP) },
	{ WHAT("cr0", cr0), false, ILL_BITS(CR0_PG) },
	{ WHAT("cr3", cr3), false, ILL_MORE(PAGE_SIZE) },
	{ WHAT("cr3", cr3), true, ILL_MORE(PAGE_SIZE) },
	{ WHAT("cr4", cr4), false, ILL_BITS(CR4_OSFXSR) },
	{ WHAT("cr4", cr4), false, ILL_BITS(CR4_PAE) },
	{ WHAT("efer", efer), true, ILL_BITS(EFER_NXE) },
};
static const struct ill_fault tables[] = {
	{ WHAT("ldtr.limit", ldtr.limit), false, ILL_MORE(-8) },
	{ WHAT("ldtr.base", ldtr.base), false, ILL_MORE(0x40) },
	{ WHAT("idtr.limit", idtr.limit), false, ILL_MORE(-0x80) },
	{ WHAT("idtr.limit", idtr.limit), true, ILL_MORE(-0x200) },
	{ WHAT("idtr.base", idtr.base), true, ILL_MORE(0x100) },
	{ WHAT("gdtr.limit", gdtr.limit), false, ILL_MORE(-0x10) },
	{ WHAT("gdtr.base", gdtr.base), true, ILL_MORE(8) },
	{ WHAT("tr.base", tr.base), false, ILL_MORE(0x40) },
	{ WHAT("tr.base", tr.base), true, ILL_MORE(4) },
	{ WHAT("tr.limit", tr.limit), false, ILL_MORE(-0x60) },
};
static const struct ill_fault moved[] = {
	/* by VMLOAD, or used where it is */
	{ WHAT("efer", efer), true, ILL_BITS(EFER_SCE) },
	{ WHAT("star", star), true, ILL_BITS(0x10ul << 32) },
	{ WHAT("lstar", lstar), true, ILL_MORE(0x2000) },
	{ WHAT("sfmask", sfmask), true, ILL_BITS(FLAG_AC) },
	{ WHAT("fs.base", fs.base), true, ILL_MORE(8) },
	{ WHAT("gs.base", gs.base), true, ILL_MORE(-0x1000000) },
	{ WHAT("kernel_gs_base", kernel_gs_base), true, ILL_MORE(8) },
};
static const struct ill_fault controls[] = {
	{ WHAT("vintr", vintr), false, ILL_BITS(0xf) },
	{ WHAT("vintr", vintr), false, ILL_BITS(VINTR_IRQ) },
	{ WHAT("intercepts[0]", intercepts[0]), false, ILL_BITS(1u << SVM_CPUID) },
	{ WHAT("intercepts[0]", intercepts[0]), false, ILL_BITS(1u << SVM_PUSHF) },
	{ WHAT("intercepts[0]", intercepts[0]), true, ILL_BITS(1u << SVM_IOIO) },
	{ WHAT("exceptions", exceptions), true, ILL_BITS(1u << VEC_DE) },
	{ WHAT("cr_writes", cr_writes), true, ILL_BITS(1u << 3) },
	{ WHAT("eventinj", eventinj), true, ILL_MORE(8) },
	{ WHAT("eventinj", eventinj), true, ILL_BITS(SVM_EVENT_VALID) },
};

static const struct ill_group groups[PATIENTS] = { ILL_GROUP(begins), ILL_GROUP(modes),
						   ILL_GROUP(tables), ILL_GROUP(moved),
						   ILL_GROUP(controls) };

static struct vmcb *vmcb;

/* Of ports and of MSRs: all of them exit. */
static uint8_t all_exit[MAP_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

/* ---- a VMCB as it should be ---- */

static void
well_controls(struct vmcb *b, const struct patient *p)
{
	const uint64_t event = p->event;

	b->intercepts[0] = 1u << SVM_INTR | 1u << SVM_NMI | 1u << SVM_CPUID | 1u << SVM_HLT |
			   1u << SVM_IOIO | 1u << SVM_MSR | 1u << SVM_SHUTDOWN;
	b->intercepts[1] = 1u << SVM_VMRUN % 32;
	b->exceptions = ~(1u << VEC_NMI);
	b->iopm_base = b->msrpm_base = (uint64_t)all_exit - KB;
	b->asid = 1;
	b->tlb_control = TLB_CONTROL_FLUSH_ALL;
	b->vintr = VINTR_MASKING;
	b->np_enable = 1;
	b->n_cr3 = mfn_to_hpa(p->page[PAGE_NESTED]).v;
	if (p->wide) {
		b->exceptions &= ~(1u << VEC_DE);
		b->eventinj = SVM_EVENT_VALID | SVM_EVENT_INTERRUPT << 8 | event;
	} else {
		b->vintr |= VINTR_IRQ | (4ul << 16) | event << VINTR_VECTOR;
	}
	memset(all_exit, 0xff, sizeof(all_exit));
}

static void
well_state(struct vmcb *b, const struct cpu_state *s)
{
	b->es = s->seg[SEG_ES];
	b->cs = s->seg[SEG_CS];
	b->ss = s->seg[SEG_SS];
	b->ds = s->seg[SEG_DS];
	b->fs = s->seg[SEG_FS];
	b->gs = s->seg[SEG_GS];
	b->ldtr = s->ldtr;
	b->tr = s->tr;
	b->tr.attr &= (uint16_t)~BUSY; /* QEMU 7.2 takes none that is busy: it ends itself */
	b->gdtr = (struct vmcb_table){ .limit = s->gdtr.limit, .base = s->gdtr.base };
	b->idtr = (struct vmcb_table){ .limit = s->idtr.limit, .base = s->idtr.base };
	b->efer = s->efer | EFER_SVME;
	b->cr0 = s->cr0;
	b->cr3 = s->cr3;
	b->cr4 = s->cr4;
	b->dr6 = s->dr[6];
	b->dr7 = s->dr[7];
	b->pat = s->pat;
	b->rflags = s->rflags;
	b->rip = s->rip;
	b->rsp = s->gpr[RSP];
	b->rax = s->gpr[RAX];
	b->star = s->star;
	b->lstar = s->lstar;
	b->sfmask = s->sfmask;
	b->kernel_gs_base = s->kernel_gs_base;
}

static void
make(const struct patient *p)
{
	memset(vmcb, 0, sizeof(*vmcb));
	well_controls(vmcb, p);
	well_state(vmcb, &p->state);
}

static uint64_t
get(const struct ill_fault *f)
{
	return svm_field_value(vmcb, f->at, f->size);
}

static void
set(const struct ill_fault *f, uint64_t value)
{
	memcpy((uint8_t *)vmcb + f->at, &value, f->size);
}

static int
show(const char *wish)
{
	return svm_show_vmcb(vmcb, strcmp(wish, "vmcb") ? wish : "");
}

/* ---- the patient runs ---- */

/* A place for a debugger, and for the grader: this patient is about to run, or has come back. */
static NOINLINE void
ill_look(struct vmcb *b, struct patient *p, unsigned number, unsigned exits)
{
	__asm__ volatile("" : : "r"(b), "r"(p), "r"(number), "r"(exits) : "memory");
}

static bool
is_mark(const struct vmcb *b)
{
	return SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_IOIO &&
	       IOIO_PORT(b->exitinfo1) == MARK_PORT && !(b->exitinfo1 & IOIO_IN);
}

/* What the patient's plan has: a mark, and one question. False: it ends here. */
static bool
on_plan(struct vmcb *b, struct patient *p)
{
	if (is_mark(b)) {
		patient_mark(p, (uint8_t)b->rax);
		printf(": mark %u", (unsigned)b->rax & 0xff);
	} else if (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_CPUID) {
		printf(": cpuid, and the answer is %x", p->answer);
		b->rax = p->answer;
	} else {
		return false;
	}
	b->rip += TWO_BYTES;
	return true;
}

static bool
enter(struct vmcb *b, uint64_t gpr[GPR_COUNT])
{
	for (unsigned turns = 0; turns < TURNS_MAX; turns++) {
		b->exitcode = SVM_EXIT_NONE;
		b->exitinfo1 = b->exitinfo2 = 0;
		svm_enter(gpr, mfn_to_hpa(ptr_mfn(b)), svm_host_state());
		if (SVM_EXIT_CODE(b) != SVM_EXIT_FIRST + SVM_INTR)
			return true;
		preempt_point();
	}
	return false;
}

static enum ill_came
step(struct patient *p, unsigned number, unsigned n)
{
	struct vmcb *b = vmcb;

	ill_look(b, p, number, n - 1);
	if (!enter(b, p->state.gpr))
		return ILL_ROUND;
	ill_look(b, p, number, n);
	if (SVM_EXIT_CODE(b) == SVM_EXIT_INVALID || SVM_EXIT_CODE(b) == SVM_EXIT_NONE)
		return ILL_REFUSED;
	printf("exit %u: exitcode %x, exitinfo1 %lx, exitinfo2 %lx, rip %lx", n, SVM_EXIT_CODE(b),
	       b->exitinfo1, b->exitinfo2, b->rip);
	if (on_plan(b, p))
		return ILL_ON_PLAN;
	return SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_HLT && b->rip == patient_end(p)
		       ? ILL_AT_END
		       : ILL_OFF_PLAN;
}

/* ---- the monitor's command ---- */

static int
ready(void)
{
	const char *why = svm_probe();
	int err;

	if (why) {
		printf("svm: not here: %s\n", why);
		return MONITOR_SAID;
	}
	err = svm_turn_on();
	if (!err && !vmcb) {
		mfn_t frame = frame_alloc(FRAME_HOST, OWNER_HOST);

		vmcb = mfn_ok(frame) ? mfn_ptr(frame) : NULL;
		err = vmcb ? 0 : -ENOMEM;
	}
	return err;
}

static void
done(void)
{
}

const struct ill_flavour svm_ill = {
	.groups = groups,
	.ready = ready,
	.make = make,
	.nested_bits = NPT_ALL,
	.get = get,
	.set = set,
	.show = show,
	.step = step,
	.done = done,
};

static int
ill(int argc, char **argv)
{
	return ill_command(&svm_ill, argc, argv);
}
MONITOR_COMMAND(ill, "ill", "NAME PATIENT [vmcb | FIELD [VALUE]]",
		"run a patient of exercise 4s.8, with that value there; or show its VMCB");
