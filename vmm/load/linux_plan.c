/*
 * Checks the image of a Linux kernel, and decides where its parts go. It comes from outside: every
 * field is checked before it is used.
 */
#include <vmm/load/linux.h>

#define SECTOR           512
#define BOOT_FLAG        0xaa55
#define HEADER_MAGIC     0x53726448 /* "HdrS" */
#define OLDEST           0x020a     /* 2.10 brought pref_address and init_size */
#define SETUP_SECTS_ZERO 4          /* BOOT: "If this field contains 0, the real value is 4" */
#define PAGE             0x1000u
#define UNIT             16 /* BOOT "syssize": of the protected-mode code, in bytes */

static uint64_t
field(const uint8_t *image, size_t at, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)image[at + i] << (8 * i);
	return value;
}

static const char *
check_header(const uint8_t *image, uint64_t size)
{
	uint64_t end;

	if (size < LINUX_HEADER_END)
		return "the file is shorter than a Linux setup header";
	if (field(image, LINUX_BOOT_FLAG, 2) != BOOT_FLAG ||
	    field(image, LINUX_HEADER, 4) != HEADER_MAGIC)
		return "it is no Linux kernel: it has no setup header";
	if (field(image, LINUX_VERSION, 2) < OLDEST)
		return "its boot protocol is older than 2.10";
	end = LINUX_HEADER + image[LINUX_JUMP];
	if (end < LINUX_HEADER_END || end > LINUX_HEADER_MAX || end > size)
		return "its setup header has an impossible length";
	if (!(image[LINUX_LOADFLAGS] & LINUX_LOADED_HIGH))
		return "it is a zImage, which wants to lie below 1 MiB";
	return NULL;
}

/* The protected-mode part stands behind the boot sector and the real-mode part. */
static const char *
plan_kernel(struct linux_plan *plan, const uint8_t *image, uint64_t size)
{
	unsigned sectors = image[LINUX_SETUP_SECTS];

	plan->header_end = LINUX_HEADER + image[LINUX_JUMP];
	plan->kernel_from = ((sectors ? sectors : SETUP_SECTS_ZERO) + 1) * SECTOR;
	plan->kernel_size = field(image, LINUX_SYSSIZE, 4) * UNIT;
	plan->is_64 = field(image, LINUX_XLOADFLAGS, 2) & LINUX_KERNEL_64;
	if (!plan->kernel_size)
		return "it has no protected-mode part";
	if (plan->is_64 && plan->kernel_size <= LINUX_ENTRY_64)
		return "its protected-mode part ends before its 64-bit entry";
	/* The last unit need not be whole in the file: Debian's memtest86+ ends within it. */
	if (plan->kernel_from + plan->kernel_size >= size + UNIT)
		return "its protected-mode part goes beyond the file's end (truncated?)";
	if (plan->kernel_from + plan->kernel_size > size)
		plan->kernel_size = size - plan->kernel_from;
	return NULL;
}

/*
 * The kernel unpacks itself at its preferred address and needs init_size bytes there (BOOT
 * "init_size"). The RAM disk goes as high as it may: pages of its own at the end of memory.
 */
static const char *
plan_memory(struct linux_plan *plan, const uint8_t *image, uint64_t initrd_size, uint64_t ram)
{
	uint64_t start = field(image, LINUX_PREF_ADDRESS, 8);
	uint64_t need = field(image, LINUX_INIT_SIZE, 4);
	uint64_t top = field(image, LINUX_INITRD_MAX, 4) + 1;

	if (start < LINUX_LOAD)
		start = LINUX_LOAD;
	if (start > ram || need > ram - start || plan->kernel_size > ram - LINUX_LOAD)
		return "it needs more memory to unpack itself: give it more with mem=";
	if (need < plan->kernel_size)
		need = plan->kernel_size;
	plan->initrd_at = 0;
	if (!initrd_size)
		return NULL;
	if (top > ram)
		top = ram;
	if (initrd_size > top || ((top - initrd_size) & ~(uint64_t)(PAGE - 1)) < start + need)
		return "there is no room for its initial RAM disk: give it more with mem=";
	plan->initrd_at = (top - initrd_size) & ~(uint64_t)(PAGE - 1);
	return NULL;
}

const char *
linux_plan(struct linux_plan *plan, const uint8_t *image, uint64_t size, uint64_t initrd_size,
	   uint64_t ram)
{
	const char *wrong = check_header(image, size);

	if (!wrong)
		wrong = plan_kernel(plan, image, size);
	if (!wrong)
		wrong = plan_memory(plan, image, initrd_size, ram);
	if (wrong)
		return wrong;
	plan->cmdline_max = field(image, LINUX_CMDLINE_SIZE, 4);
	return NULL;
}
