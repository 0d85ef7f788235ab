/*
 * XENMEM_exchange: so many frames for as many others, a chunk at a time, which is an extent of the
 * larger kind. Of a chunk all are exchanged, or none.
 */
#include <inc/errno.h>
#include <vmm/audit.h>
#include <vmm/pv/reservation/reservation.h>

/* A chunk's: frames that go, and the first ones of extents that come. No guest runs meanwhile. */
static uint32_t going[PV_RUN_MAX], coming[PV_RUN_MAX];

struct chunk {
	uint64_t number;
	unsigned in_order, out_order, bits; /* of an extent */
	unsigned in_count, out_count;       /* of extents */
	uint64_t in_list, out_list;
};

/* As Xen looks at it: memory.c's order. */
static int
wrong(const struct vcpu *v, const struct xen_memory_exchange *x)
{
	unsigned in = x->in.extent_order, out = x->out.extent_order;

	if (in > PV_ORDER_MAX || out > PV_ORDER_MAX)
		return -EPERM;
	if (x->nr_exchanged > x->in.nr_extents || x->in.domid != x->out.domid ||
	    x->in.nr_extents > ~0ul >> in || x->out.nr_extents > ~0ul >> out ||
	    x->in.nr_extents << in != x->out.nr_extents << out)
		return -EINVAL;
	return pv_names_itself(v, x->in.domid);
}

/* ---- what goes ---- */

static void
restore(const struct vcpu *v, unsigned count)
{
	while (count)
		frames[going[--count]].owner = v->domain->id;
}

/* Nobody's, for as long as it is not known what becomes of it: so none is there twice. */
static int
claim(struct vcpu *v, const struct chunk *k)
{
	struct pv_types *t = ((struct pv *)v->engine_data)->types;
	unsigned count = 0;
	int err = 0;

	for (unsigned n = 0; n < k->in_count && !err; n++) {
		uint64_t first;

		if (pv_read(v, &first, k->in_list + (k->number * k->in_count + n) * sizeof(first),
			    sizeof(first)))
			err = -EFAULT;
		for (unsigned i = 0; i < 1u << k->in_order && !err; i++) {
			if (!pv_frame_idle(t, mfn(first + i))) {
				err = -EINVAL;
				break;
			}
			frames[first + i].owner = OWNER_HOST;
			going[count++] = (uint32_t)(first + i);
		}
	}
	if (err)
		restore(v, count);
	return err;
}

/* ---- what comes ---- */

static void
untake(const struct chunk *k, unsigned count)
{
	while (count)
		pv_frames_untake(mfn(coming[--count]), k->out_order);
}

static int
take(struct vcpu *v, const struct chunk *k)
{
	for (unsigned n = 0; n < k->out_count; n++) {
		mfn_t first = pv_frames_take(v->domain->id, k->out_order, k->bits);

		if (!mfn_ok(first)) {
			untake(k, n);
			return -ENOMEM;
		}
		coming[n] = (uint32_t)first.v;
	}
	return 0;
}

/* Where the guest frames' numbers were there are the machine frames' then. */
static int
tell(struct vcpu *v, const struct chunk *k, uint64_t pfn[])
{
	for (unsigned n = 0; n < k->out_count; n++) {
		uint64_t at = k->out_list + (k->number * k->out_count + n) * sizeof(*pfn);
		uint64_t first = coming[n];

		if (pv_read(v, &pfn[n], at, sizeof(pfn[n])) ||
		    pv_write(v, at, &first, sizeof(first)))
			return -EFAULT;
	}
	return 0;
}

static int
one_chunk(struct vcpu *v, const struct chunk *k)
{
	static uint64_t pfn[PV_RUN_MAX];
	unsigned in_frames = k->in_count << k->in_order;
	int err = claim(v, k);

	if (err)
		return err;
	err = take(v, k);
	if (!err && (err = tell(v, k, pfn)))
		untake(k, k->out_count);
	restore(v, in_frames);
	if (err)
		return err;
	for (unsigned n = 0; n < in_frames; n++)
		pv_frame_leave(v, mfn(going[n]));
	for (unsigned n = 0; n < k->out_count; n++)
		for (unsigned i = 0; i < 1u << k->out_order; i++)
			pv_frame_enter(v, mfn(coming[n] + i), pfn[n] + i);
	return 0;
}

int64_t
pv_exchange(struct vcpu *v, struct pv_call *c)
{
	struct xen_memory_exchange x;
	unsigned in, out, order;
	struct chunk k;
	int64_t err;

	if (pv_read(v, &x, c->arg[1], sizeof(x)))
		return -EFAULT;
	err = wrong(v, &x);
	if (err || x.nr_exchanged == x.in.nr_extents)
		return err;
	in = x.in.extent_order;
	out = x.out.extent_order;
	order = in > out ? in : out;
	k = (struct chunk){ .number = x.nr_exchanged >> (order - in),
			    .in_order = in,
			    .out_order = out,
			    .bits = x.out.mem_flags & XEN_MEMF_address_bits,
			    .in_count = 1u << (order - in),
			    .out_count = 1u << (order - out),
			    .in_list = x.in.extent_start,
			    .out_list = x.out.extent_start };
	for (; k.number < x.in.nr_extents >> (order - in) && !err; k.number += !err) {
		if (!pv_has_time(c, PV_TAKES_NEW, order)) {
			c->again = true;
			break;
		}
		err = one_chunk(v, &k);
	}
	x.nr_exchanged = k.number << (order - in);
	audit_now_and_then(v);
	if (pv_write(v, c->arg[1] + offsetof(struct xen_memory_exchange, nr_exchanged),
		     &x.nr_exchanged, sizeof(x.nr_exchanged))) {
		c->again = false;
		return -EFAULT;
	}
	return err;
}
