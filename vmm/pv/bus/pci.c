/*
 * Configuration spaces of the machine's devices, for dom0: it reads all of them, and writes the
 * command register of its own. Where a device's registers lie is the firmware's to say: dom0 can't
 * move them to where memory is, or another device.
 */
#include <kern/cpu.h>
#include <kern/kern.h>
#include <vmm/dev/io.h>
#include <vmm/pv/bus/bus.h>
#include <vmm/pv/control/control.h>

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
#define COMMANDS     0x0407u /* ports, memory, MASTER; no interrupts */
#define DISKS        0x0101u
#define NETWORK      0x0200u
#define FREE_LINES   0x0e20u /* 5, 9, 10, 11: no device has any of them by itself */
#define STOP_TRIES   1000000u

/* BMICX, BMISX: PIIX3 (Intel 82371SB, order no. 290550-002) 2.7.1 and 2.7.2 */
#define DISK_COMMAND 0u
#define DISK_STATUS  2u
#define DISK_ACTIVE  1u

static struct device {
	bool there;
	uint8_t function; /* device and function, as an address has them */
	uint8_t line;
	uint16_t master; /* DISKS: its ports */
} disks, network;
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

void
pv_bus_begin(void)
{
	disks.there = network.there = false;
	address = 0;
	for (unsigned f = 0; f < FUNCTIONS; f++) {
		bool there = (read(f, VENDOR) & 0xffff) != 0xffff;

		if (there)
			look_at(f);
		if (!(f & 7) && (!there || !(read(f, HEADER & ~3u) >> 16 & MANY)))
			f += 7;
	}
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
