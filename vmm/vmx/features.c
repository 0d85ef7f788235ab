/*
 * What this CPU has: which controls, for the rules of VM entries and for whoever sets them.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023: 3D appendix A "VMX
 * Capability Reporting Facility".
 */
#include <kern/cpu.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/mmu/nested/nested.h>
#include <vmm/vmx/vmx.h>

#define BASIC_TRUE           (1ul << 55)
#define BASIC_ANY_ERROR_CODE (1ul << 56)
#define MSR_VMX_MISC         0x485
#define MISC_TIMER_RATE      0x1fu
#define CPUID_81_EDX_SYSCALL (1u << 11)
#define CPUID_81_EDX_NX      (1u << 20)
#define CPUID_81_EDX_RDTSCP  (1u << 27)

struct vmx_cpu vmx_cpu;

uint64_t
vmx_choice(enum vmx_controls which)
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
	return r[3] & CPUID_81_EDX_RDTSCP && vmx_choice(SECONDARY) >> 32 & SECONDARY_RDTSCP;
}

/*
 * SDM 3C 26.5.1 "VMX-Preemption Timer": in the guest's time it counts down each time that the TSC's
 * bit `rate` changes. Zeno could do without it, were it not for Bochs (handouts/emulators.md).
 */
bool
vmx_timer_rate(unsigned *rate)
{
	*rate = rdmsr(MSR_VMX_MISC) & MISC_TIMER_RATE;
	return vmx_choice(PIN) >> 32 & PIN_TIMER;
}

static struct vmx_allowed
allowed(enum vmx_controls which)
{
	uint64_t bits = vmx_choice(which);

	return (struct vmx_allowed){ .must = (uint32_t)bits, .may = (uint32_t)(bits >> 32) };
}

/* SDM 3D appendix A.7, A.8; the bits of EFER go with those of CPUID 80000001. */
void
vmx_ask_cpu(void)
{
	uint32_t r[4];

	cpuid(0x80000001, 0, r);
	vmx_cpu = (struct vmx_cpu){
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
		.any_error_code = rdmsr(MSR_VMX_BASIC) & BASIC_ANY_ERROR_CODE,
	};
	cpuid(0x80000008, 0, r);
	vmx_cpu.phys_bits = r[0] & 0xff;
	vmx_cpu.linear_bits = r[0] >> 8 & 0xff;
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

void
vmx_ept_features(void)
{
	nested_ept.largest = vmx_cpu.ept & EPT_HAS_1_GIB ? 3 : vmx_cpu.ept & EPT_HAS_2_MIB ? 2 : 1;
	if (vmx_cpu.ept & EPT_HAS_MARKS) {
		nested_ept.accessed = EPT_ACCESSED;
		nested_ept.dirty = EPT_DIRTY;
	}
}

uint64_t
vmx_ept_pointer(const struct vcpu *v)
{
	uint64_t marks = nested_ept.accessed ? EPTP_MARKS : 0;

	return mfn_to_hpa(v->root).v | EPTP_FOUR_LEVELS | EPTP_WRITE_BACK | marks;
}

/*
 * SDM 3C 29.4.3.3: with a VPID of its own a vCPU finds its translations again behind an exit. Of
 * each entry's VPID 0 the CPU forgets them by itself (29.4.3.1).
 */
static struct tags vpids; /* none, where the CPU has no VPIDs */

#define VPIDS 0x10000u

void
vmx_ask_vpids(void)
{
	bool has = vmx_choice(SECONDARY) >> 32 & SECONDARY_VPID && vmx_cpu.ept & EPT_HAS_INVVPID &&
		   vmx_cpu.ept & (EPT_HAS_INVVPID_ONE | EPT_HAS_INVVPID_ALL);

	static bool told;

	if (!has && !told)
		printf("vmx: this CPU has no VPIDs: each entry forgets all translations\n");
	told = true;
	vpids.count = has ? VPIDS : 0;
}

bool
vmx_needs_vpid(const struct vmx *x)
{
	return vpids.count && !x->shadowed && !tag_holds(&vpids, &x->vpid);
}

/*
 * What the guest's own tables led to stays behind with the old VPID. What nested tables did goes by
 * INVEPT alone, and for all VPIDs.
 */
void
vmx_forget_translations(struct vcpu *v)
{
	struct tag *mine = &vmx_of(v)->vpid;
	bool all = vmx_cpu.ept & EPT_HAS_INVVPID_ALL;

	if (v->domain->nested_less)
		vmx_invept(vmx_cpu.ept & EPT_HAS_INVEPT_ONE ? INVALIDATE_ONE : INVALIDATE_ALL,
			   vmx_ept_pointer(v));
	v->domain->nested_less = false;
	if (!vpids.count)
		return;
	if (tag_take(&vpids, mine) || !all)
		vmx_invvpid(all ? INVALIDATE_ALL : INVALIDATE_ONE, mine->number);
	vmcs_write(VPID, mine->number);
	vmcs_write(SECONDARY_CONTROLS, vmcs_read(SECONDARY_CONTROLS) | SECONDARY_VPID);
}
