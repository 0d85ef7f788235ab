/*
 * Many hypercalls at once: exercise 6.7.
 */
#include <inc/errno.h>
#include <vmm/pv/pv.h>

#define BATCH 64u /* entries between two looks at the host's affairs */

/* EXERCISE 6.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 6.0 */

static int64_t
one_of_many(struct vcpu *v, struct pv_call *outer, uint64_t at)
{
	/*
	 * EXERCISE 6.7a: one of many
	 * Holds: what the entry at this address asks for is done, its result is written into it,
	 *  and 0; or -EFAULT. One that is not finished stands there as it is to go on.
	 * Beware: it is the guest's memory, and may say something else a moment later. What becomes
	 *  of one call becomes of the whole: its verdict, that it goes on, the budget.
	 * Manual: xen.h "struct multicall_entry", of Debian's libxen-dev; struct pv_call.
	 * Tools: pv_at(), pv_call(), pv_read(), pv_write()
	 */
	exercise_todo("6.7", "handouts/lab6b.md#ex-6-7");
	(void)v;
	(void)outer;
	(void)at;
	return -ENOSYS;
	/* END EXERCISE 6.7a */
}

int64_t
pv_call_multicall(struct vcpu *v, struct pv_call *c)
{
	/*
	 * EXERCISE 6.7b: multicall
	 * Holds: all of the entries are done, in their order, and 0; or an error has ended it.
	 *  After BATCH of them it is not finished: its arguments say what is left.
	 * Beware: a count is any number. A call may use up the budget, not be finished itself, or
	 *  end the guest, for whom no other is made then. A multicall is -EINVAL within one.
	 * Manual: xen.h "HYPERVISOR_multicall", of Debian's libxen-dev; struct pv_call.
	 * Tools: BATCH, one_of_many(), preempt_point(), RESUME
	 */
	exercise_todo("6.7", "handouts/lab6b.md#ex-6-7");
	(void)v;
	(void)c;
	(void)one_of_many;
	return -ENOSYS;
	/* END EXERCISE 6.7b */
}
