/*
 * A guest that begins with its machine's firmware, as `start seabios boot=firmware` has it: its
 * image is a ROM, and the CPU starts in it as after a reset.
 *
 * Nothing is copied: the boot module's own frames stand in the p2m, and no guest writes them. The
 * ROM ends at 4 GiB, and its last 128 KiB are below 1 MiB, too, until PAM shows RAM there (PIIX3
 * 2.2.5 "XBCS", "Lower BIOS Enable").
 *
 * Port 402 is where Bochs and QEMU let firmware say what it does; it knows the port by what is read
 * there.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/apic/pc_apic.h>
#include <vmm/dev/apic/startup.h>
#include <vmm/dev/firmware/firmware.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/words/monitor.h>

#define ROM_UNIT        0x10000u
#define ROM_MAX         0x100000u
#define LOW_PAGES       32u /* at most: e0000-fffff */
#define END_LOW         0x100u
#define END_HIGH        0x100000u
#define RESET_BYTES     16u /* from the end: where the CPU starts */
#define JUMP_FAR        0xea
#define JUMP_NEAR       0xe9
#define CMOS_OTHER_CPUS 0x5f /* QEMU's: SeaBIOS waits for so many */
#define LOG_PORT        0x402
#define LOG_IS_HERE     0xe9

/* NULL, or what is wrong with an image. Some BIOSes jump near, most of them far. */
static const char *
check(const struct domain *d, const struct module *m)
{
	const uint8_t *image = hpa_ptr(hpa(m->paddr));
	uint8_t first;

	if (!d->mmu || !d->mmu->nested_init)
		return "it begins in real mode, and its MMU mode has none: mmu=nested, mmu=flat";
	if (!m->size || m->size % ROM_UNIT || m->size > ROM_MAX)
		return "it is no ROM of 64 KiB, or as many times that, up to 1 MiB (truncated?)";
	if (m->paddr & PAGE_MASK)
		return "it does not lie on pages of its own";
	first = image[m->size - RESET_BYTES];
	if (first != JUMP_FAR && first != JUMP_NEAR)
		return "no jump stands where the CPU starts, 16 bytes from its end";
	return NULL;
}

/* The image's last `count` pages, up to `end`. */
static int
enter(struct domain *d, const struct module *m, uint64_t count, uint64_t end)
{
	uint64_t last = (m->paddr + m->size) >> PAGE_SHIFT;
	int err = 0;

	for (uint64_t i = 1; i <= count && !err; i++)
		err = p2m_set(d, gfn(end - i), mfn(last - i), P2M_ONES);
	return err;
}

int
firmware_load(struct domain *d, const struct module *m)
{
	const char *wrong = pc_has_startup() ? check(d, m) : "that comes with Lab 5";
	uint64_t pages = m->size >> PAGE_SHIFT;
	int err;

	if (wrong) {
		printf("%s: not firmware that can be started: %s\n", m->name, wrong);
		return -ENOEXEC;
	}
	pc_reset_state(&d->vcpu->state);
	err = enter(d, m, pages, END_HIGH);
	return err ? err : enter(d, m, pages < LOW_PAGES ? pages : LOW_PAGES, END_LOW);
}

int
firmware_init(struct domain *d)
{
	uint8_t *cmos = pc_of(d)->rtc.reg;

	apic_of(d)->firmware = host_page();
	if (!apic_of(d)->firmware)
		return -ENOMEM;
	for_each_vcpu(v, d) cmos[CMOS_OTHER_CPUS] = (uint8_t)v->number;
	pam_init(d);
	return 0;
}

void
firmware_free(struct domain *d)
{
	if (d->machine && apic_of(d)->firmware) {
		pam_free(d);
		host_page_put(apic_of(d)->firmware);
	}
	pc_free(d);
}

static uint32_t
log_read(struct domain *d, uint16_t port, unsigned size)
{
	return LOG_IS_HERE;
}

static void
log_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	struct firmware *f = apic_of(d)->firmware;

	f->log[f->said++ % FIRMWARE_LOG] = (char)value;
}

const struct io_range firmware_ports[] = {
	{ LOG_PORT, 1, 1, "firmware's log", log_read, log_write },
	{ 0 },
};

/* A guest chooses these bytes: none of them moves the terminal's cursor. */
static void
print_log(const struct firmware *f)
{
	uint64_t at = f->said < FIRMWARE_LOG ? 0 : f->said - FIRMWARE_LOG;

	if (at)
		printf("(%lu bytes before)\n", at);
	for (; at < f->said; at++) {
		char c = f->log[at % FIRMWARE_LOG];

		if (c == '\n' || (c >= ' ' && c <= '~'))
			printf("%c", c);
	}
}

/* firmware [ID] */
static int
firmware(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);

	if (!d)
		return MONITOR_SAID;
	if (!d->platform || !d->platform->firmware || !apic_of(d)->firmware->said) {
		printf("d%u has no firmware, or it says nothing\n", d->id);
		return MONITOR_SAID;
	}
	print_log(apic_of(d)->firmware);
	return 0;
}
MONITOR_COMMAND(firmware, "firmware", "[ID]", "what a guest's firmware says of its work");
