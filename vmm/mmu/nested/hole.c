/*
 * The hole between 640 KiB and 1 MiB, where a PC has video memory and ROMs and Zeno's guests have
 * nothing: a kernel that looks there for tables reads all of it, a byte or four at a time. One
 * frame of ones stands behind all its pages, read-only, so that the CPU reads by itself what nobody
 * drives.
 *
 * A write still comes to Zeno, and to whoever claims it. Firmware's ROM stays where it is.
 */
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/nested/nested.h>

#define HOLE_FIRST 0xa0u /* gfn */
#define HOLE_END   0x100u

/* In the image, beside nothing else: any guest may read all of it. */
static const uint8_t ones[PAGE_SIZE]
	__attribute__((aligned(PAGE_SIZE))) = { [0 ... PAGE_SIZE - 1] = 0xff };

int
nested_hole(struct domain *d)
{
	mfn_t m = mfn(((uint64_t)ones - KB) >> PAGE_SHIFT);
	int err = 0;

	for (uint64_t g = HOLE_FIRST; g < HOLE_END && !err; g++) {
		const struct p2m_entry *e = p2m_entry(d, gfn(g));

		if (!ram_is(d, gfn(g)) && !(e && e->type == P2M_ONES))
			err = p2m_set(d, gfn(g), m, P2M_ONES);
	}
	return err;
}

void
nested_changed(struct domain *d, gfn_t g)
{
	const struct p2m_entry *p = p2m_entry(d, g);
	bool writes = p->type == P2M_RAM && !p->track;
	pte_t rights = d->nested_format->page & ~(writes ? 0 : PTE_W);
	int level;
	pte_t *entry = page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &level);

	for_each_vcpu(v, d) memset(v->mmu_data, 0, sizeof(struct nested_own)); /* walks by it */
	if (!entry || level > 1) /* nothing is there yet: beside the hole no page is larger */
		return;
	*entry = mfn_to_hpa(mfn(p->mfn)).v | rights;
	d->nested_less = true;
	tlb_flush_all(d);
}
