/*
 * A kernel by its PVH entry: an ELF file with a note of Xen's that says where it is entered, in
 * flat 32-bit protected mode, with the address of a small structure. Debian's Linux has one (the
 * kernel itself, as tools/vmlinux.py takes it out of its bzImage), and needs no Xen for it. And the
 * simplest guest of all, a file of bytes.
 *
 * PVH = xen/include/public/arch-x86/hvm/start_info.h, and "x86/HVM direct boot ABI" of Xen's docs,
 * which has the registers. The image comes from outside and is checked as such.
 */
#include <inc/elf64.h>
#include <inc/errno.h>
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>

#define MAGIC      0x336ec578u
#define VERSION    1u
#define ENTRY_NOTE 18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define RAM        1u
#define RESERVED   2u
#define START_GPA  (INFO_GPA + PAGE_SIZE) /* words and modules lie in the page before it */
#define PARTS_MAX  64u
#define NOTES_MAX  (16u << 10) /* bytes, in all: each is looked at */
#define BOOT_CS    0x08
#define BOOT_DS    0x10
#define EM_386     3

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, words, rsdp, map;
	uint32_t map_entries, reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "PVH");

struct start_page {
	struct start_info info;
	struct {
		uint64_t at, size;
		uint32_t type, reserved;
	} map[3];
	struct {
		uint64_t at, size, words, reserved;
	} module[GUEST_MODULES];
};
_Static_assert(START_GPA + sizeof(struct start_page) <= LOW_RAM_END, "it fits");

/* One program header, of either width. */
struct part {
	uint32_t type;
	uint64_t offset, filesz, at, memsz;
};

struct image {
	const uint8_t *bytes;
	uint64_t size, headers;
	unsigned parts;
	bool is_64;
};

static uint64_t
number(const uint8_t *bytes, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, bytes, size);
	return value;
}

/* NULL, or what is wrong. System V ABI, "Object Files": the two classes' fields lie elsewhere. */
static const char *
open_image(struct image *i, const struct module *m)
{
	const uint8_t *b = module_bytes(m);
	unsigned entry_size;

	*i = (struct image){ .bytes = b, .size = m->size };
	if (m->size < sizeof(struct elf64_header) || memcmp(b,
							    "\x7f"
							    "ELF",
							    4))
		return "it is no ELF file";
	i->is_64 = b[4] == ELF_CLASS64;
	if (b[5] != ELF_LITTLE || number(b + 18, 2) != (i->is_64 ? EM_X86_64 : EM_386))
		return "it is not an x86 image";
	i->headers = i->is_64 ? number(b + 32, 8) : number(b + 28, 4);
	entry_size = (unsigned)number(b + (i->is_64 ? 54 : 42), 2);
	i->parts = (unsigned)number(b + (i->is_64 ? 56 : 44), 2);
	if (entry_size != (i->is_64 ? 56 : 32) || i->parts > PARTS_MAX)
		return "its program headers have an unknown size, or are too many";
	if (i->headers > i->size || (uint64_t)i->parts * entry_size > i->size - i->headers)
		return "its program headers lie beyond the file's end (truncated?)";
	return NULL;
}

static struct part
part_at(const struct image *i, unsigned n)
{
	const uint8_t *p = i->bytes + i->headers + n * (i->is_64 ? 56u : 32u);

	if (i->is_64)
		return (struct part){ (uint32_t)number(p, 4), number(p + 8, 8), number(p + 32, 8),
				      number(p + 24, 8), number(p + 40, 8) };
	return (struct part){ (uint32_t)number(p, 4), number(p + 4, 4), number(p + 16, 4),
			      number(p + 12, 4), number(p + 20, 4) };
}

static bool
is_in_file(const struct image *i, const struct part *p)
{
	return p->offset <= i->size && p->filesz <= i->size - p->offset;
}

/* The entry that a note among these names; 0: none does. Names and words are padded to 4 bytes. */
static uint64_t
entry_in(const uint8_t *notes, uint64_t len)
{
	for (uint64_t at = 0; len - at >= 12;) {
		uint64_t name = number(notes + at, 4), words = number(notes + at + 4, 4);
		uint64_t type = number(notes + at + 8, 4), behind = at + 12 + ((name + 3) & ~3ul);

		if (behind > len || words > len - behind)
			break;
		if (type == ENTRY_NOTE && name == 4 && (words == 4 || words == 8) &&
		    !memcmp(notes + at + 12, "Xen", 4))
			return number(notes + behind, (unsigned)words);
		at = behind + ((words + 3) & ~3ul);
		if (at > len)
			break;
	}
	return 0;
}

static const char *
find_entry(const struct image *i, uint64_t *entry)
{
	*entry = 0;
	for (unsigned n = 0; n < i->parts && !*entry; n++) {
		struct part p = part_at(i, n);

		if (p.type == PT_NOTE && is_in_file(i, &p) && p.filesz <= NOTES_MAX)
			*entry = entry_in(i->bytes + p.offset, p.filesz);
	}
	if (!*entry || *entry >> 32)
		return "it has no note with a PVH entry (of a bzImage it is the kernel inside that has)";
	return NULL;
}

/* memsz beyond filesz is zero already: the domain's RAM is new. */
static const char *
load_part(struct domain *d, const struct image *i, const struct part *p)
{
	if (p->filesz > p->memsz || !is_in_file(i, p))
		return "a segment lies beyond the file's end, or has more bytes in it than in memory";
	if (p->memsz > d->ram || p->at > d->ram - p->memsz)
		return "a segment lies beyond the guest's memory: give it more with mem=";
	if (p->at < LOW_RAM_TOP && p->at + p->memsz > INFO_GPA)
		return "a segment lies where the boot information goes";
	if (load_bytes(d, p->at, i->bytes + p->offset, p->filesz))
		return d->starved ? LOAD_NO_MEMORY : "a segment lies where the guest has no memory";
	return NULL;
}

/* The segments; *end is behind the highest. */
static const char *
load_parts(struct domain *d, const struct image *i, uint64_t *end)
{
	uint64_t loaded = 0;

	*end = 0;
	for (unsigned n = 0; n < i->parts; n++) {
		struct part p = part_at(i, n);
		const char *wrong;

		if (p.type != PT_LOAD || !p.memsz)
			continue;
		wrong = load_part(d, i, &p);
		loaded += p.memsz; /* segments that overlap would be copied again and again */
		if (wrong || loaded > d->ram)
			return wrong ? wrong : "its segments together are larger than its memory";
		if (p.at + p.memsz > *end)
			*end = p.at + p.memsz;
	}
	return NULL;
}

/* The module's own words, and behind them those of `start`. */
static void
own_and_given(const struct domain_config *c, char *buf, size_t size)
{
	const char *own = module_own_words(c->module);

	snprintf(buf, size, "%s%s%s", own, *own ? " " : "", c->words);
}

/* Words and modules as a multiboot kernel has them, and the structure that leads to them. */
static const char *
write_start_info(struct domain *d, const struct domain_config *c, uint64_t end)
{
	struct start_page s = {
		.info = { MAGIC, VERSION, 0, 0, START_GPA + offsetof(struct start_page, module),
			  INFO_GPA + offsetof(struct boot_page, words), 0,
			  START_GPA + offsetof(struct start_page, map), ARRAY_LEN(s.map), 0 },
		.map = { { 0, LOW_RAM_END, RAM, 0 },
			 { LOW_RAM_END, LOW_RAM_TOP - LOW_RAM_END, RESERVED, 0 },
			 { HIGH_RAM, d->ram - HIGH_RAM, RAM, 0 } },
	};
	size_t len = sizeof(struct boot_page);
	struct boot_page *page = gpa_ptr(d, gpa(INFO_GPA), &len);
	const char *wrong = page ? load_modules(d, c, end, page) : LOAD_NO_MEMORY;
	uint32_t rsdp = 0;

	if (wrong)
		return wrong;
	own_and_given(c, page->words, sizeof(page->words));
	s.info.modules = page->info.mods_count;
	for (unsigned n = 0; n < s.info.modules; n++) {
		s.module[n].at = page->mods[n].start;
		s.module[n].size = page->mods[n].end - page->mods[n].start;
		s.module[n].words = page->mods[n].cmdline;
	}
	if (load_acpi(d, &rsdp))
		return LOAD_NO_MEMORY;
	s.info.rsdp = rsdp;
	return gpa_write(d, gpa(START_GPA), &s, sizeof(s)) ? LOAD_NO_MEMORY : NULL;
}

static int
pvh_load(struct domain *d, const struct domain_config *c)
{
	struct image i;
	uint64_t entry, end;
	const char *wrong = open_image(&i, c->module);

	firmware_data(d);
	if (!wrong)
		wrong = find_entry(&i, &entry);
	if (!wrong)
		wrong = load_parts(d, &i, &end);
	if (!wrong)
		wrong = write_start_info(d, c, end);
	if (wrong)
		return load_refuse(c->module, wrong);
	start_registers(&d->vcpu->state, BOOT_CS, BOOT_DS);
	d->vcpu->state.gpr[RBX] = START_GPA;
	d->vcpu->state.rip = entry;
	return 0;
}

/* A file of bytes, no more: at 1 MiB, entered at its first, with its words' address in EBX. */
static int
flat_load(struct domain *d, const struct domain_config *c)
{
	const struct module *m = c->module;
	char words[512];

	firmware_data(d);
	if (!m->size || m->size > d->ram - HIGH_RAM)
		return load_refuse(
			m, "it is empty, or larger than its memory: give it more with mem=");
	own_and_given(c, words, sizeof(words));
	if (load_bytes(d, HIGH_RAM, module_bytes(m), m->size) ||
	    gpa_write(d, gpa(INFO_GPA), words, strlen(words) + 1))
		return load_refuse(m, LOAD_NO_MEMORY);
	start_registers(&d->vcpu->state, BOOT_CS, BOOT_DS);
	d->vcpu->state.gpr[RBX] = INFO_GPA;
	d->vcpu->state.rip = HIGH_RAM;
	return 0;
}

static bool
never(const struct module *m)
{
	return false; /* nobody is started so who does not ask for it */
}

static const struct loader pvh = { "pvh", NULL, never, pvh_load };
SET_ADD(loaders, pvh);
static const struct loader flat = { "flat", NULL, never, flat_load };
SET_ADD(loaders, flat);
