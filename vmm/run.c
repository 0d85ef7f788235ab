/*
 * The run loop: enter, exit, decide, and again.
 */
#include <kern/trap.h>
#include <vmm/debug/debug.h>
#include <vmm/dev/platform.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/vcpu.h>

const struct vcpu_watch *vcpu_watch;

void
vcpu_fetch(struct vcpu *v, unsigned groups)
{
	v->engine->fetch(v, groups);
	v->valid |= groups;
	if (vcpu_watch)
		vcpu_watch->fetched(v, groups);
}

/* 64-bit code goes on there; other code, of 16 bits too, does not: a jump alone cuts it. */
COLD enum verdict
vcpu_at_4g(struct vcpu *v)
{
	vcpu_need(v, STATE_SEG);
	if (!(v->state.seg[SEG_CS].attr & ATTR_L))
		v->state.rip &= 0xffffffff;
	return RESUME;
}

/* SDM 3A 6.8.1, 6.8.3; and the handler of an event that the CPU has yet to deliver may clear IF. */
static bool
takes_interrupts(struct vcpu *v)
{
	const struct cpu_state *s = &v->state;

	return s->rflags & FLAG_IF && !s->sti_shadow && !s->mov_ss_shadow && !s->event.kind &&
	       !s->pending_debug && !(v->engine->injected && v->engine->injected(v) >= 0);
}

/* The interrupt that waits for the guest. RESUME, or the domain has ended. */
static enum verdict
interrupt(struct vcpu *v)
{
	enum verdict verdict;
	uint8_t vector;

	if (!takes_interrupts(v)) {
		if (v->engine->window)
			v->engine->window(v);
		v->special = true; /* the next entry takes it back */
		return RESUME;
	}
	vector = platform_ack(v);
	v->state.event = (struct event){ .kind = EVENT_INTERRUPT, .vector = vector };
	verdict = event_inject(v);
	if (verdict == RESUME)
		exit_stream_interrupt(v, vector);
	return verdict;
}

/* An NMI waits for no IF, and for what is on its way already (SDM 3A 6.7). */
static COLD enum verdict
nmi(struct vcpu *v)
{
	struct cpu_state *s = &v->state;

	if (s->event.kind || s->mov_ss_shadow || s->pending_debug ||
	    (v->engine->injected && v->engine->injected(v) >= 0))
		return RESUME;
	v->signals &= (uint8_t)~SIGNAL_NMI;
	s->event = (struct event){ .kind = EVENT_NMI, .vector = VEC_NMI };
	return event_inject(v);
}

/* What the guest receives before its next instruction: a refused event, else an interrupt. */
static inline enum verdict
deliver(struct vcpu *v)
{
	enum verdict verdict = v->state.event.kind ? event_inject(v) : RESUME;

	if (verdict == RESUME && v->signals & SIGNAL_NMI)
		verdict = nmi(v);
	return verdict == RESUME && v->irq_pending ? interrupt(v) : verdict;
}

/* Asked at the deadline of a blocked vCPU: whether it may go on. */
bool
vcpu_ready(struct thread *t)
{
	struct vcpu *v = (struct vcpu *)((char *)t - offsetof(struct vcpu, thread));

	t->deadline = CLOCK_NEVER; /* whoever lets it go says so */
	if (v->debug.held)
		return false;
	if (v->domain->state == DOMAIN_ENDED ||
	    v->signals & ~(v->state.nmi_blocked ? SIGNAL_NMI : 0))
		return true;
	if (v->state.activity != ACTIVITY_RUNS || v->domain->paused)
		return false;
	platform_lines(v->domain);
	if (v->state.pending_debug || v->irq_pending) {
		v->asked = sched_turns + 1;
		return true;
	}
	t->deadline = platform_deadline(v->domain);
	return false;
}

/* Into the guest, up to its next exit: v->exit. What held it up may go with the entry. */
void
vcpu_run(struct vcpu *v)
{
	v->special = true;
	v->engine->run(v, v->exit);
	if (vcpu_watch && v->engine->fetch)
		vcpu_watch->exited(v);
}

static INLINED enum verdict
handle(struct vcpu *v, struct exit *e)
{
	enum verdict verdict;

	v->page_fault.pending = false;
	v->began = v->state.rflags;
	exit_log(v, e);
	verdict = exit_dispatch(v, e);
	if (verdict == RESUME)
		return RESUME;
	return verdict == FAULTED && v->state.event.kind && event_inject(v) == STOP ? STOP
										    : verdict;
}

enum verdict
exit_handle(struct vcpu *v, struct exit *e)
{
	enum verdict verdict;

	if (exit_streams)
		vcpu_need(v, STATE_SEG);
	((struct exit_record *)e)->ring = (uint8_t)vcpu_cpl(v); /* nobody else looks at it */
	verdict = handle(v, e);
	if (v->state.event.kind && verdict != STOP && event_inject(v) == STOP)
		verdict = STOP;
	if (vcpu_watch && v->engine->fetch)
		vcpu_watch->handled(v);
	if (exit_streams)
		exit_stream(v);
	return verdict;
}

static enum turn
turn_ended(struct vcpu *v)
{
	debug_ended(v);
	return TURN_ENDED;
}

/*
 * Behind a sti at shadow_at (0: there was none) an interrupt may have been waiting for the end of
 * its shadow: it comes before the instruction that brought us here: `sti; nop; cli`. Then the exit
 * is none, and that instruction runs again later.
 */
bool
interrupt_comes_first(struct vcpu *v, uint64_t shadow_at, const struct exit *e)
{
	return shadow_at && v->state.rip != shadow_at && e->reason != EXIT_IRQ &&
	       v->state.rflags & FLAG_IF && v->irq_pending;
}

/* *e is a #DB, at its rip. In DR6 B0 to B3 are anew, others stay until cleared: SDM 3B 17.2.3. */
void
debug_trap(struct vcpu *v, struct exit *e)
{
	vcpu_need(v, STATE_DR);
	vcpu_changed(v, STATE_DR);
	v->state.dr[6] = (v->state.dr[6] & ~(uint64_t)DR6_HITS) | v->state.pending_debug;
	v->state.pending_debug = 0;
	e->reason = EXIT_EXCEPTION;
	e->vector = VEC_DB;
	e->raw = VEC_DB;
}

/* A trap of what ran before comes before interrupts and the next instruction (SDM 3A 6.9). */
bool
debug_trap_due(struct vcpu *v, struct exit *e)
{
	if (!v->state.pending_debug || v->state.mov_ss_shadow)
		return false;
	*e = (struct exit){ .rip = v->state.rip };
	debug_trap(v, e);
	return true;
}

/* Most often there is nothing to think of before the guest runs, and nobody looks at each exit. */
static inline bool
is_held_up(const struct vcpu *v)
{
	uint64_t held; /* by a shadow, an NMI's handler, a #DB: the last fields of the state */

	_Static_assert(offsetof(struct cpu_state, activity) == sizeof(v->state) - sizeof(held), "");
	__builtin_memcpy(&held, &v->state.activity, sizeof(held)); /* which is ACTIVITY_RUNS, 0 */
	return held | v->held_up | v->state.event.kind;
}

/* The guest to its next exit, behind what it receives before, and in a debugger's hands. */
static APART enum verdict
one_exit(struct vcpu *v)
{
	enum verdict verdict = v->debug.step && !v->debug.waits ? RESUME : deliver(v);
	uint64_t shadow_at = v->state.sti_shadow ? v->state.rip : 0;
	struct exit *e = v->exit;

	if (verdict != RESUME)
		return verdict;
	if (v->debugged)
		return debug_one_exit(v);
	if (debug_trap_due(v, e))
		return exit_handle(v, e);
	vcpu_run(v);
	return interrupt_comes_first(v, shadow_at, v->exit) ? RESUME : exit_handle(v, v->exit);
}

/* Runs the guest to its next exit, and handles that. */
static inline enum verdict
next_exit(struct vcpu *v)
{
	struct exit *e = exit_place(v);

	if (is_held_up(v))
		return one_exit(v);
	v->engine->run(v, e);
	return handle(v, v->exit);
}

/*
 * One turn of a vCPU on the CPU. The scheduler's contract (kern/thread.h): it returns when its
 * slice is over, when the guest waits, or when the domain has ended. The guest runs with the host's
 * interrupts on; where it did not run, since all was the host's work (a handler that can't be
 * fetched, whose fault goes to itself), they are let in here.
 */
enum turn
vcpu_turn(struct thread *t)
{
	struct vcpu *v = (struct vcpu *)((char *)t - offsetof(struct vcpu, thread));
	enum verdict verdict;
	uint64_t entries;

	if (v->debug.held)
		return debug_park(v);
	if (v->domain->starved)
		domain_stop(v->domain, "the machine has no frame left for its memory");
	if (v->domain->state == DOMAIN_ENDED)
		return turn_ended(v);
	if (v->domain->paused)
		return debug_park(v);
	if (v->signals & ~SIGNAL_NMI)
		v->domain->platform->signals(v);
	if (v->state.activity == ACTIVITY_WAITS_FOR_SIPI)
		return TURN_BLOCKED;
	v->state.activity = ACTIVITY_RUNS;
	v->domain->ran = v;
	v->engine->load(v);
	if (v->asked != sched_turns + 1) /* else they have just been asked, and nobody ran since */
		platform_lines(v->domain);
	platform_alarm(v->domain);
	domain_quiet(v->domain);
	do {
		entries = v->entries;
		verdict = next_exit(v);
		if (v->entries == entries)
			preempt_point();
	} while ((verdict == RESUME || verdict == FAULTED) && !need_resched);

	if (v->domain->state == DOMAIN_ENDED && !v->debug.held)
		return turn_ended(v);
	return verdict == BLOCK ? TURN_BLOCKED : TURN_AGAIN;
}
