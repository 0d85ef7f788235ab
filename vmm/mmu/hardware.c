/*
 * Zeno's own tables for a CPU with hardware virtualization, without nested paging.
 */
#include <kern/map.h>
#include <kern/paging.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mmu/hardware.h>

#define PAE_ENTRIES 4u

/*
 * In the kernel's image, for CR3 has 32 bits without long mode; of the vCPU that runs. An entry has
 * P and an address, and all else is reserved (APM 2 5.2.3, figure 5-9; SDM 3A table 4-8).
 */
static uint64_t pae_top[PAE_ENTRIES] __attribute__((aligned(32)));
static uint64_t no_tables[PAGE_SIZE / 8] __attribute__((aligned(PAGE_SIZE)));

/* As PAE's four registers would have it, from the root's first four GiB. */
static uint64_t
pae_tables(const struct vcpu *v)
{
	const pte_t *pdpt = hpa_ptr(hpa(PTE_ADDR(*root_slot(v->root, 0))));

	for (unsigned i = 0; i < PAE_ENTRIES; i++)
		pae_top[i] = pdpt[i] & PTE_P ? PTE_ADDR(pdpt[i]) | PTE_P : 0;
	return (uint64_t)pae_top - KB;
}

static uint64_t
long_tables(struct vcpu *v)
{
	mfn_t top = v->domain->mmu->top(v);

	return mfn_ok(top) ? mfn_to_hpa(top).v : (uint64_t)no_tables - KB;
}

uint64_t
mmu_hardware_cr3(struct vcpu *v, bool is_long)
{
	return is_long ? long_tables(v) : pae_tables(v);
}
