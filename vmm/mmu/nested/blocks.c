/*
 * RAM in blocks of 2 MiB, where the machine has them.
 *
 * The page allocator gives a frame at a time, in whatever order. It is asked until 512 frames in a
 * row, of the right alignment, have come; what came before is put by, and used for the small parts
 * of the map, which come last. When 2,048 frames have brought no such block, memory is in pieces,
 * and the rest of this domain's pages are small.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>
#include <vmm/mmu/nested/nested.h>

#define TRIES 4u /* times as many frames as are wanted */

/*
 * Frames that are put by, each with the number of the next one in its first word. The last one
 * comes back first, so that the allocator, at the end, has them in the order of their numbers.
 */
struct spare {
	mfn_t first;
	bool gave_up;
};

static void
put_by(struct spare *s, mfn_t m)
{
	*(uint64_t *)mfn_ptr(m) = s->first.v;
	s->first = m;
}

/* One of those, or a new one; zeroed. MFN_NONE: there is no memory. */
static mfn_t
one_frame(struct domain *d, struct spare *s)
{
	mfn_t m = s->first;

	if (!mfn_ok(m))
		return frame_alloc(FRAME_GUEST, d->id);
	s->first = mfn(*(uint64_t *)mfn_ptr(m));
	*(uint64_t *)mfn_ptr(m) = 0;
	return m;
}

static void
put_row_by(struct spare *s, uint64_t first, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++) {
		if (i % PREEMPT_WORK == PREEMPT_WORK - 1)
			preempt_point();
		put_by(s, mfn(first + i));
	}
}

/* What was put by and not used. */
static void
give_back(struct domain *d, struct spare *s)
{
	for (uint64_t i = 1; mfn_ok(s->first); i++) {
		if (i % PREEMPT_WORK == 0)
			preempt_point();
		frame_put(one_frame(d, s));
	}
}

/* The first of 512 frames, or of as many as a larger page has. MFN_NONE: none was found. */
static mfn_t
block(struct domain *d, struct spare *s, uint64_t wanted)
{
	uint64_t first = 0, length = 0;

	for (uint64_t i = 0; i < TRIES * wanted && length < wanted; i++) {
		mfn_t m = frame_alloc(FRAME_GUEST, d->id);

		if (i % PREEMPT_WORK == 0)
			preempt_point();

		if (!mfn_ok(m))
			break;
		if (!length || m.v != first + length) {
			put_row_by(s, first, length);
			first = m.v;
			length = 0;
		}
		if (first % wanted)
			put_by(s, m);
		else
			length++;
	}
	if (length == wanted)
		return mfn(first);
	put_row_by(s, first, length);
	s->gave_up = true;
	return MFN_NONE;
}

/* The p2m's next frame is one of these, lest it break the row that the next block would be. */
static void
lend(struct domain *d, struct spare *s)
{
	if (mfn_ok(s->first))
		frame_put(one_frame(d, s));
}

/* The frames of [g, g + count), from `to` on; MFN_NONE: whichever there are. */
static int
give(struct domain *d, uint64_t g, uint64_t count, mfn_t to, struct spare *s)
{
	lend(d, s);
	for (uint64_t i = 0; i < count; i++) {
		mfn_t m = mfn_ok(to) ? mfn(to.v + i) : one_frame(d, s);

		if (!mfn_ok(m))
			return -ENOMEM;
		if (!p2m_set(d, gfn(g + i), m, P2M_RAM))
			continue;
		frame_put(m);
		while (mfn_ok(to) && ++i < count)
			frame_put(mfn(to.v + i));
		return -ENOMEM;
	}
	return 0;
}

static int
give_range(struct domain *d, const struct ram_range *r, struct spare *s)
{
	uint64_t count;
	int err = 0;

	for (uint64_t g = r->from; g < r->to && !err; g += count) {
		mfn_t to = MFN_NONE;

		preempt_point();
		count = RAM_BLOCK - g % RAM_BLOCK;
		count = count < r->to - g ? count : r->to - g;
		if (count == RAM_BLOCK && !s->gave_up)
			to = block(d, s, RAM_BLOCK);
		err = give(d, g, count, to, s);
	}
	return err;
}

mfn_t
nested_block(struct domain *d, uint64_t frames_wanted)
{
	struct spare s = { MFN_NONE, false };
	mfn_t m = block(d, &s, frames_wanted);

	give_back(d, &s);
	return m;
}

int
nested_give_ram(struct domain *d, const struct ram_range *map)
{
	struct spare s = { MFN_NONE, false };
	int err = 0;

	for (unsigned i = RAM_RANGES; i-- > 0 && !err;)
		err = give_range(d, &map[i], &s);
	give_back(d, &s);
	return err;
}
