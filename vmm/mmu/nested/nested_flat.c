/*
 * The MMU mode "flat": nested tables that map all of RAM when the domain is made, nothing later.
 *
 * 2 MiB at once where the frames behind them lie in a row; 4 KiB beside the holes, where they do
 * not, and where writes to a page are tracked.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/thread.h>
#include <vmm/audit.h>
#include <vmm/domain.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/nested/nested.h>

#define ENTRIES   512u
#define ROM_FIRST 0xff000u /* gfn: firmware's ends at 4 GiB */
#define ROM_END   0x100000u

/* One page of 4 KiB (level 1) or 2 MiB (2), with the tables above it. 0 or -ENOMEM. */
static int
map(const struct domain *d, gfn_t g, unsigned level, mfn_t to, uint64_t flags)
{
	const struct nested_format *format = d->nested_format;
	pte_t *entry = (pte_t *)mfn_ptr(d->vcpu->root) + (g.v >> 27 & (ENTRIES - 1));

	for (unsigned at = 3; at >= level; at--) {
		if (!*entry) {
			mfn_t next = frame_alloc(FRAME_HOST, d->id);

			if (!mfn_ok(next))
				return -ENOMEM;
			*entry = mfn_to_hpa(next).v | format->table;
		}
		entry = (pte_t *)hpa_ptr(hpa(PTE_ADDR(*entry))) +
			(g.v >> 9 * (at - 1) & (ENTRIES - 1));
	}
	*entry = mfn_to_hpa(to).v | flags | (level > 1 ? PTE_PS : 0);
	return 0;
}

static int
map_frames(struct domain *d, uint64_t g, uint64_t end)
{
	const struct nested_format *format = d->nested_format;
	unsigned largest = format->largest < 2 ? 1 : 2;

	while (g < end) {
		const struct p2m_entry *e = p2m_entry(d, gfn(g));
		unsigned level = g % RAM_BLOCK ? 1 : nested_row(d, gfn(g), largest);

		if (g % RAM_BLOCK == 0)
			preempt_point();
		if (e && e->type == P2M_RAM && map(d, gfn(g), level, mfn(e->mfn), format->page))
			return -ENOMEM;
		if (e && e->type == P2M_ONES &&
		    map(d, gfn(g), 1, mfn(e->mfn), format->page & ~PTE_W))
			return -ENOMEM;
		g += level == 2 ? RAM_BLOCK : 1;
	}
	return 0;
}

static int
flat_init(struct vcpu *v)
{
	int err = map_frames(v->domain, 0, ram_end(v->domain));

	return err || ram_end(v->domain) > ROM_FIRST ? err
						     : map_frames(v->domain, ROM_FIRST, ROM_END);
}

/* All of RAM is mapped: what the CPU refuses is a device's, or nobody's. */
static enum mmu_outcome
flat_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	audit_now_and_then(v);
	return e->nested.is_bad ? MMU_BAD_TABLES : MMU_EMULATE;
}

static const struct mmu_mode nested_flat_mode = {
	.name = "flat",
	.nested_init = flat_init,
	.give_ram = nested_give_ram,
	.load = nested_load,
	.free = nested_free,
	.invlpg = nested_invlpg,
	.nx = nested_nothing,
	.protect = nested_protect,
	.window = nested_nothing,
	.in_use = nested_in_use,
	.translate = nested_walk,
	.show = nested_show,
	.fault = flat_fault,
	.wrong = nested_wrong,
};
SET_ADD(mmu_modes, nested_flat_mode);
