/*
 * A PV kernel and its page tables: new ones over all its memory, as a boot loader makes them; then
 * all that no table may be. A line where something is not as it should be.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>

bool long_calls(const char *words); /* long.c */
int guest_main(const struct xen_start_info *info);

#define BASE   0xffffffff80000000ul
#define PAGE   4096ul
#define FLAT   (PTE_P | PTE_W | PTE_U)
#define READ   (PTE_P | PTE_U)
#define EINVAL (-22)
#define L1S    24u /* more entries than Zeno looks at in one exit */

typedef uint64_t table_t[512] __attribute__((aligned(4096)));

static table_t top, third, second, first[L1S], page, other, bad;
static uint8_t shared[PAGE] __attribute__((aligned(4096)));
static unsigned checks;

static void
is(int64_t got, int64_t wanted, const char *what)
{
	checks++;
	check(got == wanted, what, (uint64_t)got);
}

static uint64_t
entry(const void *va, uint64_t flags)
{
	return pv_page(va) << 12 | flags;
}

static int64_t
pin(unsigned level, const void *table)
{
	return pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE + level - 1, pv_page(table));
}

static int64_t
unpin(const void *table)
{
	return pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, pv_page(table));
}

static void
protect(void *pages, unsigned count, uint64_t flags)
{
	for (unsigned n = 0; n < count; n++)
		is(pv_map((uint8_t *)pages + n * PAGE, entry((uint8_t *)pages + n * PAGE, flags)),
		   0, flags & PTE_W ? "memory again" : "read-only");
}

static void
clear(table_t table)
{
	for (unsigned n = 0; n < 512; n++)
		table[n] = 0;
}

/* ---- what a boot loader does ---- */

static bool
is_table(uint64_t va)
{
	return va - pv_info->pt_base < pv_info->nr_pt_frames * PAGE || va - (uint64_t)top < PAGE ||
	       va - (uint64_t)third < PAGE || va - (uint64_t)second < PAGE ||
	       va - (uint64_t)first < sizeof(first);
}

static void
fill(uint64_t pages)
{
	for (uint64_t n = 0; n < pages; n++) {
		uint64_t va = BASE + n * PAGE;

		first[n / 512][n % 512] = entry((void *)va, is_table(va) ? READ : FLAT);
	}
	for (unsigned n = 0; n < (pages + 511) / 512; n++)
		second[n] = entry(first[n], FLAT);
	third[510] = entry(second, FLAT);
	top[511] = entry(third, FLAT);
}

/* One call of three: the new ones are pinned and in use, the old ones are memory. */
static void
new_tables(void)
{
	uint64_t pages = pv_info->nr_pages < L1S * 512 ? pv_info->nr_pages : L1S * 512;
	uint64_t *old = (uint64_t *)pv_info->pt_base;
	const struct xen_mmuext_op ops[3] = {
		{ .cmd = XEN_MMUEXT_PIN_L4_TABLE, .arg1 = pv_page(top) },
		{ .cmd = XEN_MMUEXT_NEW_BASEPTR, .arg1 = pv_page(top) },
		{ .cmd = XEN_MMUEXT_UNPIN_TABLE, .arg1 = pv_page(old) },
	};
	uint32_t done = 0;

	fill(pages);
	is(pin(4, top), EINVAL, "pinning what can be written");
	protect(top, 1, READ);
	protect(third, 1, READ);
	protect(second, 1, READ);
	protect(first, L1S, READ);
	is(pv_call(XEN_mmuext_op, (uint64_t)ops, 3, (uint64_t)&done, XEN_DOMID_SELF), 0,
	   "three in one");
	is(done, 3, "how many it has done");
	for (unsigned n = 0; n < pv_info->nr_pt_frames; n++) {
		protect(old + n * 512, 1, FLAT);
		old[n * 512] = 0;
	}
	is(pv_map(first, entry(first, FLAT)), EINVAL, "writing a table");
	is(pin(4, top), EINVAL, "pinning twice");
	is(unpin(old), EINVAL, "unpinning twice");
	pv_printf("%lu pages by tables of my own; the old %lu are memory\n", pages,
		  pv_info->nr_pt_frames);
}

/* ---- what no table may be ---- */

static uint64_t
at(const uint64_t *word)
{
	return pv_page(word) << 12 | ((uint64_t)word & (PAGE - 1));
}

/* A table of one entry is pinned, or not; behind either it is memory again. */
static void
table(const char *what, unsigned level, uint64_t word, int64_t wanted)
{
	int64_t got;

	page[5] = word;
	protect(page, 1, READ);
	is(got = pin(level, page), wanted, what);
	if (!got)
		is(unpin(page), 0, what);
	protect(page, 1, FLAT);
	page[5] = 0;
}

static void
entries(void)
{
	struct xen_machphys_mapping m2p = { 0 };

	pv_call(XEN_memory_op, XEN_XENMEM_machphys_mapping, (uint64_t)&m2p, 0, 0);
	table("level 1: memory", 1, entry(shared, FLAT), 0);
	table("level 1: a table to be read", 1, entry(top, READ), 0);
	table("level 1: itself to be read", 1, entry(page, READ), 0);
	table("level 1: without U", 1, entry(shared, PTE_P), 0);
	table("level 1: a table", 1, entry(top, FLAT), EINVAL);
	table("level 1: itself", 1, entry(page, FLAT), EINVAL);
	table("level 1: the shared page", 1, pv_info->shared_info | FLAT, 0);
	table("level 1: a page of Zeno's", 1, 0x100000 | READ, EINVAL);
	table("level 1: a page that there is not", 1, (m2p.max_mfn + 1) << 12 | READ, EINVAL);
	table("level 1: one far away", 1, 0xffffffffffful << 12 | READ, EINVAL);
	for (unsigned bit = 3; bit <= 8; bit += bit == 4 ? 3 : 1)
		table("level 1: PWT, PCD, PAT, G", 1, entry(shared, FLAT) | 1ul << bit, EINVAL);
	table("level 2: a table", 2, entry(first[0], FLAT), 0);
	table("level 2: PS", 2, entry(first[0], FLAT) | 0x80, EINVAL);
	table("level 2: memory", 2, entry(shared, FLAT), EINVAL);
	table("level 2: itself", 2, entry(page, FLAT), EINVAL);
	table("level 2: another of level 2", 2, entry(second, READ), EINVAL);
	table("level 2: the shared page", 2, pv_info->shared_info | FLAT, EINVAL);
	table("level 2: a page of Zeno's", 2, 0x100000 | READ, EINVAL);
	table("level 3: a table", 3, entry(second, FLAT), 0);
	table("level 3: PS", 3, entry(second, FLAT) | 0x80, EINVAL);
	table("level 3: one too low", 3, entry(first[0], FLAT), EINVAL);
	table("level 4: a table", 4, entry(third, FLAT), 0);
	table("level 4: a root", 4, entry(top, READ), EINVAL);
	table("level 4: a page of Zeno's", 4, 0x100000 | READ, EINVAL);
	for (unsigned level = 1; level <= 4; level++) {
		is(pv_mmuext(level - 1, pv_info->shared_info >> 12), EINVAL, "the shared page");
		is(pv_mmuext(level - 1, 0x100), EINVAL, "a page of Zeno's");
		is(pv_mmuext(level - 1, ~0ul), EINVAL, "no page");
	}
}

/* The hole of a root is Zeno's, whatever it said there. */
static void
hole(void)
{
	page[256] = page[271] = entry(shared, FLAT);
	protect(page, 1, READ);
	is(pin(4, page), 0, "a root with something in the hole");
	check(page[262] && page[256] == top[256], "the hole's slots", page[256]);
	for (unsigned slot = 256; slot < 272; slot++) {
		is(pv_update(at(&page[slot]), 0), EINVAL, "an entry of the hole");
		is(pv_update(at(&top[slot]), top[slot] ^ 1ul << 63), EINVAL, "... and in use");
	}
	is(unpin(page), 0, "that root");
	protect(page, 1, FLAT);
	check(!page[256] && !page[262], "nothing of Zeno's is left", page[262] != 0);
	clear(page);
}

/* One frame is of one type, by whoever uses it. */
static void
types(void)
{
	protect(page, 1, READ);
	is(pin(1, page), 0, "of level 1");
	is(pin(1, page), EINVAL, "twice");
	is(pin(2, page), EINVAL, "as of level 2");
	is(pv_mmuext(XEN_MMUEXT_NEW_BASEPTR, pv_page(page)), EINVAL, "as a root");
	is(pv_mmuext(XEN_MMUEXT_NEW_BASEPTR, pv_page(third)), EINVAL, "a table of level 3 as root");
	is(pv_update(at(&third[5]), entry(page, FLAT)), EINVAL, "below level 3");
	is(pv_update(at(&second[100]), entry(page, FLAT)), 0, "below level 2");
	is(unpin(page), 0, "without its pin");
	is(unpin(page), EINVAL, "... twice");
	is(pv_map(page, entry(page, FLAT)), EINVAL, "to be written");
	is(pv_update(at(&page[5]), entry(page, FLAT)), EINVAL, "... by itself");
	is(pv_update(at(&page[5]), entry(other, FLAT)), 0, "another page there");
	is(pv_map(other, entry(other, READ)), 0, "which is read-only elsewhere");
	is(pin(1, other), EINVAL, "and no table, since it can be written there");
	is(pv_update(at(&page[5]), entry(other, READ)), 0, "read-only there, too");
	is(pin(1, other), 0, "a table then");
	is(pv_update(at(&page[5]), entry(other, FLAT)), EINVAL, "which is not written");
	is(unpin(other), 0, "no table any more");
	is(pv_update(at(&second[100]), 0), 0, "nobody's");
	protect(page, 1, FLAT);
	protect(other, 1, FLAT);
	page[5] = 0;
}

/* What was good of a tree that is refused is what it was. */
static void
half_a_tree(void)
{
	protect(page, 1, READ);
	protect(other, 1, FLAT);
	protect(other, 1, READ);
	pv_map(page, entry(page, FLAT));
	page[0] = entry(other, FLAT);
	page[511] = entry(shared, FLAT);
	protect(page, 1, READ);
	is(pin(2, page), EINVAL, "its last entry is memory");
	protect(other, 1, FLAT);
	protect(page, 1, FLAT);
	page[0] = page[511] = 0;
}

static void
batches(void)
{
	struct xen_mmu_update four[4];
	uint32_t done = 9;

	protect(page, 1, READ);
	is(pin(1, page), 0, "a table to write to");
	for (unsigned n = 0; n < 4; n++)
		four[n] = (struct xen_mmu_update){ at(&page[n]), entry(shared, READ) };
	four[2].val = 0x100000 | READ;
	is(pv_call(XEN_mmu_update, (uint64_t)four, 4, (uint64_t)&done, XEN_DOMID_SELF), EINVAL,
	   "the third of four");
	check(done == 2 && page[1] && !page[2] && !page[3], "two are done", done);
	is(pv_update(at(&page[1]), entry(shared, READ) | 0x60), 0, "A and D");
	is(pv_update(at(&page[1]) | XEN_MMU_PT_UPDATE_PRESERVE_AD, entry(shared, FLAT)), 0, "W");
	check((page[1] & 0x62) == 0x62, "A and D stay", page[1]);
	is(pv_update(at(&page[1]) | 4, 0), EINVAL, "half an entry");
	is(pv_update(0x100000, 0), EINVAL, "an entry of Zeno's");
	is(pv_update(0x100000 | XEN_MMU_MACHPHYS_UPDATE, 0), EINVAL, "its place in the m2p");
	is(pv_update(~0ul << 12, 0), EINVAL, "an entry of no frame");
	is(pv_update(at(page) | XEN_MMU_MACHPHYS_UPDATE, 77), 0, "the m2p");
	check(((uint64_t *)XEN_VIRT_START)[pv_page(page)] == 77, "what it says", 0);
	is(pv_call(XEN_mmu_update, (uint64_t)four, 1, 0, 5), -1, "another domain's");
	is(pv_call(XEN_mmu_update, (uint64_t)four, 1, 0, 5ul << 16 | XEN_DOMID_SELF), -1, "tables");
	is(pv_call(XEN_mmu_update, (uint64_t)four, 0, 0, XEN_DOMID_SELF), 0, "none");
	is(pv_call(XEN_mmu_update, XEN_VIRT_START, 1, 0, XEN_DOMID_SELF), -14, "from the hole");
	is(pv_call(XEN_mmu_update, (uint64_t)four, 1, XEN_VIRT_START, XEN_DOMID_SELF), -14,
	   "to it");
	is(pv_call(XEN_mmu_update, ~0ul - 15, ~0u, 0, XEN_DOMID_SELF), -14, "without end");
	is(unpin(page), 0, "the table");
	protect(page, 1, FLAT);
	page[0] = page[1] = 0;
}

/* Of all vCPUs, where a list is wanted. */
static int64_t
flush(uint32_t cmd)
{
	static const uint64_t all = ~0ul;
	const struct xen_mmuext_op op = { cmd, 0, (uint64_t)top, (uint64_t)&all };

	return pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF);
}

static void
roots(void)
{
	is(pv_mmuext(XEN_MMUEXT_NEW_USER_BASEPTR, pv_page(top)), 0, "its user's, the same");
	is(unpin(top), 0, "a root in use needs no pin");
	is(pv_map(top, entry(top, FLAT)), EINVAL, "and is a table");
	is(pv_mmuext(XEN_MMUEXT_NEW_BASEPTR, pv_page(top)), 0, "once more");
	is(pv_mmuext(XEN_MMUEXT_NEW_USER_BASEPTR, 0), 0, "none for its user");
	is(pin(4, top), 0, "its pin");
	for (unsigned cmd = XEN_MMUEXT_TLB_FLUSH_LOCAL; cmd <= XEN_MMUEXT_INVLPG_ALL; cmd++)
		is(flush(cmd), 0, "a flush");
	is(pv_mmuext(99, 0), -38, "no such thing");
}

/* All of level 1 at once: more than Zeno does in one exit. */
static void
many(void)
{
	for (unsigned n = 8; n < L1S; n++) {
		is(pv_update(at(&second[n]), 0), 0, "out of use");
		protect(first[n], 1, FLAT);
		for (unsigned i = 0; i < 512; i++)
			first[n][i] = entry(i == 511 && n == L1S - 1 ? (void *)top : shared, FLAT);
		protect(first[n], 1, READ);
		page[n] = entry(first[n], FLAT);
	}
	protect(page, 1, READ);
	is(pin(2, page), EINVAL, "the last of many entries");
	is(pv_map(first[L1S - 1], entry(first[L1S - 1], FLAT)), 0, "which can be written");
	first[L1S - 1][511] = 0;
	protect(first[L1S - 1], 1, READ);
	is(pin(2, page), 0, "all of them are good");
	is(pv_map(first[9], entry(first[9], FLAT)), EINVAL, "and tables");
	is(unpin(page), 0, "all of them");
	for (unsigned n = 8; n < L1S; n++)
		protect(first[n], 1, FLAT);
	protect(page, 1, FLAT);
}

/* ---- between two parts of a walk ---- */

static void
load_root(uint64_t cr3)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

/* An upcall while a table is being counted: what the TLB knew of it as memory is no more. */
static void
meanwhile(struct pv_frame *f)
{
	pv_vcpu->upcall_pending = 0;
	if (f->vector == PV_EVENT)
		*(volatile uint64_t *)&first[8][0] = entry(top, FLAT);
	else
		caught(f);
}

/* A root that takes more than one exit, of which nothing is said to be forgotten; and no good one.
 */
static void
upcall_in_a_walk(void)
{
	for (unsigned n = 8; n < L1S; n++) {
		protect(first[n], 1, n > 8 ? READ : FLAT);
		page[n] = entry(first[n], FLAT);
	}
	protect(page, 1, READ);
	other[0] = entry(page, FLAT);
	other[1] = entry(shared, FLAT);
	protect(other, 1, READ);
	bad[0] = entry(other, FLAT);
	protect(bad, 1, READ);
	pv_call(XEN_vm_assist, XEN_VMASST_CMD_disable, XEN_VMASST_TYPE_writable_pagetables, 0, 0);
	pv_events_init();
	pv_handler = meanwhile;
	first[8][0] = 0;
	is(pv_call(XEN_update_va_mapping, (uint64_t)first[8], entry(first[8], READ), 0, 0), 0,
	   "not flushed");
	pv_vcpu->upcall_pending = 1;
	pv_vcpu->upcall_mask = 0;
	raises("a table that the TLB can write", load_root, pv_page(bad) << 12, 14, 3);
	pv_vcpu->upcall_mask = 1;
	pv_handler = caught;
	for (unsigned n = 8; n < L1S; n++)
		protect(first[n], 1, FLAT);
	protect(page, 1, FLAT);
	protect(other, 1, FLAT);
	protect(bad, 1, FLAT);
}

/* ---- writes as if there were no monitor ---- */

static void
write_at(uint64_t at)
{
	*(volatile uint64_t *)at = entry(shared, READ);
}

static void
write_table(uint64_t at)
{
	*(volatile uint64_t *)at = entry(top, FLAT);
}

static void
write_across(uint64_t at)
{
	*(volatile uint64_t *)(at + 4) = 0;
}

/* Xen adds G to what its user may have. */
static uint64_t
own(uint64_t word)
{
	return word & ~0x100ul;
}

static void
writes(void)
{
	volatile uint64_t *word = &page[3];
	uint64_t old = entry(shared, FLAT), is_new = entry(shared, READ) | 0x20;
	bool was;

	pv_call(XEN_vm_assist, XEN_VMASST_CMD_disable, XEN_VMASST_TYPE_writable_pagetables, 0, 0);
	raises("without the assist", write_at, (uint64_t)word, 14, 3);
	is(pv_call(XEN_vm_assist, XEN_VMASST_CMD_enable, XEN_VMASST_TYPE_writable_pagetables, 0, 0),
	   0, "the assist");
	*word = old;
	is((int64_t)own(page[3]), (int64_t)old, "mov");
	__asm__ volatile("lock btrq $1, %0; setc %1" : "+m"(*word), "=q"(was) : : "cc", "memory");
	check(was && own(page[3]) == (old & ~PTE_W), "lock btr", page[3]);
	__asm__ volatile("lock cmpxchgq %2, %0; sete %1"
			 : "+m"(*word), "=q"(was)
			 : "r"(is_new), "a"(page[3])
			 : "cc", "memory");
	check(was && own(page[3]) == is_new, "lock cmpxchg", page[3]);
	__asm__ volatile("xchgq %1, %0" : "+m"(*word), "+r"(old) : : "memory");
	check(own(old) == is_new && own(page[3]) == entry(shared, FLAT), "xchg", page[3]);
	__asm__ volatile("andb $0xfd, %0; movl $0, 4+%0; pushq %0; popq %0" : "+m"(*word));
	check(own(page[3]) == entry(shared, READ), "parts, push and pop", page[3]);
	__asm__ volatile("rep stosq" : "+D"(word) : "a"(entry(shared, FLAT)), "c"(100) : "memory");
	check((uint64_t *)word == &page[103] && own(page[102]) == entry(shared, FLAT), "rep stosq",
	      page[102]);
	raises("a table for writing", write_table, (uint64_t)&page[3], 14, 3);
	raises("two entries at once", write_across, (uint64_t)&page[3], 14, 3);
	raises("a table of level 2", write_at, (uint64_t)&second[400], 14, 3);
	raises("a page that is read-only", write_at, (uint64_t)other, 14, 3);
	raises("no page", write_at, 0x1000, 14, 2);
	check(own(page[3]) == entry(shared, FLAT), "what was there stays", page[3]);
}

static void
direct_writes(void)
{
	pv_take_traps();
	pv_handler = caught;
	protect(other, 1, READ);
	protect(page, 1, READ);
	is(pin(1, page), 0, "a table to write to");
	writes();
	is(unpin(page), 0, "and is it no more");
	raises("what was a table a call before", write_at, (uint64_t)&page[3], 14, 3);
	check(own(page[3]) == entry(shared, FLAT), "which it has not written", page[3]);
	is(pin(1, shared), EINVAL, "what is counted once is given back once");
	protect(page, 1, FLAT);
	protect(other, 1, FLAT);
	clear(page);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	if (long_calls(info->cmd_line))
		return (int)wrong;
	new_tables();
	entries();
	hole();
	types();
	half_a_tree();
	batches();
	roots();
	direct_writes();
	many();
	upcall_in_a_walk();
	pv_printf("%u checks, %u wrong; the end\n", checks, wrong);
	return (int)wrong;
}
