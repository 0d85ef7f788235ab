/*
 * What others grant, in the memory of a guest with page tables of its own: host_addr is a
 * guest-physical address, and the granter's frame comes behind it. What was there goes, as with
 * add_to_physmap; behind the unmap there is nothing, or, where its RAM is, memory as new.
 *
 * What counts is the use that the grant's entry has (grant.h); in the p2m such a frame is known by
 * its owner, who is another one, or the host. To be read alone it is as ROM is: a write is lost.
 */
#include <inc/errno.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/grant/grant.h>
#include <vmm/pv/hvm/hvm.h>

#define TAKES 16u /* of a call's budget: as in grant/calls.c */

/* NULL: there is no frame of anybody else's. */
static struct p2m_entry *
foreign_at(struct domain *d, uint64_t g)
{
	struct p2m_entry *e = p2m_entry(d, gfn(g));
	const struct frame *f =
		e && (e->type == P2M_RAM || e->type == P2M_ONES) ? frame_of(mfn(e->mfn)) : NULL;

	return f && f->type == FRAME_GUEST && f->owner != d->id ? e : NULL;
}

/* 0; -EBUSY, -ENOMEM. Of the machine's list of guest frames it is still its owner's. */
static int
put(struct domain *d, uint64_t g, mfn_t m, bool writes)
{
	int err = hvm_take_away(d, gfn(g));

	if (!err)
		err = p2m_set(d, gfn(g), m, P2M_ONES);
	if (!err && writes)
		p2m_entry(d, gfn(g))->type = P2M_RAM;
	return err;
}

static int
map(struct domain *d, struct pv_grants *by, struct xen_gnttab_map_grant_ref *m)
{
	const struct domain *granter = pv_domain_named(m->dom);
	struct pv_grants *of =
		granter && granter->state == DOMAIN_RUNNING ? pv_grants_of[granter->id] : NULL;
	bool writes = !(m->flags & XEN_GNTMAP_readonly);
	uint64_t g = m->host_addr >> PAGE_SHIFT;
	uint32_t held;
	mfn_t frame;
	int status;

	if (!of || of == by)
		return XEN_GNTST_bad_domain;
	if ((m->flags & ~XEN_GNTMAP_readonly) != XEN_GNTMAP_host_map)
		return XEN_GNTST_general_error;
	if (!g || m->host_addr & PAGE_MASK || !hvm_may_show(d, g) || foreign_at(d, g))
		return XEN_GNTST_bad_virt_addr;
	held = pv_handle_new(by);
	if (held == PV_NO_HANDLE)
		return XEN_GNTST_no_space;
	status = pv_grant_claim(of, m->ref, by, writes, &frame);
	if (!status && put(d, g, frame, writes)) {
		pv_grant_release(of, m->ref, frame, writes);
		status = XEN_GNTST_general_error;
	}
	if (status) {
		pv_handle_free(by, held);
		return status;
	}
	*pv_handle_at(by, held) =
		(struct pv_handle){ m->flags, m->ref, (uint32_t)frame.v, of->owner, 0 };
	m->handle = held;
	m->dev_bus_addr = 0;
	return XEN_GNTST_okay;
}

/* One of two that lead to the same frame, to read or to write, is as good as the other. */
static int
unmap(struct domain *d, struct pv_grants *by, const struct xen_gnttab_unmap_grant_ref *u)
{
	const struct pv_handle *h = pv_handle(by, u->handle);
	uint64_t g = u->host_addr >> PAGE_SHIFT;
	struct p2m_entry *e = u->host_addr & PAGE_MASK ? NULL : foreign_at(d, g);

	if (!h)
		return XEN_GNTST_bad_handle;
	if (!e)
		return XEN_GNTST_bad_virt_addr;
	if (e->mfn != h->mfn || (e->type == P2M_ONES) != !!(h->flags & XEN_GNTMAP_readonly) ||
	    d->mmu->gone(d, gfn(g)))
		return XEN_GNTST_general_error;
	e->type = P2M_NONE;
	pv_handle_end(by, u->handle);
	return XEN_GNTST_okay;
}

static int
serve_map(struct vcpu *v, struct pv_grants *by, uint64_t at)
{
	struct xen_gnttab_map_grant_ref m;
	const struct xen_gnttab_unmap_grant_ref *undo;

	if (pv_read(v, &m, at, sizeof(m)))
		return -EFAULT;
	m.status = (int16_t)map(v->domain, by, &m);
	if (!pv_write(v, at, &m, sizeof(m)))
		return 0;
	undo = &(struct xen_gnttab_unmap_grant_ref){ m.host_addr, 0, m.handle, 0 };
	if (!m.status)
		unmap(v->domain, by, undo);
	return -EFAULT;
}

static int
serve_unmap(struct vcpu *v, struct pv_grants *by, uint64_t at)
{
	struct xen_gnttab_unmap_grant_ref u;

	if (pv_read(v, &u, at, sizeof(u)))
		return -EFAULT;
	u.status = (int16_t)unmap(v->domain, by, &u);
	return pv_write(v, at, &u, sizeof(u));
}

/* map_grant_ref, unmap_grant_ref: what is left of the requests goes on when it comes back. */
int64_t
hvm_grant_op(struct vcpu *v, struct pv_call *c)
{
	bool maps = (uint32_t)c->arg[0] == XEN_GNTTABOP_map_grant_ref;
	struct pv_grants *by = pv_grants_of[v->domain->id];
	int err = 0;

	if ((int32_t)c->arg[2] < 0)
		return -EINVAL;
	for (; (uint32_t)c->arg[2] && !err; c->arg[2]--) {
		c->again = c->budget < TAKES;
		if (c->again)
			break;
		c->budget -= TAKES;
		err = (maps ? serve_map : serve_unmap)(v, by, c->arg[1]);
		c->arg[1] += maps ? sizeof(struct xen_gnttab_map_grant_ref)
				  : sizeof(struct xen_gnttab_unmap_grant_ref);
	}
	return err;
}

/* It has ended: nobody is to look for memory of its own there. */
static void
forget(struct domain *d, uint64_t from, uint64_t to)
{
	for (uint64_t g = from; g < to; g++) {
		struct p2m_entry *e = foreign_at(d, g);

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		if (e)
			e->type = P2M_NONE;
	}
}

void
hvm_grants_forget(struct domain *d)
{
	if (!pv_grants_of[d->id] || !pv_grants_of[d->id]->handles)
		return;
	forget(d, 0, ram_end(d) + HVM_BEHIND);
	forget(d, HVM_HIGH, HVM_HIGH + HVM_BEHIND);
}
