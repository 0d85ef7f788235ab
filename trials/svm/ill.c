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
#include <vmm/monitor.h>

#define NPT_ALL      7u /* present, writable, the user's: to nested tables every guest is that */
#define EXITS_MAX    20u
#define TURNS_MAX    50u /* ticks of the host's in a row: it goes round and round */
#define TWO_BYTES    2u  /* of cpuid, and of out with a port in it */
#define MARK_PORT    0x80u
#define BUSY         2u /* a TSS in use: APM 2 4.8.3, table 4-6 */
#define VINTR_VECTOR 32 /* APM 2 15.21.1: from this bit on */
#define MAP_PAGES    3u /* APM 2 15.10.1: what the CPU reads of a map of ports */

#define WHAT(name, member) name, offsetof(struct vmcb, member), sizeof(((struct vmcb *)0)->member)
#define BITS(bits)         bits, 0
#define MORE(number)       0, (uint64_t)(number)

/* Each of a person's five has one of its own group. */
static const struct ill_fault begins[] = {
	{ WHAT("rax", rax), false, MORE(0x100) },
	{ WHAT("rsp", rsp), false, MORE(-4) },
	{ WHAT("rip", rip), false, MORE(1) },
	{ WHAT("cs.base", cs.base), false, MORE(0x11000) },
	{ WHAT("cs.attr", cs.attr), false, BITS(ATTR_DB) },
	{ WHAT("ss.base", ss.base), false, MORE(0x400) },
	{ WHAT("ss.attr", ss.attr), false, BITS(ATTR_DB) },
	{ WHAT("es.base", es.base), false, MORE(0x20) },
	{ WHAT("ds.base", ds.base), false, MORE(0x100000) },
	{ WHAT("rsp", rsp), true, MORE(0x1000) },
	{ WHAT("rip", rip), true, MORE(-1) },
};
static const struct ill_fault modes[] = {
	{ WHAT("rflags", rflags), false, BITS(FLAG_DF) },
	{ WHAT("rflags", rflags), false, BITS(FLAG_TF) },
	{ WHAT("rflags", rflags), true, BITS(FLAG_NT) },
	{ WHAT("cr0", cr0), false, BITS(CR0_EM) },
	{ WHAT("cr0", cr0), false, BITS(CR0_TS) },
	{ WHAT("cr0", cr0), false, BITS(CR0_WP) },
	{ WHAT("cr0", cr0), false, BITS(CR0_PG) },
	{ WHAT("cr3", cr3), false, MORE(PAGE_SIZE) },
	{ WHAT("cr3", cr3), true, MORE(PAGE_SIZE) },
	{ WHAT("cr4", cr4), false, BITS(CR4_OSFXSR) },
	{ WHAT("cr4", cr4), false, BITS(CR4_PAE) },
	{ WHAT("efer", efer), true, BITS(EFER_NXE) },
};
static const struct ill_fault tables[] = {
	{ WHAT("ldtr.limit", ldtr.limit), false, MORE(-8) },
	{ WHAT("ldtr.base", ldtr.base), false, MORE(0x40) },
	{ WHAT("idtr.limit", idtr.limit), false, MORE(-0x80) },
	{ WHAT("idtr.limit", idtr.limit), true, MORE(-0x200) },
	{ WHAT("idtr.base", idtr.base), true, MORE(0x100) },
	{ WHAT("gdtr.limit", gdtr.limit), false, MORE(-0x10) },
	{ WHAT("gdtr.base", gdtr.base), true, MORE(8) },
	{ WHAT("tr.base", tr.base), false, MORE(0x40) },
	{ WHAT("tr.base", tr.base), true, MORE(4) },
	{ WHAT("tr.limit", tr.limit), false, MORE(-0x60) },
};
static const struct ill_fault moved[] = {
	/* by VMLOAD, or used where it is */
	{ WHAT("efer", efer), true, BITS(EFER_SCE) },
	{ WHAT("star", star), true, BITS(0x10ul << 32) },
	{ WHAT("lstar", lstar), true, MORE(0x2000) },
	{ WHAT("sfmask", sfmask), true, BITS(FLAG_AC) },
	{ WHAT("fs.base", fs.base), true, MORE(8) },
	{ WHAT("gs.base", gs.base), true, MORE(-0x1000000) },
	{ WHAT("kernel_gs_base", kernel_gs_base), true, MORE(8) },
};
static const struct ill_fault controls[] = {
	{ WHAT("vintr", vintr), false, BITS(0xf) },
	{ WHAT("vintr", vintr), false, BITS(VINTR_IRQ) },
	{ WHAT("intercepts[0]", intercepts[0]), false, BITS(1u << SVM_CPUID) },
	{ WHAT("intercepts[0]", intercepts[0]), false, BITS(1u << SVM_PUSHF) },
	{ WHAT("intercepts[0]", intercepts[0]), true, BITS(1u << SVM_IOIO) },
	{ WHAT("exceptions", exceptions), true, BITS(1u << VEC_DE) },
	{ WHAT("cr_writes", cr_writes), true, BITS(1u << 3) },
	{ WHAT("eventinj", eventinj), true, MORE(8) },
	{ WHAT("eventinj", eventinj), true, BITS(SVM_EVENT_VALID) },
};

#define GROUP(faults)                     \
	{                                 \
		faults, ARRAY_LEN(faults) \
	}
const struct ill_group ill_groups[PATIENTS] = { GROUP(begins), GROUP(modes), GROUP(tables),
						GROUP(moved), GROUP(controls) };

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

const struct ill_fault *
ill_fault_of(const char *name, unsigned number, uint64_t *seed)
{
	const struct ill_group *g = &ill_groups[number - 1];

	return &g->faults[patient_choice(name, number, g->count, seed)];
}

uint64_t
ill_patient(struct vmcb *b, struct patient *p, const struct ill_fault *f, uint64_t seed)
{
	uint64_t well = 0, ill;

	patient_make(p, f->wide, seed, NPT_ALL, 0);
	memset(b, 0, sizeof(*b));
	well_controls(b, p);
	well_state(b, &p->state);
	memcpy(&well, (uint8_t *)b + f->at, f->size);
	ill = (well ^ f->flip) + f->add;
	memcpy((uint8_t *)b + f->at, &ill, f->size);
	return well;
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
		printf(": mark %u\n", (unsigned)b->rax & 0xff);
	} else if (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_CPUID) {
		printf(": cpuid, and the answer is %x\n", p->answer);
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

void
ill_run(struct vmcb *b, struct patient *p, unsigned number)
{
	uint64_t *gpr = p->state.gpr;
	bool well;

	for (unsigned n = 1; n <= EXITS_MAX; n++) {
		ill_look(b, p, number, n - 1);
		if (!enter(b, gpr)) {
			printf("it goes round and round, and makes no exit of its own\n");
			return;
		}
		ill_look(b, p, number, n);
		if (SVM_EXIT_CODE(b) == SVM_EXIT_INVALID || SVM_EXIT_CODE(b) == SVM_EXIT_NONE) {
			printf("no exit: the CPU refuses the VMCB, or has not been asked\n");
			return;
		}
		printf("exit %u: exitcode %x, exitinfo1 %lx, exitinfo2 %lx, rip %lx", n,
		       SVM_EXIT_CODE(b), b->exitinfo1, b->exitinfo2, b->rip);
		if (on_plan(b, p))
			continue;
		well = SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_HLT && patient_is_well(p, b->rip);
		printf(well ? ": its work is done\n" : ": here its plan ends\n");
		return;
	}
	printf("more than %u exits: this was not its plan\n", EXITS_MAX);
}

/* ---- the monitor's command ---- */

static const struct ill_fault *
field_named(const char *name)
{
	for (unsigned g = 0; g < PATIENTS; g++)
		for (unsigned i = 0; i < ill_groups[g].count; i++)
			if (!strcmp(ill_groups[g].faults[i].name, name))
				return &ill_groups[g].faults[i];
	return NULL;
}

static int
treat(struct vmcb *b, const char *name, const char *words)
{
	const struct ill_fault *f = field_named(name);
	uint64_t value;

	if (!f) {
		printf("none of the patients is ill at a field %s\n", name);
		return MONITOR_SAID;
	}
	if (parse_u64(words, &value))
		return -EINVAL;
	memcpy((uint8_t *)b + f->at, &value, f->size);
	printf("with %s = %lx: ", f->name, value);
	return 0;
}

struct patient *
ill_ready(struct vmcb **b)
{
	struct patient *p = patient_pages();

	if (!vmcb) {
		mfn_t frame = frame_alloc(FRAME_HOST, OWNER_HOST);

		vmcb = mfn_ok(frame) ? mfn_ptr(frame) : NULL;
	}
	*b = vmcb;
	return vmcb ? p : NULL;
}

static int
ill(int argc, char **argv)
{
	const char *why = svm_probe();
	const struct ill_fault *f;
	struct patient *p;
	struct vmcb *b;
	uint64_t number, seed = 0;
	int err;

	if ((argc != 3 && argc != 4 && argc != 5) || parse_u64(argv[2], &number) || !number ||
	    number > PATIENTS)
		return -EINVAL;
	if (why) {
		printf("svm: not here: %s\n", why);
		return MONITOR_SAID;
	}
	err = svm_turn_on();
	if (err)
		return err;
	p = ill_ready(&b);
	if (!p)
		return -ENOMEM;
	f = ill_fault_of(argv[1], (unsigned)number, &seed);
	ill_patient(b, p, f, seed);
	if (argc == 4)
		return svm_show_vmcb(b, strcmp(argv[3], "vmcb") ? argv[3] : "");
	if (argc == 5) {
		err = treat(b, argv[3], argv[4]);
		if (err)
			return err;
	}
	printf("patient %lu of %s: work%u, linear addresses %lx to %lx\n", number, argv[1],
	       p->wide ? 64 : 32, p->linear, p->linear + PAGE_ROOT * PAGE_SIZE - 1);
	ill_run(b, p, (unsigned)number);
	return 0;
}
MONITOR_COMMAND(ill, "ill", "NAME PATIENT [vmcb | FIELD [VALUE]]",
		"run a patient of exercise 4s.8, with that value there; or show its VMCB");
