/* BUILD: vmm/pv/image.c vmm/pv/builder.c solutions/6-pv/build_tables.c -fno-builtin */
/*
 * The domain builder of PV kernels: what it leaves in memory is walked as the CPU walks it; and
 * images that lie, in ELF headers and in notes, are refused or built into memory that is as sound.
 *
 * An image lies in memory of exactly its size, so that the sanitizers see a read beyond its end; a
 * page that the builder touches must be one of the domain's.
 */
#include <stdlib.h>
#include <string.h>

#include <inc/xen.h>
#include <kern/kern.h>
#include <kern/paging.h>
#include <vmm/pv/builder.h>

#include "draw.h"
#include "tap.h"

#define PAGES       1024u                            /* of the domain */
#define MFN_OF(pfn) ((((pfn)*7 + 3) % PAGES) + 5000) /* 7 and 1024 have no common divisor */
#define BASE        0xffffffff80000000ul
#define ROUNDS      8000

static uint8_t memory[PAGES][4096];
static uint8_t level_of[PAGES]; /* 0: no page table */
static bool touched[PAGES];
static unsigned outside;

/* ---- the domain's memory ---- */

static uint8_t *
page(void *ctx, uint64_t pfn)
{
	static uint8_t nowhere[4096];

	outside += pfn >= PAGES;
	if (pfn >= PAGES)
		return nowhere;
	touched[pfn] = true;
	return memory[pfn];
}

static uint64_t
mfn_of(void *ctx, uint64_t pfn)
{
	outside += pfn >= PAGES;
	return MFN_OF(pfn);
}

static void
is_table(void *ctx, uint64_t pfn, unsigned level)
{
	outside += pfn >= PAGES || level_of[pfn % PAGES];
	level_of[pfn % PAGES] = (uint8_t)level;
}

static const struct pv_ops ops = { page, mfn_of, is_table };

static uint64_t
pfn_of(uint64_t mfn)
{
	return mfn - 5000 < PAGES ? (mfn - 5000 + PAGES - 3) * 439 % PAGES : ~0ul; /* 7 * 439 = 1 */
}

/* ---- an image ---- */

struct image {
	struct {
		uint8_t ident[16];
		uint16_t type, machine;
		uint32_t version;
		uint64_t entry, phoff, shoff;
		uint32_t flags;
		uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
	} header;
	struct segment {
		uint32_t type, flags;
		uint64_t offset, vaddr, paddr, filesz, memsz, align;
	} segment[3];
	struct note {
		uint32_t namesz, descsz, type;
		char name[4];
		uint64_t desc;
	} note[6];
	uint8_t data[5000];
};

#define NOTE(type, desc)                \
	{                               \
		4, 8, type, "Xen", desc \
	}

static void
make_image(struct image *i)
{
	memset(i, 0, sizeof(*i));
	memcpy(i->header.ident,
	       "\x7f"
	       "ELF\2\1\1",
	       7);
	i->header.type = 2;
	i->header.machine = 62;
	i->header.version = 1;
	i->header.phoff = offsetof(struct image, segment);
	i->header.phentsize = sizeof(struct segment);
	i->header.phnum = 3;
	i->segment[0] = (struct segment){
		1, 7, offsetof(struct image, data), BASE + 0x1000, 0x1000, 5000, 3 * 4096, 4096
	};
	i->segment[1] = (struct segment){
		4, 4, offsetof(struct image, note), 0, 0, sizeof(i->note), sizeof(i->note), 4
	};
	i->segment[2] = (struct segment){
		1, 6, offsetof(struct image, data) + 17, BASE + 0x6000, 0x6000, 1, 1, 4096
	};
	i->note[0] = (struct note)NOTE(XEN_NOTE_ENTRY, BASE + 0x1010);
	i->note[1] = (struct note)NOTE(XEN_NOTE_HYPERCALL_PAGE, BASE + 0x2000);
	i->note[2] = (struct note)NOTE(XEN_NOTE_VIRT_BASE, BASE);
	i->note[3] = (struct note)NOTE(XEN_NOTE_LOADER, 0);
	memcpy(&i->note[3].desc, "generic", 8);
	i->note[4] = (struct note)NOTE(XEN_NOTE_XEN_VERSION, 0);
	memcpy(&i->note[4].desc, "xen-3.0", 8);
	i->note[5] = (struct note)NOTE(77, 1);
	for (unsigned n = 0; n < sizeof(i->data); n++)
		i->data[n] = (uint8_t)(n * 31);
}

/* ---- what was built ---- */

static struct pv_image parsed;
static struct pv_plan plan_of;
static struct pv_start start;
static uint8_t module[5000];

/* NULL, or what was refused. Bytes are copied, so that nothing lies behind them. */
static const char *
build(const void *bytes, uint64_t size, uint64_t pages, uint64_t module_size)
{
	uint8_t *copy = malloc(size);
	const char *wrong;

	memcpy(copy, bytes, size);
	for (unsigned pfn = 0; pfn < PAGES; pfn++)
		if (touched[pfn])
			memset(memory[pfn], 0, sizeof(memory[pfn]));
	memset(touched, 0, sizeof(touched));
	memset(level_of, 0, sizeof(level_of));
	outside = 0;
	wrong = pv_read_image(&parsed, copy, size);
	if (!wrong)
		wrong = pv_make_plan(&plan_of, &parsed, pages, module, module_size);
	if (!wrong)
		start = pv_build(&plan_of, &ops, NULL, 0x123000, "some words");
	free(copy);
	return wrong;
}

/* The entry that maps an address, by the machine's frames alone; 0: none does. */
static uint64_t
walk(uint64_t va, bool *sound)
{
	uint64_t entry = MFN_OF(start.root_pfn) << 12 | PTE_P;

	for (unsigned level = 4; level && entry & PTE_P; level--) {
		uint64_t pfn = pfn_of(PTE_ADDR(entry) >> 12);

		if (pfn >= PAGES || level_of[pfn] != level) {
			*sound = false;
			return 0;
		}
		entry = ((uint64_t *)memory[pfn])[va >> (3 + 9 * level) & 511];
	}
	return entry & PTE_P ? entry : 0;
}

/* No table may be written, by nobody's entry; all of them are the domain's. */
static bool
is_sound(void)
{
	uint64_t tables = 0, leaves = 0;

	for (unsigned pfn = 0; pfn < PAGES; pfn++) {
		tables += level_of[pfn] != 0;
		for (unsigned n = 0; n < 512 && level_of[pfn]; n++) {
			uint64_t entry = ((uint64_t *)memory[pfn])[n];
			uint64_t to = pfn_of(PTE_ADDR(entry) >> 12);

			if (!(entry & PTE_P))
				continue;
			leaves += level_of[pfn] == 1;
			if (to >= PAGES || !(entry & PTE_U) || entry & PTE_PS)
				return false;
			if (level_of[pfn] > 1 && level_of[to] != level_of[pfn] - 1)
				return false;
			if (level_of[pfn] == 1 && level_of[to] && entry & PTE_W)
				return false;
			if (level_of[pfn] == 4 && n >= 256 && n < 272)
				return false;
		}
	}
	return !outside && tables == plan_of.tables &&
	       leaves == plan_of.mapped - plan_of.unmapped +
				 (plan_of.p2m_tables ? plan_of.p2m_pages : 0) &&
	       plan_of.mapped <= plan_of.pages;
}

static void
a_good_one(void)
{
	struct image i;
	bool sound = true, here = true;
	const struct xen_start_info *info;

	make_image(&i);
	for (unsigned n = 0; n < sizeof(module); n++)
		module[n] = (uint8_t)(n * 13 + 1);
	ok(pv_is_image((uint8_t *)&i, sizeof(i)), "the notes say what it is");
	ok(!build(&i, sizeof(i), PAGES, sizeof(module)), "it is built");
	ok(is_sound(), "the tables are sound");
	for (uint64_t pfn = 0; pfn < plan_of.mapped; pfn++) {
		uint64_t entry = walk(BASE + (pfn << 12), &sound);

		here &= PTE_ADDR(entry) >> 12 == MFN_OF(pfn) && !(entry & PTE_W) == !!level_of[pfn];
	}
	ok(sound && here, "VIRT_BASE + pfn is where each page is, writable where it is no table");
	ok(!walk(BASE + (plan_of.mapped << 12), &sound) && !walk(BASE - 4096, &sound),
	   "and nothing beside");
	ok(!memcmp(memory[1], i.data, 4096) && !memcmp(memory[6], i.data + 17, 1),
	   "the segments are where they belong");
	ok(memory[2][29 * 32] == 0x51 && memory[2][29 * 32 + 4] == 29 &&
		   memory[2][23 * 32 + 3] == 0x50 && memory[2][23 * 32 + 5] == 23 &&
		   memory[2][31] == 0xcc,
	   "the hypercall page has a stub for each number, and iret's own");
	is_u64(start.rip, BASE + 0x1010, "rip is the entry");
	is_u64(start.rsp, BASE + ((plan_of.stack_pfn + 1) << 12), "rsp is the top of the stack");
	is_u64(start.rsi, BASE + (plan_of.info_pfn << 12), "rsi is start_info");
	info = (void *)memory[plan_of.info_pfn];
	ok(!strcmp(info->magic, "xen-3.0-x86_64") && !strcmp(info->cmd_line, "some words"),
	   "start_info has its magic, and the words");
	is_u64(info->nr_pages, PAGES, "nr_pages");
	is_u64(info->shared_info, 0x123000, "shared_info");
	is_u64(info->pt_base, BASE + (start.root_pfn << 12), "pt_base is the top table");
	is_u64(info->nr_pt_frames, plan_of.tables, "nr_pt_frames");
	is_u64(info->mod_start, BASE + (7 << 12), "mod_start");
	ok(!memcmp(memory[7], module, 4096) && !memcmp(memory[8], module + 4096, 904),
	   "the module is there");
	is_u64(info->console_mfn, MFN_OF(plan_of.console_pfn), "the console's page");
	here = info->mfn_list == BASE + (plan_of.p2m_pfn << 12);
	for (uint64_t pfn = 0; pfn < PAGES; pfn++)
		here &= ((uint64_t *)memory[plan_of.p2m_pfn])[pfn] == MFN_OF(pfn);
	ok(here, "the p2m says each page's frame");
}

static void
places(void)
{
	static const uint64_t bases[] = {
		0,
		0x7fffffc00000 - 0x400000,
		0xffff880000000000,
		0xffffff8000000000 - 0x3000,
		0x3fffd000,
		0xffffffffffc00000,
	};
	struct image i;

	for (unsigned n = 0; n < ARRAY_LEN(bases); n++) {
		const char *wrong;

		make_image(&i);
		i.note[0].desc = bases[n] + 0x1010;
		i.note[1].desc = bases[n] + 0x2000;
		i.note[2].desc = bases[n];
		wrong = build(&i, sizeof(i), PAGES, 0);
		ok(!wrong && is_sound(), "at %lx it is built, soundly%s%s", bases[n],
		   wrong ? ": " : "", wrong ? wrong : "");
	}
	make_image(&i);
	i.note[5].type = XEN_NOTE_MOD_START_PFN;
	ok(!build(&i, sizeof(i), PAGES, sizeof(module)) && is_sound(), "an initrd by pfn is built");
	ok(((struct xen_start_info *)memory[plan_of.info_pfn])->mod_start == 7 &&
		   ((struct xen_start_info *)memory[plan_of.info_pfn])->flags == 8,
	   "and start_info says so");
}

/* A p2m elsewhere: behind all that is mapped, and seen where the note says. */
static void
p2m_elsewhere(void)
{
	static const struct {
		uint64_t at;
		bool good;
	} places[] = {
		{ 0x8000000000, true },        { 0, true },
		{ 0xffff880000000000, true },  { 0x3ffff000, true },
		{ 0x7fffffffe000, true },      { 0x7ffffffff000, false },
		{ BASE - (1ul << 30), false }, { 0xffffff7ffffff000, false },
		{ 0xffff87fffffff000, false }, { 0x8000000008, false },
		{ ~0xffful, false },
	};
	const struct xen_start_info *info;
	bool sound = true, here = true;
	struct image i;

	make_image(&i);
	for (unsigned n = 0; n < ARRAY_LEN(places); n++) {
		i.note[5] = (struct note)NOTE(XEN_NOTE_INIT_P2M, places[n].at);
		ok(!build(&i, sizeof(i), PAGES, 0) == places[n].good &&
			   (!places[n].good || is_sound()),
		   "a p2m at %lx is %s", places[n].at, places[n].good ? "built" : "refused");
	}
	i.note[5].desc = 0x8000000000;
	ok(!build(&i, sizeof(i), PAGES, sizeof(module)), "with a module, too");
	info = (void *)memory[plan_of.info_pfn];
	here = info->mfn_list == 0x8000000000 && info->first_p2m_pfn == plan_of.mapped &&
	       info->nr_p2m_frames == plan_of.p2m_pages;
	for (uint64_t n = 0; n < plan_of.p2m_pages; n++)
		here &= PTE_ADDR(walk(0x8000000000 + (n << 12), &sound)) >> 12 ==
			MFN_OF(plan_of.mapped + n);
	for (uint64_t pfn = 0; pfn < PAGES; pfn++)
		here &= ((uint64_t *)memory[plan_of.p2m_pfn])[pfn] == MFN_OF(pfn);
	ok(here && sound, "start_info says where it is, and there it is");
	for (uint64_t pages = 0; pages < 32; pages++)
		sound &= build(&i, sizeof(i), pages, 0) || is_sound();
	ok(sound, "with few pages it is refused or built within them");
}

/* ---- images that lie ---- */

#define LIE(what, size_, value_)                                                             \
	{                                                                                    \
#what " = " #value_, offsetof(struct image, what), size_, (uint64_t)(value_) \
	}
static const struct lie {
	const char *name;
	size_t at, size;
	uint64_t value;
} lies[] = {
	/* all but the last two must be refused */
	LIE(header.ident[0], 1, 0),
	LIE(header.ident[4], 1, 1),
	LIE(header.machine, 2, 3),
	LIE(header.phentsize, 2, 32),
	LIE(header.phnum, 2, 65),
	LIE(header.phnum, 2, 0xffff),
	LIE(header.phnum, 2, 1),
	LIE(header.phoff, 8, ~0ul),
	LIE(header.phoff, 8, sizeof(struct image) - 8),
	LIE(segment[0].offset, 8, ~0ul),
	LIE(segment[0].offset, 8, sizeof(struct image)),
	LIE(segment[0].filesz, 8, ~0ul),
	LIE(segment[0].filesz, 8, 5001),
	LIE(segment[0].filesz, 8, 3 * 4096 + 1),
	LIE(segment[0].memsz, 8, 1),
	LIE(segment[0].memsz, 8, ~0ul),
	LIE(segment[0].memsz, 8, PAGES * 4096ul),
	LIE(segment[0].memsz, 8, 1ul << 39),
	LIE(segment[0].paddr, 8, ~0ul),
	LIE(segment[0].paddr, 8, ~0ul - 4095),
	LIE(segment[0].paddr, 8, 1ul << 39),
	LIE(segment[0].paddr, 8, PAGES * 4096ul),
	LIE(segment[1].type, 4, 1),
	LIE(segment[1].offset, 8, ~0ul),
	LIE(segment[1].filesz, 8, ~0ul),
	LIE(segment[1].filesz, 8, 8),
	LIE(note[0].desc, 8, 0),
	LIE(note[0].desc, 8, BASE - 1),
	LIE(note[0].desc, 8, BASE + 0x7000),
	LIE(note[0].desc, 8, 0xffff800000000000),
	LIE(note[1].desc, 8, BASE + 0x2008),
	LIE(note[1].desc, 8, BASE + 0x7000),
	LIE(note[1].desc, 8, BASE - 0x1000),
	LIE(note[1].desc, 8, 0xffff830000000000),
	LIE(note[2].desc, 8, BASE + 8),
	LIE(note[2].desc, 8, 0xffff800000000000),
	LIE(note[2].desc, 8, 0x7ffffffff000),
	LIE(note[2].desc, 8, 0x800000000000),
	LIE(note[2].desc, 8, ~0xffful),
	LIE(note[3].desc, 8, 0),
	LIE(note[3].descsz, 4, 7),
	LIE(note[4].desc, 1, 'y'),
	LIE(note[5].type, 4, XEN_NOTE_INIT_P2M),
	LIE(note[0].namesz, 4, ~0u),
	LIE(note[0].descsz, 4, ~0u),
	LIE(note[5].type, 4, XEN_NOTE_PADDR_OFFSET) /* 1: segments are no pages any more */,
	LIE(note[0].descsz, 4, 2) /* ends the notes: the rest is as if it were not there */,
};

static void
hostile(void)
{
	for (unsigned n = 0; n < ARRAY_LEN(lies); n++) {
		struct image i;
		const char *wrong;

		make_image(&i);
		memcpy((uint8_t *)&i + lies[n].at, &lies[n].value, lies[n].size);
		wrong = build(&i, sizeof(i), PAGES, 0);
		if (n >= ARRAY_LEN(lies) - 2)
			ok(wrong || is_sound(), "%s: is sound", lies[n].name);
		else
			ok(wrong, "%s: %s", lies[n].name, wrong ? wrong : "was taken");
	}
}

/* Each is short, and all of them are long: whoever looks through them would be at it for long. */
static void
many_notes(void)
{
	struct {
		struct image i;
		struct segment segment[7];
	} many;
	const char *wrong;

	make_image(&many.i);
	many.i.header.phoff = offsetof(typeof(many), segment);
	memcpy(many.segment, many.i.segment, sizeof(many.i.segment));
	for (unsigned n = 3; n < 7; n++)
		many.segment[n] =
			(struct segment){ 4, 4, offsetof(struct image, data), 0, 0, 5000, 5000, 4 };
	for (many.i.header.phnum = 4; many.i.header.phnum < 8; many.i.header.phnum++) {
		wrong = build(&many, sizeof(many), PAGES, 0);
		ok(!wrong == (many.i.header.phnum < 7), "%u segments of notes: %s",
		   many.i.header.phnum - 2, wrong ? wrong : "taken");
	}
}

static void
truncated(void)
{
	struct image i;
	unsigned taken = 0;

	make_image(&i);
	for (uint64_t size = 0; size < sizeof(i); size++)
		taken += !build(&i, size, PAGES, 0);
	is_u64(taken, 0, "no beginning of it is taken for the whole");
	for (uint64_t pages = 0; pages < 24; pages++)
		if (!build(&i, sizeof(i), pages, 0) && !is_sound())
			taken++;
	is_u64(taken, 0, "with few pages it is refused or built within them");
	ok(build(&i, sizeof(i), 8, 0), "and with 8 refused: %s", build(&i, sizeof(i), 8, 0));
	ok(build(&i, sizeof(i), PAGES, PAGES * 4096 + 1), "a module larger than the domain");
	ok(build(&i, sizeof(i), ~0ul, 0), "more pages than there are");
}

/* Some bytes are others, in all that comes before the data. */
static void
flipped(void)
{
	unsigned unsound = 0, built = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct image i;

		make_image(&i);
		for (unsigned n = 1 + drawn() % 3; n; n--)
			((uint8_t *)&i)[drawn() % offsetof(struct image, data)] =
				drawn() & 1 ? (uint8_t)drawn() : (uint8_t)(drawn() & 1 ? 0xff : 0);
		if (build(&i, sizeof(i) - drawn() % 2 * (drawn() % 5000), PAGES,
			  drawn() % 2 * 5000))
			continue;
		built++;
		unsound += !is_sound();
	}
	is_u64(unsound, 0, "of %u images with wrong bytes %u were built, all soundly", ROUNDS,
	       built);
}

int
main(void)
{
	a_good_one();
	places();
	p2m_elsewhere();
	hostile();
	many_notes();
	truncated();
	flipped();
	return done_testing();
}
