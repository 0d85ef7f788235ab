/*
 * Nested tables, filled by violation: exercise 5.1.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mmu/demand/demand.h>
#include <vmm/vcpu.h>

/* EXERCISE 5.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 5.0 */

pte_t *
demand_entry(struct domain *d, gfn_t g, unsigned level)
{
	/*
	 * EXERCISE 5.1a: the way down
	 * Holds: gives the place in this guest's nested tables at which a page of this level that
	 *  has g in it is entered, whatever stands there. What the guest could reach before, it
	 *  reaches still.
	 * Beware: tables that are missing on the way; a larger page that is; memory for neither.
	 *  Two CPUs, two formats: one code for both.
	 * Manual: SDM 3C "EPT Translation Mechanism", APM 2 "Nested Paging".
	 * Tools: frame_alloc(), hpa_ptr(), mfn_ptr(), nested_format of vmm/domain.h,
	 *  nested_split(), nested_wrong(), OWNER_HOST of kern/frame.h, PTE_ADDR
	 * Hint: how many tables does a CPU read between the root and a page of 2 MiB, and which
	 *  nine bits of the address does each take?
	 * Hint: a house with stairs: on each floor the number of a door says which stairs go on
	 *  down. Where there are none, build them before you go; where the floor below was made
	 *  one hall, put up its walls again first, and nobody in it notices.
	 * Hint: page_map() of kern/paging.c does it for the host: three levels, no larger page
	 *  ever in the way, and the same bits in each entry of a table.
	 * until then: (void)d; (void)g; (void)level; return NULL;
	 */
	pte_t *entry = (pte_t *)mfn_ptr(d->vcpu->root) + (g.v >> 27 & 511);

	for (unsigned at = 4; at > level; at--) {
		if (!(*entry & PTE_P)) {
			mfn_t table = frame_alloc(FRAME_HOST, OWNER_HOST);

			if (!mfn_ok(table))
				return NULL;
			*entry = mfn_to_hpa(table).v | d->nested_format->table;
		} else if (at < 4 && *entry & PTE_PS && !nested_split(entry, at)) {
			return NULL;
		}
		entry = (pte_t *)hpa_ptr(hpa(PTE_ADDR(*entry))) + (g.v >> 9 * (at - 2) & 511);
	}
	return entry;
	/* END EXERCISE 5.1a */
}

/* Maps what the p2m has for g: *p is RAM, or a frame of ones. */
static enum mmu_outcome
fill(struct domain *d, gfn_t g, const struct p2m_entry *p)
{
	/*
	 * EXERCISE 5.1b: one page
	 * Holds: the guest reaches this frame, and what the same page maps beside it, by the
	 *  largest page that may be. It may do what it likes, but for writes to ones, or that
	 *  somebody wants to hear of.
	 * Beware: *p speaks of one frame. No memory for a table kills nobody who reads it already.
	 * Manual: SDM 3C "EPT Translation Mechanism", APM 2 "Nested Paging".
	 * Tools: demand_entry(), demand_level(), FRAMES_OF() of vmm/mmu/nested/nested.h,
	 *  MMU_EMULATE, MMU_FILLED, MMU_NO_FRAME, P2M_ONES, page_entry(), PTE_PS, PTE_W, ram_is()
	 * Hint: which machine frame does a page of 2 MiB begin with, if the guest has missed the
	 *  fifth frame in it?
	 * Hint: a shelf of 512 books, lent as a whole: the card has the number of the first one,
	 *  whichever it was that somebody asked for. A shelf with one book that must be noted
	 *  when it is taken is not lent as a whole.
	 * Hint: the host's direct map is of large pages, too: kern/paging.c enters a size at a
	 *  time, and its addresses are aligned as they come.
	 * until then: (void)d; (void)g; (void)p; return MMU_TODO_NESTED;
	 */
	unsigned level = demand_level(d, g);
	uint64_t first = p->mfn & ~(FRAMES_OF(level) - 1);
	pte_t *entry = demand_entry(d, g, level);

	if (!entry) /* a page protected whole may be there: its reader goes on by emulation */
		return page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &(int){ 0 }) ? MMU_EMULATE
										 : MMU_NO_FRAME;
	*entry = mfn_to_hpa(mfn(first)).v | d->nested_format->page;
	if (level > 1)
		*entry |= PTE_PS;
	if (p->track || p->type == P2M_ONES)
		*entry &= ~PTE_W;
	return MMU_FILLED;
	/* END EXERCISE 5.1b */
}

enum mmu_outcome
demand_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	struct domain *d = v->domain;
	gfn_t g = gpa_to_gfn(gpa(e->gpa));
	const struct p2m_entry *p = p2m_entry(d, g);

	demand_of(d)->violations++;
	demand_of(d)->last = *e;
	/*
	 * EXERCISE 5.1c: whose violation
	 * Holds: RAM that nobody has touched gets its memory now, and no other access makes any.
	 *  A write that only the dirty log waited for is noted, and the guest does it. What it
	 *  may not do is emulated.
	 * Beware: the guest chooses the address. A frame may be no RAM, or ones. The CPU may have
	 *  met a wrong entry.
	 * Manual: SDM 3C "EPT-Induced VM Exits", APM 2 "Nested Paging".
	 * Tools: ACCESS_WRITE, demand_touch(), fill(), MMU_BAD_TABLES, MMU_EMULATE,
	 *  MMU_NO_FRAME, nested_log_write(), P2M_ONES, P2M_RAM, page_track()
	 * Hint: the CPU says: this address, and a write. Which three things could Zeno's own
	 *  books say about that address?
	 * Hint: a porter with a list of rooms. A guest at the door of one that is let but never
	 *  opened: open it. At the wall where no room is: somebody else must deal with him. At a
	 *  room where each visit is written down: is it only written down, or is he led in?
	 * Hint: Lab 2's hidden and true faults were sorted in this way: first what the guest's
	 *  tables say, then what the shadow lacks, and a tracked frame last.
	 * until then: (void)p; (void)g; (void)fill; return MMU_TODO_NESTED;
	 */
	if (e->nested.is_bad)
		return MMU_BAD_TABLES;
	if (!p || p->type == P2M_NONE) {
		int err = demand_touch(d, g);

		if (err)
			return err == -ENOMEM ? MMU_NO_FRAME : MMU_EMULATE;
		p = p2m_entry(d, g);
	}
	if (p->type != P2M_RAM && (p->type != P2M_ONES || e->access & ACCESS_WRITE))
		return MMU_EMULATE;
	if (p->track && e->access & ACCESS_WRITE && !nested_log_write(d, g))
		return MMU_EMULATE;
	return fill(d, g, p);
	/* END EXERCISE 5.1c */
}
