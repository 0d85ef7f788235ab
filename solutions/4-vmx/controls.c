/*
 * What must exit: all that reaches beyond the guest's own machine.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/map.h>
#include <vmm/vmx/vmx.h>

#define MSR_FS_BASE    0xc0000100
#define MSR_GS_BASE    0xc0000101
#define BASIC_INS_OUTS (1ul << 54)
#define EPT_WALK_4     (1ul << 6)
#define EPT_WRITE_BACK (1ul << 14)
#define EPT_INVEPT_ALL (1ul << 26)

/*
 * SDM 3C 25.6 to 25.8. A control that this CPU has not is no choice: each of them is what keeps a
 * guest in, or its state apart.
 */
static const struct {
	uint8_t which, bit;
	const char *name; /* the manual's */
} wanted[] = {
	{ PIN, 0, "external-interrupt exiting" },
	{ PIN, 3, "NMI exiting" },
	{ PIN, 5, "virtual NMIs" },
	{ PRIMARY, 3, "use TSC offsetting" },
	{ PRIMARY, 7, "HLT exiting" },
	{ PRIMARY, 10, "MWAIT exiting" },
	{ PRIMARY, 11, "RDPMC exiting" },
	{ PRIMARY, 19, "CR8-load exiting" },
	{ PRIMARY, 20, "CR8-store exiting" },
	{ PRIMARY, 23, "MOV-DR exiting" },
	{ PRIMARY, 24, "unconditional I/O exiting" },
	{ PRIMARY, 28, "use MSR bitmaps" },
	{ PRIMARY, 29, "MONITOR exiting" },
	{ PRIMARY, 30, "PAUSE exiting" },
	{ PRIMARY, 31, "activate secondary controls" },
	{ SECONDARY, 1, "enable EPT" },
	{ SECONDARY, 6, "WBINVD exiting" },
	{ SECONDARY, 7, "unrestricted guest" },
	{ EXIT, 2, "save debug controls" },
	{ EXIT, 9, "host address-space size" },
	{ EXIT, 19, "load IA32_PAT" },
	{ EXIT, 20, "save IA32_EFER" },
	{ EXIT, 21, "load IA32_EFER" },
	{ ENTRY, 2, "load debug controls" },
	{ ENTRY, 14, "load IA32_PAT" },
	{ ENTRY, 15, "load IA32_EFER" },
};

/* What must not be: bits that a CPU without "true" controls holds at 1 (appendix A.2). */
#define PRIMARY_UNWANTED (PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE)
#define PRIMARY_WINDOWS  (PRIMARY_IRQ_WINDOW | PRIMARY_NMI_WINDOW)

uint32_t
vmx_controls(enum vmx_controls which)
{
	uint32_t value = (uint32_t)vmx_choice(which);
	unsigned rate;

	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
		if (wanted[i].which == which)
			value |= 1u << wanted[i].bit;
	if (which == SECONDARY && vmx_has_rdtscp())
		value |= SECONDARY_RDTSCP;
	if (which == PIN && vmx_timer_rate(&rate))
		value |= PIN_TIMER;
	return value;
}

static const char *
lacks(const char *control)
{
	static char line[80];

	snprintf(line, sizeof(line), "this CPU's VT-x lacks \"%s\"", control);
	return line;
}

const char *
vmx_lacks(void)
{
	uint64_t ept;

	if (!(vmx_choice(PRIMARY) >> 32 & 1u << 31))
		return lacks("activate secondary controls");
	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
		if (!(vmx_choice(wanted[i].which) >> 32 & 1u << wanted[i].bit))
			return lacks(wanted[i].name);
	if (~(vmx_choice(PRIMARY) >> 32) & PRIMARY_WINDOWS)
		return lacks("interrupt-window exiting");
	if (vmx_choice(PRIMARY) & PRIMARY_UNWANTED)
		return "this CPU's VT-x cannot turn \"CR3-load exiting\" off";
	if (!(rdmsr(MSR_VMX_BASIC) & BASIC_INS_OUTS))
		return lacks("instruction information for INS and OUTS");
	ept = rdmsr(MSR_VMX_EPT_VPID_CAP);
	if (~ept & (EPT_WALK_4 | EPT_WRITE_BACK))
		return lacks("EPT of four levels in write-back memory");
	return ept & EPT_INVEPT_ALL ? NULL : lacks("INVEPT, all contexts");
}

/*
 * SDM 3C 25.6.9: four maps of 1 KiB, a bit per MSR: reads of 0 to 1fff and of c0000000 to c0001fff,
 * then writes.
 */
static uint8_t msr_map[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static void
let_pass(uint32_t high_msr)
{
	unsigned bit = high_msr & 0x1fff;

	msr_map[1024 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
	msr_map[3072 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* What the guest has to itself, since entry and exit move it, needs no exit. */
void
vmx_make_maps(void)
{
	memset(msr_map, 0xff, sizeof(msr_map));
	let_pass(MSR_FS_BASE);
	let_pass(MSR_GS_BASE);
	let_pass(MSR_KERNEL_GS);
}

/*
 * No guest stays longer than a tick of the host's: every entry loads this anew. On a CPU that comes
 * back for the host's interrupts it hardly ever runs out.
 */
static void
set_timer(void)
{
	unsigned rate;
	uint64_t tick;

	if (!vmx_timer_rate(&rate))
		return;
	tick = clock_tsc_hz() / TICK_HZ >> rate;
	vmcs_write(PREEMPTION_TIMER, tick ? tick : 1); /* with 0 the guest would never begin */
}

/*
 * The initial values of a VMCS beside the guest's state: the field, its value, and why. Fields that
 * are not here have no meaning with these controls.
 */
void
vmx_set_controls(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} initial[] = {
		{ PIN_CONTROLS, vmx_controls(PIN) }, /* what comes from outside is the host's */
		{ PRIMARY_CONTROLS, vmx_controls(PRIMARY) },
		{ SECONDARY_CONTROLS, vmx_controls(SECONDARY) },
		{ EXIT_CONTROLS, vmx_controls(EXIT) },
		{ ENTRY_CONTROLS, vmx_controls(ENTRY) },
		{ EXCEPTION_BITMAP, x->exceptions },
		{ PAGE_FAULT_MASK, 0 }, /* every #PF is like the others */
		{ PAGE_FAULT_MATCH, 0 },
		{ CR3_TARGET_COUNT, 0 },    /* CR3 is the guest's own */
		{ CR0_MASK, x->cr0_owned }, /* NE is on, the caches are the machine's */
		{ CR4_MASK, x->cr4_owned }, /* VMXE among them */
		{ MSR_BITMAP, (uint64_t)msr_map - KB },
		{ EPT_POINTER, mfn_to_hpa(v->root).v | EPTP_FOUR_LEVELS | EPTP_WRITE_BACK },
		{ LINK_POINTER, ~0ul }, /* SDM 3C 25.4.2: no shadow VMCS */
		{ GUEST_DEBUGCTL, 0 },  /* no branch trap: TF steps instructions */
		{ GUEST_ACTIVITY, 0 },  /* it runs: hlt is an exit */
		{ GUEST_PENDING_DEBUG, 0 },
		{ ENTRY_EVENT, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(initial); i++)
		vmcs_write(initial[i].field, initial[i].value);
	vmx_set_msr_lists(x);
	set_timer();
	x->primary = vmx_controls(PRIMARY);
	if (x->shadowed)
		vmx_shadow_controls(x);
}

/* For a debugger, before an entry. A breakpoint, int1, is a #DB, which is caught anyway. */
void
vmx_debug_controls(struct vcpu *v)
{
	vmcs_write(EXCEPTION_BITMAP, vmx_of(v)->exceptions | (v->debug.step ? STEP_EXCEPTIONS : 0));
}
