/*
 * Entering and leaving translated code, interrupts at instruction boundaries, and ring 3, which
 * runs directly. Lab 3B, exercise 3.8.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>

#define STEPS_MAX 64 /* no sequence of Zeno's is longer */

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/* Into the cache: te->frame is filled in. The guest's GS is not the CPU's here. */
uint64_t
bt_enter(struct vcpu *v)
{
	struct te *te = te_of(v);
	bool loan = te->reload | !te->bt->gs_ours;

	te->bt->gs_ours = true;
	return te_enter(v, loan);
}

/* The guest's ring 3 is nobody's secret: it runs as under te, with its own GS. */
void
bt_run_user(struct vcpu *v, struct exit *e)
{
	struct te *te = te_of(v);

	te->reload |= te->bt->gs_ours;
	te->bt->gs_ours = false;
	te_run(v, e);
}

static uint32_t
address_of(const struct ring_frame *f)
{
	return (uint32_t)f->rip - (f->vector == BT_VECTOR ? 2 : 0);
}

/* What has nothing to do with the instruction it comes at. */
static bool
is_asynchronous(uint64_t vector)
{
	return vector == VEC_DB || vector == VEC_NMI || (vector >= IRQ_BASE && vector != BT_VECTOR);
}

/*
 * The CPU read the cache's code otherwise than the decoder did, and is in the middle of something.
 * That ends the guest.
 */
static uint64_t
lost(struct vcpu *v)
{
	uint64_t vector = te_of(v)->frame.vector;

	if (vector >= IRQ_BASE && vector != BT_VECTOR)
		irq((unsigned)vector);
	return BT_LOST;
}

/*
 * An interrupt between the instructions that stand for one of the guest's: it is served at once,
 * and the CPU steps on until the state is the guest's again. *stepped: that has happened.
 */
static uint64_t
to_boundary(struct vcpu *v, struct bt_place *p, bool *stepped)
{
	struct ring_frame *f = &te_of(v)->frame;

	for (unsigned i = 0; i < STEPS_MAX; i++) {
		uint64_t failure;

		if ((f->cs & 3) == 3) /* its iret was no exit, and it went on through that */
			return 0;
		if (!tc_to_guest_pc(v, address_of(f), p))
			return lost(v);
		/* EXERCISE 3.8: Exact places are boundaries; and what is not asynchronous is the instruction's own. Else: serve the
		 * interrupt (irq()), or take a #DB's DR6 away (te_take_step()); set TF in the frame, and enter
		 * again. Say it in *stepped, and count it in stats.steps. (SDM 3B 17.3.1.4 "Single-Step Exception Condition")
		 */
		exercise_todo("3.8", "handouts/lab3b.md#ex-3-8");
		if (p->exact || !is_asynchronous(f->vector))
			return 0;
		if (f->vector >= IRQ_BASE)
			irq((unsigned)f->vector);
		failure = bt_enter(v);
		if (failure)
			return failure;
		(void)stepped;
		/* END EXERCISE 3.8 */
	}
	return lost(v); /* no sequence is so long */
}

/* The frame and the shared page back into the guest's state. */
static INLINED void
take_state(struct vcpu *v, const struct bt_place *p, bool stepped)
{
	const struct bt_shared *shared = bt_of(v)->shared;
	uint32_t flags = (shared->vif & FLAG_IF) | (shared->viopl & FLAG_IOPL);
	uint64_t tf = v->state.rflags & FLAG_TF;

	te_from_frame(v, &te_of(v)->frame);
	bt_segments_in(v);
	v->state.rip = p->eip;
	v->state.rflags = (v->state.rflags & ~(uint64_t)(FLAG_IF | FLAG_IOPL)) | flags;
	if (stepped)
		v->state.rflags = (v->state.rflags & ~(uint64_t)FLAG_TF) | tf;
}

/* A call-out. False: the guest goes on at v->state.rip without an exit. */
static bool
called_out(struct vcpu *v, struct exit *e, const struct bt_place *p, bool stepped)
{
	switch (p->kind) {
	case BT_CALLOUT:
		bt_callout(v, e, p->known);
		return true;
	case BT_POLL:
		bt_of(v)->stats.polls++;
		bt_nothing(v, e);
		return true;
	default:
		if (!bt_follow(v, p, e))
			return true;
		if (v->state.rflags & FLAG_TF)
			v->state.pending_debug |= DR6_BS; /* the guest steps itself */
		else if (!stepped)
			return false;
		bt_nothing(v, e);
		return true;
	}
}

/*
 * An interrupt came before a block that is only a stub: the jump of a guest that steps is done, and
 * no #DB has come behind it.
 */
static bool
jumped(struct vcpu *v, const struct bt_place *p)
{
	uint64_t vector = te_of(v)->frame.vector;

	return v->state.rflags & FLAG_TF && p->exact && p->kind == BT_CHAIN &&
	       is_asynchronous(vector) && vector != VEC_DB;
}

static inline void
note_exit(struct bt *bt, struct bt_block *block, struct bt_known *known)
{
	bt->last_exit = block;
	bt->from = known ? &known->next : NULL;
	bt->left_generation = bt->generation;
}

/* bt_left() where it is not a call-out from a known place. */
static APART bool
left_elsewhere(struct vcpu *v, struct exit *e, uint64_t entered_at, bool step,
	       const struct bt_known *known)
{
	struct ring_frame *f = &te_of(v)->frame;
	struct bt *bt = bt_of(v);
	struct bt_place p = { .eip = (uint32_t)entered_at };
	uint64_t failure = 0;

	if (known)
		p = known->place;
	else
		failure = to_boundary(v, &p, &step);
	if (!failure && (f->cs & 3) == 3) {
		bt_returned(v, e);
		return true;
	}
	take_state(v, &p, step);
	note_exit(bt, p.block, p.known);
	if (failure) {
		te_entry_failed(v, e, failure);
		return true;
	}
	te_end_sti_shadow(v, entered_at);
	if (p.exact && p.kind == BT_SHADOW)
		v->state.sti_shadow = true;
	if (jumped(v, &p))
		v->state.pending_debug |= DR6_BS;
	if (p.kind == BT_IRET)
		bt->gs_ours = false;
	if (p.kind == BT_IRET && !is_asynchronous(f->vector)) { /* the host does it */
		bt_callout(v, e, NULL);
		return true;
	}
	if (f->vector == BT_VECTOR)
		return called_out(v, e, &p, step);
	if (f->vector == VEC_DB && step && !(v->state.rflags & FLAG_TF)) {
		te_take_step(v);
		bt_nothing(v, e);
		return true;
	}
	te_translate(v, e, f);
	if (e->reason == EXIT_MMU)
		bt->refused_at = p.eip;
	return true;
}

/*
 * After a trap out of the cache: the guest's state, and what the trap means. False: the guest just
 * goes on. `step`: TF is ours. Most often it is a call-out from a place that is known: a boundary,
 * whose instruction has had no shadow before it, and is the host's to do.
 */
bool
bt_left(struct vcpu *v, struct exit *e, uint64_t entered_at, bool step)
{
	const struct ring_frame *f = &te_of(v)->frame;
	struct bt_known *known = bt_known_at(bt_of(v), address_of(f));

	if (!known || known->place.kind != BT_CALLOUT || f->vector != BT_VECTOR || step)
		return left_elsewhere(v, e, entered_at, step, known);
	take_state(v, &known->place, false);
	note_exit(bt_of(v), known->place.block, known);
	te_end_sti_shadow(v, entered_at);
	bt_callout(v, e, known);
	return true;
}
