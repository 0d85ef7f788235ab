/*
 * Is VT-x there, may it be turned on, and has it what Zeno wants of it?
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/vmx/vmx.h>

/* SDM 4 table 2-2, SDM 3D appendix A "VMX Capability Reporting Facility". */
#define MSR_FEATURE_CONTROL  0x3a
#define FEATURE_LOCKED       (1u << 0)
#define FEATURE_VMX          (1u << 2) /* outside of SMX */
#define MSR_VMX_BASIC        0x480
#define BASIC_INS_OUTS       (1ul << 54)
#define BASIC_TRUE           (1ul << 55)
#define MSR_VMX_MISC         0x485
#define MISC_TIMER_RATE      0x1fu
#define MSR_VMX_CR0_FIXED0   0x486
#define MSR_VMX_CR0_FIXED1   0x487
#define MSR_VMX_CR4_FIXED0   0x488
#define MSR_VMX_CR4_FIXED1   0x489
#define MSR_VMX_EPT_VPID_CAP 0x48c
#define EPT_WALK_4           (1ul << 6)
#define EPT_WRITE_BACK       (1ul << 14)
#define EPT_INVEPT_ALL       (1ul << 26)
#define CPUID_1_ECX_VMX      (1u << 5)
#define CPUID_81_EDX_SYSCALL (1u << 11)
#define CPUID_81_EDX_NX      (1u << 20)
#define CPUID_81_EDX_RDTSCP  (1u << 27)

struct vmx_cpu vmx_cpu;
static hpa_t vmxon_region;
static bool is_on, prepared;

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
#define PRIMARY_UNWANTED (1u << 15 | 1u << 16) /* CR3-load, CR3-store exiting */
#define PRIMARY_WINDOWS  (PRIMARY_IRQ_WINDOW | PRIMARY_NMI_WINDOW)

/* The MSR that says which bits may be 0, in its low half, and 1, in its high half. */
static uint64_t
choice(enum vmx_controls which)
{
	static const uint16_t msrs[] = { [PIN] = 0x481,
					 [PRIMARY] = 0x482,
					 [EXIT] = 0x483,
					 [ENTRY] = 0x484,
					 [SECONDARY] = 0x48b };
	static const uint16_t true_msrs[] = {
		[PIN] = 0x48d, [PRIMARY] = 0x48e, [EXIT] = 0x48f, [ENTRY] = 0x490
	};
	bool is_true = which != SECONDARY && rdmsr(MSR_VMX_BASIC) & BASIC_TRUE;

	return rdmsr(is_true ? true_msrs[which] : msrs[which]);
}

bool
vmx_has_rdtscp(void)
{
	uint32_t r[4];

	cpuid(0x80000001, 0, r);
	return r[3] & CPUID_81_EDX_RDTSCP && choice(SECONDARY) >> 32 & SECONDARY_RDTSCP;
}

/*
 * SDM 3C 26.5.1 "VMX-Preemption Timer": in the guest's time it counts down each time that the TSC's
 * bit `rate` changes. Zeno could do without it, were it not for Bochs (handouts/emulators.md).
 */
bool
vmx_timer_rate(unsigned *rate)
{
	*rate = rdmsr(MSR_VMX_MISC) & MISC_TIMER_RATE;
	return choice(PIN) >> 32 & PIN_TIMER;
}

uint32_t
vmx_controls(enum vmx_controls which)
{
	uint32_t value = (uint32_t)choice(which);
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

static const char *
check_controls(void)
{
	uint64_t ept;

	if (!(choice(PRIMARY) >> 32 & 1u << 31))
		return lacks("activate secondary controls");
	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
		if (!(choice(wanted[i].which) >> 32 & 1u << wanted[i].bit))
			return lacks(wanted[i].name);
	if (~(choice(PRIMARY) >> 32) & PRIMARY_WINDOWS)
		return lacks("interrupt-window exiting");
	if (choice(PRIMARY) & PRIMARY_UNWANTED)
		return "this CPU's VT-x cannot turn \"CR3-load exiting\" off";
	if (!(rdmsr(MSR_VMX_BASIC) & BASIC_INS_OUTS))
		return lacks("instruction information for INS and OUTS");
	ept = rdmsr(MSR_VMX_EPT_VPID_CAP);
	if (~ept & (EPT_WALK_4 | EPT_WRITE_BACK))
		return lacks("EPT of four levels in write-back memory");
	return ept & EPT_INVEPT_ALL ? NULL : lacks("INVEPT, all contexts");
}

/* SDM 3C 24.6 "Discovering Support for VMX", 24.7 "Enabling and Entering VMX Operation". */
const char *
vmx_probe(void)
{
	uint32_t r[4];
	uint64_t feature;

	cpuid(1, 0, r);
	if (!(r[2] & CPUID_1_ECX_VMX))
		return "this CPU has no VT-x (CPUID 1, ECX bit 5)";
	feature = rdmsr(MSR_FEATURE_CONTROL);
	if (feature & FEATURE_LOCKED && !(feature & FEATURE_VMX))
		return "the firmware has disabled VT-x (IA32_FEATURE_CONTROL)";
	return check_controls();
}

static struct vmx_allowed
allowed(enum vmx_controls which)
{
	uint64_t bits = choice(which);

	return (struct vmx_allowed){ .must = (uint32_t)bits, .may = (uint32_t)(bits >> 32) };
}

/* SDM 3D appendix A.7, A.8; the bits of EFER go with those of CPUID 80000001. */
static void
read_cpu(struct vmx_cpu *cpu)
{
	uint32_t r[4];

	cpuid(0x80000001, 0, r);
	*cpu = (struct vmx_cpu){
		.pin = allowed(PIN),
		.primary = allowed(PRIMARY),
		.secondary = allowed(SECONDARY),
		.exit = allowed(EXIT),
		.entry = allowed(ENTRY),
		.cr0_must = rdmsr(MSR_VMX_CR0_FIXED0),
		.cr0_may = rdmsr(MSR_VMX_CR0_FIXED1),
		.cr4_must = rdmsr(MSR_VMX_CR4_FIXED0),
		.cr4_may = rdmsr(MSR_VMX_CR4_FIXED1),
		.efer = EFER_LME | EFER_LMA | (r[3] & CPUID_81_EDX_SYSCALL ? EFER_SCE : 0u) |
			(r[3] & CPUID_81_EDX_NX ? EFER_NXE : 0u),
		.misc = rdmsr(MSR_VMX_MISC),
		.ept = rdmsr(MSR_VMX_EPT_VPID_CAP),
		.long_host = true,
	};
	cpuid(0x80000008, 0, r);
	cpu->phys_bits = r[0] & 0xff;
}

uint32_t
vmx_revision(void)
{
	return rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
}

uint64_t
vmx_cr0_ones(void)
{
	return rdmsr(MSR_VMX_CR0_FIXED0) & ~((uint64_t)CR0_PE | CR0_PG);
}

int
vmx_prepare(void)
{
	mfn_t region;

	if (prepared)
		return 0;
	region = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(region))
		return -ENOMEM;
	*(uint32_t *)mfn_ptr(region) = vmx_revision(); /* SDM 3C 25.11.5 "VMXON Region" */
	vmxon_region = mfn_to_hpa(region);
	read_cpu(&vmx_cpu);
	vmx_make_maps();
	prepared = true;
	return 0;
}

void
vmx_turn_on(void)
{
	uint64_t feature = rdmsr(MSR_FEATURE_CONTROL);

	if (is_on)
		return;
	if (!(feature & FEATURE_LOCKED)) /* firmware's to do, and this one has not */
		wrmsr(MSR_FEATURE_CONTROL, feature | FEATURE_LOCKED | FEATURE_VMX);
	write_cr4(read_cr4() | CR4_VMXE);
	vmx_vmxon(vmxon_region.v);
	is_on = true;
}

void
vmx_turn_off(void)
{
	if (!is_on)
		return;
	vmx_vmxoff();
	write_cr4(read_cr4() & ~(uint64_t)CR4_VMXE);
	is_on = false;
}
