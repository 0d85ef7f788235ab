/*
 * The driver: frames in batches, for each call takes as long as a few frames do.
 */
#include <guest/pv/balloon/balloon.h>
#include <guest/pv/lib/memory.h>

#define BATCH   64u
#define NOWHERE (~0ul) /* as the mfn of a guest frame that is none */

/* The next guest frames that change, from `from` on, `n` of them. How many have. */
static uint64_t
change(struct balloon *b, enum xen_memory_op op, uint64_t from, uint64_t n)
{
	bool gives = op == XEN_XENMEM_decrease_reservation;
	uint64_t list[BATCH];
	int64_t done;

	for (uint64_t i = 0; i < n; i++)
		list[i] = gives ? b->mfn[from + n - 1 - i] : from + i;
	done = pv_reserve(op, list, n, 0);
	for (int64_t i = 0; i < done; i++)
		if (gives)
			b->mfn[from + n - 1 - (uint64_t)i] = NOWHERE;
		else
			b->mfn[from + (uint64_t)i] = list[i];
	return done < 0 ? 0 : (uint64_t)done;
}

static uint64_t
at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

/* The last ones go first, and come last: so that those that are there lie together. */
bool
balloon_to(struct balloon *b, uint64_t target)
{
	uint64_t has = (uint64_t)pv_reserved(XEN_XENMEM_current_reservation);

	while (has != target) {
		uint64_t n, in = b->first + b->count - b->out, done;

		if (has > target) {
			n = at_most(at_most(has - target, b->count - b->out), BATCH);
			done = change(b, XEN_XENMEM_decrease_reservation, in - n, n);
			b->out += done;
			has -= done;
		} else {
			n = at_most(at_most(target - has, b->out), BATCH);
			done = change(b, XEN_XENMEM_populate_physmap, in, n);
			b->out -= done;
			has += done;
		}
		if (!n || done < n)
			return false;
	}
	return true;
}
