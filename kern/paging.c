/*
 * The host's page tables.
 *
 *   what                  where                 rights                          pages
 *   image: text           KB + physical         R X                             4 KiB
 *          rodata                               R
 *          data, bss                            R W (boot stack's guard: none)
 *   RAM and the first MiB DIRECT_MAP + physical R W; the image's text, .boot    2 MiB; 4 KiB where
 *                                               and rodata: R                   the image is
 *   frame table, M2P      FRAME_TABLE, M2P_BASE R W                             2 MiB, 4 KiB
 *   stacks                STACK_AREA            R W, a guard page below each    4 KiB
 *   GDT window 0-13, LDT  slot 260              R (a page of zeros)             4 KiB
 *   GDT window 14         slot 260              R W (the CPU sets a TSS busy)   4 KiB
 *
 * Only text is executable, nothing is both writable and executable, nothing here is a user's. The
 * identity map of entry.asm ends with paging_init(). There are no global pages: CR3 is loaded only
 * when vCPUs are switched, so little would be saved, and a stale entry could outlive its root.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <inc/errno.h>
#include <kern/boot/bootinfo.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>

#define TABLE_ENTRIES  512
#define LEVEL_SHIFT(l) (PAGE_SHIFT + 9 * ((l)-1))
#define BIG_PAGE       (1ul << LEVEL_SHIFT(2))
#define OWN_SLOT       260 /* the slot of the hole that a root may have for itself */

/* A and D are set from the start: so the CPU never writes to these tables. */
#define READ  (PTE_P | PTE_A | PTE_NX)
#define WRITE (READ | PTE_W | PTE_D)
#define EXEC  (PTE_P | PTE_A)

mfn_t host_root;

extern char __image_start[], __image_boot_end[], __text_start[], __text_end[];
extern char __rodata_start[], __rodata_end[], __data_start[], __kernel_end[];
extern char boot_stack_guard[];

static pte_t *
table_of(pte_t e)
{
	return hpa_ptr(hpa(PTE_ADDR(e)));
}

static unsigned
index_at(uint64_t va, int level)
{
	return va >> LEVEL_SHIFT(level) & (TABLE_ENTRIES - 1);
}

/*
 * The table behind *entry, made if need be; NULL: no memory. Rights are the leaf's to say, but U:
 * no table of the host's hole may ever lead a user anywhere.
 */
static pte_t *
next_table(pte_t *entry, uint64_t va)
{
	mfn_t f;

	if (!(*entry & PTE_P)) {
		f = frame_alloc(FRAME_HOST, OWNER_HOST);
		if (!mfn_ok(f))
			return NULL;
		*entry = mfn_to_hpa(f).v | PTE_P | PTE_W | PTE_A;
		if (va < SLOT(HOLE_FIRST_SLOT))
			*entry |= PTE_U;
	}
	ASSERT(!(*entry & PTE_PS));
	return table_of(*entry);
}

/* The entry for va at `level`, with the tables above it made; NULL: no memory. */
static pte_t *
make_entry(mfn_t root, uint64_t va, int level)
{
	pte_t *table = mfn_ptr(root);

	for (int l = 4; l > level; l--) {
		table = next_table(&table[index_at(va, l)], va);
		if (!table)
			return NULL;
	}
	return &table[index_at(va, level)];
}

int
page_map(mfn_t root, uint64_t va, mfn_t frame, pte_t flags)
{
	pte_t *entry = make_entry(root, va, 1);

	if (!entry)
		return -ENOMEM;
	*entry = mfn_to_hpa(frame).v | flags;
	invlpg(va);
	return 0;
}

pte_t *
page_entry(mfn_t root, uint64_t va, int *level)
{
	pte_t *entry = (pte_t *)mfn_ptr(root) + index_at(va, 4);

	for (*level = 4; *level > 1;) {
		if (!(*entry & PTE_P))
			return NULL;
		if (*level < 4 && (*entry & PTE_PS)) /* bit 7 is reserved in a PML4E */
			return entry;
		--*level;
		entry = table_of(*entry) + index_at(va, *level);
	}
	return entry;
}

void
page_unmap(mfn_t root, uint64_t va)
{
	int level;
	pte_t *entry = page_entry(root, va, &level);

	if (!entry)
		return;
	ASSERT(level == 1);
	*entry = 0;
	invlpg(va);
}

pte_t *
root_slot(mfn_t root, unsigned slot)
{
	return (pte_t *)mfn_ptr(root) + slot;
}

mfn_t
root_new(void)
{
	mfn_t root = frame_alloc(FRAME_HOST, OWNER_HOST);

	if (!mfn_ok(root))
		return MFN_NONE;
	for (unsigned slot = HOLE_FIRST_SLOT; slot <= HOLE_LAST_SLOT; slot++)
		*root_slot(root, slot) = *root_slot(host_root, slot);
	return root;
}

/* Frees the table behind `e`, which is at `level`, and those below it. Leaves are not ours. */
static void
free_tables(pte_t e, int level)
{
	if (!(e & PTE_P) || level == 1 || (level < 4 && (e & PTE_PS)))
		return;
	for (unsigned i = 0; level > 2 && i < TABLE_ENTRIES; i++)
		free_tables(table_of(e)[i], level - 1);
	frame_put(hpa_to_mfn(hpa(PTE_ADDR(e))));
}

void
root_free(mfn_t root)
{
	ASSERT(root.v != host_root.v && mfn_to_hpa(root).v != PTE_ADDR(read_cr3()));
	for (unsigned slot = 0; slot < HOLE_FIRST_SLOT; slot++)
		free_tables(*root_slot(root, slot), 4);
	if (*root_slot(root, OWN_SLOT) != *root_slot(host_root, OWN_SLOT))
		free_tables(*root_slot(root, OWN_SLOT), 4);
	frame_put(root);
}

static bool
is_big(uint64_t va)
{
	int level;
	pte_t *entry = page_entry(host_root, va, &level);

	return entry && (*entry & PTE_P) && level == 2;
}

/* Maps [va, va + size) to pa; big pages where both are aligned. The host can't live without. */
static void
map_range(uint64_t va, uint64_t pa, uint64_t size, pte_t flags)
{
	uint64_t step;

	for (uint64_t done = 0; done < size; done += step) {
		bool big = !((va + done) % BIG_PAGE) && !((pa + done) % BIG_PAGE) &&
			   size - done >= BIG_PAGE;
		pte_t *entry;

		step = big ? BIG_PAGE : PAGE_SIZE;
		if (is_big(va + done)) /* the firmware's ranges may overlap */
			continue;
		entry = make_entry(host_root, va + done, big ? 2 : 1);
		if (!entry)
			panic("no memory for the host's page tables");
		*entry = (pa + done) | flags | (big ? PTE_PS : 0);
	}
}

void *
table_area(uint64_t va, size_t bytes)
{
	size_t size = (bytes + PAGE_MASK) & ~PAGE_MASK;
	void *memory = boot_alloc(size, size >= BIG_PAGE ? BIG_PAGE : PAGE_SIZE);

	map_range(va, mfn_to_hpa(ptr_mfn(memory)).v, size, WRITE);
	return (void *)va;
}

static uint64_t
image_pa(const char *symbol)
{
	return (uint64_t)symbol - KB;
}

static void
map_image_part(const char *start, const char *end, pte_t flags)
{
	map_range((uint64_t)start, image_pa(start), (uint64_t)(end - start), flags);
}

static void
map_image(void)
{
	map_image_part(__text_start, __text_end, EXEC);
	map_image_part(__rodata_start, __rodata_end, READ);
	map_image_part(__data_start, boot_stack_guard, WRITE);
	map_image_part(boot_stack_guard + PAGE_SIZE, __kernel_end, WRITE);
}

/* [start, end) of physical memory, below or above the image. */
static void
map_direct(uint64_t start, uint64_t end)
{
	if (start < end)
		map_range(DIRECT_MAP + start, start, end - start, WRITE);
}

/*
 * Code must not be writable under its other name either, so around the image the pages are small.
 * They are mapped after the RAM, so what is there already must not be a big page: hence the two
 * pieces.
 */
static void
map_ram(uint64_t start, uint64_t end)
{
	uint64_t image = image_pa(__image_start) & ~(BIG_PAGE - 1);
	uint64_t image_end = (image_pa(__kernel_end) + BIG_PAGE - 1) & ~(BIG_PAGE - 1);

	map_direct(start, end < image ? end : image);
	map_direct(start > image_end ? start : image_end, end);
	for (uint64_t pa = start > image ? start : image; pa < end && pa < image_end;
	     pa += PAGE_SIZE)
		map_range(DIRECT_MAP + pa, pa, PAGE_SIZE, WRITE);
}

/* A part of the image, in the direct map. */
static void
map_readonly(const char *start, const char *end)
{
	map_range(DIRECT_MAP + image_pa(start), image_pa(start), (uint64_t)(end - start), READ);
}

static void
map_all_ram(void)
{
	map_ram(0, 1ul << 20); /* the screen is there too */
	for (unsigned i = 0; i < memory_range_count; i++) {
		const struct memory_range *r = &memory_ranges[i];
		uint64_t end = (r->base + r->length) & ~PAGE_MASK;

		if (r->type != MEMORY_RAM)
			continue;
		map_ram((r->base + PAGE_MASK) & ~PAGE_MASK, end < ram_limit() ? end : ram_limit());
	}
	map_readonly(__image_start, __image_boot_end);
	map_readonly(__text_start, __rodata_end);
}

/* The default of slot 260: no guest runs, so its descriptors are all zeros. */
static void
map_windows(void)
{
	uint64_t zeros = mfn_to_hpa(ptr_mfn(boot_alloc(PAGE_SIZE, PAGE_SIZE))).v;
	uint64_t host_gdt = mfn_to_hpa(ptr_mfn(boot_alloc(PAGE_SIZE, PAGE_SIZE))).v;

	for (unsigned i = 0; i < GDT_GUEST_PAGES; i++)
		map_range(GDT_WINDOW + i * PAGE_SIZE, zeros, PAGE_SIZE, READ);
	map_range(GDT_WINDOW + GDT_GUEST_PAGES * PAGE_SIZE, host_gdt, PAGE_SIZE, WRITE);
	for (unsigned i = 0; i < LDT_WINDOW_PAGES; i++)
		map_range(LDT_WINDOW + i * PAGE_SIZE, zeros, PAGE_SIZE, READ);
}

/*
 * The bits of SDM 3A 2.5 that the host runs with, all others off: ring 1 is supervisor to the
 * pager, so SMEP and SMAP would hit guests; UMIP would make sgdt & co. fault, which te wants to
 * show that they don't (te/rare/sensitive.c). PCIDE, PGE: see above.
 */
static void
set_control_registers(void)
{
	write_cr0(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE);
	write_cr4(CR4_PAE | CR4_MCE);
	wrmsr(MSR_EFER, (rdmsr(MSR_EFER) & ~(uint64_t)EFER_SCE) | EFER_NXE);
}

void
paging_init(void)
{
	set_control_registers();
	host_root = ptr_mfn(boot_alloc(PAGE_SIZE, PAGE_SIZE));
	/* All of the hole's tables now: a root of root_new() sees whatever is added later. */
	for (unsigned slot = HOLE_FIRST_SLOT; slot <= HOLE_LAST_SLOT; slot++)
		next_table(root_slot(host_root, slot), SLOT(slot));
	map_image();
	map_all_ram();
	map_windows();
	write_cr3(mfn_to_hpa(host_root).v);
}
