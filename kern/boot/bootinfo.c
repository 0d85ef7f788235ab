/*
 * Reads the multiboot information. It may lie anywhere in the first 4 GiB: QEMU puts the strings
 * right behind the modules, where the boot allocator will soon be at work, so all is copied.
 *
 * MB = Multiboot Specification version 0.6.96.
 */
#include <kern/boot/bootinfo.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/boot/multiboot.h>

#define BOOT_MAPPED  (1ul << 30) /* entry.asm's direct map */
#define STRINGS_SIZE 16384

struct memory_range memory_ranges[MEMORY_RANGES_MAX];
unsigned memory_range_count;
struct module modules[MODULES_MAX];
unsigned module_count;
const char *boot_cmdline = "";

static char strings[STRINGS_SIZE];
static size_t strings_used;

/* The loader's memory, if the boot page tables show it. */
static const void *
loader_memory(uint64_t paddr, uint64_t size, const char *what)
{
	if (size > BOOT_MAPPED || paddr > BOOT_MAPPED - size)
		panic("the loader's %s at %lx lies above 1 GiB", what, paddr);
	return hpa_ptr(hpa(paddr));
}

static const char *
copy_string(uint32_t paddr, const char *what)
{
	const char *from = loader_memory(paddr, 1, what);
	char *copy = strings + strings_used;
	size_t size = strlen(from) + 1;

	if (size > sizeof(strings) - strings_used)
		panic("the loader's command lines are too long: more than %d characters in all",
		      STRINGS_SIZE);
	memcpy(copy, from, size);
	strings_used += size;
	return copy;
}

/* MB 3.3, "mmap_*": an entry's size field does not count itself. */
static void
read_memory_map(const struct multiboot_info *mb)
{
	const char *p = loader_memory(mb->mmap_addr, mb->mmap_length, "memory map");
	size_t left = mb->mmap_length;

	while (left >= sizeof(struct multiboot_mmap)) {
		struct multiboot_mmap e;
		size_t step;

		memcpy(&e, p, sizeof(e));
		step = sizeof(e.size) + (size_t)e.size;
		if (step > left)
			step = left;
		p += step;
		left -= step;
		if (!e.length)
			continue;
		if (memory_range_count == MEMORY_RANGES_MAX) {
			printf("boot: more than %d ranges of memory; the rest is not used\n",
			       MEMORY_RANGES_MAX);
			return;
		}
		memory_ranges[memory_range_count++] =
			(struct memory_range){ .base = e.base, .length = e.length, .type = e.type };
	}
}

/* The words' first `name=`, else the first word; without folders and extension. */
static void
name_module(struct module *m)
{
	const char *start = m->words, *end, *p;

	for (p = m->words; *p && start == m->words; p++)
		if (!strncmp(p, "name=", 5) && (p == m->words || p[-1] == ' '))
			start = p + 5;
	for (p = start; *p && *p != ' '; p++)
		if (*p == '/')
			start = p + 1;
	for (end = p; end > start && *end != '.'; end--)
		;
	end = end > start ? end : p;
	snprintf(m->name, sizeof(m->name), "%.*s", (int)(end - start), start);
}

static void
read_modules(const struct multiboot_info *mb)
{
	const struct multiboot_module *from =
		loader_memory(mb->mods_addr, (uint64_t)mb->mods_count * sizeof(*from), "modules");

	for (uint32_t i = 0; i < mb->mods_count; i++) {
		struct module *m = &modules[i];

		if (i == MODULES_MAX) {
			printf("boot: %u modules; only the first %d are used\n", mb->mods_count,
			       MODULES_MAX);
			return;
		}
		if (from[i].end < from[i].start)
			panic("the loader's module %u ends before it starts", i);
		m->paddr = from[i].start;
		m->size = from[i].end - from[i].start;
		m->words = copy_string(from[i].cmdline, "module's command line");
		name_module(m);
		module_count++;
	}
}

const struct module *
module_find(const char *name)
{
	for (unsigned i = 0; i < module_count; i++)
		if (!strcmp(modules[i].name, name))
			return &modules[i];
	return NULL;
}

void
bootinfo_init(uint32_t magic, uint64_t info)
{
	const struct multiboot_info *mb;

	if (magic != MULTIBOOT_BOOT_MAGIC)
		panic("not started by a multiboot loader: magic %x", magic);
	mb = loader_memory(info, sizeof(*mb), "information");
	if (!(mb->flags & MULTIBOOT_INFO_MMAP))
		panic("the loader gave no memory map");
	read_memory_map(mb);
	if (mb->flags & MULTIBOOT_INFO_CMDLINE)
		boot_cmdline = copy_string(mb->cmdline, "command line");
	if (mb->flags & MULTIBOOT_INFO_MODS)
		read_modules(mb);
}
