/*
 * grant_table_op beyond the table itself: each operation takes an array of requests, and writes
 * into each what came of it. One that is not finished goes on with the requests that are left.
 *
 * A request is read once, and done by what was read.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <vmm/audit.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/grant/grant.h>
#include <vmm/pv/memory.h>
#include <vmm/pv/shared.h>

/* Of a request that has been read. True: the CPU is to forget what it knows of page tables. */
typedef bool one_fn(struct vcpu *v, struct pv_grants *by, void *request);

/* Who runs, or could; NULL. */
static struct pv_grants *
granter(uint16_t domid)
{
	const struct domain *d = pv_domain_named(domid);

	return d && d->state == DOMAIN_RUNNING ? pv_grants_of[d->id] : NULL;
}

/* An entry of level 1, by the address that it maps or by its own; NULL: there is none such. */
static pte_t *
entry_at(struct vcpu *v, uint64_t at, bool its_own)
{
	const struct frame *f;

	if (!its_own)
		return pv_entry(v->root, at);
	f = pv_own_frame(pv_of(v)->types, mfn(at >> PAGE_SHIFT));
	if (!f || f->page_type != PV_L1 || at % sizeof(pte_t))
		return NULL;
	return (pte_t *)mfn_ptr(mfn(at >> PAGE_SHIFT)) + (at & PAGE_MASK) / sizeof(pte_t);
}

static bool
by_entry(const struct pv_grants *by, uint32_t handle)
{
	const struct pv_handle *h = pv_handle(by, handle);

	return h && h->flags & XEN_GNTMAP_contains_pte;
}

/* Once for each granter: what no table of version 1 has. */
static COLD void
tell(struct pv_grants *of)
{
	const struct domain *d = of && of->odd && !of->told ? domain_find(of->owner) : NULL;

	if (!d)
		return;
	of->told = true;
	if (!d->silent)
		printf("d%u %s: a grant that is transitive, or of a part of a page: Zeno has tables of "
		       "version 1 alone\n",
		       d->id, d->name);
}

/*
 * What another request of this call is read by, it has to know now; the rest when the call is over.
 */
static bool
changed(struct vcpu *v, uint64_t at, bool its_own)
{
	if (its_own)
		v->flush = true;
	else
		invlpg(at);
	return true;
}

static bool
map(struct vcpu *v, struct pv_grants *by, void *request)
{
	struct xen_gnttab_map_grant_ref *m = request;
	bool its_own = m->flags & XEN_GNTMAP_contains_pte, was;
	struct pv_grants *of = granter(m->dom);
	pte_t *at = NULL;

	if (m->flags & XEN_GNTMAP_host_map)
		at = entry_at(v, m->host_addr, its_own);
	was = at && *at & PTE_P;
	m->status = (int16_t)(of ? pv_grant_map(by, of, at, m) : XEN_GNTST_bad_domain);
	if (m->status)
		tell(of);
	return was && changed(v, m->host_addr, its_own);
}

static COLD bool
undo_map(struct vcpu *v, struct pv_grants *by, void *request)
{
	const struct xen_gnttab_map_grant_ref *m = request;
	struct xen_gnttab_unmap_grant_ref u = { m->host_addr, m->dev_bus_addr, m->handle, 0 };

	if (!m->status)
		pv_grant_unmap(by, &u, entry_at(v, m->host_addr, by_entry(by, m->handle)), 0);
	return true;
}

static bool
unmap(struct vcpu *v, struct pv_grants *by, void *request)
{
	struct xen_gnttab_unmap_grant_ref *u = request;
	bool its_own = by_entry(by, u->handle);
	pte_t *at = u->host_addr ? entry_at(v, u->host_addr, its_own) : NULL;

	u->status = (int16_t)pv_grant_unmap(by, u, at, 0);
	return at && changed(v, u->host_addr, its_own);
}

/* Its entry goes from one place to another. */
static bool
replace(struct vcpu *v, struct pv_grants *by, void *request)
{
	struct xen_gnttab_unmap_and_replace *u = request;
	struct xen_gnttab_unmap_grant_ref one = { .host_addr = u->host_addr, .handle = u->handle };
	pte_t *at = entry_at(v, u->host_addr, false), *from = NULL;
	unsigned budget = 0;

	if (u->new_addr)
		from = entry_at(v, u->new_addr, false);
	if ((u->new_addr && (!from || from == at)) || by_entry(by, u->handle))
		u->status = XEN_GNTST_bad_virt_addr;
	else
		u->status = (int16_t)pv_grant_unmap(by, &one, at, from ? *from : 0);
	if (!u->status && from)
		pv_type_write(by->types, PV_L1, from, 0, &budget);
	return v->flush = true;
}

static bool
copy(struct vcpu *v, struct pv_grants *by, void *request)
{
	struct xen_gnttab_copy *c = request;
	struct pv_grants *from = c->source.domid == XEN_DOMID_SELF ? by : granter(c->source.domid);
	struct pv_grants *to = c->dest.domid == XEN_DOMID_SELF ? by : granter(c->dest.domid);

	c->status = (int16_t)pv_grant_copy(by, from, to, c);
	if (c->status) {
		tell(from);
		tell(to);
	}
	return false;
}

/* 0 or -EFAULT, and then it is undone. `near`: by the CPU, as long as what it knows is true. */
static INLINED int
serve(struct vcpu *v, struct pv_grants *by, uint64_t at, size_t size, size_t out, one_fn *one,
      one_fn *undo)
{
	bool near = pv_cpu_may(v, pv_of(v)->kernel_root, at, size);
	uint64_t r[5];
	const uint8_t *answer = (uint8_t *)r + out;
	int err = near ? pv_copy((uint64_t)r, at, size) : pv_read(v, r, at, size);

	if (err)
		return err;
	by->changed |= one(v, by, r);
	err = near && !v->flush ? pv_copy(at + out, (uint64_t)answer, size - out)
				: pv_write(v, at + out, answer, size - out);
	if (err && undo)
		by->changed |= undo(v, by, r);
	return err;
}

/* Written back from this field on; it takes as long as so many entries of a walk of types. */
#define OPS(OP)                                          \
	OP(map_grant_ref, dom, 16, map, undo_map)        \
	OP(unmap_grant_ref, status, 16, unmap, NULL)     \
	OP(unmap_and_replace, status, 24, replace, NULL) \
	OP(copy, status, 64, copy, NULL)
#define OP(which, out, takes, one, undo)                                            \
	static int serve_##which(struct vcpu *v, struct pv_grants *by, uint64_t at) \
	{                                                                           \
		_Static_assert(sizeof(struct xen_gnttab_##which) <= 40, "");        \
		return serve(v, by, at, sizeof(struct xen_gnttab_##which),          \
			     offsetof(struct xen_gnttab_##which, out), one, undo);  \
	}
OPS(OP)
#undef OP

static const struct op {
	int (*serve)(struct vcpu *v, struct pv_grants *by, uint64_t at);
	uint16_t size, takes;
} ops[] = {
#define OP(which, out, takes, one, undo) \
	[XEN_GNTTABOP_##which] = { serve_##which, sizeof(struct xen_gnttab_##which), takes },
	OPS(OP)
};

static int64_t
grant_op(struct vcpu *v, struct pv_call *c)
{
	uint32_t cmd = (uint32_t)c->arg[0];
	const struct op *op = &ops[cmd];
	struct pv_grants *by = pv_grants_of[v->domain->id];
	int err = 0;

	if (cmd >= ARRAY_LEN(ops) || !op->size)
		return pv_call_grant_table_op(v, c); /* of the table itself */
	if ((int32_t)c->arg[2] < 0)
		return -EINVAL;
	if (!by->types) { /* its first one */
		by->name = v->domain == pv_dom0() ? 0 : by->owner;
		by->types = pv_of(v)->types;
	}
	for (; (uint32_t)c->arg[2] && !err; c->arg[2]--, c->arg[1] += op->size) {
		c->again = (pv_type_busy(by->types) && !pv_type_settle(by->types, &c->budget)) ||
			   c->budget < op->takes;
		if (c->again)
			break;
		c->budget -= op->takes;
		err = op->serve(v, by, c->arg[1]);
	}
	v->flush |= by->changed;
	by->changed = false;
	audit_now_and_then(v);
	return err;
}

PV_HYPERCALL(grant_table_op, grant_op);

/* ---- with its domain ---- */

static int
create(struct domain *d)
{
	struct pv_grants *g = host_page();

	if (!g)
		return -ENOMEM;
	g->owner = (uint16_t)d->id;
	g->table = &pv_domain_of(d)->grants;
	g->free_handle = PV_NO_HANDLE;
	pv_grants_of[d->id] = g;
	return 0;
}

static void
free_grants(struct domain *d)
{
	struct pv_grants *g = pv_grants_of[d->id];

	if (!g)
		return;
	for (unsigned n = 0; n < PV_GRANT_FRAMES; n++)
		host_page_put(g->active[n]);
	for (unsigned n = 0; n < PV_HANDLE_FRAMES; n++)
		host_page_put(g->handle[n]);
	host_page_put(g);
	pv_grants_of[d->id] = NULL;
}

/* ---- ends ---- */

void
pv_orphan_free(mfn_t m)
{
	m2p_set(m, M2P_INVALID);
	frames[m.v].refs = 1;
	frame_put(m);
	pv_orphans--;
	if (pv_running)
		pv_running->flush = true; /* nobody reaches it by what the CPU remembers */
}

/*
 * dom0 may have had such a frame in its tables by control's MAP as well, and that use may have been
 * the last one.
 */
static void
collect(void)
{
	for (uint64_t m = 0; m < frame_count && pv_orphans; m++) {
		const struct frame *f = &frames[m];

		if (m % PREEMPT_WORK == 0)
			preempt_point();
		if (f->type == FRAME_GUEST && f->owner == OWNER_HOST && !f->refs && !f->type_refs)
			pv_orphan_free(mfn(m));
	}
}

/*
 * What is the host's is no memory of the domain's; but for a table that is pinned still, whose pin
 * is found by this when it is taken back.
 */
static void
forget_orphans(struct domain *d)
{
	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		struct p2m_entry *e = p2m_entry(d, gfn(g));

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		if (e && e->type == P2M_RAM && frames[e->mfn].owner != d->id &&
		    !frames[e->mfn].pinned)
			e->type = P2M_NONE;
	}
}

/* Somebody has looked at one of its entries to use it. */
static bool
has_granted(const struct pv_grants *of)
{
	for (unsigned n = 0; n < PV_GRANT_FRAMES; n++)
		if (of->active[n])
			return true;
	return false;
}

/* A table that is the host's would be one for ever: nobody else has a pin of its to take back. */
static void
ended(struct domain *d)
{
	struct pv_grants *of = pv_grants_of[d->id];

	if (!of || !has_granted(of))
		return;
	pv_unpin_all(d);
	if (pv_grants_orphan(of))
		forget_orphans(d);
}

static void
unmapped(struct domain *d)
{
	if (pv_grants_of[d->id] && pv_grants_of[d->id]->handles)
		pv_grants_unmap_all(pv_grants_of[d->id]);
	ended(d);
	if (pv_orphans)
		forget_orphans(d); /* tables of its, too, which are none any more */
	collect();
}

static const struct pv_part grants_part = {
	.create = create,
	.free = free_grants,
	.ended = ended,
	.unmapped = unmapped,
};
PV_PART(grants_part);
