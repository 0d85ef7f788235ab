/*
 * The run loop: enter, exit, decide, and again.
 */
#include <vmm/domain.h>

/*
 * One turn of a vCPU on the CPU. The scheduler's contract (kern/thread.h): it returns when its slice is over,
 * when the guest waits, or when the domain has ended.
 */
enum turn
vcpu_turn(struct thread *t)
{
	struct vcpu *v = (struct vcpu *)((char *)t - offsetof(struct vcpu, thread));
	enum verdict verdict;
	struct exit e;

	if (v->domain->state == DOMAIN_ENDED)
		return TURN_ENDED;
	v->engine->load(v);
	do {
		v->engine->run(v, &e);
		exit_log(v, &e);
		verdict = exit_dispatch(v, &e);
		exit_stream(v);
	} while (verdict == RESUME && !need_resched);

	if (v->domain->state == DOMAIN_ENDED)
		return TURN_ENDED;
	return verdict == BLOCK ? TURN_BLOCKED : TURN_AGAIN;
}

/*
 * Moves rip past the instruction of this exit. Advancing is a decision: call it only where the effect of
 * the instruction is complete. An exit whose instruction was never decoded has no length: the host's bug.
 */
void
vcpu_advance(struct vcpu *v, const struct exit *e)
{
	ASSERT(e->insn_len >= 1 && e->insn_len <= EXIT_INSN_MAX);
	v->state.rip += e->insn_len;
	if (!(v->state.seg[SEG_CS].attr & (ATTR_DB | ATTR_L)))
		v->state.rip &= 0xffff;
	else if (!(v->state.seg[SEG_CS].attr & ATTR_L))
		v->state.rip &= 0xffffffff;
	v->sti_shadow = false; /* it lasted for this one instruction (SDM 2B "STI") */
}
