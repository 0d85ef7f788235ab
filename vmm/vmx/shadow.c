/*
 * The option mmu=shadow: without EPT. The guest believes that it walks its own page tables, or
 * none, and the CPU walks Zeno's: the flat map while its paging is off, Lab 2's shadows while it is
 * on.
 *
 * Those tables have entries of 8 bytes, so the CPU runs a guest of 32 bits in PAE paging, and one
 * in long mode with four levels. VT-x has what this needs: of CR0 and CR4 the guest reads the bits
 * that Zeno owns from fields of the VMCS, and a write that changes one of them exits (SDM 3C
 * 25.6.6); so do all moves to and from CR3, and to EFER. The CPU takes PAE's four entries from
 * where CR3 leads, at each entry (27.3.2.4 "Loading Page-Directory-Pointer-Table Entries").
 *
 * Limits: no VPID, so all translations go at each entry. No SMEP, no SMAP. Real mode is
 * "unrestricted guest", which needs EPT: a guest that clears CR0.PE is ended in words.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/trap.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mmu/flat.h>
#include <vmm/mmu/hardware.h>
#include <vmm/vmx/vmx.h>

/* 0 or -ENOMEM; mmu_flat_free() takes a half-made one, too. */
int
vmx_shadow_init(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);

	x->shadowed = true;
	x->exceptions |= 1u << VEC_PF;
	x->cr0_owned |= CR0_PE | CR0_PG | CR0_WP;
	x->cr4_owned |= CR4_PAE | CR4_PSE;
	return mmu_flat_init(v);
}

/*
 * Where they are not those of a guest with EPT. Without a map each MSR exits: EFER has a bit that
 * is not the guest's here, and with EPT exercise 4.4 may let it pass.
 */
void
vmx_shadow_controls(struct vmx *x)
{
	x->primary |= PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE;
	x->primary &= ~PRIMARY_MSR_BITMAPS;
	vmcs_write(PRIMARY_CONTROLS, x->primary);
	vmcs_write(SECONDARY_CONTROLS,
		   vmx_controls(SECONDARY) & ~(SECONDARY_EPT | SECONDARY_UNRESTRICTED));
}

static uint64_t
cpu_efer(uint64_t efer)
{
	return (efer & EFER_LMA ? efer : efer & ~(uint64_t)EFER_LME) | EFER_NXE;
}

/* What the CPU has while the guest's own are in the state, and in the fields that it reads. */
void
vmx_shadow_registers(struct vmx *x, const struct cpu_state *s)
{
	x->own.cr3 = s->cr3;
	x->own.efer = s->efer;
	memcpy(x->own.pdpte, s->pdpte, sizeof(x->own.pdpte));
	vmcs_write(GUEST_CR0, (s->cr0 & ~VMX_CR0_OWNED) | vmx_cr0_ones() | CR0_PG | CR0_WP);
	vmcs_write(GUEST_CR4, s->cr4 | CR4_VMXE | CR4_PAE);
	vmcs_write(GUEST_EFER, cpu_efer(s->efer));
}

/* Every move to one of them exits, so they are what they were. */
void
vmx_shadow_registers_in(struct cpu_state *s, const struct vmx *x)
{
	s->cr3 = x->own.cr3;
	s->efer = x->own.efer;
	memcpy(s->pdpte, x->own.pdpte, sizeof(s->pdpte));
}

/*
 * Before an entry. Whatever exercise 4.3 has written behind the above: without these the CPU would
 * read Zeno's tables as tables of another kind, and write where they say that it may not.
 */
void
vmx_shadow_enter(struct vcpu *v)
{
	const struct vmx *x = vmx_of(v);

	vmcs_write(GUEST_CR0, vmcs_read(GUEST_CR0) | CR0_PG | CR0_WP);
	vmcs_write(GUEST_CR4, vmcs_read(GUEST_CR4) | CR4_PAE);
	vmcs_write(GUEST_EFER, cpu_efer(x->own.efer));
	vmcs_write(GUEST_CR3, mmu_hardware_cr3(v, x->own.efer & EFER_LMA));
}
