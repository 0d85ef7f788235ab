/*
 * BUILD: vmm/load/load.c vmm/load/linux.c vmm/load/linux_entry.c vmm/load/linux_plan.c
 * vmm/load/coreboot.c vmm/load/firmware.c vmm/load/modules.c vmm/load/words.c vmm/load/pvh/pvh.c
 * kern/boot/bootinfo.c -DDIRECT_MAP=0x200000000000ul -fno-builtin -Wl,--wrap=printf
 */
/*
 * The loaders against images of which some bytes are wrong: ELF by multiboot and by coreboot,
 * bzImage with and without a RAM disk; and the multiboot information that the host itself is
 * started with.
 *
 * An image ends where memory ends, so that a read beyond it is a fault. Whatever is wrong, the
 * loader says so in one line, or the guest's first state is one that an engine takes.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <inc/errno.h>
#include <kern/boot/bootinfo.h>
#include <kern/map.h>
#include <kern/boot/multiboot.h>
#include <vmm/engine.h>
#include <vmm/load/linux.h>
#include <vmm/load/load.h>

#include "draw.h"
#include "tap.h"

#define MEMORY (1u << 20) /* the machine's, of which images take the end */
#define RAM    (8u << 20) /* a guest's */
#define ROUNDS 60000
#define WORDS  300 /* rounds with command lines */

static uint8_t *memory, ram[RAM], image[65536];
static size_t image_size;
static struct domain domain = { .ram = RAM };
static struct vcpu vcpu = { .domain = &domain };
static struct module guest_module = { .name = "guest", .words = "guest a" },
		     disk = { .name = "m1", .words = "m1" };
static struct engine engine = { .name = "some", .long_mode = true };
static uint64_t written;
static unsigned lines;

static const char *loader; /* NULL: the words say which */

/* ---- what the loaders call ---- */

static char said[256];
static bool loading;

int __wrap_printf(const char *fmt, ...);

/* What a loader prints is counted, what this test prints is printed. */
int
__wrap_printf(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = loading ? vsnprintf(said, sizeof(said), fmt, ap) : vprintf(fmt, ap);
	va_end(ap);
	lines += loading;
	return n;
}

static jmp_buf panicked;

void
panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
	longjmp(panicked, 1);
}

void
preempt_point(void)
{
}

void *
gpa_ptr(struct domain *d, gpa_t a, size_t *len)
{
	size_t left = PAGE_SIZE - (a.v & PAGE_MASK);

	if (a.v >= d->ram || (a.v >= LOW_RAM_END && a.v < HIGH_RAM))
		return NULL;
	if (*len > left)
		*len = left;
	return ram + a.v;
}

int
gpa_write(struct domain *d, gpa_t a, const void *buf, size_t len)
{
	if (len && (a.v + len > d->ram || (a.v < HIGH_RAM && a.v + len > LOW_RAM_END)))
		return -EFAULT;
	memcpy(ram + a.v, buf, len);
	written += len;
	return 0;
}

/* ---- images ---- */

static void
put(size_t at, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		image[at + i] = value >> (8 * i);
}

#define PHDRS 3u
#define PHOFF 0x40u
#define DATA  0x200u

static void
make_elf(void)
{
	static const uint32_t at[PHDRS] = { 0x100000, 0x102000, 0x180000 };

	image_size = 0x2000;
	memcpy(image,
	       "\x7f"
	       "ELF\1\1\1",
	       7);
	put(16, 2, 2), put(18, 2, 3), put(20, 4, 1), put(24, 4, 0x100010), put(28, 4, PHOFF);
	put(40, 2, 52), put(42, 2, 32), put(44, 2, PHDRS);
	for (unsigned i = 0; i < PHDRS; i++) {
		size_t h = PHOFF + 32 * i;

		put(h, 4, 1), put(h + 4, 4, DATA + i * 0x100), put(h + 8, 4, at[i]);
		put(h + 12, 4, at[i]), put(h + 16, 4, 0x100), put(h + 20, 4, 0x1000);
	}
	put(DATA, 4, 0x1badb002), put(DATA + 8, 4, -0x1badb002);
}

/* The same segments, and a note with a PVH entry; the last header is the note's. */
static void
make_pvh(void)
{
	size_t h = PHOFF + 32 * (PHDRS - 1), note = DATA - 20;

	make_elf();
	put(h, 4, 4), put(h + 4, 4, note), put(h + 16, 4, 20);
	put(note, 4, 4), put(note + 4, 4, 4), put(note + 8, 4, 18);
	memcpy(image + note + 12, "Xen", 4);
	put(note + 16, 4, 0x100010);
}

static void
make_linux(void)
{
	image_size = 4 * 512 + 4096;
	image[LINUX_SETUP_SECTS] = 3;
	put(LINUX_SYSSIZE, 4, 4096 / 16);
	put(LINUX_BOOT_FLAG, 2, 0xaa55);
	image[LINUX_JUMP] = 0x6a;
	memcpy(image + LINUX_HEADER, "HdrS", 4);
	put(LINUX_VERSION, 2, 0x020f);
	image[LINUX_LOADFLAGS] = 1;
	put(LINUX_INITRD_MAX, 4, 0x37ffffff);
	put(LINUX_CMDLINE_SIZE, 4, 2047);
	put(LINUX_PREF_ADDRESS, 8, 0x100000);
	put(LINUX_INIT_SIZE, 4, 0x200000);
}

static void
make_linux_64(void)
{
	make_linux();
	put(LINUX_XLOADFLAGS, 2, LINUX_KERNEL_64);
}

static uint64_t
number(void)
{
	static const uint64_t some[] = { 0,          1,          0xff,    0xffff,
					 0x7fffffff, 0x80000000, RAM,     RAM - 1,
					 0xfffffff0, 0xffffffff, 0xa0000, 0x9e000,
					 0x2000,     0x1fff,     32,      0x100000 };

	switch (drawn() % 3) {
	case 0:
		return some[drawn() % (sizeof(some) / sizeof(some[0]))];
	case 1:
		return drawn();
	default:
		return drawn() % 0x4000;
	}
}

/* A few bytes go wrong, most of them in what a loader reads; or the file ends early. */
static void
spoil(size_t from, size_t to)
{
	for (unsigned n = drawn() % 4; n; n--) {
		size_t at = drawn() % 8 ? from + drawn() % (to - from) : drawn() % (image_size - 8);

		put(drawn() % 2 ? at & ~(size_t)3 : at, 1u << drawn() % 4, number());
	}
	if (drawn() % 16 == 0)
		image_size = drawn() % (image_size + 1);
}

/* At the end of memory. */
static uint64_t
place(const void *from, size_t size)
{
	memcpy(memory + MEMORY - size, from, size);
	return MEMORY - size;
}

/*
 * Of a guest that begins in 64-bit mode: each address below 4 GiB is mapped to itself, by a page of
 * 2 MiB that may be written, as this walk of its own finds (SDM 3A 4.5), and its GDT has the
 * segments that the registers have.
 */
static const char *
first_tables(const struct cpu_state *s)
{
	uint64_t gdt[4];

	memcpy(gdt, ram + s->gdtr.base, sizeof(gdt));
	if (s->efer != (EFER_LME | EFER_LMA) || s->cr4 != CR4_PAE ||
	    !(s->seg[SEG_CS].attr & ATTR_L) || s->seg[SEG_CS].attr & ATTR_DB ||
	    !(gdt[2] >> 53 & 1) || gdt[3] >> 53 & 1)
		return "it is in another mode";
	for (unsigned n = 0; n < 64; n++) {
		uint64_t a = n ? drawn() & 0xffffffff : s->rip, entry;
		uint64_t at = s->cr3 + (a >> 39) * 8;

		for (unsigned shift = 30; shift >= 21; shift -= 9) {
			if ((at & PAGE_MASK) + 8 > PAGE_SIZE || at > LOW_RAM_END)
				return "its tables are not where it has memory";
			memcpy(&entry, ram + at, 8);
			if ((entry & 0xfff) != (PTE_P | PTE_W))
				return "a table is not present";
			at = (entry & ~(uint64_t)PAGE_MASK) + (a >> shift & 511) * 8;
		}
		memcpy(&entry, ram + at, 8);
		if (entry != ((a & ~0x1fffffull) | PTE_P | PTE_W | PTE_PS))
			return "an address is not mapped to itself";
	}
	return NULL;
}

/* NULL, or what is wrong with how an image was loaded, or refused. */
static const char *
load_one(const char *words, const struct module *second)
{
	const struct domain_config config = {
		.module = &guest_module, .words = words, .loader = loader, .modules = { second }
	};
	int err;

	memset(&vcpu.state, 0xee, sizeof(vcpu.state));
	guest_module.paddr = place(image, image_size);
	guest_module.size = image_size;
	disk.paddr = MEMORY - (disk.size = drawn() % 4 ? drawn() % 65536 : drawn() % MEMORY);
	modules[0] = disk; /* initrd=m1 finds it by its name */
	module_count = 1;
	written = lines = 0;
	loading = true;
	if (setjmp(panicked)) {
		loading = false;
		return said;
	}
	err = load_guest(&domain, &config);
	loading = false;
	if (written > 4ul * RAM)
		return "it copied far more than the guest has";
	if (err)
		return lines == 1 ? NULL : "it was refused, and not in one line";
	if (lines || vcpu.state.rip > 0xffffffff || !(vcpu.state.cr0 & 1))
		return "the guest's first state is none";
	return vcpu.state.cr0 & CR0_PG ? first_tables(&vcpu.state) : NULL;
}

static void
fuzz(const char *what, void (*make)(void), size_t from, size_t to, const char *const *words)
{
	unsigned good = 0, bad = 0;
	const char *wrong = NULL;

	for (unsigned n = 0; n < ROUNDS && !wrong; n++) {
		const char *w = words[drawn() % 4];

		memset(image, 0, sizeof(image));
		make();
		spoil(from, to);
		wrong = load_one(w, drawn() % 4 ? NULL : &disk);
		good += !lines;
		bad += lines;
		if (wrong)
			diag("round %u, \"%s\": %s", n, w, wrong);
	}
	ok(!wrong, "%s: %u images, each is loaded or refused in one line", what, ROUNDS);
	ok(good > ROUNDS / 20 && bad > ROUNDS / 20, "%s: of both there are enough (%u, %u)", what,
	   good, bad);
}

/*
 * The loader's word is believed on where memory is; what it says of sizes must not lead out of what
 * is mapped.
 */
static void
bootinfo(void)
{
	struct multiboot_info good = { .flags = MULTIBOOT_INFO_MMAP };
	const struct multiboot_mmap map[4] = { { 20, 0, 0x9f000, 1 }, { 20, 0x100000, MEMORY, 1 } };
	uint64_t at = place(map, sizeof(map));
	unsigned refused = 0;

	memset(memory, 0, MEMORY - sizeof(map));
	good.mmap_addr = (uint32_t)at;
	good.mods_addr = (uint32_t)at - 4096;
	for (unsigned n = 0; n < ROUNDS; n++) {
		struct multiboot_info info = good;

		info.mmap_length = drawn() % 2 ? sizeof(map) : drawn() % (sizeof(map) + 1);
		if (n + WORDS > ROUNDS) /* they are kept, and there is only so much room for them */
			info.flags |= MULTIBOOT_INFO_CMDLINE | MULTIBOOT_INFO_MODS;
		info.mods_count = drawn() % 40;
		place(map, sizeof(map));
		put(0, 8, number());
		memcpy(memory + at + (drawn() % sizeof(map) & ~3ul), image, 4);
		memcpy(memory + 4096, &info, sizeof(info));
		memory_range_count = module_count = 0;
		loading = true;
		if (setjmp(panicked))
			refused++;
		else
			bootinfo_init(MULTIBOOT_BOOT_MAGIC, 4096);
		loading = false;
	}
	ok(refused < WORDS, "the host's own boot information: %u, of which %u are refused", ROUNDS,
	   refused);
}

/* A module's words in two parts: what `start` takes, and what is the guest's. */
static void
words_of_modules(void)
{
	static const struct {
		const char *words, *own, *first;
		int argc;
	} cases[] = {
		{ "a/b", "", NULL, 2 },
		{ "b c  d", "c  d", NULL, 2 },
		{ "b mem=64  boot=linux -- c d", "c d", "mem=64", 4 },
		{ "b  --  c -- d", "c -- d", NULL, 2 },
		{ "b mem=1 --", "", "mem=1", 3 },
		{ "b --c d", "--c d", NULL, 2 },
		{ "b 1 2 3 4 5 6 7 8 9 -- c", "c", "1", MODULE_OPTIONS },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct module m = { .words = cases[i].words };
		struct module_options o;
		int argc = module_options(&m, &o);

		ok(argc == cases[i].argc && !strcmp(module_own_words(&m), cases[i].own) &&
			   (argc == 2 || !strcmp(o.argv[2], cases[i].first)),
		   "words \"%s\"", cases[i].words);
	}
}

int
main(void)
{
	static const char *const elf[] = { "", "a=b", "boot=coreboot", "boot=coreboot x" };
	static const char *const kernel[] = { "boot=linux x", "boot=linux initrd=m1 x",
					      "boot=linux initrd=m1", "boot=linux initrd=none" };

	memory = mmap((void *)DIRECT_MAP, MEMORY + PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (memory != (void *)DIRECT_MAP || mprotect(memory + MEMORY, PAGE_SIZE, PROT_NONE))
		return 1;
	domain.vcpu = &vcpu;
	vcpu.engine = &engine;
	plan(18);
	words_of_modules();
	fuzz("ELF", make_elf, 0, DATA + 12, elf);
	loader = load_find("pvh");
	fuzz("PVH", make_pvh, 0, DATA, elf);
	loader = NULL;
	fuzz("bzImage", make_linux, LINUX_SETUP_SECTS, LINUX_HEADER_MAX, kernel);
	fuzz("bzImage of 64 bits", make_linux_64, LINUX_SETUP_SECTS, LINUX_HEADER_MAX, kernel);
	memset(image, 0, sizeof(image));
	make_linux_64();
	ok(!load_one(kernel[0], NULL) && !lines && vcpu.state.cr0 & CR0_PG,
	   "it begins in long mode");
	engine.long_mode = false;
	ok(!load_one(kernel[0], NULL) && lines == 1 && strstr(said, "no long mode"),
	   "or is refused where there is none");
	bootinfo();
	return done_testing();
}
