/*
 * memory_op beyond what a guest may ask of its memory (services.c): its reservation.
 *
 * A list is read as it is used, an extent at a time: what stands there when its turn comes is what
 * is done, and nothing of it is looked at twice.
 */
#include <inc/errno.h>
#include <vmm/audit.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/reservation/reservation.h>
#include <vmm/pv/shared.h>

bool
pv_has_time(struct pv_call *c, unsigned takes, unsigned order)
{
	uint64_t all = (uint64_t)takes << order;

	if (all > PV_BATCH)
		all = PV_BATCH; /* it has a whole exit, then */
	if (c->budget < all)
		return false;
	c->budget -= (unsigned)all;
	return true;
}

int
pv_names_itself(const struct vcpu *v, uint16_t domid)
{
	const struct domain *d = domid == XEN_DOMID_SELF ? v->domain : pv_domain_named(domid);

	if (!d)
		return -ESRCH;
	return d == v->domain ? 0 : -EPERM;
}

/* ---- one extent: true, it is done ---- */

static bool
may_have(const struct vcpu *v, unsigned order)
{
	return pv_domain_of(v->domain)->away >> order;
}

/* Frames have the numbers that it knows them by, and there are no others. */
static bool
each_far(struct vcpu *v, const struct xen_memory_reservation *r, uint64_t first,
	 bool (*one)(struct vcpu *v, uint64_t number))
{
	for (unsigned i = 0; i < 1u << r->extent_order; i++)
		if (!one(v, first + i))
			return false;
	return true;
}

static bool
give_back(struct vcpu *v, const struct xen_memory_reservation *r, uint64_t at)
{
	const struct pv_types *t = pv_of(v)->types;
	uint64_t first;

	if (pv_read(v, &first, at, sizeof(first)))
		return false;
	if (pv_of(v)->far)
		return each_far(v, r, first, pv_of(v)->far->leave);
	for (unsigned i = 0; i < 1u << r->extent_order; i++)
		if (!pv_frame_idle(t, mfn(first + i)))
			return false;
	for (unsigned i = 0; i < 1u << r->extent_order; i++)
		pv_frame_leave(v, mfn(first + i));
	return true;
}

/* Frames that the guest can't be told of it does not get. */
static bool
get(struct vcpu *v, const struct xen_memory_reservation *r, uint64_t at, uint64_t pfn)
{
	uint64_t first;
	mfn_t m;

	if (!may_have(v, r->extent_order))
		return false;
	if (pv_of(v)->far)
		return pfn != M2P_INVALID && each_far(v, r, pfn, pv_of(v)->far->enter);
	m = pv_frames_take(v->domain->id, r->extent_order, r->mem_flags & XEN_MEMF_address_bits);
	if (!mfn_ok(m))
		return false;
	first = m.v;
	if (r->extent_start && pv_write(v, at, &first, sizeof(first))) {
		pv_frames_untake(m, r->extent_order);
		return false;
	}
	for (unsigned i = 0; i < 1u << r->extent_order; i++)
		pv_frame_enter(v, mfn(m.v + i), pfn == M2P_INVALID ? pfn : pfn + i);
	return true;
}

static bool
increase(struct vcpu *v, const struct xen_memory_reservation *r, uint64_t at)
{
	return get(v, r, at, M2P_INVALID);
}

static bool
populate(struct vcpu *v, const struct xen_memory_reservation *r, uint64_t at)
{
	uint64_t pfn;

	if (!r->extent_start || r->mem_flags & XEN_MEMF_populate_on_demand ||
	    pv_read(v, &pfn, at, sizeof(pfn)))
		return false;
	return get(v, r, at, pfn);
}

/* ---- the calls ---- */

static const struct kind {
	bool (*one)(struct vcpu *v, const struct xen_memory_reservation *r, uint64_t at);
	unsigned takes;
} kinds[] = {
	[XEN_XENMEM_increase_reservation] = { increase, PV_TAKES_NEW },
	[XEN_XENMEM_decrease_reservation] = { give_back, PV_TAKES_IDLE },
	[XEN_XENMEM_populate_physmap] = { populate, PV_TAKES_NEW },
};

/* What Xen does not even begin with. */
static bool
is_refused(const struct vcpu *v, const struct xen_memory_reservation *r)
{
	unsigned bits = r->mem_flags & XEN_MEMF_address_bits;

	return r->nr_extents > UINT32_MAX >> XEN_MEMOP_EXTENT_SHIFT ||
	       r->extent_order > PV_ORDER_MAX || (bits && bits <= PAGE_SHIFT) ||
	       pv_names_itself(v, r->domid);
}

static int64_t
reserve(struct vcpu *v, struct pv_call *c, const struct kind *kind)
{
	uint64_t done = c->arg[0] >> XEN_MEMOP_EXTENT_SHIFT;
	struct xen_memory_reservation r;

	if (pv_read(v, &r, c->arg[1], sizeof(r)) || is_refused(v, &r))
		return (int64_t)done;
	for (; done < r.nr_extents; done++) {
		c->again = !pv_has_time(c, kind->takes, r.extent_order);
		if (c->again || !kind->one(v, &r, r.extent_start + done * sizeof(uint64_t)))
			break;
	}
	c->arg[0] = (c->arg[0] & XEN_MEMOP_CMD_MASK) | done << XEN_MEMOP_EXTENT_SHIFT;
	audit_now_and_then(v);
	return (int64_t)done;
}

/* Nothing is taken from tables while a walk is on its way: its frames are in use by half. */
static int64_t
change(struct vcpu *v, struct pv_call *c)
{
	uint64_t op = c->arg[0] & XEN_MEMOP_CMD_MASK;
	struct pv_types *t = pv_of(v)->types;

	if (pv_type_busy(t) && !pv_type_settle(t, &c->budget)) {
		c->again = true;
		return 0;
	}
	if (t->trusts) /* nobody knows which frames are in use */
		return op == XEN_XENMEM_exchange ? -ENOSYS : 0;
	return op == XEN_XENMEM_exchange ? pv_exchange(v, c) : reserve(v, c, &kinds[op]);
}

static int64_t
current(struct vcpu *v, uint64_t at)
{
	const struct domain *d = v->domain;
	uint16_t domid;
	int err;

	if (pv_read(v, &domid, at, sizeof(domid)))
		return -EFAULT;
	err = pv_names_itself(v, domid);
	return err ? err : (int64_t)((d->ram >> PAGE_SHIFT) - pv_domain_of(d)->away);
}

static int64_t
memory_op(struct vcpu *v, struct pv_call *c)
{
	uint64_t op = c->arg[0] & XEN_MEMOP_CMD_MASK;

	if (op < ARRAY_LEN(kinds) && kinds[op].one)
		return change(v, c);
	if (c->arg[0] != op) /* only of those is there a rest */
		return -EINVAL;
	if (op == XEN_XENMEM_exchange)
		return change(v, c);
	if (op == XEN_XENMEM_current_reservation)
		return current(v, c->arg[1]);
	if (op == XEN_XENMEM_maximum_ram_page)
		return (int64_t)frame_count - 1;
	return pv_call_memory_op(v, c);
}
PV_HYPERCALL(memory_op, memory_op);
