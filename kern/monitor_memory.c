/*
 * Monitor commands about memory: mem, frames, walk. They take any address and never fault on it.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <inc/errno.h>
#include <kern/bootinfo.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/thread.h>

#define MIB        (1ul << 20)
#define OWNERS_MAX 16

static const char *const type_names[] = {
	[FRAME_RESERVED] = "reserved",
	[FRAME_FREE] = "free",
	[FRAME_HOST] = "host",
	[FRAME_GUEST] = "guest",
};

static void
print_range(const char *what, uint64_t from, uint64_t to, const char *more)
{
	printf("  %016lx-%016lx %9lu KiB  %s%s%s\n", from, to - 1, (to - from) / 1024, what,
	       *more ? " " : "", more);
}

static int
command_mem(int argc, char **argv)
{
	static const char *const kinds[] = { "?",           "RAM",      "reserved",
					     "ACPI tables", "ACPI NVS", "bad" };
	extern char __kernel_end[];
	uint64_t start;

	/* In the low half, out of reach of RIP-relative code. */
	__asm__("movabs $__boot_start, %0" : "=r"(start));

	printf("memory map from the loader:\n");
	for (unsigned i = 0; i < memory_range_count; i++) {
		const struct memory_range *r = &memory_ranges[i];

		print_range(kinds[r->type < ARRAY_LEN(kinds) ? r->type : 0], r->base,
			    r->base + r->length, "");
	}
	printf("in it:\n");
	print_range("kernel", start, (uint64_t)__kernel_end - KB, "");
	for (unsigned i = 0; i < module_count; i++)
		print_range("module", modules[i].paddr, modules[i].paddr + modules[i].size,
			    modules[i].name);
	printf("%lu of %lu frames are free (%lu MiB)\n", frames_free(), frame_count,
	       frames_free() * PAGE_SIZE / MIB);
	return 0;
}
MONITOR_COMMAND(command_mem, "mem", "", "the memory map, and what lies in it");

static int
command_frames(int argc, char **argv)
{
	uint64_t by_type[ARRAY_LEN(type_names)] = { 0 };
	struct {
		unsigned owner;
		uint64_t count;
	} owners[OWNERS_MAX] = { { 0, 0 } };
	unsigned owner_count = 0, i;
	uint64_t others = 0;

	for (const struct frame *f = frames; f < frames + frame_count; f++) {
		if ((f - frames) % (4 * PREEMPT_WORK) == 0)
			preempt_point();
		by_type[f->type % ARRAY_LEN(by_type)]++;
		if (f->type != FRAME_GUEST)
			continue;
		for (i = 0; i < owner_count && owners[i].owner != f->owner; i++)
			;
		if (i == OWNERS_MAX) {
			others++;
			continue;
		}
		owners[i].owner = f->owner;
		owners[i].count++;
		if (i == owner_count)
			owner_count++;
	}
	for (i = 0; i < ARRAY_LEN(by_type); i++)
		printf("  %-10s %9lu frames %9lu KiB\n", type_names[i], by_type[i],
		       by_type[i] * PAGE_SIZE / 1024);
	for (i = 0; i < owner_count; i++)
		printf("  of d%-6u %9lu frames\n", owners[i].owner, owners[i].count);
	if (others)
		printf("  of others  %9lu frames\n", others);
	return 0;
}
MONITOR_COMMAND(command_frames, "frames", "", "how many frames are what, and whose");

/* The bits of an entry, SDM 3A tables 4-15 to 4-20. */
static void
print_entry(const char *table, unsigned index, pte_t e)
{
	printf("  %-4s [%3u] %016lx", table, index, e);
	if (!(e & PTE_P)) {
		printf("  not present\n");
		return;
	}
	printf(" -> %013lx %s%s%s%s%s%s%s%s%s\n", PTE_ADDR(e), e & PTE_W ? " W" : " R",
	       e & PTE_U ? " U" : " S", e & PTE_NX ? " NX" : " X", e & PTE_A ? " A" : "",
	       e & PTE_D ? " D" : "", e & PTE_PWT ? " PWT" : "", e & PTE_PCD ? " PCD" : "",
	       e & PTE_PS ? " PS" : "", e & PTE_G ? " G" : "");
}

/* Walks from `root`; what the tables say is not believed: no table is read outside of RAM. */
static int
walk(mfn_t root, uint64_t va)
{
	static const char *const tables[] = { NULL, "PT", "PD", "PDPT", "PML4" };
	mfn_t table = root;
	pte_t e;

	for (int level = 4; level; level--) {
		unsigned shift = PAGE_SHIFT + 9 * (unsigned)(level - 1);
		unsigned index = va >> shift & 511;
		uint64_t in_page = (1ul << shift) - 1;

		if (!frame_of(table)) {
			printf("  the table at %016lx lies outside of memory\n",
			       mfn_to_hpa(table).v);
			return -EFAULT;
		}
		e = ((const pte_t *)mfn_ptr(table))[index];
		print_entry(tables[level], index, e);
		if (!(e & PTE_P))
			return 0;
		/* Bit 7 means "page" in a PD or PDPT only: SDM 3A 4.5.4. */
		if (level == 1 || (level < 4 && (e & PTE_PS))) {
			printf("  physical %016lx, in a page of %lu KiB\n",
			       (PTE_ADDR(e) & ~in_page) | (va & in_page), (in_page + 1) / 1024);
			return 0;
		}
		table = hpa_to_mfn(hpa(PTE_ADDR(e)));
	}
	return 0;
}

static int
command_walk(int argc, char **argv)
{
	uint64_t va, root = PTE_ADDR(read_cr3());

	if (argc < 2 || argc > 3 || parse_u64(argv[1], &va))
		return -EINVAL;
	if (argc == 3 && (parse_u64(argv[2], &root) || (root & PAGE_MASK)))
		return -EINVAL;
	/* Bits 63:47 are all equal: SDM 1 3.3.7.1 "Canonical Addressing". */
	if ((uint64_t)((int64_t)(va << 16) >> 16) != va) {
		printf("  %016lx is not canonical\n", va);
		return -EINVAL;
	}
	printf("  CR3  %21s %016lx\n", "", root);
	return walk(hpa_to_mfn(hpa(root)), va);
}
MONITOR_COMMAND(command_walk, "walk", "VA [ROOT]", "the page tables' way from VA to memory");
