/*
 * The domain builder: a plan of the guest's memory, and its filling in.
 */
#include <inc/addr.h>
#include <inc/xen.h>
#include <kern/kern.h>
#include <kern/paging.h>
#include <vmm/pv/builder.h>

#define INNER           (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define SLACK           (512ul << 10) /* at least so much is mapped behind the boot stack */
#define ROUND           (4ul << 20)   /* ... up to such an address */
#define STUB            32u           /* bytes of the hypercall page for each call */
#define INT3            0xcc
#define TOO_MANY_TABLES "its page tables take more than exercise 6.4's stand-in knows how to make"

static uint64_t
pages_of(uint64_t bytes)
{
	return (bytes + PAGE_MASK) >> PAGE_SHIFT;
}

/* The whole of it is the guest's: below the monitor's hole, or above. */
static bool
is_guests(uint64_t from, uint64_t pages)
{
	uint64_t bytes = pages << PAGE_SHIFT;

	if (from >= XEN_VIRT_END)
		return bytes - 1 <= ~from;
	return from < 1ul << 47 && bytes <= (1ul << 47) - from;
}

/* What is mapped beyond what is needed: as much as Xen's builder does, where there is as much. */
static uint64_t
with_slack(const struct pv_plan *p, uint64_t pages)
{
	uint64_t base = p->image->virt_base, end = base + (pages << PAGE_SHIFT) + SLACK;
	uint64_t n = (((end + ROUND - 1) & ~(ROUND - 1)) - base) >> PAGE_SHIFT;

	if (n > p->pages - (p->p2m_tables ? p->p2m_pages : 0))
		n = p->pages - (p->p2m_tables ? p->p2m_pages : 0);
	return is_guests(base, n) ? n : pages;
}

static uint64_t
slot_of(uint64_t va)
{
	return va >> 39;
}

/* It lies behind all else, for which there is room; no entry of the root is that of both. */
static const char *
plan_p2m(struct pv_plan *p)
{
	uint64_t at = p->image->init_p2m, base = p->image->virt_base;

	p->p2m_pfn = p->mapped;
	if (at & PAGE_MASK || !is_guests(at, p->p2m_pages))
		return "its note INIT_P2M is no page's address, or the monitor's";
	if (slot_of(at + (p->p2m_pages << PAGE_SHIFT) - 1) >= slot_of(base) &&
	    slot_of(base + (p->mapped << PAGE_SHIFT) - 1) >= slot_of(at))
		return "its note INIT_P2M lies within the 512 GiB of its kernel's";
	return NULL;
}

/* Tables map themselves and the stack behind them: more of them may need one more. */
static const char *
plan_tables(struct pv_plan *p)
{
	uint64_t base = p->image->virt_base, needed = 0;

	if (p->image->init_p2m != PV_UNSET) { /* the root is the same */
		p->p2m_tables = pv_tables_for(p->image->init_p2m, p->p2m_pages);
		if (!p->p2m_tables--)
			return TOO_MANY_TABLES;
	}
	for (p->tables = 0; needed < p->tables_pfn + p->tables + 1;) {
		needed = p->tables_pfn + p->tables + 1;
		if (needed + (p->p2m_tables ? p->p2m_pages : 0) > p->pages)
			return "there is no room for it: give it more with mem=";
		if (!is_guests(base, needed))
			return "its memory would reach into the monitor's hole, or beyond all "
			       "addresses";
		p->mapped = with_slack(p, needed);
		p->tables = pv_tables_for(base, p->mapped);
		if (!p->tables)
			return TOO_MANY_TABLES;
		p->tables += p->p2m_tables;
	}
	p->stack_pfn = p->tables_pfn + p->tables;
	return p->p2m_tables ? plan_p2m(p) : NULL;
}

static const char *
check_image(const struct pv_image *i)
{
	if (i->entry - i->virt_base >= i->end)
		return "its entry lies outside of its image";
	if (i->hypercall_page == PV_UNSET)
		return NULL;
	if (i->hypercall_page & PAGE_MASK || i->hypercall_page - i->virt_base >= i->end)
		return "its hypercall page is none of its image's";
	return NULL;
}

const char *
pv_make_plan(struct pv_plan *p, const struct pv_image *i, uint64_t pages, const uint8_t *module,
	     uint64_t module_size)
{
	const char *wrong = check_image(i);
	uint64_t next = pages_of(i->end), module_pages;

	*p = (struct pv_plan){
		.image = i, .pages = pages, .module = module, .module_size = module_size
	};
	if (wrong)
		return wrong;
	if (pages > 1ul << 27 || module_size > pages << PAGE_SHIFT)
		return "there is no room for it: give it more with mem=";
	module_pages = pages_of(module_size);
	p->module_pfn = next;
	next += module_pages;
	if (i->mod_start_pfn) {
		p->unmapped_from = p->module_pfn;
		p->unmapped = module_pages;
	}
	p->p2m_pfn = next;
	p->p2m_pages = pages_of(pages * sizeof(uint64_t));
	p->info_pfn = next + (i->init_p2m == PV_UNSET ? p->p2m_pages : 0);
	p->store_pfn = p->info_pfn + 1;
	p->console_pfn = p->info_pfn + 2;
	p->tables_pfn = p->info_pfn + 3;
	return plan_tables(p);
}

/* To guest memory from `at` on: a page at a time, for they need not lie together. */
static void
copy(const struct pv_ops *ops, void *ctx, uint64_t at, const uint8_t *from, uint64_t size)
{
	while (size) {
		uint64_t offset = at & PAGE_MASK, n = PAGE_SIZE - offset;

		if (n > size)
			n = size;
		memcpy(ops->page(ctx, at >> PAGE_SHIFT) + offset, from, n);
		at += n;
		from += n;
		size -= n;
	}
}

/* xen.h, "HYPERCALLS": the number goes to EAX; syscall loses RCX and R11. */
static void
write_stub(uint8_t *stub, unsigned number)
{
	static const uint8_t call[] = { 0x51, 0x41, 0x53, 0xb8, 0,    0,    0,
					0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3 };
	static const uint8_t iret[] = { 0x51, 0x41, 0x53, 0x50, 0xb8, 0, 0, 0, 0, 0x0f, 0x05 };

	if (number == XEN_iret) {
		memcpy(stub, iret, sizeof(iret));
		stub[5] = (uint8_t)number;
	} else {
		memcpy(stub, call, sizeof(call));
		stub[4] = (uint8_t)number;
	}
}

static void
write_hypercall_page(uint8_t *page)
{
	memset(page, INT3, PAGE_SIZE);
	for (unsigned number = 0; number < XEN_HYPERCALL_COUNT; number++)
		write_stub(page + number * STUB, number);
}

static void
write_info(const struct pv_plan *p, const struct pv_ops *ops, void *ctx, uint64_t shared_info,
	   const char *words)
{
	struct xen_start_info *info = (void *)ops->page(ctx, p->info_pfn);

	_Static_assert(sizeof(*info) <= PAGE_SIZE, "one page");
	memcpy(info->magic, XEN_START_MAGIC, sizeof(XEN_START_MAGIC));
	info->nr_pages = p->pages;
	info->shared_info = shared_info;
	info->store_mfn = ops->mfn(ctx, p->store_pfn);
	info->console_mfn = ops->mfn(ctx, p->console_pfn);
	info->store_evtchn = p->store_port;
	info->console_evtchn = p->console_port;
	info->pt_base = pv_va(p, p->tables_pfn);
	info->nr_pt_frames = p->tables;
	info->mfn_list = pv_va(p, p->p2m_pfn);
	if (p->p2m_tables) {
		info->mfn_list = p->image->init_p2m;
		info->first_p2m_pfn = p->p2m_pfn;
		info->nr_p2m_frames = p->p2m_pages;
	}
	if (p->module_size) {
		info->flags = p->unmapped ? XEN_SIF_MOD_START_PFN : 0;
		info->mod_start = p->unmapped ? p->module_pfn : pv_va(p, p->module_pfn);
		info->mod_len = p->module_size;
	}
	snprintf(info->cmd_line, sizeof(info->cmd_line), "%s", words);
}

static void
put(const struct pv_ops *ops, void *ctx, uint64_t table, unsigned index, uint64_t pfn, pte_t flags)
{
	((pte_t *)ops->page(ctx, table))[index] = ops->mfn(ctx, pfn) << PAGE_SHIFT | flags;
}

void
pv_link_table(const struct pv_ops *ops, void *ctx, uint64_t table, unsigned index, uint64_t below,
	      unsigned level)
{
	put(ops, ctx, table, index, below, INNER);
	if (ops->is_table)
		ops->is_table(ctx, below, level);
}

void
pv_put_page(const struct pv_ops *ops, void *ctx, uint64_t table, unsigned index, uint64_t pfn,
	    bool writable)
{
	put(ops, ctx, table, index, pfn, writable ? INNER : INNER & ~(PTE_W | PTE_D));
}

struct pv_start
pv_build(const struct pv_plan *p, const struct pv_ops *ops, void *ctx, uint64_t shared_info,
	 const char *words)
{
	const struct pv_image *i = p->image;

	for (unsigned n = 0; n < i->segments; n++)
		copy(ops, ctx, i->segment[n].at, i->bytes + i->segment[n].offset,
		     i->segment[n].filesz);
	if (i->hypercall_page != PV_UNSET)
		write_hypercall_page(
			ops->page(ctx, (i->hypercall_page - i->virt_base) >> PAGE_SHIFT));
	copy(ops, ctx, p->module_pfn << PAGE_SHIFT, p->module, p->module_size);
	for (uint64_t pfn = 0; pfn < p->pages; pfn++) {
		uint64_t mfn = ops->mfn(ctx, pfn), at = pfn * sizeof(mfn);

		memcpy(ops->page(ctx, p->p2m_pfn + (at >> PAGE_SHIFT)) + (at & PAGE_MASK), &mfn,
		       sizeof(mfn));
	}
	write_info(p, ops, ctx, shared_info, words);
	pv_build_tables(p, ops, ctx);
	return (struct pv_start){ .rip = i->entry,
				  .rsp = pv_va(p, p->stack_pfn + 1),
				  .rsi = pv_va(p, p->info_pfn),
				  .root_pfn = p->tables_pfn };
}
