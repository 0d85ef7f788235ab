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
	 */
	exercise_todo("8.5", "handouts/lab8.md#ex-8-5");
	(void)by;
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
	 */
	exercise_todo("8.5", "handouts/lab8.md#ex-8-5");
	(void)of;
	(void)orphan;
	/* END EXERCISE 8.5b */
	return count;
}
