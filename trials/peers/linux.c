/*
 * Linux as a guest of KVM, by its own 64-bit entry (Linux: Documentation/arch/x86/boot.rst, "The
 * 64-bit Boot Protocol"). What Zeno's loader puts where (vmm/load/), this does: the plan is its own
 * source, so both kernels find themselves, their words and their RAM disk in the same places.
 */
#include <trials/peers/peer.h>
#include <vmm/load/linux.h>

#define MAGIC            0x53726448u /* "HdrS" */
#define LOADER_UNDEFINED 0xff
#define E820_RAM         1u
#define LOW_RAM_END      0x9fc00ul
#define HIGH_RAM         0x100000ul
#define PAGE             0x1000ul
#define LARGE_PAGE       0x200000ul
#define ENTRIES          512u
#define DIRECTORIES      4u
#define PRESENT_WRITABLE 3u
#define LARGE            0x80u
#define CR0_PE           1u
#define CR0_PG           (1u << 31)
#define CR4_PAE          (1u << 5)
#define EFER_LONG        0x500u /* LME, LMA */
#define CODE64           0x00af9b000000fffful
#define DATA             0x00cf93000000fffful
#define BOOT_CS          0x10
#define BOOT_DS          0x18

static uint32_t
word(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

int
is_linux(const struct file *f)
{
	return word(f->head + LINUX_HEADER) == MAGIC;
}

static void
put(uint8_t *page, unsigned at, uint64_t value, size_t size)
{
	memcpy(page + at, &value, size);
}

static void
zero_page(uint8_t *page, const struct file *f, const struct linux_plan *plan, uint64_t initrd_size,
	  uint64_t ram)
{
	const uint64_t map[][2] = { { 0, LOW_RAM_END }, { HIGH_RAM, ram - HIGH_RAM } };

	memcpy(page + LINUX_SETUP_SECTS, f->head + LINUX_SETUP_SECTS,
	       plan->header_end - LINUX_SETUP_SECTS);
	page[LINUX_TYPE_OF_LOAD] = LOADER_UNDEFINED;
	put(page, LINUX_CODE32_START, LINUX_LOAD, 4);
	put(page, LINUX_RAMDISK_IMAGE, plan->initrd_at, 4);
	put(page, LINUX_RAMDISK_SIZE, initrd_size, 4);
	put(page, LINUX_CMD_LINE_PTR, LINUX_CMDLINE, 4);
	page[LINUX_E820_ENTRIES] = 2;
	for (unsigned i = 0; i < 2; i++) {
		memcpy(page + LINUX_E820_TABLE + 20 * i, map[i], sizeof(map[i]));
		put(page, LINUX_E820_TABLE + 20 * i + 16, E820_RAM, 4);
	}
}

/* The low 4 GiB are mapped where they are, in pages of 2 MiB; and the two segments. */
static void
tables(uint8_t *ram)
{
	uint64_t *top = (uint64_t *)(ram + LINUX_TABLES), *second = top + ENTRIES;
	uint64_t *directory = second + ENTRIES, *gdt = (uint64_t *)(ram + LINUX_GDT);

	top[0] = (LINUX_TABLES + PAGE) | PRESENT_WRITABLE;
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		second[i] = (LINUX_TABLES + (2 + i) * PAGE) | PRESENT_WRITABLE;
	for (uint64_t i = 0; i < DIRECTORIES * ENTRIES; i++)
		directory[i] = i * LARGE_PAGE | LARGE | PRESENT_WRITABLE;
	gdt[BOOT_CS / 8] = CODE64;
	gdt[BOOT_DS / 8] = DATA;
}

void
linux_place(const struct file *f, uint8_t *ram, uint64_t size, char **words)
{
	struct file initrd = { 0 };
	struct linux_plan plan;
	const char *wrong;
	uint8_t *to = ram + LINUX_CMDLINE;

	if (*words && word((const uint8_t *)*words) == word((const uint8_t *)"initrd="))
		open_file(&initrd, *words++ + length("initrd="));
	wrong = linux_plan(&plan, f->head, f->size, initrd.size, size);
	if (wrong || !plan.is_64)
		die(wrong ? wrong : "no 64-bit kernel", 0);
	for (; *words; words++) {
		size_t n = length(*words);

		if (to + n + 1 >= ram + LINUX_GDT)
			die("too many words", 0);
		memcpy(to, *words, n);
		to += n;
		*to++ = ' ';
	}
	zero_page(ram + LINUX_ZERO_PAGE, f, &plan, initrd.size, size);
	tables(ram);
	read_file(f, ram + LINUX_LOAD, plan.kernel_size, plan.kernel_from);
	if (initrd.size)
		read_file(&initrd, ram + plan.initrd_at, initrd.size, 0);
}

void
linux_enter(long vcpu)
{
	const struct kvm_segment code = {
		.limit = ~0u, .selector = BOOT_CS, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = { .rip = LINUX_LOAD + LINUX_ENTRY_64,
				 .rsi = LINUX_ZERO_PAGE,
				 .rflags = 2 };
	struct kvm_sregs sregs = { 0 };

	data.selector = BOOT_DS;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	kvm(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = LINUX_GDT;
	sregs.gdt.limit = BOOT_DS + 7;
	sregs.cr0 |= CR0_PE | CR0_PG;
	sregs.cr3 = LINUX_TABLES;
	sregs.cr4 |= CR4_PAE;
	sregs.efer |= EFER_LONG;
	kvm(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	kvm(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}
