/*
 * The kernel's side of the run page: exercise 5.6.
 *
 * The program behind it, a device model, may crash, lie, hang, and write to the page at any time:
 * at an interrupt of the host's, and on a machine with more CPUs while this code runs. Its guest's
 * next instruction waits for what becomes of it here.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <vmm/dev/user/user.h>
#include <vmm/engine.h>
#include <vmm/vcpu.h>

/* EXERCISE 5.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 5.0 */

static inline void
put_question(struct user_pc *u, struct question q)
{
	/*
	 * EXERCISE 5.6a: a question
	 * Holds: the program finds in its page what the guest asks and when, and has all of its
	 *  time for it; Zeno knows for itself what it asked.
	 * Beware: nothing that stands in the page can be looked up there afterwards.
	 * Manual: who owns which field, inc/user.h; what Zeno remembers, vmm/dev/user/user.h.
	 * Tools: domain_now(), env_line(), ENV_RAX, READ_ONCE()
	 */
	exercise_todo("5.6", "handouts/lab5b.md#ex-5-6");
	(void)q;
	domain_stop(u->domain, "exercise 5.6 is not done");
	/* END EXERCISE 5.6a */
}

static inline bool
take_answer(struct user_pc *u)
{
	/*
	 * EXERCISE 5.6b: an answer
	 * Holds: the program's answer is Zeno's own from here on, and the question is no longer
	 *  open; or the guest has ended for it, with a line that has the number of elements that
	 *  the program answered for.
	 * Beware: whoever looks twice may see two things. A program that wants to be called at
	 *  once, again and again, leaves its guest no time.
	 * Manual: whose half and which limits, inc/user.h.
	 * Tools: DEADLINE_MIN, domain_now(), env_call(), later(), model_fault(), READ_ONCE()
	 */
	exercise_todo("5.6", "handouts/lab5b.md#ex-5-6");
	domain_stop(u->domain, "exercise 5.6 is not done");
	return false;
	/* END EXERCISE 5.6b */
}

/* Behind a step of the program, to its next trap: whether nothing more comes of it now. */
static COLD bool
is_through(struct user_pc *u, enum env_event event)
{
	/*
	 * EXERCISE 5.6c: a program that does not answer
	 * Holds: true: the guest has ended, with a line that says how its program failed (a dead
	 *  one's `end`); or its turn has, and its instruction can begin anew with the registers
	 *  that it has now. Otherwise the program goes on, unless it has used more than its limit.
	 * Beware: not every exit can begin anew. A trap does not say that others wait.
	 * Manual: kern/env/env.h: how a program ends, and why it comes back.
	 * Tools: clock_tsc_hz(), env_end(), memcpy(), model_fault(), MODEL_LIMIT_MS, need_resched
	 */
	exercise_todo("5.6", "handouts/lab5b.md#ex-5-6");
	(void)event;
	domain_stop(u->domain, "exercise 5.6 is not done");
	return true;
	/* END EXERCISE 5.6c */
}

/* It has not answered at once: on, until it has; false: the domain has ended, or its turn. */
static APART bool
answers_later(struct user_pc *u, enum env_event event, uint64_t began)
{
	struct env *e = u->env;

	for (;;) {
		if (event == ENV_CALL)
			model_call(u);
		model_charge(u, rdtsc() - began);
		if (is_through(u, event))
			return false;
		began = rdtsc();
		event = env_run(e);
		if (event == ENV_CALL && e->regs[ENV_RAX] == USER_RUN)
			return take_answer(u);
	}
}

static inline bool
answered(struct user_pc *u)
{
	uint64_t began = rdtsc();
	enum env_event event = env_run(u->env);

	if (event == ENV_CALL && u->env->regs[ENV_RAX] == USER_RUN)
		return take_answer(u);
	return answers_later(u, event, began);
}

/*
 * A question is under way that was put off: this one, or another one, which comes to its end first.
 * preempt_point(): what has come meanwhile does not end the program's turn before its first
 * instruction, again and again. True: this one is to be put now.
 */
static APART bool
resume(struct user_pc *u, struct question q, bool *done)
{
	preempt_point();
	*done = answered(u);
	return *done && memcmp(&u->asked, &q, sizeof(q));
}

bool
model_ask(struct user_pc *u, struct question q)
{
	bool done;

	if (u->put_off || u->domain->state == DOMAIN_ENDED)
		return false;
	if (!u->asks || resume(u, q, &done)) {
		put_question(u, q);
		done = answered(u);
	}
	if (u->lent && u->domain->vcpu->thread.state == THREAD_READY)
		u->domain->vcpu->engine->load(u->domain->vcpu);
	return done;
}
