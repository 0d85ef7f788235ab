/*
 * A PV guest's descriptor tables. What the CPU reads are copies of Zeno's own, below the host's
 * descriptors in the GDT window and in the LDT window (kern/map.h): each entry is copied once, then
 * looked at, so that what the guest writes to its frames behind Zeno's back has no effect at all.
 *
 * A copy has code and data for ring 3 alone, accessed already, so that the CPU never writes there;
 * of gates and system segments there are none, nor stacks of 16 bits, to which an iret leaves bits
 * of the host's own rsp (vmm/te/rare/narrow.c). No limit needs a cut: the hole is above 4 GiB.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/pv.h>
#include <vmm/x86/descriptor.h>

#define PER_PAGE    (PAGE_SIZE / sizeof(uint64_t))
#define GDT_ENTRIES (GDT_GUEST_PAGES * PER_PAGE)
#define LDT_ENTRIES (LDT_WINDOW_PAGES * PER_PAGE)
_Static_assert(PV_TABLE_PAGES <= 32, "has_tables");

/* What of Zeno's own copy it is; false: no guest may have it. Xen discards type 0, too. */
static bool
make_safe(uint64_t *d)
{
	if (!(*d & DESC_P) || (!(*d & DESC_S) && desc_type(*d) == 0))
		*d = 0;
	else if (!(*d & DESC_S))
		return false;
	else
		*d |= DESC_DPL(3) | DESC_A | (*d & DESC_CODE ? 0 : DESC_DB);
	return true;
}

/* ---- which are shown ---- */

static struct vcpu *shown; /* whose tables the windows have; NULL: nobody's */

static void
show_page(unsigned n, uint64_t *page)
{
	static pte_t zeros; /* the host's page of zeros: what the windows have first */
	uint64_t va = n < GDT_GUEST_PAGES ? GDT_WINDOW + n * PAGE_SIZE
					  : LDT_WINDOW + (n - GDT_GUEST_PAGES) * PAGE_SIZE;
	pte_t *entry = page_entry(host_root, va, &(int){ 0 });

	zeros = zeros ? zeros : *entry;
	*entry = page ? mfn_to_hpa(ptr_mfn(page)).v | (zeros & ~PTE_ADDR(~0ul)) : zeros;
	invlpg(va);
}

void
pv_show_tables(struct vcpu *v)
{
	uint32_t change = (shown ? pv_of(shown)->has_tables : 0) | (v ? pv_of(v)->has_tables : 0);

	for (; change && shown != v; change &= change - 1)
		show_page((unsigned)__builtin_ctz(change),
			  v ? pv_of(v)->tables[__builtin_ctz(change)] : NULL);
	shown = v;
}

void
pv_free_tables(struct vcpu *v)
{
	if (shown == v)
		pv_show_tables(NULL);
	for (unsigned n = 0; n < PV_TABLE_PAGES; n++)
		host_page_put(pv_of(v)->tables[n]);
}

static void
replace(struct vcpu *v, unsigned n, uint64_t *page)
{
	host_page_put(pv_of(v)->tables[n]);
	pv_of(v)->tables[n] = page;
	pv_of(v)->has_tables &= ~(1u << n);
	pv_of(v)->has_tables |= (uint32_t)(page != NULL) << n;
	if (shown == v)
		show_page(n, page);
}

/* ---- whole tables ---- */

/* A copy of a page of the guest's; NULL: -ENOMEM, or an entry is none that it may have. */
static uint64_t *
copy_page(const void *from, int *err)
{
	uint64_t *page = host_page();

	*err = page ? 0 : -ENOMEM;
	if (!page)
		return NULL;
	memcpy(page, from, PAGE_SIZE);
	for (unsigned n = 0; n < PER_PAGE && !*err; n++)
		*err = make_safe(&page[n]) ? 0 : -EINVAL;
	if (!*err)
		return page;
	host_page_put(page);
	return NULL;
}

/* A frame of its own that is no page table. */
static bool
is_memory(struct vcpu *v, mfn_t m)
{
	const struct frame *f = pv_own_frame(pv_of(v)->types, m);

	return f && !pv_is_table(f);
}

static void
put_all(uint64_t *pages[], unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		host_page_put(pages[n]);
}

/* All of the new table is there before anything of the old one goes. */
int
pv_set_gdt(struct vcpu *v, const uint64_t list[], unsigned entries)
{
	unsigned count = (entries + PER_PAGE - 1) / PER_PAGE;
	uint64_t *pages[GDT_GUEST_PAGES];
	int err = 0;

	if (entries > GDT_ENTRIES)
		return -EINVAL;
	for (unsigned n = 0; n < count; n++) {
		pages[n] = NULL;
		if (is_memory(v, mfn(list[n])))
			pages[n] = copy_page(mfn_ptr(mfn(list[n])), &err);
		if (pages[n])
			continue;
		put_all(pages, n);
		return err ? err : -EINVAL;
	}
	for (unsigned n = 0; n < GDT_GUEST_PAGES; n++) {
		pv_of(v)->gdt_frames[n] = n < count ? mfn(list[n]) : MFN_NONE;
		replace(v, n, n < count ? pages[n] : NULL);
	}
	return 0;
}

int64_t
pv_call_set_gdt(struct vcpu *v, struct pv_call *c)
{
	unsigned entries = (unsigned)c->arg[1];
	uint64_t list[GDT_GUEST_PAGES];

	if (entries > GDT_ENTRIES)
		return -EINVAL;
	pv_charge(&c->budget, entries);
	if (pv_read(v, list, c->arg[0], (entries + PER_PAGE - 1) / PER_PAGE * sizeof(list[0])))
		return -EFAULT;
	return pv_set_gdt(v, list, entries);
}

static void
use_ldt(struct vcpu *v, uint64_t at, unsigned entries)
{
	pv_of(v)->ldt_at = at;
	pv_of(v)->ldt_entries = (uint16_t)entries;
	if (shown == v)
		gdt_set_ldt(LDT_WINDOW, pv_ldt_limit(v));
}

/* What lies at an address of its own: mmuext_op's SET_LDT. */
int
pv_set_ldt(struct vcpu *v, uint64_t at, uint64_t entries, unsigned *budget)
{
	unsigned count = (unsigned)((entries + PER_PAGE - 1) / PER_PAGE);
	uint64_t *pages[LDT_WINDOW_PAGES];

	if (entries > LDT_ENTRIES || at & PAGE_MASK ||
	    !pv_is_guests(at, entries * sizeof(uint64_t)))
		return -EINVAL;
	pv_charge(budget, entries);
	for (unsigned n = 0; n < count; n++) {
		const void *from = pv_at(v, at + n * PAGE_SIZE, PAGE_SIZE, NULL);
		int err = -EFAULT;

		pages[n] = from ? copy_page(from, &err) : NULL;
		if (pages[n])
			continue;
		put_all(pages, n);
		return err;
	}
	for (unsigned n = 0; n < count; n++)
		replace(v, GDT_GUEST_PAGES + n, pages[n]);
	use_ldt(v, at, (unsigned)entries);
	return 0;
}

uint32_t
pv_ldt_limit(const struct vcpu *v)
{
	unsigned entries = ((struct pv *)v->engine_data)->ldt_entries;

	return entries ? entries * (uint32_t)sizeof(uint64_t) - 1 : 0;
}

/* ---- one descriptor ---- */

/* The copies of what lies there in a frame: of the GDT's frames any, and where the LDT lies. */
static void
update_copies(struct vcpu *v, mfn_t m, unsigned index, uint64_t safe)
{
	struct pv *pv = pv_of(v);

	for (unsigned n = 0; n < GDT_GUEST_PAGES; n++)
		if (pv->gdt_frames[n].v == m.v && pv->tables[n])
			pv->tables[n][index] = safe;
	for (unsigned n = 0; n * PER_PAGE < pv->ldt_entries; n++)
		if (pv_at(v, pv->ldt_at + n * PAGE_SIZE, PAGE_SIZE, NULL) == mfn_ptr(m))
			pv->tables[GDT_GUEST_PAGES + n][index] = safe;
}

/* By machine address, in an ordinary frame of its own: nothing else may be written so. */
int64_t
pv_call_update_descriptor(struct vcpu *v, struct pv_call *c)
{
	uint64_t at = c->arg[0], safe = c->arg[1];
	mfn_t m = mfn(at >> PAGE_SHIFT);

	if (at & 7 || !is_memory(v, m) || !make_safe(&safe))
		return -EINVAL;
	((uint64_t *)mfn_ptr(m))[(at & PAGE_MASK) / 8] = c->arg[1];
	for_each_vcpu(each, v->domain) update_copies(each, m, (unsigned)(at & PAGE_MASK) / 8, safe);
	return 0;
}
