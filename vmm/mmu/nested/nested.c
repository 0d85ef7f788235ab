/*
 * Flat nested tables: what there is of RAM, mapped once.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/nested/nested.h>

#define ENTRIES        512u
#define PDPTE_RESERVED 0xfff00000000001e6ul /* of 52 bits of address */

/* NPT's are those of the host's own paging, with U=1: each access is a user's (APM 2 15.25.5). */
#define NPT_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
const struct nested_format nested_npt = { NPT_TABLE, NPT_TABLE | PTE_D };

/* SDM 3C 29.3.2: read, write, execute; a page has its memory type, too. */
#define EPT_R          (1ul << 0)
#define EPT_W          (1ul << 1)
#define EPT_X          (1ul << 2)
#define EPT_WRITE_BACK (6ul << 3)
const struct nested_format nested_ept = { EPT_R | EPT_W | EPT_X,
					  EPT_R | EPT_W | EPT_X | EPT_WRITE_BACK };

/* One page, with the tables above it. 0 or -ENOMEM. */
static int
map(mfn_t root, gfn_t g, mfn_t to, const struct nested_format *format)
{
	pte_t *table = mfn_ptr(root);

	for (unsigned shift = 27; shift; shift -= 9) {
		pte_t *entry = &table[g.v >> shift & (ENTRIES - 1)];

		if (!*entry) {
			mfn_t next = frame_alloc(FRAME_HOST, OWNER_HOST);

			if (!mfn_ok(next))
				return -ENOMEM;
			*entry = mfn_to_hpa(next).v | format->table;
		}
		table = mfn_ptr(hpa_to_mfn(hpa(PTE_ADDR(*entry))));
	}
	table[g.v & (ENTRIES - 1)] = mfn_to_hpa(to).v | format->page;
	return 0;
}

int
nested_init(struct vcpu *v, const struct nested_format *format)
{
	struct domain *d = v->domain;

	v->root = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(v->root))
		return -ENOMEM;
	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		const struct p2m_entry *e = p2m_entry(d, gfn(g));

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		if (e && e->type == P2M_RAM && map(v->root, gfn(g), mfn(e->mfn), format))
			return -ENOMEM;
	}
	return 0;
}

static void
nested_free(struct vcpu *v)
{
	if (mfn_ok(v->root))
		root_free(v->root);
	v->root = MFN_NONE;
}

/*
 * The CPU walks the guest's tables itself. But where Zeno has done the write to a control register
 * and PAE's topmost entries are in registers, it loads these, too, and refuses reserved bits (SDM
 * 3A 4.4.1, table 4-8). AMD's CPU in guest mode reads them with each walk, and looks at their bits
 * there (APM 2 15.25.10); QEMU's even marks them as accessed, which Intel's would refuse.
 */
static int
nested_load(struct vcpu *v)
{
	struct cpu_state *s = &v->state;
	uint64_t pdpte[4];

	tlb_flush(v);
	if (!v->engine->pae_registers || !(s->cr0 & CR0_PG) || !(s->cr4 & CR4_PAE) ||
	    s->efer & EFER_LMA)
		return 0;
	if (gpa_read(v->domain, gpa(s->cr3 & 0xffffffe0), pdpte, sizeof(pdpte)))
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_LEN(pdpte); i++)
		if (pdpte[i] & PTE_P && pdpte[i] & PDPTE_RESERVED)
			return -EINVAL;
	memcpy(s->pdpte, pdpte, sizeof(pdpte));
	return 0;
}

static void
set_writable(struct domain *d, gfn_t g, bool writable)
{
	for_each_vcpu(v, d)
	{
		int level;
		pte_t *entry = page_entry(v->root, g.v << PAGE_SHIFT, &level);

		if (entry)
			*entry = writable ? *entry | PTE_W : *entry & ~PTE_W;
	}
	tlb_flush_all(d);
}

static void
nested_protect(struct domain *d, gfn_t g)
{
	set_writable(d, g, false);
}

static void
nested_unprotect(struct domain *d, gfn_t g)
{
	set_writable(d, g, true);
}

/* All of RAM is mapped: what the CPU refuses is a device's, or nobody's, or write-protected. */
static enum mmu_outcome
nested_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	return MMU_EMULATE;
}

static void
nothing(struct vcpu *v)
{
}

static void
invlpg(struct vcpu *v, gva_t a)
{
	tlb_drop(v, a);
}

static bool
nested_in_use(struct vcpu *v, gva_t a)
{
	return false; /* there is no window to be moved */
}

static bool
nested_show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size)
{
	struct page_fault fault;
	gpa_t at;

	if (line)
		return false;
	if (nested_walk(v, a, ACCESS_PROBE, &at, &fault))
		snprintf(buf, size, "%lx leads nowhere: #PF(%x)", a.v, fault.error);
	else
		snprintf(buf, size, "%lx leads to guest-physical %lx", a.v, at.v);
	return true;
}

static const struct mmu_mode nested_mode = {
	.name = "nested",
	.load = nested_load,
	.free = nested_free,
	.invlpg = invlpg,
	.nx = nothing,
	.protect = nested_protect,
	.unprotect = nested_unprotect,
	.window = nothing,
	.in_use = nested_in_use,
	.translate = nested_walk,
	.show = nested_show,
	.fault = nested_fault,
};
SET_ADD(mmu_modes, nested_mode);
