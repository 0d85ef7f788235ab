/* BUILD: */
/*
 * mmu=shadow on svm and vmx (vmm/svm/shadow.c, vmm/vmx/shadow.c): whatever the exercises of Labs 4
 * and 4s have left in the VMCB or VMCS, since under nested tables it does no harm, the guest walks
 * Zeno's tables alone, as tables of the kind that they are, and no move to another one goes unseen.
 */
#include <string.h>

#define vmcs_read  cpu_vmcs_read
#define vmcs_has   cpu_vmcs_has
#define vmcs_peek  cpu_vmcs_peek
#define vmcs_write cpu_vmcs_write
#include <vmm/vmx/vmcs.h>
#undef vmcs_read
#undef vmcs_has
#undef vmcs_peek
#undef vmcs_write

static uint64_t vmcs_of_ours[1 << 15];

#define vmcs_read(field)         vmcs_of_ours[field]
#define vmcs_write(field, value) (void)(vmcs_of_ours[field] = (value))

#include "../../vmm/svm/shadow.c"
#include "../../vmm/vmx/shadow.c"

#include "draw.h"
#include "tap.h"

#define ROUNDS 2000
#define OURS   0x123000ul /* what the CPU is to walk ... */
#define OURS4  0x456000ul /* ... in long mode */

static void
fill(void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		((uint8_t *)at)[i] = (uint8_t)drawn();
}

int
mmu_flat_init(struct vcpu *v)
{
	return 0;
}

uint64_t
mmu_hardware_cr3(struct vcpu *v, bool is_long)
{
	return is_long ? OURS4 : OURS;
}

uint32_t
vmx_controls(enum vmx_controls which)
{
	return (uint32_t)drawn();
}

uint64_t
vmx_cr0_ones(void)
{
	return CR0_NE;
}

static bool
holds(uint64_t value, uint64_t bits)
{
	return !(~value & bits);
}

/* The CPU's mode goes with the kind of the tables. */
static bool
kind_is(uint64_t cr0, uint64_t cr4, uint64_t efer, uint64_t cr3, bool is_long)
{
	return holds(cr0, CR0_PG | CR0_WP) && holds(cr4, CR4_PAE) && holds(efer, EFER_NXE) &&
	       !!(efer & EFER_LME) == is_long && cr3 == (is_long ? OURS4 : OURS);
}

static uint64_t
some_efer(bool is_long)
{
	return (drawn() & ~(uint64_t)(EFER_LME | EFER_LMA)) | (is_long       ? EFER_LME | EFER_LMA
							       : drawn() & 1 ? EFER_LME
									     : 0);
}

static void
amd(void)
{
	static struct vmcb b;
	static struct svm svm;
	static struct vcpu v;
	unsigned open = 0, kind = 0;

	svm.vmcb = v.control = &b;
	v.engine_data = &svm;
	for (unsigned n = 0; n < ROUNDS; n++) {
		bool is_long = n & 1;

		fill(&b, sizeof(b));
		svm_shadow_init(&v);
		b.efer = some_efer(is_long);
		svm_shadow_enter(&v);
		open += b.np_enable || !holds(b.cr_writes, CR_BIT(0) | CR_BIT(3) | CR_BIT(4)) ||
			!holds(b.cr_reads, CR_BIT(0) | CR_BIT(3) | CR_BIT(4)) ||
			!holds(b.intercepts[0], 1u << SVM_TASK_SWITCH) ||
			!holds(b.exceptions, 1u << VEC_PF) ||
			b.tlb_control != TLB_CONTROL_FLUSH_ALL;
		kind += !kind_is(b.cr0, b.cr4, b.efer, b.cr3, is_long);
	}
	ok(!open, "svm: no other tables, and no other mode, by cr0, cr3, cr4 or a task");
	ok(!kind, "svm: the CPU walks Zeno's tables, as what they are");
}

static void
intel(void)
{
	static struct vcpu v;
	static struct vmx x;
	unsigned open = 0, kind = 0;

	v.engine_data = &x;
	for (unsigned n = 0; n < ROUNDS; n++) {
		bool is_long = n & 1;

		fill(&x, sizeof(x));
		fill(&v.state, sizeof(v.state));
		fill(vmcs_of_ours, sizeof(vmcs_of_ours) / 8);
		v.state.efer = some_efer(is_long);
		vmx_shadow_init(&v);
		vmx_shadow_controls(&x);
		vmx_shadow_registers(&x, &v.state);
		vmcs_write(GUEST_CR0, drawn()); /* 4.3 has written these last */
		vmcs_write(GUEST_CR4, drawn());
		vmcs_write(GUEST_EFER, drawn());
		vmx_shadow_enter(&v);
		open += !holds(x.cr0_owned, CR0_PE | CR0_PG | CR0_WP) ||
			!holds(x.cr4_owned, CR4_PAE) || !holds(x.exceptions, 1u << VEC_PF) ||
			x.primary != vmcs_read(PRIMARY_CONTROLS) ||
			!holds(x.primary, PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE) ||
			x.primary & PRIMARY_MSR_BITMAPS ||
			vmcs_read(SECONDARY_CONTROLS) & (SECONDARY_EPT | SECONDARY_UNRESTRICTED);
		kind += !kind_is(vmcs_read(GUEST_CR0), vmcs_read(GUEST_CR4), vmcs_read(GUEST_EFER),
				 vmcs_read(GUEST_CR3), is_long);
	}
	ok(!open, "vmx: no other tables, and no other mode, by cr0, cr3, cr4 or EFER");
	ok(!kind, "vmx: the CPU walks Zeno's tables, as what they are");
}

int
main(void)
{
	amd();
	intel();
	return done_testing();
}
