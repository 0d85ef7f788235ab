/*
 * Direct paging: the CPU walks the guest's own tables, which hold machine frames. What a table may
 * hold is checked when it is written (mmu_calls.c, types.h), and a page table is written by Zeno
 * alone: so nothing has to be looked at when the guest runs.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

static int
load(struct vcpu *v)
{
	return 0;
}

static void
settle(struct pv_types *t)
{
	for (unsigned budget = PV_BATCH; !pv_type_settle(t, &budget); budget = PV_BATCH)
		preempt_point();
}

static void
drop_root(struct pv_types *t, mfn_t *root)
{
	if (mfn_ok(*root))
		pv_type_put(t, *root);
	*root = MFN_NONE;
	settle(t);
}

/* What nobody uses has no type; a frame that is used all the same is the host's own bug. */
static void
check_idle(struct domain *d, bool pinned)
{
	struct pv_types *t = pv_of(d->vcpu)->types;

	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		const struct p2m_entry *e = p2m_entry(d, gfn(g));
		struct frame *f = e && e->type == P2M_RAM ? &frames[e->mfn] : NULL;

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		if (f && f->pinned && pinned) {
			f->pinned = false;
			pv_type_put(t, mfn(e->mfn));
			settle(t);
		}
		if (f && !pinned && (f->refs != 1 || f->type_refs || f->page_type))
			panic("d%u: frame %x is used %u times, and as %u %u times", d->id, e->mfn,
			      f->refs - 1, f->page_type, f->type_refs);
	}
}

void
pv_unpin_all(struct domain *d)
{
	struct pv_types *t = pv_of(d->vcpu)->types;

	pv_type_forget(t);
	settle(t);
	pv_domain_gather(d);
	check_idle(d, true);
}

/* The domain's tables are none any more, with all that they refer to: with its first vCPU. */
static void
free_tables(struct vcpu *v)
{
	struct pv *pv = pv_of(v);

	if (v->number || !pv || !pv->types)
		return;
	write_cr3(mfn_to_hpa(host_root).v); /* it may have one of them */
	pv_unpin_all(v->domain);
	pv_let_go(v->domain);
	for (struct vcpu *each = v; each && pv_of(each); each = each->next) {
		drop_root(pv->types, &pv_of(each)->kernel_root);
		drop_root(pv->types, &pv_of(each)->user_root);
	}
	pv_domain_unmapped(v->domain);
	check_idle(v->domain, false);
}

/* Which of the guest's frames an entry means; one that is not present may say anything. */
static uint64_t
guest_frame(pte_t entry)
{
	mfn_t m = mfn(PTE_ADDR(entry) >> PAGE_SHIFT);

	return frame_of(m) ? ((const uint64_t *)M2P_BASE)[m.v] : M2P_INVALID;
}

/*
 * ... by what Zeno itself knows: the guest may have said anything of its frames (mmu_update's
 * MACHPHYS_UPDATE), and must not lead a write to another one. No debugger writes a page table.
 */
static uint64_t
sure_frame(struct vcpu *v, pte_t entry, unsigned how)
{
	const struct frame *f = frame_of(mfn(PTE_ADDR(entry) >> PAGE_SHIFT));
	uint64_t pfn = guest_frame(entry);
	const struct p2m_entry *e = p2m_entry(v->domain, gfn(pfn));

	if (!e || e->type != P2M_RAM || f != &frames[e->mfn])
		return M2P_INVALID;
	return how & ACCESS_FORCE && pv_is_table(f) ? M2P_INVALID : pfn;
}

static int
translate(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault)
{
	const pte_t *entry = mfn_ok(v->root) ? pv_entry(v->root, a.v) : NULL;
	pte_t need = PTE_P | (how & ACCESS_WRITE ? PTE_W : 0);
	uint64_t pfn = M2P_INVALID;

	if (entry && (*entry & need) == need)
		pfn = sure_frame(v, *entry, how);
	*fault = (struct page_fault){ .address = a.v, .error = PF_U, .pending = true };
	fault->error |= (how & ACCESS_WRITE ? PF_W : 0) | (entry && *entry & PTE_P ? PF_P : 0);
	*out = gpa(pfn << PAGE_SHIFT | (a.v & PAGE_MASK));
	return pfn == M2P_INVALID ? -EFAULT : 0;
}

static bool
show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size)
{
	const pte_t *entry = mfn_ok(v->root) ? pv_entry(v->root, a.v) : NULL;

	if (entry)
		snprintf(buf, size, "%016lx: entry %016lx, guest frame %lx", a.v, *entry,
			 guest_frame(*entry));
	else
		snprintf(buf, size, "%016lx: no table of the guest's", a.v);
	return !line;
}

static void
begin_frame(struct frame *f, uint64_t pfn)
{
	f->next = NULL; /* which is type_refs, page_type and pinned */
	pv_set_place(f, pfn);
}

/* A PV guest has no video memory: its frames have numbers from 0 on. */
static int
give_ram(struct domain *d, const struct ram_range *map)
{
	uint64_t frames = d->ram >> PAGE_SHIFT;

	memset(d->map, 0, sizeof(d->map));
	d->map[0] = (struct ram_range){ 0, frames };
	return frames < PV_LOOSE ? ram_give_range(d, &d->map[0], begin_frame) : -ENOMEM;
}

static const struct mmu_mode direct_mode = {
	.name = "direct",
	.load = load,
	.free = free_tables,
	.translate = translate,
	.show = show,
	.give_ram = give_ram,
};
SET_ADD(mmu_modes, direct_mode);
