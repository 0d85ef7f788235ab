/*
 * The blocks on each guest frame. Most writes that Zeno hears of go to a frame without a block that
 * they hit: a page table that maps code, or data beside it. So a block is in the lists of its own
 * frames, and in no other.
 */
#include <vmm/bt/bt.h>

void
bt_frame_note(struct bt *bt, unsigned n, struct bt_block *b)
{
	uint16_t *first = bt_frame_list(bt, b->gfn[0]), *last = bt_frame_list(bt, b->gfn[1]);

	b->next_in_frame[0] = *first;
	*first = (uint16_t)n;
	if (last == first)
		return;
	b->next_in_frame[1] = *last;
	*last = (uint16_t)n;
}

void
bt_frames_forget(struct bt *bt)
{
	for (unsigned i = 0; i < ARRAY_LEN(bt->pages->frames); i++)
		memset(bt->pages->frames[i], 0, PAGE_SIZE);
}
