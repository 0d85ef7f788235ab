/*
 * Configuration spaces of the machine's devices, for dom0: it reads all of them, and writes the
 * command register of its own. Where a device's registers lie is the firmware's to say: dom0 can't
 * move them to where memory is, or another device.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/kern.h>
#include <vmm/dev/io.h>
#include <vmm/pv/bus/bus.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/types.h>

#define ENABLE       (1u << 31)
#define FUNCTIONS    256u /* 32 devices of 8 on the bus that the processor is on */
#define SPACE        256u
#define VENDOR       0x00u
#define COMMAND      0x04u
#define CLASS        0x08u /* the upper three bytes */
#define HEADER       0x0eu
#define BASE_ADDRESS 0x10u /* six of them */
#define LINE         0x3cu
#define MANY         0x80u /* HEADER: it has more functions than one */
#define MASTER       (1u << 2)
#define MEMORY       (1u << 1)
#define COMMANDS     0x0407u     /* ports, MEMORY, MASTER; no interrupts */
#define REGISTERS    0xfffffff0u /* of a base address in memory: where */
#define KIND         7u          /* ... and 0: of 32 bits, and it is no port */
#define DEVICE_MAX   (1u << 20)  /* bytes of registers */
#define DISKS        0x0101u
#define NETWORK      0x0200u
#define FREE_LINES   0x0e20u /* 5, 9, 10, 11: no device has any of them by itself */
#define STOP_TRIES   1000000u

/* BMICX, BMISX: PIIX3 (Intel 82371SB, order no. 290550-002) 2.7.1 and 2.7.2 */
#define DISK_COMMAND 0u
#define DISK_STATUS  2u
#define DISK_ACTIVE  1u

/*
 * The card that dom0 has a driver for. Bochs' goes on whatever its command says: so its registers
 * are Zeno's, too, behind all that kern/map.h has in this slot, and it is reset.
 */
#define CARD         0x100e8086u /* Intel's 82540EM */
#define CARD_CONTROL (KB + 0x7000000000ul)
#define CARD_RESET   (1u << 26)

static struct device {
	bool there;
	uint8_t function; /* device and function, as an address has them */
	uint8_t line;
	uint16_t master; /* DISKS: its ports */
} disks, network;
static bool card; /* CARD_CONTROL is there */
static uint32_t address;

static uint32_t
read(unsigned function, unsigned at)
{
	outl(BUS_ADDRESS, ENABLE | function << 8 | at);
	return inl(BUS_DATA);
}

static void
command(const struct device *d, uint16_t value)
{
	outl(BUS_ADDRESS, ENABLE | (unsigned)d->function << 8 | COMMAND);
	outw(BUS_DATA, value);
}

/* The first one of a class is dom0's. */
static void
look_at(unsigned function)
{
	uint32_t class = read(function, CLASS) >> 16, ports;
	struct device *d = class == DISKS ? &disks : class == NETWORK ? &network : NULL;

	if (!d || d->there)
		return;
	*d = (struct device){ .there = true,
			      .function = (uint8_t)function,
			      .line = (uint8_t)read(function, LINE) };
	ports = read(function, BASE_ADDRESS + 4 * 4);
	if (d == &disks && ports & 1)
		d->master = (uint16_t)(ports & ~15u);
}

/* How much of memory a device's registers take: it says so to who writes all ones (PCI 6.2.5.1). */
static uint64_t
size_of(const struct device *d, uint32_t base)
{
	uint16_t before = (uint16_t)read(d->function, COMMAND);
	uint32_t size;

	command(d, before & (uint16_t)~MEMORY);
	read(d->function, BASE_ADDRESS);
	outl(BUS_DATA, ~0u);
	size = ~(read(d->function, BASE_ADDRESS) & REGISTERS) + 1;
	outl(BUS_DATA, base);
	command(d, before);
	return size;
}

/* The frame table has a place for each machine frame, and pages where there is memory. */
static int
give_places(uint64_t first, uint64_t count)
{
	uint64_t from = (uint64_t)&frames[first], to = (uint64_t)&frames[first + count];

	for (from &= ~(uint64_t)PAGE_MASK; from < to; from += PAGE_SIZE) {
		const pte_t *entry;
		int level;
		mfn_t m;

		entry = page_entry(host_root, from, &level);
		if (entry && *entry & PTE_P)
			continue;
		m = frame_alloc(FRAME_HOST, OWNER_HOST);
		if (!mfn_ok(m) || page_map(host_root, from, m, PTE_P | PTE_W | PTE_NX))
			return -ENOMEM;
	}
	return 0;
}

/* The network card's registers, if they lie where there is no memory. */
static void
give_registers(struct pv_types *t)
{
	uint32_t base = network.there ? read(network.function, BASE_ADDRESS) : KIND;
	uint64_t first = (base & REGISTERS) >> PAGE_SHIFT, size;

	t->devices = 0;
	if (base & KIND || !first)
		return;
	size = size_of(&network, base);
	if (size < PAGE_SIZE || size > DEVICE_MAX || give_places(first, size >> PAGE_SHIFT))
		return;
	for (uint64_t n = 0; n < size >> PAGE_SHIFT; n++) {
		if (frames[first + n].type != FRAME_RESERVED)
			return;
		frames[first + n].type_refs = frames[first + n].refs = 0;
	}
	card = read(network.function, VENDOR) == CARD &&
	       !page_map(host_root, CARD_CONTROL, mfn(first), PTE_P | PTE_W | PTE_NX);
	t->device = first;
	t->devices = size >> PAGE_SHIFT;
}

void
pv_bus_begin(struct pv_types *t)
{
	disks.there = network.there = card = false;
	address = 0;
	for (unsigned f = 0; f < FUNCTIONS; f++) {
		bool there = (read(f, VENDOR) & 0xffff) != 0xffff;

		if (there)
			look_at(f);
		if (!(f & 7) && (!there || !(read(f, HEADER & ~3u) >> 16 & MANY)))
			f += 7;
	}
	give_registers(t);
}

static void
stop(const struct device *d)
{
	if (d->there)
		command(d, (uint16_t)read(d->function, COMMAND) & (uint16_t)~MASTER);
}

/* A transfer that is on its way comes to its end first. */
void
pv_bus_end(void)
{
	if (disks.there && disks.master) {
		outb(disks.master + DISK_COMMAND, 0);
		for (unsigned n = 0; n < STOP_TRIES; n++)
			if (!(inb(disks.master + DISK_STATUS) & DISK_ACTIVE))
				break;
	}
	stop(&disks);
	if (card) {
		command(&network, MEMORY);
		*(volatile uint32_t *)CARD_CONTROL = CARD_RESET;
	}
	stop(&network);
}

bool
pv_bus_has_line(unsigned irq)
{
	return network.there && network.line == irq && irq < 16 && 1u << irq & FREE_LINES;
}

uint16_t
pv_bus_master(void)
{
	return disks.there ? disks.master : 0;
}

/* ---- dom0's ports ---- */

uint32_t
pv_bus_address_read(struct domain *d, uint16_t port, unsigned size)
{
	return d == pv_dom0() && size == 4 ? address : io_nobody(d, port, size);
}

void
pv_bus_address_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	if (d == pv_dom0() && size == 4)
		address = value & ~3u;
	else
		io_nobody(d, port, size);
}

uint32_t
pv_bus_data_read(struct domain *d, uint16_t port, unsigned size)
{
	if (d != pv_dom0() || !(address & ENABLE))
		return io_nobody(d, port, size);
	outl(BUS_ADDRESS, address);
	return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

static bool
is_its(const struct device *d)
{
	return d->there && (address & ~ENABLE) / SPACE == d->function;
}

void
pv_bus_data_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	const struct device *its = is_its(&disks) ? &disks : is_its(&network) ? &network : NULL;

	if (d == pv_dom0() && address & ENABLE && its && address % SPACE == COMMAND &&
	    port == BUS_DATA && size == 2)
		command(its, value & COMMANDS);
	else
		io_nobody(d, port, size);
}
