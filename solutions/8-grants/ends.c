/*
 * A domain ends that has mapped what others grant, or whose frames others have mapped: exercise
 * 8.5.
 */
#include <kern/kern.h>
#include <kern/thread.h>
#include <vmm/pv/grant/grant.h>

/* EXERCISE 8.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 8.0 */

void
pv_grants_unmap_all(struct pv_grants *by)
{
	/*
	 * EXERCISE 8.5a: who mapped ends
	 * Holds: this domain uses nothing of anybody's any more.
	 * Beware: it has mapped and unmapped in any order, so there are gaps, and some thousands of
	 *  them: other domains wait meanwhile. Its page tables are gone already.
	 * Manual: preempt_point(), kern/thread.h; struct pv_grants, vmm/pv/grant/grant.h.
	 * Tools: preempt_point(), PREEMPT_WORK, pv_grant_unmap(), pv_handle(), pv_handle_end()
	 * Hint: what is the list of all that a domain has mapped?
	 * Hint: a guest has left, and has not checked out: go by the book, not by the rooms.
	 * Hint: exit() closes what a process has left open, whatever numbers these have.
	 * until then: (void)by;
	 */
	for (uint32_t n = 0; n < by->handles; n++) {
		if (n % PREEMPT_WORK == 0)
			preempt_point();
		if (pv_handle(by, n))
			pv_handle_end(by, n);
	}
	/* END EXERCISE 8.5a */
}

/* It was its domain's: the host's as long as somebody uses it. 1; 0: it is one already. */
static unsigned
orphan(uint16_t owner, mfn_t m)
{
	struct frame *f = &frames[m.v];

	if (f->owner != owner)
		return 0;
	f->owner = OWNER_HOST;
	f->refs--;
	pv_orphans++;
	return 1;
}

unsigned
pv_grants_orphan(struct pv_grants *of)
{
	unsigned count = 0;

	/*
	 * EXERCISE 8.5b: who granted ends
	 * Holds: no mapping says this granter any more, whoever has it, itself among them; each of
	 *  its frames that somebody uses is the host's, and `count` is how many there are.
	 * Beware: its number is another domain's soon. One frame may be mapped ten times. There are
	 *  more domains than these two, and numbers that nobody has.
	 * Manual: struct pv_handle, vmm/pv/grant/grant.h; preempt_point(), kern/thread.h.
	 * Tools: orphan(), preempt_point(), PREEMPT_WORK, pv_active_at(), PV_GONE_OWNER,
	 *  PV_GRANT_OWNERS, pv_grants_of, pv_handle()
	 * Hint: where does it stand that somebody uses something of this domain's?
	 * Hint: a shop that closes lets nobody keep its address for what was bought there.
	 * Hint: a process whose parent has ended has another one from then on, and notices nothing.
	 * until then: (void)of; (void)orphan;
	 */
	for (unsigned id = 1; id < PV_GRANT_OWNERS; id++) {
		struct pv_grants *by = pv_grants_of[id];

		for (uint32_t n = 0; by && n < by->handles; n++) {
			struct pv_handle *h = pv_handle(by, n);

			if (n % PREEMPT_WORK == 0)
				preempt_point();
			if (!h || h->owner != of->owner)
				continue;
			h->owner = PV_GONE_OWNER;
			count += orphan(of->owner, mfn(h->mfn));
		}
	}
	/* END EXERCISE 8.5b */
	return count;
}
