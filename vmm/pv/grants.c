/*
 * The grant table itself: its frames are there, of version 1, and the domain may map them. What is
 * done by it is grant/'s.
 */
#include <inc/errno.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

/* As Xen says it: in the status, while the call itself is done. */
static int
status_of(const struct domain *d, uint16_t dom)
{
	return dom == XEN_DOMID_SELF || dom == d->id ? XEN_GNTST_okay : XEN_GNTST_bad_domain;
}

int
pv_grants_grow(struct domain *d, uint32_t frames)
{
	struct pv_grant_table *t = &pv_domain_of(d)->grants;

	if (frames > PV_GRANT_FRAMES)
		return XEN_GNTST_general_error;
	for (; t->frames < frames; t->frames++) {
		void *page = host_page();

		if (!page)
			return XEN_GNTST_general_error;
		t->frame[t->frames] = page;
		pv_share(d->id, page);
	}
	return XEN_GNTST_okay;
}

void
pv_grants_free(struct pv_grant_table *t)
{
	for (unsigned n = 0; n < t->frames; n++)
		host_page_put((void *)t->frame[n]);
}

static int64_t
setup_table(struct vcpu *v, uint64_t at)
{
	struct pv_domain *pd = pv_domain_of(v->domain);
	struct xen_gnttab_setup_table s;

	if (pv_read(v, &s, at, sizeof(s)))
		return -EFAULT;
	s.status = (int16_t)status_of(v->domain, s.dom);
	if (!s.status)
		s.status = (int16_t)pv_grants_grow(v->domain, s.nr_frames);
	for (uint32_t n = 0; n < s.nr_frames && !s.status; n++) {
		uint64_t mfn = ptr_mfn((void *)pd->grants.frame[n]).v;

		if (pv_write(v, s.frame_list + n * sizeof(mfn), &mfn, sizeof(mfn)))
			s.status = XEN_GNTST_bad_virt_addr;
	}
	return pv_write(v, at, &s, sizeof(s));
}

static int64_t
query_size(struct vcpu *v, uint64_t at)
{
	struct xen_gnttab_query_size q;

	if (pv_read(v, &q, at, sizeof(q)))
		return -EFAULT;
	q.status = (int16_t)status_of(v->domain, q.dom);
	if (!q.status) {
		q.nr_frames = pv_domain_of(v->domain)->grants.frames;
		q.max_nr_frames = PV_GRANT_FRAMES;
	}
	return pv_write(v, at, &q, sizeof(q));
}

static int64_t
set_version(struct vcpu *v, uint64_t at)
{
	struct xen_gnttab_set_version s;
	int64_t result;

	if (pv_read(v, &s, at, sizeof(s)))
		return -EFAULT;
	result = s.version == 1 ? 0 : s.version == 2 ? -ENOSYS : -EINVAL;
	s.version = 1;
	return pv_write(v, at, &s, sizeof(s)) ? -EFAULT : result;
}

static int64_t
get_version(struct vcpu *v, uint64_t at)
{
	struct xen_gnttab_get_version g;

	if (pv_read(v, &g, at, sizeof(g)))
		return -EFAULT;
	if (status_of(v->domain, g.dom))
		return -ESRCH;
	g.version = 1;
	return pv_write(v, at, &g, sizeof(g));
}

int64_t
pv_call_grant_table_op(struct vcpu *v, struct pv_call *c)
{
	static int64_t (*const ops[])(struct vcpu *, uint64_t) = {
		[XEN_GNTTABOP_setup_table] = setup_table,
		[XEN_GNTTABOP_query_size] = query_size,
		[XEN_GNTTABOP_set_version] = set_version,
		[XEN_GNTTABOP_get_version] = get_version,
	};
	uint32_t op = (uint32_t)c->arg[0];

	if (op >= ARRAY_LEN(ops) || !ops[op])
		return -ENOSYS;
	return (uint32_t)c->arg[2] == 1 ? ops[op](v, c->arg[1]) : -EINVAL;
}
