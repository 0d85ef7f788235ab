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
	 * Hint: a letter is on its way. From what do you know later on what you wrote?
	 * Hint: an exam paper is handed out. Whoever marks it goes by a copy of the questions in
	 *  the drawer, not by the sheet that comes back, on which a question may have been
	 *  changed; and he notes when it began, and that an answer is due.
	 * Hint: user_init() of vmm/dev/user/user.c puts the guest's memory and the words into the
	 *  page, once. It keeps no copy of these: why not?
	 * until then: (void)q; domain_stop(u->domain, "exercise 5.6 is not done");
	 */
	struct run_page *p = u->env->page;

	u->asked = q;
	u->asks = true;
	u->used = 0;
	u->now = domain_now(u->domain);
	/* What USER_RUN returns; of a new program nobody looks at it. */
	u->env->regs[ENV_RAX] = 0;
	p->reason = q.reason;
	p->port = q.port;
	p->size = (uint8_t)q.size;
	p->data_out = q.data;
	p->count = q.count;
	p->now = u->now;
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
	 * Hint: how often does the compiler read what you wrote down once?
	 * Hint: a customer counts money into the shop's tray, the shopkeeper counts it, turns
	 *  round, and empties the tray into the till. What would he have had to count?
	 * Hint: irq_line() of vmm/dev/user/serve.c checks two numbers of the program's, and reads
	 *  nothing twice: they came in registers, which it saved when it left.
	 * until then: domain_stop(u->domain, "exercise 5.6 is not done"); return false;
	 */
	const struct run_page *p = u->env->page;

	u->deadline = READ_ONCE(p->deadline);
	u->data = READ_ONCE(p->data_in);
	u->done = READ_ONCE(p->done);
	u->asks = false;
	if (u->asked.reason == RUN_TIME)
		u->deadline = later(u->deadline, domain_now(u->domain) + DEADLINE_MIN);
	if (u->done <= u->asked.count)
		return true;
	model_fault(u, "answers for %u elements of %u", u->done, u->asked.count);
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
	 * Hint: in how many ways can you wait for somebody in vain?
	 * Hint: the baker has one oven. Bread that is not through when his hour is over is taken
	 *  out, and put in anew tomorrow, with a note of how it lay; but not a cake that falls
	 *  when the door is opened. Bread that is burnt or never rises is no affair of tomorrow's.
	 * Hint: a thread of its own, which a program has that `run` starts, lives through the same:
	 *  env_turn() of kern/env/run.c.
	 * until then: (void)event; domain_stop(u->domain, "exercise 5.6 is not done"); return true;
	 */
	if (*u->env->end) {
		model_fault(u, "is over: %s", u->env->end);
	} else if (u->used > clock_tsc_hz() / 1000 * MODEL_LIMIT_MS) {
		model_fault(u, "has not answered within %u ms of the CPU, rip %lx", MODEL_LIMIT_MS,
			    u->env->frame.rip);
	}
	if (u->domain->state == DOMAIN_ENDED)
		return true;
	if (event == ENV_IRQ && need_resched && u->may_wait) {
		u->put_off = true;
		memcpy(u->gpr, u->domain->vcpu->state.gpr, sizeof(u->gpr));
	}
	return u->put_off;
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
