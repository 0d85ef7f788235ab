/*
 * A hypercall: out of the guest's registers, and its answer into them: exercise 6.1.
 */
#include <vmm/pv/pv.h>

/* EXERCISE 6.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 6.0 */

static inline enum gpr
argument(unsigned n)
{
	/*
	 * EXERCISE 6.1d: where arguments are
	 * Holds: the register that has the argument with this number, 0 to 5, of a hypercall.
	 * Beware: the convention is not quite that of C: one of C's registers is lost on the way
	 *  here. Of six there is no seventh, whoever asks.
	 * Manual: arch-x86/xen-x86_64.h of Debian's libxen-dev, "Hypercall interface"; SDM 2B
	 *  "SYSCALL".
	 * Tools: ARRAY_LEN(), enum gpr of vmm/x86/state.h
	 */
	exercise_todo("6.1", "handouts/lab6a.md#ex-6-1");
	(void)n;
	return RAX;
	/* END EXERCISE 6.1d */
}

static inline void
answer(struct vcpu *v, struct pv_call *c)
{
	/*
	 * EXERCISE 6.1e: a call and its answer
	 * Holds: what the guest has asked for is done, once. It finds the result, and goes on
	 *  behind its instruction; or on it, if the call is not finished; or where the call has
	 *  sent it.
	 * Beware: rip is on the instruction still. Whoever goes on with a call knows only what
	 *  stands in the guest's registers.
	 * Manual: struct pv_call, vmm/pv/pv.h.
	 * Tools: argument(), ARRAY_LEN(), pv_call(), PV_INSN, pv_read(), vcpu_done()
	 */
	exercise_todo("6.1", "handouts/lab6a.md#ex-6-1");
	(void)argument;
	domain_stop(v->domain, "exercise 6.1 is not done");
	/* END EXERCISE 6.1e */
}

static enum verdict
exit_hypercall(struct vcpu *v, struct exit *e)
{
	struct pv_call c; /* field by field, as those of an exit are: answer() fills the others */

	c.verdict = RESUME;
	c.budget = PV_BATCH;
	c.again = c.jumped = c.inner = false;
	answer(v, &c);
	v->irq_pending = pv_upcall_is_due(pv_of(v));
	if (c.again)
		preempt_point();
	return c.verdict;
}
EXIT_HANDLER(HYPERCALL, "pv", exit_hypercall);
