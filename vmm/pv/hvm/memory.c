/*
 * Memory of a guest with page tables of its own: what its pointers and its frames' numbers mean to
 * the services, and which frames of Zeno's it sees where.
 */
#include <inc/errno.h>
#include <inc/xen_memory.h>
#include <kern/frame.h>
#include <vmm/load/load.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>
#include <vmm/pv/hvm/hvm.h>

#define GFN_MAX (1ul << 40)

/* ---- pointers ---- */

/* As its kernel would reach it, without a fault of the guest's: the call says -EFAULT. */
static bool
is_address(uint64_t at, uint64_t len)
{
	return pv_is_canonical(at) &&
	       (!len || (pv_is_canonical(at + len - 1) && at + len - 1 >= at && len <= GFN_MAX));
}

static int
read(struct vcpu *v, void *to, uint64_t from, uint64_t len)
{
	return is_address(from, len) ? gva_read_as(v, gva(from), 0, to, len) : -EFAULT;
}

/* All of it, or nothing. */
static int
write(struct vcpu *v, uint64_t to, const void *from, uint64_t len)
{
	size_t one = 1, n;
	gpa_t at;

	if (!is_address(to, len))
		return -EFAULT;
	for (uint64_t done = 0; done < len; done += n) {
		n = in_page(gva(to + done), len - done);
		if (gva_to_gpa(v, gva(to + done), ACCESS_WRITE, &at) ||
		    !gpa_ptr(v->domain, at, &one))
			return -EFAULT;
	}
	for (uint64_t done = 0; done < len; done += n) {
		n = in_page(gva(to + done), len - done);
		gva_write_as(v, gva(to + done), 0, (const uint8_t *)from + done, n);
	}
	return 0;
}

/* ---- frames ---- */

/* Of its RAM alone: what Zeno has added is none that it may lend, or have written. */
static mfn_t
frame_at(struct domain *d, uint64_t g)
{
	size_t one = 1;
	void *at = g < d->ram >> PAGE_SHIFT ? gpa_ptr(d, gfn_to_gpa(gfn(g)), &one) : NULL;

	return at ? ptr_mfn(at) : MFN_NONE;
}

static mfn_t
frame(struct vcpu *v, uint64_t g)
{
	return frame_at(v->domain, g);
}

mfn_t
hvm_frame_granted(uint16_t owner, uint64_t number)
{
	return frame_at(domain_find(owner), number);
}

int
hvm_take_away(struct domain *d, gfn_t g)
{
	struct p2m_entry *e = p2m_entry(d, g);
	struct frame *f;
	int err;

	if (!e || e->type == P2M_NONE)
		return 0;
	if (e->type == P2M_BALLOONED) { /* it was none, and what comes is one */
		e->type = P2M_NONE;
		pv_domain_of(d)->away--;
		return 0;
	}
	if (e->type != P2M_RAM || e->track)
		return -EBUSY;
	f = &frames[e->mfn];
	if (f->type == FRAME_GUEST && (f->type_refs || f->refs != 1))
		return -EBUSY;
	err = d->mmu->gone(d, g);
	if (err)
		return err;
	e->type = P2M_NONE;
	m2p_set(frame_mfn(f), M2P_INVALID);
	frame_put(frame_mfn(f));
	return 0;
}

bool
hvm_may_show(const struct domain *d, uint64_t g)
{
	uint64_t end = ram_end(d);

	return ram_is(d, gfn(g)) || (g >= end + HVM_PAGES && g < end + HVM_BEHIND) ||
	       g - HVM_HIGH < HVM_BEHIND;
}

/* Behind g is this page; another one of Zeno's may have taken its place there. */
static bool
is_at(struct domain *d, const void *page, uint64_t g)
{
	const struct p2m_entry *e = g == HVM_NOWHERE ? NULL : p2m_entry(d, gfn(g));

	return e && e->type == P2M_RAM && e->mfn == ptr_mfn(page).v;
}

/* A page of Zeno's that is the guest's, too, at g and nowhere else any more. */
static int
show(struct domain *d, void *page, uint64_t g, uint64_t *at)
{
	int err = hvm_may_show(d, g) ? 0 : -EINVAL;

	if (err || is_at(d, page, g))
		return err;
	err = hvm_take_away(d, gfn(g));
	if (!err && is_at(d, page, *at))
		err = hvm_take_away(d, gfn(*at));
	if (err)
		return err;
	*at = HVM_NOWHERE;
	frame_of(ptr_mfn(page))->refs++;
	if (p2m_set(d, gfn(g), ptr_mfn(page), P2M_RAM)) {
		frame_put(ptr_mfn(page));
		return -ENOMEM;
	}
	*at = g;
	return 0;
}

static int64_t
add_to_physmap(struct vcpu *v, uint64_t from)
{
	struct pv_domain *pd = pv_domain_of(v->domain);
	struct xen_add_to_physmap a;

	if (pv_read(v, &a, from, sizeof(a)))
		return -EFAULT;
	if (a.domid != XEN_DOMID_SELF)
		return -EPERM;
	if (a.space > XEN_XENMAPSPACE_grant_table)
		return -ENOSYS;
	if (a.space == XEN_XENMAPSPACE_shared_info)
		return a.idx ? -EINVAL : show(v->domain, pd->shared, a.gpfn, &pd->hvm->shared_at);
	if (a.idx >= PV_GRANT_FRAMES)
		return -EINVAL;
	if (pv_grants_grow(v->domain, (uint32_t)a.idx + 1))
		return -ENOMEM;
	return show(v->domain, (void *)pd->grants.frame[a.idx], a.gpfn, &pd->hvm->grants_at[a.idx]);
}

/* Its memory, as its loader has told it (vmm/load/pvh). */
static int64_t
memory_map(struct vcpu *v, uint64_t at)
{
	const struct xen_e820 all[] = {
		{ .size = LOW_RAM_END, .type = XEN_E820_RAM },
		{ .base = HIGH_RAM, .size = v->domain->ram - HIGH_RAM, .type = XEN_E820_RAM },
	};

	return pv_tell_map(v, at, all, ARRAY_LEN(all));
}

/* ---- its reservation: as many as are RAM, but for those that it has given back ---- */

static bool
leave(struct vcpu *v, uint64_t g)
{
	struct domain *d = v->domain;
	const struct p2m_entry *e = p2m_entry(d, gfn(g));

	if (!ram_is(d, gfn(g)) || (e && e->type == P2M_BALLOONED) || hvm_take_away(d, gfn(g)) ||
	    p2m_set(d, gfn(g), mfn(0), P2M_BALLOONED))
		return false;
	pv_domain_of(d)->away++;
	return true;
}

/* It has it, and not only when it looks there. */
static bool
enter(struct vcpu *v, uint64_t g)
{
	struct domain *d = v->domain;
	struct p2m_entry *e = p2m_entry(d, gfn(g));
	size_t one = 1;

	if (!e || e->type != P2M_BALLOONED)
		return ram_is(d, gfn(g)); /* it has one */
	e->type = P2M_NONE;
	if (!gpa_ptr(d, gfn_to_gpa(gfn(g)), &one)) {
		e->type = P2M_BALLOONED;
		return false;
	}
	pv_domain_of(d)->away--;
	return true;
}

const struct pv_far hvm_far = { read, write, frame, hvm_hears, leave, enter };

int64_t
hvm_memory_op(struct vcpu *v, struct pv_call *c)
{
	uint64_t op = c->arg[0] & XEN_MEMOP_CMD_MASK;

	if (op == XEN_XENMEM_current_reservation || op == XEN_XENMEM_maximum_reservation ||
	    op == XEN_XENMEM_decrease_reservation || op == XEN_XENMEM_populate_physmap)
		return pv_call(v, c);
	switch (c->arg[0]) {
	case XEN_XENMEM_add_to_physmap:
		return add_to_physmap(v, c->arg[1]);
	case XEN_XENMEM_memory_map:
		return memory_map(v, c->arg[1]);
	default:
		return -ENOSYS;
	}
}
