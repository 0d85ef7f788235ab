/*
 * The third way in which a guest is started: as a boot loader starts Linux, at its 32-bit entry or,
 * if it is a 64-bit kernel, at its 64-bit one (linux_entry.c).
 *
 * linux.h says what BOOT is. The setup header goes into the "zero page" together with what the
 * loader knows; nothing of the real-mode part runs, so Linux asks no BIOS.
 */
#include <inc/errno.h>
#include <vmm/dev/apic/acpi.h>
#include <vmm/dev/platform.h>
#include <vmm/engine.h>
#include <vmm/load/linux.h>
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>
#include <vmm/words/monitor.h>

#define LOADER_UNDEFINED 0xff /* type_of_loader: without an id of its own */
#define E820_RAM         1
#define E820_RESERVED    2
#define ACPI_AT          (LOW_RAM_END + 64) /* firmware's own area: kernels look there, too */

struct e820 {
	uint64_t start, size;
	uint32_t type;
} __attribute__((packed));
_Static_assert(sizeof(struct e820) == 20, "zero-page.rst");

struct parts {
	const struct module *kernel, *initrd;
	struct linux_plan plan;
	uint32_t rsdp; /* 0: the platform has no ACPI */
	char cmdline[512];
};

/* The words' first: `initrd=NAME`. NULL: no such module. */
static const char *
take_initrd(struct parts *p, const char *words)
{
	char name[sizeof(p->kernel->name)];
	const char *end;

	if (strncmp(words, "initrd=", 7))
		return words;
	words += 7;
	for (end = words; *end && *end != ' '; end++)
		;
	snprintf(name, sizeof(name), "%.*s", (int)(end - words), words);
	p->initrd = module_find(name);
	if (!p->initrd)
		return NULL;
	while (*end == ' ')
		end++;
	return end;
}

/* The command line: the kernel module's own words, then those of `start`. */
static bool
make_cmdline(struct parts *p, const char *own, const char *words)
{
	int len = snprintf(p->cmdline, sizeof(p->cmdline), "%s%s%s", own, *own ? " " : "", words);

	return (size_t)len < sizeof(p->cmdline) && (size_t)len <= p->plan.cmdline_max;
}

static void
put32(uint8_t *page, unsigned at, uint32_t value)
{
	memcpy(page + at, &value, sizeof(value));
}

/*
 * The zero page, and in it the loader's fields (BOOT "Details of Header Fields", those of type
 * "write"). -EFAULT: a guest that has memory on demand gets none, since the machine has no more.
 */
static int
write_zero_page(struct domain *d, const struct parts *p)
{
	const uint8_t *image = hpa_ptr(hpa(p->kernel->paddr));
	const struct e820 map[] = { { 0, LOW_RAM_END, E820_RAM },
				    { LOW_RAM_END, LOW_RAM_TOP - LOW_RAM_END, E820_RESERVED },
				    { HIGH_RAM, d->ram - HIGH_RAM, E820_RAM } };
	size_t len = PAGE_SIZE;
	uint8_t *page = gpa_ptr(d, gpa(LINUX_ZERO_PAGE), &len);

	if (!page)
		return -EFAULT;
	memset(page, 0, PAGE_SIZE);
	memcpy(page + LINUX_SETUP_SECTS, image + LINUX_SETUP_SECTS,
	       p->plan.header_end - LINUX_SETUP_SECTS);
	page[LINUX_TYPE_OF_LOAD] = LOADER_UNDEFINED;
	page[LINUX_LOADFLAGS] &= ~LINUX_KEEP_SEGMENTS;
	put32(page, LINUX_CODE32_START, LINUX_LOAD);
	put32(page, LINUX_RAMDISK_IMAGE, p->plan.initrd_at);
	put32(page, LINUX_RAMDISK_SIZE, p->initrd ? p->initrd->size : 0);
	put32(page, LINUX_CMD_LINE_PTR, LINUX_CMDLINE);
	put32(page, LINUX_RSDP, p->rsdp);
	page[LINUX_E820_ENTRIES] = ARRAY_LEN(map);
	memcpy(page + LINUX_E820_TABLE, map, sizeof(map));
	return 0;
}

int
load_acpi(struct domain *d, uint32_t *rsdp)
{
	uint8_t tables[ACPI_SIZE] = { 0 };

	if (!d->platform || !d->platform->acpi)
		return 0;
	_Static_assert(ACPI_AT + ACPI_SIZE <= LOW_RAM_TOP, "it fits");
	*rsdp = ACPI_AT;
	return gpa_write(d, gpa(ACPI_AT), tables, d->platform->acpi(d, tables, ACPI_AT));
}

static int
write_guest(struct domain *d, struct parts *p)
{
	const uint8_t *image = hpa_ptr(hpa(p->kernel->paddr));
	int err = load_acpi(d, &p->rsdp);

	if (!err)
		err = write_zero_page(d, p);
	if (!err)
		err = gpa_write(d, gpa(LINUX_CMDLINE), p->cmdline, strlen(p->cmdline) + 1);
	if (!err)
		err = linux_write_entry(d, p->plan.is_64);
	if (!err)
		err = load_bytes(d, LINUX_LOAD, image + p->plan.kernel_from, p->plan.kernel_size);
	if (!err && p->initrd)
		err = load_bytes(d, p->plan.initrd_at, hpa_ptr(hpa(p->initrd->paddr)),
				 p->initrd->size);
	return err;
}

/*
 * `words` begin behind boot=linux. Errors: -ENOEXEC, after a line that says what is wrong; -ENOENT:
 * no such initrd.
 */
int
linux_load(struct domain *d, const struct module *m, const char *words)
{
	struct parts p = { .kernel = m };
	const char *own = take_initrd(&p, module_own_words(m)), *wrong;

	words = take_initrd(&p, words);
	if (!own || !words) {
		printf("%s: no module is called as its initrd= says\n", m->name);
		return -ENOENT;
	}
	wrong = linux_plan(&p.plan, hpa_ptr(hpa(m->paddr)), m->size, p.initrd ? p.initrd->size : 0,
			   d->ram);
	if (!wrong && !make_cmdline(&p, own, words))
		wrong = "its command line is longer than it takes";
	if (!wrong && p.plan.is_64 && !d->vcpu->engine->long_mode)
		wrong = "it is a 64-bit kernel, and this engine has no long mode";
	if (!wrong && write_guest(d, &p))
		wrong = d->starved ? LOAD_NO_MEMORY
				   : "a part of it lies where the guest has no memory";
	if (wrong) {
		printf("%s: not a guest that can be started: %s\n", m->name, wrong);
		return -ENOEXEC;
	}
	linux_registers(&d->vcpu->state, p.plan.is_64);
	return 0;
}
