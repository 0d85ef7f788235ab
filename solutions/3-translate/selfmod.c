/*
 * Code that changes: tracked frames, dead blocks, and frames that are both code and data. Lab 3B,
 * exercise 3.7.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/*
 * Nobody runs this translation again. Jumps lead to it, so its start becomes a stub that leads to
 * its own eip.
 */
void
bt_invalidate(struct vcpu *v, struct bt_block *b)
{
	struct bt *bt = bt_of(v);
	uint8_t stub[BT_STUB_SIZE] = { 0xcd, BT_VECTOR, 0x90, 0x90, 0x90 };

	/* EXERCISE 3.7a: bt_forget() it, clear its entry in the table of indirect targets (bt_table_clear()), write the stub with
	 * b->eip behind it to the block's start, and mark it BT_DEAD. Count it in bt->stats.invalidated.
	 * until then: (void)stub; bt_flush(v); (void)bt;
	 */
	bt_forget(bt, b);
	bt_table_clear(bt, b->eip, bt_address(v, b->at));
	memcpy(stub + 5, &b->eip, sizeof(b->eip));
	bt_code_write(bt, b->at, stub, sizeof(stub));
	b->flags |= BT_DEAD;
	bt->stats.invalidated++;
	/* END EXERCISE 3.7a */
}

/* Whether a block has bytes at from..to - 1 of frame g. */
static bool
overlaps(const struct bt *bt, const struct bt_block *b, uint32_t g, uint32_t from, uint32_t to)
{
	uint32_t start = (bt->cs_base + b->eip) & PAGE_MASK, end = start + b->guest_len;

	if (b->gfn[0] == g && from < end && start < to)
		return true;
	return b->gfn[0] != b->gfn[1] && b->gfn[1] == g && from + PAGE_SIZE < end;
}

/*
 * All blocks of frame g: those that a write to from..to - 1 hits die. Sets *live if others are
 * there.
 */
static bool
invalidate_list(struct vcpu *v, uint32_t g, uint32_t from, uint32_t to, bool *live)
{
	struct bt *bt = bt_of(v);
	uint16_t *list = bt_frame_list(bt, g);
	bool hit = false;

	while (*list) {
		struct bt_block *b = bt_block(bt, *list);

		if (!(b->flags & BT_DEAD) && overlaps(bt, b, g, from, to)) {
			bt_invalidate(v, b);
			hit = true;
		}
		if (b->flags & BT_DEAD) {
			*list = *bt_frame_next(b, g);
			continue;
		}
		*live |= b->gfn[0] == g || b->gfn[1] == g;
		list = bt_frame_next(b, g);
	}
	return hit;
}

/* A frame that is written again and again beside its code: code and data on one page. */
static void
retreat(struct vcpu *v, uint32_t g)
{
	struct bt *bt = bt_of(v);

	/* EXERCISE 3.7b: Remember g in bt->mixed, drop all blocks, and page_untrack() the frame: from now on its blocks are compared
	 * before each entry. There is room for BT_MIXED frames: the next one takes the place of the oldest.
	 * until then: (void)bt, (void)g;
	 */
	bt->mixed[bt->mixed_count++ % BT_MIXED] = g;
	bt_flush(v);
	page_untrack(v->domain, gfn(g), TRACK_CODE);
	/* END EXERCISE 3.7b */
}

bool
bt_is_mixed(const struct bt *bt, uint32_t g)
{
	for (unsigned i = 0; i < bt->mixed_count && i < BT_MIXED; i++)
		if (bt->mixed[i] == g)
			return true;
	return false;
}

static bool
counts_up_to(struct bt_count *c, uint32_t key, uint32_t limit)
{
	if (c->key != key)
		*c = (struct bt_count){ .key = key };
	return ++c->count > limit;
}

/* Bytes from..to - 1 of frame g have been written. */
void
bt_invalidate_range(struct vcpu *v, uint32_t g, uint32_t from, uint32_t to)
{
	struct bt *bt = bt_of(v);
	bool live = false, hit = invalidate_list(v, g, from, to, &live);

	if (!live && !bt_space_has(bt, g)) /* a page table that maps code stays tracked */
		page_untrack(v->domain, gfn(g), TRACK_CODE);
	else if (live && !hit &&
		 counts_up_to(&bt->writes[g % ARRAY_LEN(bt->writes)], g, BT_MIXED_AT))
		retreat(v, g);
}

static void
code_written(struct domain *d, gpa_t a, size_t len)
{
	uint32_t from = a.v & PAGE_MASK, g = (uint32_t)gpa_to_gfn(a).v;

	bt_space_written(d->vcpu, g, from, from + (uint32_t)len);
	bt_invalidate_range(d->vcpu, g, from, from + (uint32_t)len);
}
static const struct page_track_owner code_owner = { TRACK_CODE, code_written };
SET_ADD(page_track_owners, code_owner);

/* Of a block on a mixed frame: whether the guest's bytes still are those that were translated. */
bool
bt_unchanged(struct vcpu *v, const struct bt_block *b)
{
	uint8_t now[EXIT_INSN_MAX];

	/* EXERCISE 3.7c: bt_fetch() b->guest_len bytes at the linear address of b->eip, and compare with b->bytes; if that
	 * many are there, it counts in stats.compared.
	 * until then: (void)now; return false;
	 */
	if (bt_fetch(v, bt_of(v)->cs_base + b->eip, ACCESS_FETCH | ACCESS_PROBE, now,
		     b->guest_len) != b->guest_len)
		return false;
	bt_of(v)->stats.compared++;
	return !memcmp(now, b->bytes, b->guest_len);
	/* END EXERCISE 3.7c */
}

bool
bt_is_hot(void *ctx, uint32_t eip)
{
	const struct bt_count *c = bt_hot_slot(ctx, eip);

	return c->key == eip && c->count > BT_HOT_AT;
}

/*
 * The translations of the instruction at eip, made with or without a call-out, are no longer
 * wanted.
 */
static void
translate_again(struct vcpu *v, uint32_t eip)
{
	struct bt *bt = bt_of(v);
	uint32_t linear = bt->cs_base + eip, at = linear & PAGE_MASK, g;
	bool live = true;

	if (!gva_byte(v, gva(linear)))
		return;
	g = bt_gfn(v, linear);
	invalidate_list(v, g, at, at + 1, &live);
}

/*
 * The instruction at eip has faulted, and the host did it: after a few times it becomes a call-out.
 */
void
bt_count_fault(struct vcpu *v, uint32_t eip)
{
	struct bt_count *c = bt_hot_slot(bt_of(v), eip);

	if (bt_is_hot(bt_of(v), c->key))
		return; /* it keeps the slot */
	if (!counts_up_to(c, eip, BT_HOT_AT))
		return;
	c->count = BT_HOT_AT + BT_COOL_AFTER;
	translate_again(v, eip);
}

/*
 * The call-out of a hot instruction was in vain: one that often would not have faulted is copied
 * again.
 */
void
bt_count_in_vain(struct vcpu *v, uint32_t eip)
{
	struct bt_count *c = bt_hot_slot(bt_of(v), eip);

	if (--c->count > BT_HOT_AT)
		return;
	c->count = 0;
	translate_again(v, eip);
}
