/*
 * Direct paging's hypercalls: entries of page tables, pins, roots, and what the CPU is to forget.
 *
 * One that is not finished has its arguments moved on, and a bit in its count says so (Xen's is the
 * same). The walk of types.h may be on its way then; whatever call comes next goes on with it
 * first.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/audit.h>
#include <vmm/pv/pv.h>

#define GOES_ON (1u << 31) /* in a count: what is in *done has been done before */
#define A_WHILE 8u         /* a request takes about as long as so many entries of a walk */

typedef int64_t one_fn(struct vcpu *v, const void *request, unsigned *budget);

/*
 * No translation is used between a walk's step, which sets v->flush, and the next entry. Its other
 * vCPUs, and other domains, have their roots loaded before they run, and to load one forgets all
 * (the host sets no G, nor lets a guest).
 */
static COLD void
tell_linear(struct vcpu *v, struct pv_types *t)
{
	if (!t->told && !v->domain->silent)
		printf("d%u %s: a page table that is its own level's, too (linear): Zeno has none "
		       "such: -EINVAL\n",
		       v->domain->id, v->domain->name);
	t->told = true;
	t->linear = false;
}

static inline void
told(struct vcpu *v, struct pv_types *t)
{
	if (t->linear)
		tell_linear(v, t);
	audit_now_and_then(v);
}

void
pv_types_told(struct vcpu *v)
{
	told(v, pv_of(v)->types);
}

/*
 * Of an array in guest memory, the next one: where it lies in the direct map, as long as it stays
 * within its page. What the guest maps there meanwhile is its affair: it is read once.
 */
static const void *
next_request(struct vcpu *v, uint64_t at, size_t size, uint32_t left, const void *last, void *copy)
{
	if (last && (at & PAGE_MASK) >= size && (at & PAGE_MASK) + size <= PAGE_SIZE)
		return (const uint8_t *)last + size;
	if (left == 1) /* to look where it lies takes longer than to have it copied */
		return pv_read(v, copy, at, size) ? NULL : copy;
	return pv_at(v, at, size, copy);
}

static int64_t
each(struct vcpu *v, struct pv_call *c, size_t size, one_fn *one)
{
	uint32_t left = (uint32_t)c->arg[1] & ~GOES_ON, done = 0;
	uint64_t at = c->arg[0];
	struct pv_types *t = pv_of(v)->types;
	const void *request = NULL;
	uint64_t copy[3];
	int64_t result = 0;

	if ((uint32_t)c->arg[3] != XEN_DOMID_SELF)
		return -EPERM;
	if (c->arg[1] & GOES_ON && c->arg[2] && pv_read(v, &done, c->arg[2], sizeof(done)))
		return -EFAULT;
	for (; left; left--, done++, at += size) {
		if ((pv_type_busy(t) && !pv_type_settle(t, &c->budget)) || c->budget < A_WHILE) {
			result = -EAGAIN;
			break;
		}
		c->budget -= A_WHILE;
		request = next_request(v, at, size, left, request, copy);
		result = request ? one(v, request, &c->budget) : -EFAULT;
		if (result)
			break;
	}
	if (t->asked && result != -EAGAIN)
		pv_type_forget(t);
	told(v, t);
	if (c->arg[2] && pv_write(v, c->arg[2], &done, sizeof(done)))
		return -EFAULT;
	if (result == -EAGAIN) {
		c->again = true;
		c->arg[0] = at;
		c->arg[1] = left | GOES_ON;
	}
	return result;
}

/* Linux's most often: one request, and nobody wants to know whether it was done. */
static inline int64_t
only_one(struct vcpu *v, struct pv_call *c, struct pv_types *t)
{
	struct xen_mmu_update request;
	int64_t result = -EFAULT;

	c->budget -= A_WHILE;
	if (!pv_read(v, &request, c->arg[0], sizeof(request)))
		result = pv_update_one(v, &request, &c->budget);
	told(v, t);
	if (result == -EAGAIN) {
		c->again = true;
		c->arg[1] |= GOES_ON;
	}
	return result;
}

int64_t
pv_call_mmu_update(struct vcpu *v, struct pv_call *c)
{
	struct pv_types *t = pv_of(v)->types;

	if (c->arg[1] == 1 && !c->arg[2] && (uint32_t)c->arg[3] == XEN_DOMID_SELF &&
	    c->budget >= A_WHILE && !pv_type_busy(t) && !t->asked)
		return only_one(v, c, t);
	return each(v, c, sizeof(struct xen_mmu_update), pv_update_one);
}

/* ---- mmuext_op ---- */

static int64_t
pin(struct pv_types *t, mfn_t m, enum pv_page_type type, unsigned *budget)
{
	struct frame *f = pv_own_frame(t, m);
	int err;

	if (!f || f->pinned)
		return -EINVAL;
	err = pv_type_get(t, m, type, budget);
	if (!err)
		f->pinned = true;
	return err;
}

static int64_t
unpin(struct pv_types *t, mfn_t m)
{
	struct frame *f = pv_own_frame(t, m);

	if (!f || !f->pinned)
		return -EINVAL;
	f->pinned = false;
	pv_type_put(t, m);
	return 0;
}

int
pv_new_root(struct vcpu *v, mfn_t m, bool user, unsigned *budget)
{
	struct pv *pv = pv_of(v);
	mfn_t *root = user ? &pv->user_root : &pv->kernel_root, old = *root;
	int err = 0;

	if (user && !m.v)
		m = MFN_NONE;
	else
		err = pv_type_get(pv->types, m, PV_L4, budget);
	if (err)
		return err;
	*root = m;
	pv_switch_root(v, false); /* it is the kernel that asks */
	if (mfn_ok(old))
		pv_type_put(pv->types, old);
	return 0;
}

/*
 * Of several vCPUs: all, or those in a list of bits. They have one CPU, so none but this one runs
 * now, and no interrupt has to reach the others: each forgets before its next instruction.
 */
static COLD int64_t
forget(struct vcpu *v, uint32_t cmd, uint64_t va, uint64_t list)
{
	bool page = cmd == XEN_MMUEXT_INVLPG_MULTI || cmd == XEN_MMUEXT_INVLPG_ALL;
	bool all = cmd == XEN_MMUEXT_TLB_FLUSH_ALL || cmd == XEN_MMUEXT_INVLPG_ALL;
	uint64_t who = ~0ul;

	if (!all && pv_read(v, &who, list, sizeof(who)))
		return -EINVAL;
	for_each_vcpu(each, v->domain) if (who >> each->number & 1) each->flush |=
		each != v || !page;
	if (page && who >> v->number & 1 && pv_is_guests(va, 1))
		invlpg(va);
	return 0;
}

static int64_t
one_op(struct vcpu *v, const void *request, unsigned *budget)
{
	const volatile struct xen_mmuext_op *r = request;
	uint32_t cmd = r->cmd;
	uint64_t arg = r->arg1;
	struct pv *pv = pv_of(v);

	switch (cmd) {
	case XEN_MMUEXT_PIN_L1_TABLE:
	case XEN_MMUEXT_PIN_L2_TABLE:
	case XEN_MMUEXT_PIN_L3_TABLE:
	case XEN_MMUEXT_PIN_L4_TABLE:
		return pin(pv->types, mfn(arg), PV_L1 + cmd - XEN_MMUEXT_PIN_L1_TABLE, budget);
	case XEN_MMUEXT_UNPIN_TABLE:
		return unpin(pv->types, mfn(arg));
	case XEN_MMUEXT_NEW_BASEPTR:
		return pv_new_root(v, mfn(arg), false, budget);
	case XEN_MMUEXT_NEW_USER_BASEPTR:
		return pv_new_root(v, mfn(arg), true, budget);
	case XEN_MMUEXT_SET_LDT:
		return pv_set_ldt(v, arg, r->arg2, budget);
	case XEN_MMUEXT_TLB_FLUSH_LOCAL:
		v->flush = true;
		return 0;
	case XEN_MMUEXT_INVLPG_LOCAL:
		if (pv_is_guests(arg, 1))
			invlpg(arg);
		return 0;
	case XEN_MMUEXT_TLB_FLUSH_MULTI:
	case XEN_MMUEXT_TLB_FLUSH_ALL:
	case XEN_MMUEXT_INVLPG_MULTI:
	case XEN_MMUEXT_INVLPG_ALL:
		return forget(v, cmd, arg, r->arg2);
	default:
		return -ENOSYS;
	}
}

int64_t
pv_call_mmuext_op(struct vcpu *v, struct pv_call *c)
{
	return each(v, c, sizeof(struct xen_mmuext_op), one_op);
}

/* ---- a domain begins ---- */

int
pv_types_begin(struct vcpu *v, mfn_t root)
{
	struct pv *pv = pv_of(v);
	unsigned budget = PV_BATCH;
	int err;

	while ((err = pv_type_get(pv->types, root, PV_L4, &budget)) == -EAGAIN) {
		preempt_point();
		budget = PV_BATCH;
		pv_type_settle(pv->types, &budget);
	}
	if (err)
		return err;
	v->root = pv->kernel_root = root;
	frames[root.v].pinned = true;
	return pv_type_get(pv->types, root, PV_L4, &budget); /* for the pin, too */
}
