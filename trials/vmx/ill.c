/*
 * `sick`: exercise 4.8. Each of a person's five patients has a VMCS that the CPU takes, and one
 * field of it is wrong. It runs until something comes that its plan has not.
 *
 * It needs nothing of Lab 4 but what turns VT-x on and what enters a guest.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <trials/vmx/first.h>
#include <trials/vmx/ill.h>
#include <vmm/words/monitor.h>

#define EPT_ALL          7u         /* SDM 3C 29.3.2: read, write, execute */
#define EPT_WRITE_BACK   (6ul << 3) /* the memory type, in the entry of a page */
#define TURNS_MAX        50u        /* the host's in a row: the patient goes round and round */
#define MARK_PORT        0x80u
#define HLT_EXITING      (1u << 7) /* SDM 3C table 25-6 */
#define PORTS_EXITING    (1u << 24)
#define ACTIVITY_RUNNING 0u
#define MSRS             4u
#define SYSCALL_KERNEL   0xc0000102u /* KERNEL_GS_BASE: SDM 4 table 2-2 */

#define WHAT(name, field) name, field, 8
#define OF(seg, array)    SEGMENT_FIELD(array, seg)

static const struct ill_fault begins[] = {
	{ WHAT("rsp", GUEST_RSP), false, ILL_MORE(-4) },
	{ WHAT("rip", GUEST_RIP), false, ILL_MORE(1) },
	{ WHAT("cs_base", OF(SEG_CS, GUEST_ES_BASE)), false, ILL_MORE(0x11000) },
	{ WHAT("cs_rights", OF(SEG_CS, GUEST_ES_RIGHTS)), false, ILL_BITS(RIGHTS_DB) },
	{ WHAT("ss_base", OF(SEG_SS, GUEST_ES_BASE)), false, ILL_MORE(0x400) },
	{ WHAT("ss_rights", OF(SEG_SS, GUEST_ES_RIGHTS)), false, ILL_BITS(RIGHTS_DB) },
	{ WHAT("es_base", OF(SEG_ES, GUEST_ES_BASE)), false, ILL_MORE(0x20) },
	{ WHAT("ds_base", OF(SEG_DS, GUEST_ES_BASE)), false, ILL_MORE(0x100000) },
	{ WHAT("rsp", GUEST_RSP), true, ILL_MORE(0x1000) },
	{ WHAT("rip", GUEST_RIP), true, ILL_MORE(-1) },
};
static const struct ill_fault modes[] = {
	{ WHAT("rflags", GUEST_RFLAGS), false, ILL_BITS(FLAG_DF) },
	{ WHAT("rflags", GUEST_RFLAGS), false, ILL_BITS(FLAG_TF) },
	{ WHAT("rflags", GUEST_RFLAGS), true, ILL_BITS(FLAG_NT) },
	{ WHAT("cr0", GUEST_CR0), false, ILL_BITS(CR0_EM) },
	{ WHAT("cr0", GUEST_CR0), false, ILL_BITS(CR0_TS) },
	{ WHAT("cr0", GUEST_CR0), false, ILL_BITS(CR0_WP) },
	{ WHAT("cr0", GUEST_CR0), false, ILL_BITS(CR0_PG) },
	{ WHAT("cr3", GUEST_CR3), false, ILL_MORE(PAGE_SIZE) },
	{ WHAT("cr3", GUEST_CR3), true, ILL_MORE(PAGE_SIZE) },
	{ WHAT("cr4", GUEST_CR4), false, ILL_BITS(CR4_OSFXSR) },
	{ WHAT("cr4", GUEST_CR4), false, ILL_BITS(CR4_PAE) },
	{ WHAT("efer", GUEST_EFER), true, ILL_BITS(EFER_NXE) },
};
static const struct ill_fault tables[] = {
	{ WHAT("ldtr_limit", OF(SEGMENT_LDTR, GUEST_ES_LIMIT)), false, ILL_MORE(-8) },
	{ WHAT("ldtr_base", OF(SEGMENT_LDTR, GUEST_ES_BASE)), false, ILL_MORE(0x40) },
	{ WHAT("idtr_limit", GUEST_IDTR_LIMIT), false, ILL_MORE(-0x80) },
	{ WHAT("idtr_limit", GUEST_IDTR_LIMIT), true, ILL_MORE(-0x200) },
	{ WHAT("idtr_base", GUEST_IDTR_BASE), true, ILL_MORE(0x100) },
	{ WHAT("gdtr_limit", GUEST_GDTR_LIMIT), false, ILL_MORE(-0x10) },
	{ WHAT("gdtr_base", GUEST_GDTR_BASE), true, ILL_MORE(8) },
	{ WHAT("tr_base", OF(SEGMENT_TR, GUEST_ES_BASE)), false, ILL_MORE(0x40) },
	{ WHAT("tr_base", OF(SEGMENT_TR, GUEST_ES_BASE)), true, ILL_MORE(4) },
	{ WHAT("tr_limit", OF(SEGMENT_TR, GUEST_ES_LIMIT)), false, ILL_MORE(-0x60) },
};
static const struct ill_fault limits[] = {
	/* what QEMU would not look at; and bases, and lists */
	{ WHAT("cs_limit", OF(SEG_CS, GUEST_ES_LIMIT)), false, ILL_BITS(0xff000000) },
	{ WHAT("ss_limit", OF(SEG_SS, GUEST_ES_LIMIT)), false, ILL_BITS(0xfffff000) },
	{ WHAT("ds_limit", OF(SEG_DS, GUEST_ES_LIMIT)), false, ILL_BITS(0xff000000) },
	{ WHAT("es_limit", OF(SEG_ES, GUEST_ES_LIMIT)), false, ILL_BITS(0xfffff000) },
	{ WHAT("fs_base", OF(SEG_FS, GUEST_ES_BASE)), true, ILL_MORE(8) },
	{ WHAT("gs_base", OF(SEG_GS, GUEST_ES_BASE)), true, ILL_MORE(-0x1000000) },
	{ WHAT("entry_msr_count", ENTRY_MSR_LOAD_COUNT), true, ILL_MORE(-1) },
	{ WHAT("efer", GUEST_EFER), true, ILL_BITS(EFER_SCE) },
};
static const struct ill_fault controls[] = {
	{ WHAT("primary_controls", PRIMARY_CONTROLS), false, ILL_BITS(PRIMARY_IRQ_WINDOW) },
	{ WHAT("primary_controls", PRIMARY_CONTROLS), true, ILL_BITS(PRIMARY_IRQ_WINDOW) },
	{ WHAT("primary_controls", PRIMARY_CONTROLS), true, ILL_BITS(PRIMARY_CR3_LOAD) },
	{ WHAT("primary_controls", PRIMARY_CONTROLS), true, ILL_BITS(PORTS_EXITING) },
	{ WHAT("exception_bitmap", EXCEPTION_BITMAP), true, ILL_BITS(1u << VEC_DE) },
	{ WHAT("entry_controls", ENTRY_CONTROLS), true, ILL_BITS(ENTRY_LOAD_EFER) },
	{ WHAT("entry_event", ENTRY_EVENT), true, ILL_MORE(8) },
	{ WHAT("entry_event", ENTRY_EVENT), true, ILL_BITS(VMX_EVENT_VALID) },
};
static const struct ill_group groups[PATIENTS] = { ILL_GROUP(begins), ILL_GROUP(modes),
						   ILL_GROUP(tables), ILL_GROUP(limits),
						   ILL_GROUP(controls) };

static mfn_t vmcs;
static bool there, launched;

/* What VT-x switches by a list alone: the patient's, and the host's. SDM 3C table 25-16. */
static struct vmx_msr guest_msrs[MSRS] __attribute__((aligned(16)));
static struct vmx_msr host_msrs[MSRS] __attribute__((aligned(16)));

/* An exit, as the VMCS tells it; what is not this exit's is 0. */
struct ill_exit {
	uint64_t reason, qualification, event, error, address, rip, rax;
};

/* ---- a VMCS as it should be ---- */

static uint64_t
allowed(enum vmx_controls which, uint32_t wanted)
{
	return (uint32_t)vmx_choice(which) | wanted;
}

static void
well_lists(const struct cpu_state *s)
{
	const struct vmx_msr wanted[MSRS] = { { MSR_STAR, 0, s->star },
					      { MSR_LSTAR, 0, s->lstar },
					      { MSR_SFMASK, 0, s->sfmask },
					      { SYSCALL_KERNEL, 0, s->kernel_gs_base } };

	for (unsigned i = 0; i < MSRS; i++) {
		guest_msrs[i] = wanted[i];
		host_msrs[i] = wanted[i];
		host_msrs[i].value = rdmsr(wanted[i].number);
	}
}

static void
well_controls(const struct patient *p)
{
	unsigned rate;
	uint32_t timer = vmx_timer_rate(&rate) ? PIN_TIMER : 0;
	uint32_t primary = HLT_EXITING | PORTS_EXITING | PRIMARY_SECONDARY;
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ PIN_CONTROLS, allowed(PIN, PIN_EXTERNAL_INTERRUPT | PIN_NMI | timer) },
		/* work32 is told of its interrupt as soon as it takes one */
		{ PRIMARY_CONTROLS,
		  allowed(PRIMARY, primary | (p->wide ? 0 : PRIMARY_IRQ_WINDOW)) },
		{ SECONDARY_CONTROLS, allowed(SECONDARY, SECONDARY_EPT | SECONDARY_UNRESTRICTED) },
		{ EXIT_CONTROLS, allowed(EXIT, EXIT_HOST_LONG | EXIT_LOAD_EFER | EXIT_LOAD_PAT) },
		{ ENTRY_CONTROLS, allowed(ENTRY, ENTRY_LOAD_EFER | (p->wide ? ENTRY_IA32E : 0)) },
		{ ENTRY_EVENT, p->wide ? VMX_EVENT_VALID | p->event : 0 },
		{ EXCEPTION_BITMAP, ~(uint32_t)(p->wide ? 1u << VEC_DE : 0) },
		{ EPT_POINTER,
		  mfn_to_hpa(p->page[PAGE_NESTED]).v | EPTP_FOUR_LEVELS | EPTP_WRITE_BACK },
		{ LINK_POINTER, ~0ul }, /* SDM 3C 25.4.2: no shadow VMCS */
		{ PAGE_FAULT_MASK, 0 },
		{ PAGE_FAULT_MATCH, 0 },
		{ CR3_TARGET_COUNT, 0 },
		{ ENTRY_MSR_LOAD, (uint64_t)guest_msrs - KB },
		{ ENTRY_MSR_LOAD_COUNT, MSRS },
		{ EXIT_MSR_STORE_COUNT, 0 },
		{ EXIT_MSR_LOAD, (uint64_t)host_msrs - KB },
		{ EXIT_MSR_LOAD_COUNT, MSRS },
		{ CR0_MASK, 0 },
		{ CR4_MASK, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
}

static void
segment_out(unsigned n, const struct segment *s)
{
	vmcs_write(SEGMENT_FIELD(GUEST_ES, n), s->sel);
	vmcs_write(SEGMENT_FIELD(GUEST_ES_BASE, n), s->base);
	vmcs_write(SEGMENT_FIELD(GUEST_ES_LIMIT, n), s->limit);
	/* SDM 3C table 25-2: what attr has in bits 11:8 stands four bits higher */
	vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, n), (s->attr & 0xff) | (s->attr & 0xf00u) << 4);
}

static void
well_state(const struct patient *p, const struct cpu_state *s)
{
	/* An entry that delivers an interrupt wants IF=1: SDM 3C 27.3.1.4. */
	const uint64_t flag = p->wide ? FLAG_IF : 0;
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ GUEST_CR0, s->cr0 | vmx_cr0_ones() },
		{ GUEST_CR3, s->cr3 },
		{ GUEST_CR4, s->cr4 | rdmsr(MSR_VMX_CR4_FIXED0) },
		{ GUEST_EFER, s->efer },
		{ GUEST_DR7, s->dr[7] },
		{ GUEST_DEBUGCTL, 0 },
		{ GUEST_ACTIVITY, ACTIVITY_RUNNING },
		{ GUEST_INTERRUPTIBILITY, 0 },
		{ GUEST_PENDING_DEBUG, 0 },
		{ GUEST_GDTR_BASE, s->gdtr.base },
		{ GUEST_GDTR_LIMIT, s->gdtr.limit },
		{ GUEST_IDTR_BASE, s->idtr.base },
		{ GUEST_IDTR_LIMIT, s->idtr.limit },
		{ GUEST_SYSENTER_CS, 0 },
		{ GUEST_SYSENTER_ESP, 0 },
		{ GUEST_SYSENTER_EIP, 0 },
		{ GUEST_RFLAGS, s->rflags | flag },
		{ GUEST_RIP, s->rip },
		{ GUEST_RSP, s->gpr[RSP] },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
	for (unsigned n = 0; n < 4; n++)
		vmcs_write((enum vmcs_field)(GUEST_PDPTE + 2 * n), 0);
	for (unsigned n = 0; n < SEG_COUNT; n++)
		segment_out(n, &s->seg[n]);
	segment_out(SEGMENT_LDTR, &s->ldtr);
	segment_out(SEGMENT_TR, &s->tr);
}

static void
make(const struct patient *p)
{
	vmx_trial_take_cpu(vmcs);
	launched = false;
	vmx_set_host_state();
	well_lists(&p->state);
	well_controls(p);
	well_state(p, &p->state);
}

static uint64_t
get(const struct ill_fault *f)
{
	return vmcs_read((enum vmcs_field)f->at);
}

static void
set(const struct ill_fault *f, uint64_t value)
{
	vmcs_write((enum vmcs_field)f->at, value);
}

static int
show(const char *wish)
{
	return vmx_show_vmcs(strcmp(wish, "vmcs") ? wish : "");
}

/* ---- the patient runs ---- */

/* A place for a debugger, and for the grader: this patient is about to run, or has come back. */
static NOINLINE void
sick_look(struct ill_exit *x, struct patient *p, unsigned number, unsigned exits)
{
	__asm__ volatile("" : : "r"(x), "r"(p), "r"(number), "r"(exits) : "memory");
}

static struct ill_exit
exit_read(const struct patient *p)
{
	struct ill_exit x = { .reason = vmcs_read(EXIT_REASON),
			      .qualification = vmcs_read(EXIT_QUALIFICATION),
			      .rip = vmcs_read(GUEST_RIP),
			      .rax = p->state.gpr[RAX] };

	if (x.reason == VMX_EXCEPTION)
		x.event = vmcs_read(EXIT_EVENT);
	if (x.event & VMX_EVENT_HAS_ERROR)
		x.error = vmcs_read(EXIT_EVENT_ERROR);
	if (x.reason == VMX_EPT_VIOLATION || x.reason == VMX_EPT_MISCONFIGURATION)
		x.address = vmcs_read(GUEST_PHYSICAL_ADDRESS);
	return x;
}

static bool
is_mark(const struct ill_exit *x)
{
	return x->reason == VMX_IO && IO_PORT(x->qualification) == MARK_PORT &&
	       !(x->qualification & IO_IN);
}

/* What the patient's plan has: marks, one question, one interrupt. False: it ends here. */
static bool
on_plan(const struct ill_exit *x, struct patient *p)
{
	if (x->reason == VMX_IRQ_WINDOW && !p->wide) {
		printf(": it takes interrupts, and gets %x", p->event);
		vmcs_write(PRIMARY_CONTROLS, vmcs_read(PRIMARY_CONTROLS) & ~PRIMARY_IRQ_WINDOW);
		vmcs_write(ENTRY_EVENT, VMX_EVENT_VALID | p->event);
		return true;
	}
	if (is_mark(x)) {
		patient_mark(p, (uint8_t)x->rax);
		printf(": mark %u", (unsigned)x->rax & 0xff);
	} else if (x->reason == VMX_CPUID) {
		printf(": cpuid, and the answer is %x", p->answer);
		p->state.gpr[RAX] = p->answer;
	} else {
		return false;
	}
	vmcs_write(GUEST_RIP, x->rip + vmcs_read(EXIT_INSTRUCTION_LENGTH));
	return true;
}

/* True: an exit of the patient's own; *round: none for a long time. */
static bool
enter(uint64_t gpr[GPR_COUNT], bool *round)
{
	for (unsigned turns = 0; turns < TURNS_MAX; turns++) {
		enum vmx_entry entry = vmx_trial_enter(gpr, &launched);

		if (entry != ENTERED || vmcs_read(EXIT_REASON) & VMX_ENTRY_FAILED)
			return false;
		if (!vmx_trial_hosts_turn(vmcs_read(EXIT_REASON)))
			return true;
		preempt_point();
	}
	*round = true;
	return false;
}

static enum ill_came
step(struct patient *p, unsigned number, unsigned n)
{
	struct ill_exit x = { 0 };
	bool round = false;

	sick_look(&x, p, number, n - 1);
	if (!enter(p->state.gpr, &round))
		return round ? ILL_ROUND : ILL_REFUSED;
	x = exit_read(p);
	sick_look(&x, p, number, n);
	printf("exit %u: reason %lu, qualification %lx, event %lx, error %lx, address %lx, rip %lx",
	       n, x.reason, x.qualification, x.event, x.error, x.address, x.rip);
	if (on_plan(&x, p))
		return ILL_ON_PLAN;
	return x.reason == VMX_HLT && x.rip == patient_end(p) ? ILL_AT_END : ILL_OFF_PLAN;
}

/* ---- the monitor's command ---- */

static int
ready(void)
{
	const char *why = vmx_probe();
	int err;

	if (why) {
		printf("vmx: not here: %s\n", why);
		return MONITOR_SAID;
	}
	err = vmx_prepare();
	if (err)
		return err;
	if (!there)
		vmcs = frame_alloc(FRAME_HOST, OWNER_HOST);
	there = mfn_ok(vmcs);
	return there ? 0 : -ENOMEM;
}

static void
done(void)
{
	vmx_vmclear(mfn_to_hpa(vmcs).v);
}

const struct ill_flavour vmx_ill = {
	.groups = groups,
	.ready = ready,
	.make = make,
	.nested_bits = EPT_ALL,
	.nested_leaf_bits = EPT_WRITE_BACK,
	.get = get,
	.set = set,
	.show = show,
	.step = step,
	.done = done,
};

static int
sick(int argc, char **argv)
{
	return ill_command(&vmx_ill, argc, argv);
}
MONITOR_COMMAND(sick, "sick", "NAME PATIENT [vmcs | FIELD [VALUE]]",
		"run a patient of exercise 4.8, with that value there; or show its VMCS");
