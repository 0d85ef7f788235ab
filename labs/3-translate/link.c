/*
 * Following a stub or a lookup that missed: the target is translated, and the next time the host is not asked. Lab 3B,
 * exercises 3.5 and 3.6.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

static void
chain(struct vcpu *v, const struct bt_place *p, const struct bt_block *to)
{
	struct bt *bt = bt_of(v);
	uint32_t at = p->block->at + p->at;
	uint8_t jump[5];

	/* EXERCISE 3.5c: bt_stub_jump() to the block, written over the stub by bt_code_write(). Both at their addresses:
	 * bt_address().
	 */
	exercise_todo("3.5", "handouts/lab3a.md#ex-3-5");
	(void)to, (void)jump, (void)at, (void)bt;
	/* END EXERCISE 3.5c */
}

/* The guest is at p->eip. The block for it, and the way to it; NULL: there is none, and *e says why. */
struct bt_block *
bt_follow(struct vcpu *v, const struct bt_place *p, struct exit *e)
{
	struct bt *bt = bt_of(v);
	unsigned generation = bt->generation;
	struct bt_block *to = bt_block_for(v, p->eip, e);

	if (!to || to->flags & BT_COMPARED)
		return to;
	if (p->kind == BT_MISS) {
		bt->stats.misses++;
		/* EXERCISE 3.6d: bt_table_set(): from now on p->eip leads to the block's address. */
		exercise_todo("3.6", "handouts/lab3a.md#ex-3-6");
		(void)bt;
		/* END EXERCISE 3.6d */
	} else if (generation == bt->generation) { /* else the stub is gone */
		chain(v, p, to);
	}
	return to;
}
