/*
 * BUILD: vmm/mem/paging_format.c vmm/mmu/shadow/pool.c vmm/mmu/shadow/rmap.c
 * solutions/2-shadow/walk.c solutions/2-shadow/rings.c solutions/2-shadow/adbits.c
 * solutions/2-shadow/fill.c solutions/2-shadow/fault.c solutions/2-shadow/tables.c
 * solutions/2-shadow/roots.c -DDIRECT_MAP=0x200000000000ul
 */
/*
 * Shadow page tables over a made-up machine, with guests of 2, 3 and 4 levels: random tables and
 * accesses; after each, a walk of our tables as the CPU would do it must find nothing that the
 * guest's do not allow.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <string.h>
#include <sys/mman.h>

#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/mmu/shadow/shadow.h>

#include "draw.h"
#include "tap.h"

#define FRAMES  4096u /* of the machine */
#define RAM     64u   /* frames of the guest: machine frames 0 to 63, in another order */
#define TABLES  12u   /* the first ones are tables, and may be pages as well */
#define INDICES 4u    /* entries of each table that are used */
#define ROUNDS  60000

static struct vcpu vcpu;
static struct p2m_entry p2m[P2M_LEAF_ENTRIES], *leaves[P2M_POINTERS] = { p2m },
					       **table_of_leaves[P2M_POINTERS] = { leaves };
static struct domain domain = { .p2m = table_of_leaves, .ram = RAM << PAGE_SHIFT, .vcpu = &vcpu };
static struct vcpu vcpu = { .domain = &domain };
static struct shadow_mmu mmu;
static uint32_t free_frames[FRAMES], free_count;
static unsigned limit = 24; /* shadows: soon used up */
static uint64_t flooded;

/* ---- the machine ---- */

mfn_t
frame_alloc(enum frame_type type, uint16_t owner)
{
	mfn_t f;

	(void)type, (void)owner;
	if (!free_count)
		return MFN_NONE;
	f = mfn(free_frames[--free_count]);
	memset(mfn_ptr(f), 0, PAGE_SIZE);
	return f;
}

void
frame_put(mfn_t f)
{
	free_frames[free_count++] = f.v;
}

pte_t *
root_slot(mfn_t root, unsigned slot)
{
	return (pte_t *)mfn_ptr(root) + slot;
}

int
page_track(struct domain *d, gfn_t g, enum page_track_why why)
{
	if (g.v >= RAM)
		return -1;
	p2m[g.v].track |= 1u << why;
	shadow_protect(d, g);
	return 0;
}

void
page_untrack(struct domain *d, gfn_t g, enum page_track_why why)
{
	(void)d;
	if (g.v < RAM)
		p2m[g.v].track &= ~(1u << why);
}

void
tlb_flush(struct vcpu *v)
{
	(void)v;
}

/* No interrupts here to let in. */
void
preempt_point(void)
{
}

void
panic(const char *fmt, ...)
{
	bail_out("panic: %s", fmt);
}

uint64_t
shadow_read_entry(void *ctx, gpa_t at, unsigned size)
{
	uint64_t entry = size == 4 ? 0xffffffff : ~0ull;

	(void)ctx;
	if (at.v >> PAGE_SHIFT < RAM)
		memcpy(&entry,
		       (uint8_t *)mfn_ptr(mfn(p2m[at.v >> PAGE_SHIFT].mfn)) + (at.v & PAGE_MASK),
		       size);
	return size == 4 ? (uint32_t)entry : entry;
}

void
shadow_write_entry(void *ctx, gpa_t at, uint64_t entry, unsigned size)
{
	(void)ctx;
	memcpy((uint8_t *)mfn_ptr(mfn(p2m[at.v >> PAGE_SHIFT].mfn)) + (at.v & PAGE_MASK), &entry,
	       size);
}

extern inline struct walk_memory guest_memory(struct shadow_mmu *m);

/* ---- what the CPU and the guest see ---- */

struct view {
	bool present;
	uint64_t rights, frame;
};

static struct view
cpu_sees(uint64_t a)
{
	unsigned top = mmu.top_level == 3 ? 0 : mmu.top;
	pte_t *table, entry;
	struct view v = { true, PTE_U | PTE_W, 0 };

	if (top == NO_SHADOW)
		return (struct view){ 0 };
	table = shadow_at_slot(&mmu, top)->table;
	for (unsigned level = mmu.top_level;; level--) {
		entry = table[a >> (12 + 9 * (level - 1)) & 511];
		if (!(entry & PTE_P) || entry & PTE_WINDOW)
			return (struct view){ 0 };
		v.rights &= entry;
		if (level == 1)
			break;
		table = mfn_ptr(mfn(PTE_ADDR(entry) >> PAGE_SHIFT));
	}
	v.frame = PTE_ADDR(entry) >> PAGE_SHIFT;
	return v;
}

static bool
contained(uint64_t a)
{
	struct walk_memory memory = guest_memory(&mmu);
	struct view v = cpu_sees(a);
	uint64_t gfn_at;
	struct walk w;

	if (!v.present)
		return true;
	if (guest_walk(&mmu.paging, gva(a), 0, &memory, &w))
		return false;
	gfn_at = w.gpa.v >> PAGE_SHIFT;
	for (unsigned l = w.last; l <= mmu.paging.format->levels; l++)
		if (l != mmu.paging.format->registers && !(w.step[l].entry & PTE_A))
			return false;
	if (gfn_at >= RAM || p2m[gfn_at].mfn != v.frame || v.rights & ~w.rights & PTE_U)
		return false;
	return !(v.rights & PTE_W) ||
	       (w.rights & PTE_W && w.step[w.last].entry & PTE_D && !p2m[gfn_at].track);
}

/* An address whose indices are small at every level. */
static uint64_t
address(void)
{
	const struct paging_format *g = mmu.paging.format;
	uint64_t a = drawn() & 0xfff;

	for (unsigned l = 1; l <= g->levels; l++)
		a |= drawn() % INDICES << g->level[l].shift;
	return a;
}

/* ---- operations ---- */

static void
write_table(void)
{
	unsigned size = mmu.paging.format->entry_size;
	gpa_t at = gpa((drawn() % TABLES << PAGE_SHIFT) + drawn() % INDICES * size);
	uint64_t entry = drawn() % (drawn() % 8 ? RAM : RAM + 8) << PAGE_SHIFT | (drawn() & 0x67);

	if (drawn() % 2)
		entry = drawn() % TABLES << PAGE_SHIFT | 7;
	if (drawn() % 16 == 0)
		entry = 0x87 | (drawn() & 0x60);
	shadow_write_entry(NULL, at, entry, size);
	if (p2m[at.v >> PAGE_SHIFT].track)
		shadow_table_written(&mmu, at, size);
}

static void
load_root(void)
{
	mmu.paging.root = drawn() % TABLES << PAGE_SHIFT;
	for (unsigned i = 0; i < 4; i++)
		mmu.paging.pdpte[i] = drawn() % TABLES << PAGE_SHIFT | (drawn() % 8 ? 1 : 0);
	shadow_load_root(&mmu);
}

static bool
access(void)
{
	struct walk_memory memory = guest_memory(&mmu);
	unsigned how = drawn() & (ACCESS_WRITE | ACCESS_USER);
	struct exit e = { .gva = address(), .access = (uint8_t)how };
	struct page_fault fault = { 0 };
	struct view v = cpu_sees(e.gva);
	struct walk w;
	bool good;

	if (v.present && (!(how & ACCESS_WRITE) || v.rights & PTE_W) &&
	    (!(how & ACCESS_USER) || v.rights & PTE_U))
		return true; /* the CPU does it alone */
	good = !guest_walk(&mmu.paging, gva(e.gva), how, &memory, &w);
	switch (shadow_fault(&vcpu, &e, &fault)) {
	case MMU_TRUE_FAULT:
		return !good && fault.address == e.gva && fault.error == w.error;
	case MMU_EMULATE:
		return good && (w.gpa.v >> PAGE_SHIFT >= RAM || how & ACCESS_WRITE);
	case MMU_FILLED:
		v = cpu_sees(e.gva);
		/*
		 * A frame that became a table on the way is tracked now: the write is emulated at
		 * the next fault.
		 */
		return good && v.present &&
		       (!(how & ACCESS_WRITE) || v.rights & PTE_W || p2m[RAM - 1 - v.frame].track);
	default:
		return false;
	}
}

static void
begin(enum paging_format_id id)
{
	mfn_t root = mfn(FRAMES - 1);

	free_count = 0;
	for (uint32_t f = RAM; f < FRAMES - 2; f++)
		free_frames[free_count++] = f;
	memset(&mmu, 0, sizeof(mmu));
	memset(mfn_ptr(mfn(0)), 0, RAM << PAGE_SHIFT);
	memset(mfn_ptr(mfn(FRAMES - 2)), 0, 2 * PAGE_SIZE);
	*root_slot(root, 0) = mfn_to_hpa(mfn(FRAMES - 2)).v | PTE_P;
	vcpu.root = root;
	domain.window = 0xffc00000;
	for (unsigned g = 0; g < RAM; g++)
		p2m[g] = (struct p2m_entry){ .mfn = RAM - 1 - g, .type = P2M_RAM };
	mmu.domain = &domain;
	mmu.vcpu = &vcpu;
	vcpu.mmu_data = &mmu;
	mmu.paging = (struct paging){ .format = &paging_formats[id], .address_bits = 40 };
	if (shadow_pool_init(&mmu))
		bail_out("no memory");
	mmu.limit = limit;
	mmu.top_level = id == PAGING_LONG ? 4 : 3;
	load_root();
}

static void
play(enum paging_format_id id)
{
	unsigned wrong = 0, beyond = 0, start;

	begin(id);
	start = free_count;
	for (unsigned n = 0; n < ROUNDS; n++) {
		mmu.paging.wp = n & 1024;
		if (drawn() % 3 == 0)
			write_table();
		else if (drawn() % 16 == 0)
			load_root();
		else
			wrong += !access();
		for (unsigned i = 0; i < 4; i++)
			beyond += !contained(address());
	}
	ok(!wrong, "%s: each fault is judged as it should be", paging_formats[id].name);
	ok(!beyond, "%s: nothing in the shadows that the guest's tables do not allow",
	   paging_formats[id].name);
	ok(mmu.stats.filled > 1000 && mmu.stats.emptied && mmu.stats.faults,
	   "%s: all kinds of things happened", paging_formats[id].name);
	diag("%lu filled, %lu faults, %lu emulated, %lu made, %lu times emptied, %lu flooded",
	     mmu.stats.filled, mmu.stats.faults, mmu.stats.emulated, mmu.stats.made,
	     mmu.stats.emptied, mmu.stats.flooded);
	flooded += mmu.stats.flooded;
	shadow_free_all(&mmu);
	for (unsigned g = 0; g < RAM; g++)
		beyond += p2m[g].track;
	ok(!beyond && !mmu.live, "%s: with all shadows gone nothing is tracked",
	   paging_formats[id].name);
	shadow_pool_free(&mmu);
	ok(free_count > start, "%s: the frames come back", paging_formats[id].name);
}

int
main(void)
{
	void *at = mmap((void *)DIRECT_MAP, FRAMES << PAGE_SHIFT, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at != (void *)DIRECT_MAP)
		bail_out("no memory at %#lx", DIRECT_MAP);
	for (unsigned id = 0; id < PAGING_FORMATS; id++)
		play(id);
	ok(flooded, "tables that are written and not used are given up");
	return done_testing();
}
