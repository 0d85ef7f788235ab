/*
 * Call-outs: from the cache to the host, and from an address in the cache to the guest's. Lab 3A,
 * exercise 3.2.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/* Blocks have their code in the order of their numbers. NULL: no block has this offset. */
static struct bt_block *
block_at(struct bt *bt, uint32_t at)
{
	unsigned low = 1, high = bt->blocks;
	struct bt_block *b;

	while (low < high) {
		unsigned middle = (low + high + 1) / 2;

		if (bt_block(bt, middle)->at <= at)
			low = middle;
		else
			high = middle - 1;
	}
	if (!bt->blocks)
		return NULL;
	b = bt_block(bt, low);
	return at >= b->at && at - b->at < b->len ? b : NULL;
}

/* The target of the stub at p->at. */
static uint32_t
stub_target(struct bt *bt, const struct bt_place *p)
{
	uint32_t target;

	bt_code_read(bt, p->block->at + p->at + 5, &target, sizeof(target));
	return target;
}

/* The last entry of the block's map that is not behind `at`. */
static const struct bt_map *
map_at(const struct bt_block *b, uint32_t at)
{
	const struct bt_map *m = b->map;

	/* EXERCISE 3.2a: The entries are in the order of their `at`, and the first is 0. */
	exercise_todo("3.2", "handouts/lab3a.md#ex-3-2");
	(void)at;
	m = &b->map[b->maps - 1];
	/* END EXERCISE 3.2a */
	return m;
}

/* tc_to_guest_pc() for an address that is not known yet. */
static __attribute__((noinline)) bool
look_for(struct vcpu *v, uint32_t address, struct bt_place *p)
{
	struct bt *bt = bt_of(v);
	struct bt_block *b = block_at(bt, address - bt_address(v, 0));
	const struct bt_map *m;
	uint32_t at;

	if (!b)
		return false;
	at = address - bt_address(v, b->at);
	*p = (struct bt_place){ .block = b, .at = (uint16_t)at, .kind = BT_CHAIN };
	if (b->flags & BT_DEAD) { /* all that is left of it is the stub that leads to itself */
		p->exact = at == 0;
		p->eip = b->eip;
		return true;
	}
	m = map_at(b, at);
	p->kind = m->kind;
	p->exact = m->at == at;
	p->eip = b->eip + m->guest;
	if (m->kind == BT_CHAIN && !p->exact) /* behind a stub, and for the same instruction */
		return true;
	/* EXERCISE 3.2b: p->eip, by kind. BT_MISS and BT_PREDICTION: bt->shared->target. BT_CHAIN: stub_target().
	 * All others, BT_POLL among them: the guest's instruction, at b->eip + m->guest.
	 */
	exercise_todo("3.2", "handouts/lab3a.md#ex-3-2");
	(void)stub_target;
	p->eip = (uint32_t)v->domain->window;
	/* END EXERCISE 3.2b */
	return true;
}

/*
 * What an address in the cache is to the guest. Exact is where an instruction, a stub or a call-out
 * begins; anywhere else registers may be Zeno's, and p->eip is the instruction that they are
 * borrowed for.
 */
bool
tc_to_guest_pc(struct vcpu *v, uint32_t address, struct bt_place *p)
{
	struct bt *bt = bt_of(v);
	struct bt_known *k = bt_known_at(bt, address);

	if (k) {
		*p = k->place;
		return true;
	}
	if (!look_for(v, address, p))
		return false;
	if (p->exact && p->kind <= BT_CALLOUT && !p->block->flags) {
		p->known = k = bt_known_slot(bt, address);
		*k = (struct bt_known){ .address = address,
					.generation = bt->generation,
					.serial = p->block->serial,
					.place = *p };
	}
	return true;
}

/* The same where it is not decoded yet. False: it has changed since it was translated. */
static APART bool
fetch_first(struct vcpu *v, struct exit *e, struct bt_known *known)
{
	if (!te_fetch(v, e)) {
		bt_flush(v);
		e->vector = VEC_NMI;
		e->reason = EXIT_IRQ;
		return false;
	}
	if (known) {
		known->insn = *te_insn(v);
		known->decoded = true;
	}
	return true;
}

/* Once for each place: the code of a block that is not dead has not changed. */
static inline bool
fetch(struct vcpu *v, struct exit *e, struct bt_known *known)
{
	return known && known->decoded ? te_decoded(v, e, &known->insn) : fetch_first(v, e, known);
}

/* The exit for the instruction at v->state.rip, which the host does. */
void
bt_callout(struct vcpu *v, struct exit *e, struct bt_known *known)
{
	if (v->state.dr[7] & DR7_ANY && te_breakpoint_hit(v, e))
		return;
	exit_begin(e, EXIT_NONE, BT_VECTOR, 0, v->state.rip);
	if (!fetch(v, e, known))
		return;
	bt_of(v)->stats.callouts[e->insn_op]++;
	/* EXERCISE 3.2c: The reason is what te_reason() says of the operation; EXIT_EMULATE where that is nothing, and for smsw,
	 * which does not trap like its kin.
	 */
	exercise_todo("3.2", "handouts/lab3a.md#ex-3-2");
	e->reason = EXIT_NONE;
	/* END EXERCISE 3.2c */
}
