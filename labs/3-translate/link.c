/*
 * Following a stub or a lookup that missed: the target is translated, and the next time the host is
 * not asked. Lab 3B, exercises 3.5 and 3.6.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/* The stub at offset `at` of the cache's code leads to a block from now on. */
static void
chain(struct vcpu *v, uint32_t at, const struct bt_block *to)
{
	struct bt *bt = bt_of(v);
	uint8_t jump[5];

	/* EXERCISE 3.5c: bt_stub_jump() to the block, written over the stub by bt_code_write(). Both at their addresses:
	 * bt_address(). Count it in bt->stats.chained.
	 */
	exercise_todo("3.5", "handouts/lab3b.md#ex-3-5");
	(void)to, (void)jump, (void)at, (void)bt;
	/* END EXERCISE 3.5c */
}

/*
 * Makes the chains that wait. A stub may be another one by now, since its block has died: then its
 * target does not lie behind it any more.
 */
static void
chain_all(struct vcpu *v)
{
	struct bt *bt = bt_of(v);

	for (unsigned i = 0; i < bt->links; i++) {
		const struct bt_link *l = &bt->link[i];
		uint32_t target;

		bt_code_read(bt, l->at + 5, &target, sizeof(target));
		if (target == l->to->eip && !(l->to->flags & BT_DEAD))
			chain(v, l->at, l->to);
	}
	bt->stats.batches++;
	bt->links = 0;
}

/*
 * A stub that is met for the first time waits. When it is met again, or when too many wait, all
 * that wait are chained.
 */
static void
chain_later(struct vcpu *v, uint32_t at, const struct bt_block *to)
{
	struct bt *bt = bt_of(v);
	bool again = false;

	if (bt->links_generation != bt->generation)
		bt->links = 0;
	bt->links_generation = bt->generation;
	for (unsigned i = 0; i < bt->links; i++)
		again |= bt->link[i].at == at;
	if (!again)
		bt->link[bt->links++] = (struct bt_link){ .at = at, .to = to };
	if (again || bt->links == BT_LINKS)
		chain_all(v);
}

/*
 * The ret at whose call-out the guest is has led to this block, and it will be compared with that
 * from now on.
 */
static void
predict(struct vcpu *v, const struct bt_place *p, const struct bt_block *to)
{
	struct bt *bt = bt_of(v);
	uint32_t at = p->block->at + p->at - BT_PREDICTION_SIZE;
	uint8_t code[BT_PREDICTION_SIZE];
	uint32_t slot;

	bt_code_read(bt, at, code, sizeof(code));
	memcpy(&slot, code + BT_PREDICTION_BUDGET, sizeof(slot));
	slot = (slot - BT_AT_BUDGET) / 4;
	ASSERT(slot < BT_BUDGETS);
	bt->shared->budget[slot] = BT_WRONG << bt->mispredicted[slot];
	if (bt->mispredicted[slot] < BT_WRONG_MAX)
		bt->mispredicted[slot]++;
	bt_return_prediction(code, p->eip);
	bt_stub_jump(code + BT_PREDICTION_STUB, bt_address(v, at + BT_PREDICTION_STUB),
		     bt_address(v, to->at));
	bt_code_write(bt, at, code, sizeof(code));
	bt->stats.predictions++;
}

/*
 * A new translation, which will lie at offset `at`: its stubs whose targets are there already
 * become jumps at once.
 */
void
bt_link_early(struct vcpu *v, struct bt_translation *t, uint32_t at)
{
	/* EXERCISE 3.5d: For each BT_CHAIN in t->map: the target stands five bytes behind the stub's start, in t->code. If
	 * there is a block for it that is not BT_COMPARED, bt_stub_jump() to it, into t->code; this counts in stats.chained, too.
	 */
	exercise_todo("3.5", "handouts/lab3b.md#ex-3-5");
	(void)v, (void)t, (void)at;
	/* END EXERCISE 3.5d */
}

/*
 * The guest is at p->eip. The block for it, and the way to it; NULL: there is none, and *e says
 * why.
 */
struct bt_block *
bt_follow(struct vcpu *v, const struct bt_place *p, struct exit *e)
{
	struct bt *bt = bt_of(v);
	unsigned generation = bt->generation;
	struct bt_block *to = bt_block_for(v, p->eip, e);

	if (!to || to->flags & BT_COMPARED)
		return to;
	if (p->kind == BT_MISS || p->kind == BT_PREDICTION) {
		if (p->kind == BT_MISS)
			bt->stats.misses++;
		else if (generation == bt->generation)
			predict(v, p, to);
		/* EXERCISE 3.6d: bt_table_set(): from now on p->eip leads to the block's address. */
		exercise_todo("3.6", "handouts/lab3b.md#ex-3-6");
		(void)bt;
		/* END EXERCISE 3.6d */
	} else if (generation == bt->generation) { /* else the stub is gone */
		chain_later(v, p->block->at + p->at, to);
	}
	return to;
}
