/*
 * A question to the device model, and what it may do until it has answered.
 *
 * The program may crash, lie, hang, and change the run page at any time. Zeno's half of the page is
 * written and never read; of the program's half each field is read once, and the copy is what
 * counts.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/host.h>
#include <vmm/dev/user/user.h>
#include <vmm/engine.h>
#include <vmm/vcpu.h>

#define DEADLINE_MIN 100000 /* ns: not so soon that the guest never comes to its next instruction */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))

/* The guest's end is the program's doing: one line says whose. */
COLD void
model_fault(struct user_pc *u, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (u->asked.reason == RUN_TIME)
		domain_stop(u->domain, "its device model %s %s, when its time came", u->env->name,
			    what);
	else
		domain_stop(u->domain, "its device model %s %s, asked for port %x", u->env->name,
			    what, u->asked.port);
}

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

static uint64_t
later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
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

static int64_t
irq_line(struct user_pc *u, uint64_t line, uint64_t level)
{
	const struct pic_chip *chip;
	bool waited;

	if (line > 15 || line == PIC_CASCADE || level > 1) {
		model_fault(
			u,
			"moves interrupt line %lu to %lu: there are 0 to 15 without %u, and levels 0 and 1",
			line, level, PIC_CASCADE);
		return -EINVAL;
	}
	chip = &u->pic.chip[line / 8];
	waited = chip->irr >> line % 8 & 1;
	pic_set_irq(&u->pic, (unsigned)line, level);
	pic_changed(u);
	return waited;
}

static int64_t
stop(struct user_pc *u, uint64_t text, uint64_t len)
{
	char line[USER_LINE + 1];
	int err = env_line(u->env, line, text, len);

	if (!err)
		domain_stop(u->domain, "%s", line);
	return err;
}

/* What a device model can ask for beside an answer. */
static COLD int64_t
service(struct user_pc *u)
{
	const uint64_t *regs = u->env->regs;
	int c;

	switch (regs[ENV_RAX]) {
	case USER_IRQ_LINE:
		return irq_line(u, regs[ENV_RDI], regs[ENV_RSI]);
	case USER_SEND:
		domain_putc(u->domain, (uint8_t)regs[ENV_RDI]);
		return 0;
	case USER_RECEIVE:
		c = domain_input(u->domain);
		return c < 0 ? -EAGAIN : c;
	case USER_CPU:
		return (int64_t)(u->used * (1000000 / MODEL_LIMIT_MS) / clock_tsc_hz());
	case USER_END:
		domain_exit(u->domain, (unsigned)regs[ENV_RDI] & 0xff);
		return 0;
	case USER_STOP:
		return stop(u, regs[ENV_RDI], regs[ENV_RSI]);
	default:
		return -ENOSYS;
	}
}

static void
other_call(struct user_pc *u)
{
	struct env *e = u->env;

	if (!env_call(e))
		e->regs[ENV_RAX] = (uint64_t)service(u);
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

/*
 * The host's timer ends each of its runs: what is longer than two ticks was the machine's own
 * sleep, an emulator's say.
 */
static void
charge(struct user_pc *u, uint64_t took)
{
	uint64_t most = 2 * clock_tsc_hz() / TICK_HZ;

	u->used += took < most ? took : most;
}

/* It has not answered at once: on, until it has; false: the domain has ended, or its turn. */
static APART bool
answers_later(struct user_pc *u, enum env_event event, uint64_t began)
{
	struct env *e = u->env;

	for (;;) {
		if (event == ENV_CALL)
			other_call(u);
		charge(u, rdtsc() - began);
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
