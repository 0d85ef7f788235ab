/*
 * Monitor commands about memory: mem, frames.
 */
#include <kern/boot/bootinfo.h>
#include <kern/frame.h>
#include <kern/kern.h>
#include <kern/map.h>
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
		owner_count += i == owner_count;
	}
	for (i = 0; i < ARRAY_LEN(by_type); i++)
		printf("  %-10s %9lu frames %9lu KiB\n", type_names[i], by_type[i],
		       by_type[i] * PAGE_SIZE / 1024);
	for (i = 0; i < owner_count; i++)
		printf("  of d%-6u %9lu frames%s\n", owners[i].owner, owners[i].count,
		       owners[i].owner ? "" : ": who had them has ended, others have mapped them");
	if (others)
		printf("  of others  %9lu frames\n", others);
	return 0;
}
MONITOR_COMMAND(command_frames, "frames", "", "how many frames are what, and whose");
