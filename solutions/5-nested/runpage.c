/*
 * The kernel's side of the run page: what a device model is asked, and what it answers.
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
	struct run_page *p = u->env->page;

	u->asked = q;
	u->asks = true;
	u->used = 0;
	u->now = domain_now(u->domain);
	p->reason = q.reason;
	p->port = q.port;
	p->size = (uint8_t)q.size;
	p->data_out = q.data;
	p->count = 1;
	p->now = u->now;
	u->env->regs[ENV_RAX] = 0; /* what USER_RUN returns; of a new program nobody looks at it */
}

static inline bool
take_answer(struct user_pc *u)
{
	const struct run_page *p = u->env->page;

	u->deadline = READ_ONCE(p->deadline);
	u->data = READ_ONCE(p->data_in);
	u->done = READ_ONCE(p->done);
	u->asks = false;
	if (u->asked.reason == RUN_TIME)
		u->deadline = later(u->deadline, domain_now(u->domain) + DEADLINE_MIN);
	if (u->done <= 1)
		return true;
	model_fault(u, "answers for %u elements of 1", u->done);
	return false;
}

/* Behind a step of the program, to its next trap: whether nothing more comes of it now. */
static COLD bool
is_through(struct user_pc *u, enum env_event event)
{
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
ask(struct user_pc *u, struct question q)
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
