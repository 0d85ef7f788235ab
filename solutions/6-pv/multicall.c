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
	 * Hint: which fields of struct pv_call does a call read, and which may it change?
	 * Hint: whoever does another one's errands keeps the receipts apart, and the purse in
	 *  common.
	 * Hint: answer() of Lab 6A does one call, too, between registers and struct pv_call: here
	 *  both ends lie in memory.
	 * until then: (void)v; (void)outer; (void)at; return -ENOSYS;
	 */
	struct xen_multicall_entry entry;
	struct pv_call c = { .verdict = RESUME, .inner = true, .budget = outer->budget };
	int64_t result;

	if (pv_read(v, &entry, at, sizeof(entry)))
		return -EFAULT;
	c.number = entry.op;
	memcpy(c.arg, entry.args, sizeof(c.arg));
	result = pv_call(v, &c);
	outer->verdict = c.verdict;
	outer->again = c.again;
	outer->budget = c.budget;
	if (c.again)
		return pv_write(v, at + offsetof(struct xen_multicall_entry, args), c.arg,
				sizeof(c.arg));
	return pv_write(v, at + offsetof(struct xen_multicall_entry, result), &result,
			sizeof(result));
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
	 * Hint: which of the entries is the first one when the guest's instruction is done again?
	 * Hint: a stack of letters on a desk: what has been answered lies no more on it when the
	 *  telephone rings.
	 * Hint: each() in vmm/pv/mmu_calls.c goes through an array so, too; but it says by a bit in
	 *  the count that it has begun before, which is not needed here.
	 * until then: (void)v; (void)c; (void)one_of_many; return -ENOSYS;
	 */
	uint32_t left = (uint32_t)c->arg[1];
	int64_t err = 0;

	if (c->inner)
		return -EINVAL;
	for (unsigned n = 0; left && n < BATCH && c->budget && !err && c->verdict == RESUME; n++) {
		err = one_of_many(v, c, c->arg[0]);
		if (c->again)
			break;
		c->arg[0] += sizeof(struct xen_multicall_entry);
		left--;
	}
	c->arg[1] = left;
	c->again = left && !err && c->verdict == RESUME;
	return err;
	/* END EXERCISE 6.7b */
}
