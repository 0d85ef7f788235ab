/*
 * The machine-to-phys table as guests see it: the host's own frames, under the hole's first slot,
 * where nobody writes (xen.h, "HYPERVISOR_VIRT_START"). Rights are those of all levels together
 * (SDM 3A 4.6): no level has W, so that no entry can be forgotten.
 */
#include <vmm/pv/pv.h>

#define SHOWN (PTE_P | PTE_U | PTE_A)

/* NULL: no memory. */
static pte_t *
below(pte_t *table, uint64_t index)
{
	pte_t *entry = &table[index & 511];

	if (!(*entry & PTE_P)) {
		void *page = host_page();

		if (!page)
			return NULL;
		*entry = mfn_to_hpa(ptr_mfn(page)).v | SHOWN;
	}
	return hpa_ptr(hpa(PTE_ADDR(*entry)));
}

static bool
show(pte_t *top, uint64_t offset)
{
	int level;
	const pte_t *host = page_entry(host_root, M2P_BASE + offset, &level);
	uint64_t in_big = level == 1 ? 0 : offset & ((1ul << (PAGE_SHIFT + 9 * (level - 1))) - 1);
	pte_t *table = below(top, offset >> 30);

	table = table ? below(table, offset >> 21) : NULL;
	if (table)
		table[offset >> PAGE_SHIFT & 511] = (PTE_ADDR(*host) + in_big) | SHOWN | PTE_NX;
	return table;
}

/* Made once, for all guests, and kept. */
mfn_t
pv_m2p_table(void)
{
	static pte_t *top;
	static uint64_t shown;

	if (!top)
		top = host_page();
	for (; top && shown < frame_count * sizeof(uint64_t); shown += PAGE_SIZE)
		if (!show(top, shown))
			return MFN_NONE;
	return top ? ptr_mfn(top) : MFN_NONE;
}
