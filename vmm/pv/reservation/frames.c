/*
 * Frames that come and go.
 */
#include <vmm/mem/p2m.h>
#include <vmm/pv/reservation/reservation.h>
#include <vmm/pv/shared.h>

bool
pv_frame_idle(const struct pv_types *t, mfn_t m)
{
	const struct frame *f = pv_own_frame(t, m);

	return f && f->type == FRAME_GUEST && f->refs == 1 && !f->type_refs && !f->pinned &&
	       f->page_type == PV_ORDINARY;
}

void
pv_frame_leave(struct vcpu *v, mfn_t idle)
{
	struct pv_domain *pd = pv_domain_of(v->domain);
	uint32_t place = pv_place(&frames[idle.v]);

	if (place == PV_LOOSE)
		pd->loose--;
	else
		p2m_entry(v->domain, gfn(place))->type = P2M_BALLOONED;
	pd->away++;
	m2p_set(idle, M2P_INVALID);
	frame_put(idle);
	v->flush = true; /* a guest need not have said so when it took its last entry away */
}

/* The place that a guest names may be none, or have a frame already: then the new one is loose. */
void
pv_frame_enter(struct vcpu *v, mfn_t fresh, uint64_t pfn)
{
	struct pv_domain *pd = pv_domain_of(v->domain);
	struct p2m_entry *e = NULL;

	if (pfn < v->domain->ram >> PAGE_SHIFT)
		e = p2m_entry(v->domain, gfn(pfn));
	if (e && e->type == P2M_BALLOONED) {
		*e = (struct p2m_entry){ .mfn = (uint32_t)fresh.v, .type = P2M_RAM };
		pv_set_place(&frames[fresh.v], pfn);
	} else {
		pv_set_place(&frames[fresh.v], PV_LOOSE);
		pd->loose++;
	}
	m2p_set(fresh, pfn);
	pd->away--;
}

/* ---- runs ---- */

/* Frames in the order in which the allocator has given them. It gives them back backward. */
static uint32_t taken[2 * PV_RUN_MAX];

static void
put_back(unsigned count)
{
	while (count)
		frame_put(mfn(taken[--count]));
}

static bool
take_one(uint16_t owner, unsigned n)
{
	mfn_t m = frame_alloc(FRAME_GUEST, owner);

	if (!mfn_ok(m))
		return false;
	frames[m.v].next = NULL; /* which is type_refs, page_type and pinned */
	taken[n] = (uint32_t)m.v;
	return true;
}

/* Whether the run that ends with this frame, up or down, has one that is wanted; its first one. */
static mfn_t
run_of(unsigned n, unsigned length, unsigned order, bool up)
{
	uint32_t size = 1u << order, first = up ? taken[n] - size + 1 : taken[n];

	return length >= size && first % size == 0 ? mfn(first) : MFN_NONE;
}

/*
 * The allocator knows of single frames alone, and has them in rows as a rule: of twice as many as
 * are wanted, one row begins where it should. What others have given back comes first, one by one:
 * so a short row is looked for among some dozens.
 */
#define AT_LEAST 64u
mfn_t
pv_frames_take(uint16_t owner, unsigned order, unsigned bits)
{
	unsigned most = 2u << order < AT_LEAST ? AT_LEAST : 2u << order;
	unsigned up = 0, down = 0, n;
	mfn_t first = MFN_NONE;

	for (n = 0; n < most && !mfn_ok(first) && take_one(owner, n); n++) {
		up = n && taken[n] == taken[n - 1] + 1 ? up + 1 : 1;
		down = n && taken[n] == taken[n - 1] - 1 ? down + 1 : 1;
		first = run_of(n, up, order, true);
		if (!mfn_ok(first))
			first = run_of(n, down, order, false);
	}
	if (mfn_ok(first) && bits && bits < 64 &&
	    mfn_to_hpa(mfn(first.v + (1u << order) - 1)).v >> bits)
		first = MFN_NONE;
	put_back(mfn_ok(first) ? n - (1u << order) : n);
	return first;
}

void
pv_frames_untake(mfn_t first, unsigned order)
{
	for (unsigned n = 1u << order; n-- > 0;)
		frame_put(mfn(first.v + n));
}

/* ---- the end ---- */

/* There are places for all that it has, since it never has more than it was made with. */
static void
gather(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);
	uint64_t place = 0;

	for (uint64_t m = 0; m < frame_count && pd->loose; m++) {
		struct frame *f = &frames[m];

		if (m % PREEMPT_WORK == 0)
			preempt_point();
		if (f->owner != d->id || f->type != FRAME_GUEST || pv_place(f) != PV_LOOSE)
			continue;
		for (; p2m_entry(d, gfn(place))->type == P2M_RAM; place++)
			if (place % PREEMPT_WORK == 0)
				preempt_point();
		p2m_set(d, gfn(place), mfn(m), P2M_RAM);
		pv_set_place(f, place);
		pd->loose--;
	}
}

static const struct pv_part reservation_part = { .gather = gather };
PV_PART(reservation_part);
