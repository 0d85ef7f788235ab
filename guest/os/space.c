/*
 * Address spaces: two-level page tables, demand paging, copy-on-write. All of them have the
 * kernel's page tables, or, with the word own=1, each has copies of its own, which lead to the same
 * frames.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023; 3A 4.3 "32-Bit Paging".
 */
#include <guest/os/os.h>

#define CR4_PSE    0x10u
#define KERNEL_PDE (KB >> 22)
#define ADDR       (~(PAGE - 1))

#define PTE_A 0x20u
#define PTE_D 0x40u

static int own_tables; /* each space has page tables of its own for the kernel, too */

const char stack_full[] = "the stack is full", no_memory[] = "memory has run out";

static void *
page_of(uint32_t entry)
{
	return (void *)((entry & ADDR) + KB);
}

static uint32_t
entry_of(const void *page, uint32_t bits)
{
	return ((uint32_t)page - KB) | bits;
}

/*
 * boot.asm has mapped 32 MiB twice, writable. Now: only RAM that exists, once, the kernel's text
 * read-only. With large pages a directory entry maps 4 MiB, and the text stays writable.
 */
void
space_init(uint32_t ram, int large_pages, int own)
{
	own_tables = own;
	if (large_pages)
		set_cr4(CR4_PSE);
	for (uint32_t i = 0; i < MAX_RAM / PAGE; i++) {
		uint32_t va = KB + i * PAGE;

		if (i * PAGE >= ram)
			kernel_tables[i] = 0;
		else if (va >= (uint32_t)text_start && va < (uint32_t)data_start)
			kernel_tables[i] &= ~PTE_W;
	}
	for (uint32_t i = 0; i < MAX_RAM >> 22; i++) {
		kernel_dir[i] = 0;
		if (large_pages && (i + 1) << 22 <= ram)
			kernel_dir[KERNEL_PDE + i] = i << 22 | PTE_PS | PTE_W | PTE_P;
	}
	space_load(NULL);
}

void
space_load(const struct space *s)
{
	load_cr3((uint32_t)(s ? s->dir : kernel_dir) - KB);
}

/* Whether this entry of a space's directory leads to a copy of one of the kernel's page tables. */
static int
is_own(uint32_t entry)
{
	return own_tables && entry & PTE_P && !(entry & PTE_PS);
}

/*
 * A copy of one of the kernel's page tables, for an entry of a directory; 0: there is no memory.
 * Nobody has used it yet.
 */
static uint32_t
own_copy(uint32_t entry)
{
	const uint32_t *from = page_of(entry);
	uint32_t *to = frame_get();

	for (int i = 0; to && i < 1024; i++)
		to[i] = from[i] & ~(PTE_A | PTE_D);
	return to ? entry_of(to, PTE_P | PTE_W) : 0;
}

int
space_new(struct space *s)
{
	int whole = 1;

	s->dir = frame_get();
	if (!s->dir)
		return -1;
	s->data = s->brk = 0;
	copy(s->dir + KERNEL_PDE, kernel_dir + KERNEL_PDE, (1024 - KERNEL_PDE) * 4);
	for (uint32_t i = KERNEL_PDE; i < 1024; i++) {
		if (!is_own(s->dir[i]))
			continue;
		s->dir[i] = whole ? own_copy(kernel_dir[i]) : 0;
		whole = whole && s->dir[i];
	}
	if (!whole)
		space_free(s);
	return whole ? 0 : -1;
}

/*
 * The place of a page-table entry, or NULL: no table (and no memory for one, if it should be made).
 */
static uint32_t *
entry_at(uint32_t *dir, uint32_t va, int make)
{
	uint32_t *pde = &dir[va >> 22];

	if (!(*pde & PTE_P)) {
		void *table = make ? frame_get() : NULL;

		if (!table)
			return NULL;
		*pde = entry_of(table, PTE_P | PTE_W | PTE_U);
	}
	return (uint32_t *)page_of(*pde) + (va >> 12 & 1023);
}

int
space_map(struct space *s, uint32_t va, void *page, uint32_t bits)
{
	uint32_t *pte = entry_at(s->dir, va, 1);

	if (!pte)
		return -1;
	*pte = entry_of(page, bits | PTE_P | PTE_U);
	return 0;
}

/* Shares the pages of one table; those that can be written become copy-on-write on both sides. */
static void
fork_table(uint32_t *to, uint32_t *from)
{
	for (int i = 0; i < 1024; i++) {
		if (!(from[i] & PTE_P))
			continue;
		if (from[i] & PTE_W)
			from[i] = (from[i] & ~PTE_W) | PTE_COW;
		to[i] = from[i];
		frame_share(page_of(from[i]));
	}
}

int
space_fork(struct space *child, struct space *parent)
{
	if (space_new(child))
		return -1;
	for (uint32_t i = 0; i < KERNEL_PDE; i++) {
		uint32_t *table;

		if (!(parent->dir[i] & PTE_P))
			continue;
		table = entry_at(child->dir, i << 22, 1);
		if (!table) {
			space_free(child);
			space_load(parent);
			return -1;
		}
		fork_table(table, page_of(parent->dir[i]));
	}
	child->data = parent->data;
	child->brk = parent->brk;
	space_load(parent); /* its writable entries are not any more */
	return 0;
}

void
space_free(struct space *s)
{
	for (uint32_t i = 0; i < KERNEL_PDE; i++) {
		uint32_t *table;

		if (!(s->dir[i] & PTE_P))
			continue;
		table = page_of(s->dir[i]);
		for (int k = 0; k < 1024; k++)
			if (table[k] & PTE_P)
				frame_put(page_of(table[k]));
		frame_put(table);
	}
	for (uint32_t i = KERNEL_PDE; i < 1024; i++)
		if (is_own(s->dir[i]))
			frame_put(page_of(s->dir[i]));
	frame_put(s->dir);
	s->dir = NULL;
}

static int
on_demand(const struct space *s, uint32_t va)
{
	return (va >= s->data && va < s->brk) || (va >= USER_TOP - STACK_MAX && va < USER_TOP);
}

static const char *
first_touch(struct space *s, uint32_t va)
{
	void *page;

	if (va < USER_TOP - STACK_MAX && va >= USER_TOP - STACK_MAX - STACK_GAP)
		return stack_full;
	if (!on_demand(s, va))
		return "nothing is there";
	page = frame_get();
	if (!page)
		return no_memory;
	if (space_map(s, va, page, PTE_W)) {
		frame_put(page);
		return no_memory;
	}
	return NULL;
}

static const char *
copy_on_write(uint32_t *pte, uint32_t va)
{
	void *old = page_of(*pte), *page = old;

	if (frame_refs(old) > 1) {
		page = frame_get();
		if (!page)
			return no_memory;
		copy(page, old, PAGE);
		frame_put(old);
	}
	*pte = entry_of(page, PTE_P | PTE_W | PTE_U);
	flush_page(va);
	return NULL;
}

/* Serves a fault of the space that is loaded. NULL: try again; else the program is at fault. */
const char *
space_fault(struct space *s, uint32_t va, uint32_t error)
{
	uint32_t *pte = va < KB ? entry_at(s->dir, va, 0) : NULL;

	if (va >= KB)
		return "that is the kernel's";
	if (!pte || !(*pte & PTE_P))
		return first_touch(s, va);
	if (!(error & ERR_W) || !(*pte & PTE_COW))
		return "it is read-only";
	return copy_on_write(pte, va);
}

/*
 * True if a program may read (or write) there. What is not present yet, the copy's faults will
 * bring.
 */
int
space_may(const struct space *s, uint32_t va, uint32_t bytes, int writes)
{
	uint32_t end = va + bytes;

	if (end < va)
		return 0;
	if (va >= (writes ? s->data : USER_MIN) && end <= s->brk)
		return 1;
	return va >= USER_TOP - STACK_MAX && end <= USER_TOP;
}

/* The length of a program's string, or -1 if it is not all in its memory or is not below `most`. */
int
space_string(const struct space *s, uint32_t va, uint32_t most)
{
	for (uint32_t n = 0; n < most; n++) {
		if (!space_may(s, va + n, 1, 0))
			return -1;
		if (!*(const char *)(va + n))
			return (int)n;
	}
	return -1;
}
