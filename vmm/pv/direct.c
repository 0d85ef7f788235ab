/*
 * Direct paging: the CPU walks the guest's own tables, which hold machine frames. What a table may
 * hold is checked when it is written, and a page table is written by Zeno alone: so nothing has to
 * be looked at when the guest runs.
 *
 * So far a frame's type is for ever: page tables are those that the builder made, and the guest
 * changes entries of level 1 by update_va_mapping. So what an entry refers to needs no count.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/pv.h>

#define AVAILABLE (7ul << 9 | 0x7fful << 52) /* bits that no CPU looks at: SDM 3A table 4-20 */
#define LEAF      (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_NX | AVAILABLE)
#define OPS_MAX   64u

pte_t *
pv_entry(mfn_t root, uint64_t va)
{
	int level;
	pte_t *entry = pv_is_guests(va, 1) ? page_entry(root, va, &level) : NULL;

	return entry && level == 1 ? entry : NULL;
}

/* Ordinary frames of the domain's own, and the page that it shares with Zeno; tables to be read. */
bool
pv_entry_is_allowed(const struct vcpu *v, pte_t entry)
{
	mfn_t m = mfn(PTE_ADDR(entry) >> PAGE_SHIFT);
	const struct frame *f = frame_of(m);

	if (!(entry & PTE_P))
		return true;
	if (!f || entry & ~(LEAF | PTE_ADDR(~0ul)) || !(entry & PTE_U))
		return false;
	if (m.v == ptr_mfn(((struct pv *)v->engine_data)->info).v)
		return true;
	return f->type == FRAME_GUEST && f->owner == v->domain->id &&
	       !(f->page_type != PV_ORDINARY && entry & PTE_W);
}

/*
 * No memory is more than one page's translation out of date: whatever the guest says of flushing.
 */
int64_t
pv_call_update_va_mapping(struct vcpu *v, struct pv_call *c)
{
	pte_t *entry = pv_entry(v->root, c->arg[0]);

	if (!entry || !pv_entry_is_allowed(v, c->arg[1]))
		return -EINVAL;
	*entry = c->arg[1];
	invlpg(c->arg[0]);
	if ((c->arg[2] & XEN_UVMF_FLUSHTYPE_MASK) == 1)
		v->flush = true;
	return 0;
}

/* A root that the guest names. */
static int64_t
new_root(struct vcpu *v, uint64_t number, bool user)
{
	const struct frame *f = frame_of(mfn(number));
	struct pv *pv = pv_of(v);

	if (user && !number) {
		pv->user_root = MFN_NONE;
		return 0;
	}
	if (!f || f->type != FRAME_GUEST || f->owner != v->domain->id || f->page_type != PV_L4)
		return -EINVAL;
	*(user ? &pv->user_root : &pv->kernel_root) = mfn(number);
	pv_switch_root(v, false); /* it is the kernel that asks */
	return 0;
}

static int64_t
one_op(struct vcpu *v, const struct xen_mmuext_op *op)
{
	switch (op->cmd) {
	case XEN_MMUEXT_NEW_BASEPTR:
		return new_root(v, op->arg1, false);
	case XEN_MMUEXT_NEW_USER_BASEPTR:
		return new_root(v, op->arg1, true);
	case XEN_MMUEXT_TLB_FLUSH_LOCAL:
		v->flush = true;
		return 0;
	case XEN_MMUEXT_INVLPG_LOCAL:
		if (pv_is_guests(op->arg1, 1))
			invlpg(op->arg1);
		return 0;
	default:
		return -ENOSYS;
	}
}

int64_t
pv_call_mmuext_op(struct vcpu *v, struct pv_call *c)
{
	uint32_t done = 0, count = (uint32_t)c->arg[1];
	int64_t result = 0;

	if ((uint16_t)c->arg[3] != XEN_DOMID_SELF)
		return -EPERM;
	if (count > OPS_MAX)
		return -E2BIG;
	for (; done < count && !result; done += !result) {
		struct xen_mmuext_op op;

		result = pv_read(v, &op, c->arg[0] + done * sizeof(op), sizeof(op));
		if (!result)
			result = one_op(v, &op);
	}
	if (c->arg[2] && pv_write(v, c->arg[2], &done, sizeof(done)))
		return -EFAULT;
	return result;
}

/* ---- the MMU mode ---- */

static int
load(struct vcpu *v)
{
	return 0;
}

static void
nothing(struct vcpu *v)
{
}

/* Which of the guest's frames an entry means; one that is not present may say anything. */
static uint64_t
guest_frame(pte_t entry)
{
	mfn_t m = mfn(PTE_ADDR(entry) >> PAGE_SHIFT);

	return frame_of(m) ? ((const uint64_t *)M2P_BASE)[m.v] : M2P_INVALID;
}

static int
translate(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault)
{
	const pte_t *entry = pv_entry(v->root, a.v);
	pte_t need = PTE_P | (how & ACCESS_WRITE ? PTE_W : 0);
	uint64_t pfn = M2P_INVALID;

	if (entry && (*entry & need) == need)
		pfn = guest_frame(*entry);
	*fault = (struct page_fault){ .address = a.v, .error = PF_U, .pending = true };
	*out = gpa(pfn << PAGE_SHIFT | (a.v & PAGE_MASK));
	return pfn == M2P_INVALID ? -EFAULT : 0;
}

static bool
show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size)
{
	const pte_t *entry = pv_entry(v->root, a.v);

	if (entry)
		snprintf(buf, size, "%016lx: entry %016lx, guest frame %lx", a.v, *entry,
			 guest_frame(*entry));
	else
		snprintf(buf, size, "%016lx: no table of the guest's", a.v);
	return !line;
}

/* A PV guest has no video memory: its frames have numbers from 0 on. */
static int
give_ram(struct domain *d, const struct ram_range *map)
{
	uint64_t frames = d->ram >> PAGE_SHIFT;

	memset(d->map, 0, sizeof(d->map));
	d->map[0] = (struct ram_range){ 0, frames };
	for (uint64_t g = 0; g < frames; g++) {
		mfn_t m;

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		m = frame_alloc(FRAME_GUEST, d->id);
		if (!mfn_ok(m))
			return -ENOMEM;
		frame_of(m)->next = NULL; /* which is type_refs, page_type and pinned */
		if (p2m_set(d, gfn(g), m, P2M_RAM)) {
			frame_put(m);
			return -ENOMEM;
		}
	}
	return 0;
}

static const struct mmu_mode direct_mode = {
	.name = "direct",
	.load = load,
	.free = nothing,
	.translate = translate,
	.show = show,
	.give_ram = give_ram,
	.one_vcpu = true,
};
SET_ADD(mmu_modes, direct_mode);
