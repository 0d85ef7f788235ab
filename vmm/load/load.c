/*
 * Loading a classic guest: a multiboot 1 kernel, ELF32, entered exactly as a boot loader on the
 * bare machine would enter it (Multiboot Specification 0.6.96, section 3.2 "Machine state").
 *
 * The image comes from outside and is checked as such: every offset and size before it is used.
 */
#include <inc/errno.h>
#include <vmm/dev/platform.h>
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>

/* ELF32 (System V ABI, "Object Files"), only what a loader reads. */
struct elf32_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version, entry, phoff, shoff, flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
_Static_assert(sizeof(struct elf32_header) == 52, "System V ABI, figure 4-3");

struct elf32_segment {
	uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
};
_Static_assert(sizeof(struct elf32_segment) == 32, "System V ABI, figure 5-1");

#define MULTIBOOT_HEADER_MAGIC 0x1badb002u /* section 3.1.1 */

#define ELF_MAGIC \
	"\x7f"    \
	"ELF"
#define ELF_CLASS32 1
#define ELF_LITTLE  1
#define EM_386      3
#define PT_LOAD     1

#define BOOT_CS 0x08 /* QEMU's multiboot loader and ours use the same two selectors */
#define BOOT_DS 0x10

SET_DECLARE(loaders);

int
load_refuse(const struct module *m, const char *why)
{
	printf("%s: not a guest that can be started: %s\n", m->name, why);
	return -ENOEXEC;
}

/* NULL, or what is wrong with the file's first parts. */
static const char *
check_header(const struct elf32_header *h, uint64_t size)
{
	if (size < sizeof(*h))
		return "the file is shorter than an ELF header";
	if (memcmp(h->ident, ELF_MAGIC, 4))
		return "it is no ELF file";
	if (h->ident[4] != ELF_CLASS32 || h->ident[5] != ELF_LITTLE || h->machine != EM_386)
		return "it is not a 32-bit x86 image";
	if (h->phentsize != sizeof(struct elf32_segment))
		return "its program headers have an unknown size";
	if ((uint64_t)h->phoff + (uint64_t)h->phnum * h->phentsize > size)
		return "its program headers lie beyond the file's end (truncated?)";
	return NULL;
}

/*
 * Section 3.1.1: the header lies in the first 8 KiB, 32-bit aligned, and its three words add up to
 * 0.
 */
static bool
has_multiboot_header(const uint8_t *image, uint64_t size)
{
	for (uint64_t i = 0; i + 12 <= size && i < 8192; i += 4) {
		uint32_t w[3];

		memcpy(w, image + i, sizeof(w));
		if (w[0] == MULTIBOOT_HEADER_MAGIC && w[0] + w[1] + w[2] == 0)
			return true;
	}
	return false;
}

static bool
hits_boot_page(uint64_t from, uint64_t len)
{
	return from < INFO_GPA + sizeof(struct boot_page) && from + len > INFO_GPA;
}

int
load_bytes(struct domain *d, uint64_t at, const uint8_t *from, uint64_t size)
{
	int err = 0;

	for (uint64_t done = 0; done < size && !err; done += LOAD_STEP) {
		uint64_t left = size - done;

		preempt_point();
		err = gpa_write(d, gpa(at + done), from + done,
				left < LOAD_STEP ? left : LOAD_STEP);
	}
	return err;
}

/* memsz beyond filesz is zero already: the domain's RAM is new. */
static const char *
load_segment(struct domain *d, const uint8_t *image, uint64_t size, const struct elf32_segment *s)
{
	if (s->filesz > s->memsz)
		return "a segment has more bytes in the file than in memory";
	if ((uint64_t)s->offset + s->filesz > size)
		return "a segment lies beyond the file's end (truncated?)";
	if ((uint64_t)s->paddr + s->memsz > d->ram)
		return "a segment lies beyond the guest's memory: give it more with mem=";
	if (hits_boot_page(s->paddr, s->memsz))
		return "a segment lies where the boot information goes";
	if (load_bytes(d, s->paddr, image + s->offset, s->filesz))
		return d->starved ? LOAD_NO_MEMORY : "a segment lies where the guest has no memory";
	return NULL;
}

/*
 * Where the CPU enters a segment, if e_entry lies in it. That is a linear address of the kernel's
 * own, and paging is off: boot loaders enter where the segment that holds it was loaded. A segment
 * whose two addresses are the same says nothing new.
 */
static bool
entry_in(const struct elf32_segment *s, uint32_t entry, uint32_t *physical)
{
	if (entry - s->vaddr >= s->memsz)
		return false;
	*physical = entry - s->vaddr + s->paddr;
	return true;
}

/*
 * Modules begin at `from`. NULL, or what is wrong: a guest that has memory on demand may get none.
 */
static const char *
write_boot_page(struct domain *d, const struct domain_config *c, uint64_t from)
{
	struct boot_page *p;
	size_t len = sizeof(*p);

	p = gpa_ptr(d, gpa(INFO_GPA), &len);
	if (!p)
		return LOAD_NO_MEMORY;
	p->info.flags = MULTIBOOT_INFO_MEMORY | MULTIBOOT_INFO_CMDLINE | MULTIBOOT_INFO_MMAP |
			MULTIBOOT_INFO_LOADER_NAME;
	p->info.mem_lower = LOW_RAM_END / 1024;
	p->info.mem_upper = (d->ram - HIGH_RAM) / 1024;
	p->info.cmdline = INFO_GPA + offsetof(struct boot_page, words);
	p->info.mmap_addr = INFO_GPA + offsetof(struct boot_page, map);
	p->info.mmap_length = sizeof(p->map);
	p->info.boot_loader_name = INFO_GPA + offsetof(struct boot_page, loader);
	p->map[0] = (struct multiboot_mmap){ 20, 0, LOW_RAM_END, MULTIBOOT_RAM };
	p->map[1] = (struct multiboot_mmap){ 20, HIGH_RAM, d->ram - HIGH_RAM, MULTIBOOT_RAM };
	snprintf(p->loader, sizeof(p->loader), "zeno");
	snprintf(p->words, sizeof(p->words), "%s %s", c->module->words, c->words);
	return load_modules(d, c, from, p);
}

static struct segment
flat(uint16_t sel, uint16_t type)
{
	return (struct segment){ .sel = sel,
				 .attr = type | ATTR_S | ATTR_P | ATTR_DB | ATTR_G,
				 .limit = 0xffffffff };
}

/* Flat 32-bit protected mode without paging and interrupts, all else zero or as after power-up. */
void
start_registers(struct cpu_state *s, uint16_t cs, uint16_t ds)
{
	memset(s, 0, sizeof(*s));
	s->version = CPU_STATE_VERSION;
	s->rflags = FLAG_ONE;
	s->cr0 = CR0_PE | CR0_ET;
	s->dr[6] = 0xffff0ff0; /* SDM 3A table 10-1, "state following power-up" */
	s->dr[7] = 0x400;
	s->pat = 0x0007040600070406;
	s->apic_base = 0xfee00900; /* enabled, the boot CPU's (SDM 3A figure 11-5) */
	s->xcr0 = 1;
	for (int i = 0; i < SEG_COUNT; i++)
		s->seg[i] = flat(ds, ATTR_RW | ATTR_A);
	s->seg[SEG_CS] = flat(cs, ATTR_CODE | ATTR_RW | ATTR_A);
	s->idtr.limit = 0xffff;
}

/*
 * "Machine state": EAX, EBX, flat segments, A20 on, CR0.PE on and PG off, EFLAGS.VM and IF clear.
 */
static void
boot_registers(struct cpu_state *s, uint32_t entry)
{
	start_registers(s, BOOT_CS, BOOT_DS);
	s->gpr[RAX] = MULTIBOOT_BOOT_MAGIC;
	s->gpr[RBX] = INFO_GPA;
	s->rip = entry;
}

const char *
load_find(const char *name)
{
	static const char *const ours[] = { "multiboot", "coreboot", "linux", "firmware" };

	for (unsigned i = 0; i < ARRAY_LEN(ours); i++)
		if (!strcmp(ours[i], name))
			return ours[i];
	set_foreach (const struct loader *, l, loaders)
		if (!l->engine && !strcmp(l->name, name))
			return l->name;
	return NULL;
}

/*
 * The segments of an ELF image. NULL with the entry and the end of the highest, or what is wrong.
 */
static const char *
load_elf(struct domain *d, const struct module *m, uint32_t *entry, uint64_t *end)
{
	const uint8_t *image = hpa_ptr(hpa(m->paddr));
	struct elf32_header h;
	uint64_t loaded = 0;
	bool found = false;

	memcpy(&h, image, sizeof(h));
	*entry = h.entry;
	*end = 0;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct elf32_segment s;
		const char *wrong;

		if (i % PREEMPT_WORK == 0)
			preempt_point();
		memcpy(&s, image + h.phoff + i * sizeof(s), sizeof(s));
		if (s.type != PT_LOAD || s.memsz == 0)
			continue;
		loaded += s.memsz; /* segments that overlap would be copied again and again */
		wrong = loaded > d->ram ? "its segments together are larger than its memory"
					: load_segment(d, image, m->size, &s);
		if (wrong)
			return wrong;
		if (!found)
			found = entry_in(&s, h.entry, entry);
		if ((uint64_t)s.paddr + s.memsz > *end)
			*end = (uint64_t)s.paddr + s.memsz;
	}
	return NULL;
}

static int
load_image(struct domain *d, const struct domain_config *c, bool coreboot)
{
	const struct module *m = c->module;
	const uint8_t *image = hpa_ptr(hpa(m->paddr));
	struct elf32_header h = { 0 };
	const char *wrong;
	uint32_t entry;
	uint64_t end;

	if (m->size >= sizeof(h))
		memcpy(&h, image, sizeof(h));
	wrong = check_header(&h, m->size);
	if (!wrong && !coreboot && !has_multiboot_header(image, m->size))
		wrong = "it has no multiboot header in its first 8 KiB";
	if (!wrong)
		wrong = load_elf(d, m, &entry, &end);
	if (!wrong && !coreboot)
		wrong = write_boot_page(d, c, end);
	if (wrong)
		return load_refuse(m, wrong);
	if (coreboot)
		coreboot_table(d);
	boot_registers(&d->vcpu->state, entry);
	return 0;
}

/*
 * c->words follow the module's own on the guest's command line; without c->loader they may begin
 * with boot=coreboot, then the image is started as coreboot starts a payload, or with boot=linux,
 * as a Linux (linux.c). Errors: -ENOEXEC, after a line that says what is wrong with the
 * image.
 */
int
load_guest(struct domain *d, const struct domain_config *c)
{
	const char *loader = c->loader, *words = c->words;

	set_foreach (const struct loader *, l, loaders)
		if (loader == l->name)
			return l->load(d, c);
	if (!loader && !strncmp(words, "boot=linux ", 11)) {
		loader = "linux";
		words += 11;
	} else if (!loader) {
		loader = strncmp(words, "boot=coreboot", 13) ? "multiboot" : "coreboot";
	}
	if (strcmp(loader, "multiboot") && has_modules(c))
		return load_refuse(c->module, "only a multiboot kernel is given modules");
	if (!strcmp(loader, "firmware"))
		return d->platform && d->platform->firmware
			       ? d->platform->firmware(d, c->module)
			       : load_refuse(c->module, "firmware is for platform=pc-apic");
	firmware_data(d);
	if (!strcmp(loader, "linux"))
		return linux_load(d, c->module, words);
	return load_image(d, c, !strcmp(loader, "coreboot"));
}
