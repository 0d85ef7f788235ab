/*
 * What ends the guest's run: exercise 4.4. What goes and comes with the guest is given.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/map.h>
#include <vmm/vmx/vmx.h>

#define BASIC_INS_OUTS (1ul << 54)
#define EPT_WALK_4     (1ul << 6)
#define EPT_WRITE_BACK (1ul << 14)
#define EPT_INVEPT_ALL (1ul << 26)

struct control {
	uint8_t which, bit; /* SDM 3C 25.6 to 25.8 */
	const char *name;   /* the manual's */
};

/*
 * What keeps the guest's state apart, and its memory. A control that this CPU has not is no choice.
 */
static const struct control given[] = {
	{ PIN, 5, "virtual NMIs" },
	{ PRIMARY, 3, "use TSC offsetting" },
	{ PRIMARY, 31, "activate secondary controls" },
	{ SECONDARY, 1, "enable EPT" },
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

/* Those of the list, and what a CPU may have: RDTSCP for the guest, a clock that ends its run. */
static uint32_t
given_bits(enum vmx_controls which)
{
	uint32_t value = 0;
	unsigned rate;

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		if (given[i].which == which)
			value |= 1u << given[i].bit;
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

	if (!(vmx_choice(PRIMARY) >> 32 & PRIMARY_SECONDARY))
		return lacks("activate secondary controls");
	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		if (!(vmx_choice(given[i].which) >> 32 & 1u << given[i].bit))
			return lacks(given[i].name);
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

/* Reads and writes of c0000000 to c0001fff. */
static void
let_pass(uint32_t high_msr)
{
	unsigned bit = high_msr & 0x1fff;

	msr_map[1024 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
	msr_map[3072 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
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

/* EXERCISE 4.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4.0 */

/* Called before each new guest's controls are set. */
void
vmx_make_maps(void)
{
	/*
	 * EXERCISE 4.4a: the map
	 * Holds: no guest reaches a model-specific register of the machine's, by reading or
	 *  writing. The bases of its own segments and of swapgs cost no exit; another one that
	 *  goes and comes with the guest may.
	 * Beware: a map that says nothing allows everything, and nobody has written to this one
	 *  yet. The CPU has swapgs, which asks no map.
	 * Manual: SDM 3C "MSR-Bitmap Address"; SDM 4 "Architectural MSRs".
	 * Tools: frame_alloc() of kern/frame.h, let_pass(), memset(), MSR_FS_BASE, MSR_GS_BASE,
	 *  MSR_KERNEL_GS of vmm/vmx/vmcs.h, msr_map
	 */
	exercise_todo("4.4", "handouts/lab4a.md#ex-4-4");
	(void)msr_map;
	(void)let_pass;
	/* END EXERCISE 4.4a */
}

/* All that has to be a bit of these controls, beside what is given, for a guest's run to end. */
static const struct control *
must_exit(unsigned *count)
{
	/*
	 * EXERCISE 4.4b: what must exit
	 * Holds: whatever this guest executes, it reaches its own memory and registers, and what
	 *  its CPU has. Zeno hears when it waits, by pause, too, and keeps its interrupts. All
	 *  else runs without an exit.
	 * Beware: some of it exits on every CPU, whatever you say; some has two controls, of
	 *  which one asks a map. Whose is what a breakpoint watches?
	 * Manual: SDM 3C "Pin-Based VM-Execution Controls", "Processor-Based VM-Execution
	 *  Controls", "Instructions That Cause VM Exits".
	 * Tools: ARRAY_LEN(), PIN, PRIMARY, SECONDARY of vmm/vmx/vmx.h, vcpu_need()
	 */
	exercise_todo("4.4", "handouts/lab4a.md#ex-4-4");
	*count = 0;
	return NULL;
	/* END EXERCISE 4.4b */
}

/* For the VMCS. */
uint32_t
vmx_controls(enum vmx_controls which)
{
	/*
	 * EXERCISE 4.4c: as this CPU has it
	 * Holds: these controls as the CPU takes them: what it insists on, what is given, what
	 *  must exit; all other bits are 0.
	 * Beware: which bits may be 0, and which 1, each CPU says for itself, and two bits that
	 *  nobody has a name for are not always 0.
	 * Manual: SDM 3D "VM-Execution Controls" of "VMX Capability Reporting Facility".
	 * Tools: given_bits(), must_exit(), rdmsr(), vmx_choice() of vmm/vmx/vmx.h
	 */
	exercise_todo("4.4", "handouts/lab4a.md#ex-4-4");
	(void)must_exit;
	return (uint32_t)vmx_choice(which) | given_bits(which);
	/* END EXERCISE 4.4c */
}

/* Asked where vmx_lacks() has nothing to say. */
const char *
vmx_lacks_exit(void)
{
	/*
	 * EXERCISE 4.4d: what it lacks
	 * Holds: NULL where this CPU ends a run at all that must end it, and takes the map, which
	 *  Zeno writes on any CPU; else a line for a person, with what is missing, one for each.
	 * Beware: a CPU that lacks one of them takes no VMCS that asks for it, and says only that
	 *  it does not.
	 * Manual: SDM 3D "VM-Execution Controls" of "VMX Capability Reporting Facility".
	 * Tools: cpuid(), lacks(), must_exit(), vmx_choice() of vmm/vmx/vmx.h
	 */
	exercise_todo("4.4", "handouts/lab4a.md#ex-4-4");
	return NULL;
	/* END EXERCISE 4.4d */
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
		{ PRIMARY_CONTROLS, vmx_controls(PRIMARY) },     /* ... and so is the machine */
		{ SECONDARY_CONTROLS, vmx_controls(SECONDARY) }, /* memory by EPT */
		{ EXIT_CONTROLS, vmx_controls(EXIT) },   /* a host of 64 bits, its own MSRs */
		{ ENTRY_CONTROLS, vmx_controls(ENTRY) }, /* the guest's; its mode: state.c */
		{ EXCEPTION_BITMAP, x->exceptions },     /* those that could go on for ever */
		{ PAGE_FAULT_MASK, 0 },                  /* every #PF is like the others */
		{ PAGE_FAULT_MATCH, 0 },                 /* 0 & 0 == 0: the bitmap decides alone */
		{ CR3_TARGET_COUNT, 0 },                 /* CR3 is the guest's own */
		{ CR0_MASK, x->cr0_owned },             /* NE is on, the caches are the machine's */
		{ CR4_MASK, x->cr4_owned },             /* VMXE among them */
		{ MSR_BITMAP, (uint64_t)msr_map - KB }, /* without it each MSR exits */
		{ EPT_POINTER, vmx_ept_pointer(v) },    /* this vCPU's tables */
		{ LINK_POINTER, ~0ul },                 /* SDM 3C 25.4.2: no shadow VMCS */
		{ GUEST_DEBUGCTL, 0 },                  /* no branch trap: TF steps instructions */
		{ GUEST_ACTIVITY, 0 },                  /* it runs: hlt is an exit */
		{ GUEST_PENDING_DEBUG, 0 },             /* no step waits; held.c keeps it so */
		{ ENTRY_EVENT, 0 }, /* nothing is delivered before somebody asks */
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
