/*
 * The translation cache: blocks by the guest's eip, and what happens when it is full. Lab 3A,
 * exercise 3.3.
 *
 * Code is handed out upwards and never freed by the block: when there is no room, all of it goes.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/* The list of blocks with this hash of eip. */
static uint16_t *
eip_list(struct bt *bt, uint32_t eip)
{
	unsigned n = (eip ^ eip >> 13) % BT_EIPS;

	return &bt->pages->eips[n * 2 / PAGE_SIZE][n % (PAGE_SIZE / 2)];
}

/* NULL: not translated. */
struct bt_block *
bt_lookup(struct bt *bt, uint32_t eip)
{
	/* EXERCISE 3.3a: Follow the list of block numbers that starts at *eip_list(), by their next.
	 * until then: return NULL;
	 */
	for (unsigned n = *eip_list(bt, eip); n; n = bt_block(bt, n)->next)
		if (bt_block(bt, n)->eip == eip)
			return bt_block(bt, n);
	return NULL;
	/* END EXERCISE 3.3a */
}

/* Takes a block out of the list of its eip. */
void
bt_forget(struct bt *bt, const struct bt_block *b)
{
	uint16_t *n = eip_list(bt, b->eip);

	while (*n && bt_block(bt, *n) != b)
		n = &bt_block(bt, *n)->next;
	if (*n)
		*n = b->next;
}

/* Room for what describes n instructions, in one piece; NULL: there is none. */
static struct bt_map *
new_map(struct bt *bt, unsigned n)
{
	unsigned page = bt->map_used / BT_MAP_PAGE, used = bt->map_used % BT_MAP_PAGE;

	if (used + n > BT_MAP_PAGE) {
		page++;
		used = 0;
	}
	if (!bt_window_maps(bt, page))
		return NULL;
	bt->map_used = page * BT_MAP_PAGE + used + n;
	return bt->pages->maps[page] + used;
}

/* Every translation is gone, and with it all that leads there. */
void
bt_flush(struct vcpu *v)
{
	struct bt *bt = bt_of(v);

	bt_space_forget(bt);
	/* EXERCISE 3.3b: No block, no code, no map in use; nothing in the lists by eip and by frame (bt_frames_forget()), and
	 * for no block an entry in the table of indirect targets (bt_table_clear()). Count it in
	 * bt->generation and bt->stats.flushes.
	 * until then:
	 * bt_frames_forget(bt);
	 * (void)v, (void)bt;
	 */
	for (unsigned n = 1; n <= bt->blocks; n++) {
		struct bt_block *b = bt_block(bt, n);

		bt_table_clear(bt, b->eip, bt_address(v, b->at));
	}
	bt->blocks = bt->code_used = bt->map_used = 0;
	for (unsigned i = 0; i < ARRAY_LEN(bt->pages->eips); i++)
		memset(bt->pages->eips[i], 0, PAGE_SIZE);
	bt_frames_forget(bt);
	bt->generation++;
	bt->stats.flushes++;
	/* END EXERCISE 3.3b */
}

/*
 * The blocks of each guest frame are linked, so that a write finds them; and the frame is tracked.
 */
static void
watch(struct vcpu *v, struct bt_block *b, unsigned n, const uint8_t *bytes)
{
	struct bt *bt = bt_of(v);
	uint64_t linear = v->state.seg[SEG_CS].base + b->eip;

	b->gfn[0] = bt_gfn(v, linear);
	b->gfn[1] = bt_gfn(v, linear + b->guest_len - 1);
	bt_frame_note(bt, n, b);
	for (unsigned i = 0; i < 2; i++)
		if (bt_is_mixed(bt, b->gfn[i]))
			b->flags |= BT_COMPARED;
		else
			page_track(v->domain, gfn(b->gfn[i]), TRACK_CODE);
	bt_space_note(v, b);
	memcpy(b->bytes, bytes, b->guest_len < EXIT_INSN_MAX ? b->guest_len : EXIT_INSN_MAX);
}

/* Puts a translation into the cache. */
struct bt_block *
bt_insert(struct vcpu *v, struct bt_translation *t)
{
	struct bt *bt = bt_of(v);
	unsigned size = ((t->len < BT_STUB_SIZE ? BT_STUB_SIZE : t->len) + 7) & ~7u;
	struct bt_map *map = new_map(bt, t->maps);
	struct bt_block *b;

	/* EXERCISE 3.3c: If no map was to be had, or there is no room for `size` bytes of code more (bt_window_code()) or for
	 * a block more (bt_window_block()): flush, and take a new map. What follows does the rest.
	 * until then: bt_flush(v); map = new_map(bt, t->maps); bt->blocks = 0; bt->code_used = 0;
	 */
	if (!map || !bt_window_code(v, bt->code_used + size) ||
	    !bt_window_block(bt, bt->blocks + 1)) {
		bt_flush(v);
		map = new_map(bt, t->maps);
	}
	/* END EXERCISE 3.3c */
	b = bt_block(bt, ++bt->blocks);
	*b = (struct bt_block){ .eip = t->eip,
				.at = bt->code_used,
				.len = (uint16_t)size,
				.maps = (uint16_t)t->maps,
				.map = map,
				.guest_len = (uint8_t)t->guest_len,
				.serial = bt->stats.translated };
	memcpy(map, t->map, t->maps * sizeof(*map));
	bt_link_early(v, t, b->at);
	bt_code_write(bt, b->at, t->code, t->len);
	bt->code_used += size;
	b->next = *eip_list(bt, b->eip);
	*eip_list(bt, b->eip) = (uint16_t)bt->blocks;
	watch(v, b, bt->blocks, t->bytes);
	bt->stats.translated++;
	bt->stats.guest_bytes += t->guest_len;
	return b;
}

/* No block is right for the code segment, the stack, or the GDT that the guest has now. */
void
bt_change_world(struct vcpu *v)
{
	struct bt *bt = bt_of(v);

	bt_flush(v);
	bt->cs_base = (uint32_t)v->state.seg[SEG_CS].base;
	bt->cs_limit = v->state.seg[SEG_CS].limit;
	bt->stack32 = v->state.seg[SEG_SS].attr & ATTR_DB;
	bt->gdt_lazy = te_of(v)->gdt_lazy;
}

/*
 * The block that the guest left last, if it has an instruction at eip: where that is in the cache,
 * 0 if not. The host has done an instruction in its middle, and the rest need not be translated
 * again.
 */
uint32_t
bt_resume_at(struct vcpu *v, uint32_t eip)
{
	struct bt *bt = bt_of(v);
	const struct bt_block *b = bt->last_exit;

	if (!b || bt->left_generation != bt->generation || b->flags || eip - b->eip >= b->guest_len)
		return 0;
	for (unsigned i = 0; i < b->maps; i++)
		if (b->map[i].kind <= BT_CALLOUT && b->map[i].guest == eip - b->eip)
			return b->map[i].kind == BT_SHADOW ? 0
							   : bt_address(v, b->at + b->map[i].at);
	return 0;
}

/*
 * The translation of what is at eip, made if need be. NULL: it can't be fetched or decoded; *e says
 * what happens.
 */
struct bt_block *
bt_block_for(struct vcpu *v, uint32_t eip, struct exit *e)
{
	struct bt *bt = bt_of(v);
	struct bt_block *b;

	b = bt_lookup(bt, eip);
	if (b && b->flags & BT_COMPARED && !bt_unchanged(v, b)) {
		bt_invalidate(v, b);
		b = NULL;
	}
	return b ? b : translate_block(v, eip, e);
}
