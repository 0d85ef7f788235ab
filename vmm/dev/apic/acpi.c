/*
 * ACPI tables of the platform pc-apic: RSDP, XSDT, FADT, FACS, MADT, DSDT.
 *
 * ACPI = Advanced Configuration and Power Interface Specification 6.4; the tables are as revision
 * 2.0 has them, which every kernel reads.
 */
#include <kern/kern.h>
#include <vmm/dev/apic/acpi.h>
#include <vmm/dev/apic/ioapic.h>
#include <vmm/dev/apic/lapic.h>
#include <vmm/dev/apic/pm.h>
#include <vmm/dev/i8042.h>

#define SCI_IRQ 9
#define PIT_PIN 2

/* ACPI 5.2.5.3, 5.2.6: the root pointer, and each table's head. */
struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_whole, reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == 36, "ACPI table 5.27");

struct head {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct head) == 36, "ACPI table 5.29");

/* Where a register is (ACPI 5.2.3.2): a port, so many bits wide. */
struct address {
	uint8_t space, bits, shift, access;
	uint64_t at;
} __attribute__((packed));
#define SPACE_PORT 1

/* ACPI 5.2.9, up to what revision 3 of the table has: offsets in the comments. */
struct fadt {
	struct head head;
	uint32_t facs, dsdt;    /* 36 */
	uint8_t model, profile; /* 44 */
	uint16_t sci;           /* 46 */
	uint32_t smi;           /* 48 */
	uint8_t no_smi[4];      /* 52 */
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2, timer, gpe0,
		gpe1;                                                            /* 56 */
	uint8_t event_bytes, control_bytes, pm2_bytes, timer_bytes, gpe[3], cst; /* 88 */
	uint16_t c2_latency, c3_latency, flush[2];                               /* 96 */
	uint8_t duty[2], alarm[2], century;                                      /* 104 */
	uint16_t boot;                                                           /* 109 */
	uint8_t reserved;                                                        /* 111 */
	uint32_t flags;                                                          /* 112 */
	struct address reset;                                                    /* 116 */
	uint8_t reset_value, arm[2], minor;                                      /* 128 */
	uint64_t x_facs, x_dsdt;                                                 /* 132 */
	struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2, x_timer,
		x_gpe[2]; /* 148 */
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, event_bytes) == 88, "ACPI table 5.33");
_Static_assert(offsetof(struct fadt, flags) == 112, "ACPI table 5.33");
_Static_assert(sizeof(struct fadt) == 244, "ACPI table 5.33");

#define NO_C_STATE  0xffff /* of that latency there is none */
#define BOOT_LEGACY 3      /* ISA devices, and an 8042 */
/* WBINVD; C1; no power or sleep button; the clock's alarm is no fixed event. */
#define FADT_FLAGS   (1u << 0 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 6)
#define CMOS_CENTURY 0x32

/* ACPI 5.2.12. */
struct madt_cpu {
	uint8_t type, length, processor, apic;
	uint32_t flags;
} __attribute__((packed));
struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, first_gsi;
} __attribute__((packed));
struct madt_override {
	uint8_t type, length, bus, irq;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));
struct madt_nmi {
	uint8_t type, length, processor;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));
#define ALL_CPUS    0xff
#define PCAT_COMPAT 1 /* there are 8259s, too */
#define AS_THE_BUS  0 /* polarity and trigger */
#define LEVEL_HIGH  0xd

/*
 * The DSDT's code (ACPI 20.2), compiled by hand from
 *
 *   DefinitionBlock ("", "DSDT", 2, "ZENO", "PC-APIC", 1) {
 *       Name (\_S5, Package (4) { 5, 5, 0, 0 })
 *       Device (_SB.PCI0) {
 *           Name (_HID, EisaId ("PNP0A03"))
 *           Name (_CRS, ResourceTemplate () {
 *               WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
 *               IO (Decode16, 0xCF8, 0xCF8, 1, 8)
 *               WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
 *                       0, 0, 0xCF7, 0, 0xCF8)
 *               WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
 *                       0, 0xD00, 0xFFFF, 0, 0xF300)
 *           })
 *           Name (_PRT, Package (12) {
 *               Package (4) { 0x0001FFFF, 0, 0, 16 }, ... pin by pin, for devices 1 to 3
 *           })
 *       }
 *       Device (_SB.KBD_) {
 *           Name (_HID, EisaId ("PNP0303"))
 *           Name (_CRS, ResourceTemplate () {
 *               IO (Decode16, 0x60, 0x60, 1, 1), IO (Decode16, 0x64, 0x64, 1, 1), IRQNoFlags () {1}
 *           })
 *       }
 *   }
 *
 * The interrupt lines are wired as QEMU's boards have them: pin n of device d on the PIIX3's
 * PIRQ[(d - 1 + n) modulo 4], and those four on the I/O APIC's pins 16 to 19 (82093AA 2.4). No
 * function here asserts one; the other interrupts are those of every PC.
 */
#define WORD(n) (n) & 0xff, (n) >> 8
/* ACPI 6.4.3.5.3: a window of the bridge's, of ports or buses, from `first` to `last`. */
#define WINDOW(type, flags, first, last)                                              \
	0x88, WORD(13), type, 0x0c, flags, WORD(0), WORD(first), WORD(last), WORD(0), \
		WORD((last) - (first) + 1)
#define WINDOW_PORTS 1
#define WINDOW_BUSES 2
/* ACPI 6.4.2.5: `count` ports of a device's own, and no others will do. */
#define PORTS(first, count) 0x47, 1, WORD(first), WORD(first), 1, count
/* ACPI 6.2.13: a package of four: all functions of `device`, a pin, no link, the I/O APIC's pin. */
#define PIRQ_A 16
#define PIN(device, pin)                                              \
	0x12, 12, 4, 0x0c, 0xff, 0xff, device, 0, 0x0a, pin, 0, 0x0a, \
		PIRQ_A + ((device)-1 + (pin)) % 4
#define PINS(device) PIN(device, 0), PIN(device, 1), PIN(device, 2), PIN(device, 3)
#define TERM(...)    __VA_ARGS__ /* stays on a line */
static const uint8_t dsdt[] = {
	TERM(0x08, '\\', '_', 'S', '5', '_'), /* NameOp, the name */
	TERM(0x12, 8, 4),                     /* PackageOp, its length from here on, elements */
	TERM(0x0a, PM_S5, 0x0a, PM_S5, 0, 0), /* ByteConst, ByteConst, Zero, Zero */
	TERM(0x5b, 0x82, 0x4d, 0x0f), /* DeviceOp, its length in two bytes: 253 from there on */
	TERM(0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'),           /* a name of two parts */
	TERM(0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x03), /* a DWordConst: PNP0A03 */
	TERM(0x08, '_', 'C', 'R', 'S', 0x11, 61, 0x0a, 58), /* BufferOp, its length, the bytes */
	WINDOW(WINDOW_BUSES, 0, 0, 0),
	PORTS(0xcf8, 8),
	WINDOW(WINDOW_PORTS, 3, 0, 0xcf7),
	WINDOW(WINDOW_PORTS, 3, 0xd00, 0xffff),
	TERM(0x79, 0), /* the end, whose sum nobody looks at */
	TERM(0x08, '_', 'P', 'R', 'T'),
	TERM(0x12, 0x4f, 0x09, 12), /* PackageOp, its length: 159 from there on, elements */
	PINS(1),
	PINS(2),
	PINS(3),
	TERM(0x5b, 0x82, 50, 0x2e, '_', 'S', 'B', '_', 'K', 'B', 'D', '_'),
	TERM(0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x03, 0x03), /* PNP0303 */
	TERM(0x08, '_', 'C', 'R', 'S', 0x11, 24, 0x0a, 21),
	PORTS(I8042_DATA, 1),
	PORTS(I8042_STATUS, 1),
	TERM(0x22, WORD(1 << I8042_IRQ), 0x79, 0), /* ACPI 6.4.2.1: its interrupt; the end */
};

struct build {
	uint8_t *buf;
	uint32_t at; /* guest-physical */
	uint32_t used;
};

static void *
put(struct build *b, const void *from, size_t size)
{
	void *to = b->buf + b->used;

	memcpy(to, from, size);
	b->used += (uint32_t)size;
	return to;
}

/* The byte that makes the sum of all of them 0. */
static uint8_t
rest_of_sum(const uint8_t *p, size_t size)
{
	uint8_t sum = 0;

	while (size--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* On a multiple of 8. Its head; the table is behind it, and finish() is called in the end. */
static struct head *
begin(struct build *b, const char *signature, uint8_t revision)
{
	struct head h = { .revision = revision,
			  .oem = "ZENO  ",
			  .oem_table = "PC-APIC ",
			  .oem_revision = 1,
			  .creator = "ZENO",
			  .creator_revision = 1 };

	memcpy(h.signature, signature, sizeof(h.signature));
	b->used = (b->used + 7) & ~7u;
	return put(b, &h, sizeof(h));
}

/* Its address. */
static uint32_t
finish(struct build *b, struct head *h)
{
	uint32_t from = (uint32_t)((uint8_t *)h - b->buf);

	h->length = b->used - from;
	h->checksum = rest_of_sum((uint8_t *)h, h->length);
	return b->at + from;
}

static uint32_t
put_dsdt(struct build *b)
{
	struct head *h = begin(b, "DSDT", 2);

	put(b, dsdt, sizeof(dsdt));
	return finish(b, h);
}

/* ACPI 5.2.10: it has no checksum, and lies on a multiple of 64. */
static uint32_t
put_facs(struct build *b)
{
	const uint32_t facs[16] = {
		[0] = 'F' | 'A' << 8 | 'C' << 16 | 'S' << 24, [1] = sizeof(facs), [8] = 1
	};
	uint32_t from = b->used = (b->used + 63) & ~63u;

	put(b, facs, sizeof(facs));
	return b->at + from;
}

static struct address
port(unsigned offset, unsigned bytes)
{
	return (struct address){ SPACE_PORT, (uint8_t)(8 * bytes), 0, 0, PM_BASE + offset };
}

static uint32_t
put_fadt(struct build *b, uint32_t facs, uint32_t code)
{
	struct head *h = begin(b, "FACP", 3);
	const struct fadt fadt = {
		.facs = facs,
		.dsdt = code,
		.sci = SCI_IRQ,
		.pm1a_event = PM_BASE,
		.pm1a_control = PM_BASE + PM1_CONTROL,
		.timer = PM_BASE + PM_TIMER,
		.event_bytes = 4,
		.control_bytes = 2,
		.timer_bytes = 4,
		.c2_latency = NO_C_STATE,
		.c3_latency = NO_C_STATE,
		.century = CMOS_CENTURY,
		.boot = BOOT_LEGACY,
		.flags = FADT_FLAGS,
		.x_facs = 0, /* one of the two is enough, and both would have to agree */
		.x_dsdt = code,
		.x_pm1a_event = port(PM1_STATUS, 4),
		.x_pm1a_control = port(PM1_CONTROL, 2),
		.x_timer = port(PM_TIMER, 4),
	};

	put(b, &fadt.facs, sizeof(fadt) - sizeof(fadt.head));
	return finish(b, h);
}

static uint32_t
put_madt(struct build *b, unsigned cpus)
{
	const uint32_t common[] = { LAPIC_BASE, PCAT_COMPAT };
	const struct madt_ioapic ioapic = { 1, sizeof(ioapic), 0, 0, IOAPIC_BASE, 0 };
	const struct madt_override pit = { 2, sizeof(pit), 0, 0, PIT_PIN, AS_THE_BUS };
	const struct madt_override sci = { 2, sizeof(sci), 0, SCI_IRQ, SCI_IRQ, LEVEL_HIGH };
	const struct madt_nmi nmi = { 4, sizeof(nmi), ALL_CPUS, AS_THE_BUS, 1 };
	struct head *h = begin(b, "APIC", 1);

	put(b, common, sizeof(common));
	for (unsigned i = 0; i < cpus; i++) {
		const struct madt_cpu cpu = { 0, sizeof(cpu), (uint8_t)i, (uint8_t)i, 1 };

		put(b, &cpu, sizeof(cpu));
	}
	put(b, &ioapic, sizeof(ioapic));
	put(b, &pit, sizeof(pit));
	put(b, &sci, sizeof(sci));
	put(b, &nmi, sizeof(nmi));
	return finish(b, h);
}

size_t
acpi_build(uint8_t buf[ACPI_SIZE], uint32_t at, unsigned cpus)
{
	struct build b = { buf, at, sizeof(struct rsdp) };
	struct rsdp r = {
		.signature = "RSD PTR ", .oem = "ZENO  ", .revision = 2, .length = sizeof(r)
	};
	uint32_t facs = put_facs(&b), code = put_dsdt(&b); /* so it fits, with eight CPUs */
	const uint64_t tables[] = { put_fadt(&b, facs, code), put_madt(&b, cpus) };
	struct head *xsdt = begin(&b, "XSDT", 1);

	put(&b, tables, sizeof(tables));
	r.xsdt = finish(&b, xsdt);
	r.checksum = rest_of_sum((uint8_t *)&r, 20); /* of what revision 1 had */
	r.checksum_whole = rest_of_sum((uint8_t *)&r, sizeof(r));
	memcpy(buf, &r, sizeof(r));
	return b.used;
}
