/*
 * What the platform `pc-apic` has on its PCI bus, and how a guest reaches it: the bridges, and an
 * IDE controller with the disk that the domain was given, a boot module's bytes.
 *
 * No firmware runs before most guests, so functions are as it leaves them. PCI's ports for devices
 * are those from PCI_PORTS on: a guest may put a device's ports below, and will not find it there.
 */
#include <inc/errno.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <vmm/dev/apic/pc_apic.h>
#include <vmm/dev/firmware/firmware.h>
#include <vmm/dev/io.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/words/monitor.h>

#define BMIBA     0xc000u /* where firmware puts the IDE controller's ports */
#define PCI_PORTS 0x1000u
#define DMA_STEP  0x10000u /* bytes that are moved between two entries into the guest */

static uint32_t
pci_port_read(struct domain *d, uint16_t port, unsigned size)
{
	return pci_read(&apic_of(d)->pci, port, size);
}

static void
pci_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	d->reset = pci_write(&apic_of(d)->pci, port, size, value) == PCI_RESET;
	if (d->reset)
		domain_stop(d, "it asks for a reset, by port %x", port);
	else if (port >= PCI_DATA_PORT)
		pam_update(d);
}

/* ---- the disk: bytes of the host's, which no guest's address leads to ---- */

static uint8_t *
sector(void *d, uint64_t lba)
{
	return (uint8_t *)hpa_ptr(hpa(((struct domain *)d)->disk->paddr)) + lba * IDE_SECTOR;
}

static void
load(void *d, uint64_t lba, uint8_t buf[IDE_SECTOR])
{
	memcpy(buf, sector(d, lba), IDE_SECTOR);
}

static void
store(void *d, uint64_t lba, const uint8_t buf[IDE_SECTOR])
{
	memcpy(sector(d, lba), buf, IDE_SECTOR);
}

static bool
read_ram(void *d, uint64_t at, void *buf, size_t size)
{
	return !gpa_read(d, gpa(at), buf, size);
}

static bool
write_ram(void *d, uint64_t at, const void *buf, size_t size)
{
	return !gpa_write(d, gpa(at), buf, size);
}

static struct ide_host
host_of(struct domain *d)
{
	return (struct ide_host){ .sectors = d->disk ? d->disk->size / IDE_SECTOR : 0,
				  .load = load,
				  .store = store,
				  .read_ram = read_ram,
				  .write_ram = write_ram,
				  .ctx = d };
}

/* ---- its ports ---- */

/* PIIX3 2.3.3, 2.3.10: both the function and the channel decode them. */
static bool
decodes(struct domain *d)
{
	const struct pci *p = &apic_of(d)->pci;

	return pci_config(p, PCI_IDE, PCI_COMMAND, 2) & PCI_COMMAND_IO &&
	       pci_config(p, PCI_IDE, PCI_IDETIM, 2) & PCI_IDETIM_DECODE;
}

/* Its data register has 16 bits, or 32; the others are bytes, one behind the other. */
static uint32_t
ide_port_read(struct domain *d, uint16_t port, unsigned size)
{
	struct ide *i = &apic_of(d)->ide;
	struct ide_host host = host_of(d);
	uint32_t value = 0;

	if (!decodes(d))
		return io_nobody(d, port, size);
	if (port == IDE_PORTS)
		return ide_read(i, IDE_DATA, size, &host);
	for (unsigned n = 0; n < size; n++)
		value |= (ide_read(i, port - IDE_PORTS + n, 1, &host) & 0xff) << (8 * n);
	return value;
}

static void
ide_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	struct ide *i = &apic_of(d)->ide;
	struct ide_host host = host_of(d);

	if (!decodes(d)) {
		io_nobody(d, port, size);
		return;
	}
	if (port == IDE_PORTS)
		ide_write(i, IDE_DATA, size, value, &host);
	else
		for (unsigned n = 0; n < size; n++)
			ide_write(i, port - IDE_PORTS + n, 1, value >> (8 * n) & 0xff, &host);
}

static uint32_t
control_port_read(struct domain *d, uint16_t port, unsigned size)
{
	struct ide_host host = host_of(d);

	return decodes(d) ? ide_alternate(&apic_of(d)->ide, &host) : io_nobody(d, port, size);
}

static void
control_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	if (decodes(d))
		ide_control(&apic_of(d)->ide, (uint8_t)value);
	else
		io_nobody(d, port, size);
}

/* Whether this is one of the bus master's ports, where the guest has put them; *offset: which. */
static bool
is_bus_master(struct domain *d, uint16_t port, unsigned *offset)
{
	const struct pci *p = &apic_of(d)->pci;

	*offset = port - (pci_config(p, PCI_IDE, PCI_BMIBA, 4) & ~(PCI_BMIBA_SIZE - 1));
	return pci_config(p, PCI_IDE, PCI_COMMAND, 2) & PCI_COMMAND_IO && *offset < PCI_BMIBA_SIZE;
}

/* The second channel's are behind the first one's, and have nothing to do. */
static uint32_t
high_port_read(struct domain *d, uint16_t port, unsigned size)
{
	uint32_t value = 0;
	unsigned offset;

	if (!is_bus_master(d, port, &offset))
		return io_nobody(d, port, size);
	for (unsigned n = 0; n < size && offset + n < 8; n++)
		value |= (uint32_t)ide_bm_read(&apic_of(d)->ide, offset + n) << (8 * n);
	return value;
}

static void
high_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	unsigned offset;

	if (!is_bus_master(d, port, &offset)) {
		io_nobody(d, port, size);
		return;
	}
	for (unsigned n = 0; n < size && offset + n < 8; n++)
		ide_bm_write(&apic_of(d)->ide, offset + n, (uint8_t)(value >> (8 * n)));
}

const struct io_range pc_pci_ports[] = {
	{ IDE_PORTS, IDE_REGISTERS, 4, "IDE", ide_port_read, ide_port_write },
	{ IDE_CONTROL, 1, 1, "IDE", control_port_read, control_port_write },
	{ PCI_ADDRESS_PORT, 8, 4, "PCI", pci_port_read, pci_port_write },
	{ PCI_PORTS, 0x10000 - PCI_PORTS, 4, "PCI", high_port_read, high_port_write },
	{ 0 },
};

/* ---- interrupts, and data that moves by itself ---- */

static bool
dma_runs(struct pc_apic *p)
{
	return p->ide.bm_status & BM_ACTIVE && ide_dma_runs(&p->ide) &&
	       pci_config(&p->pci, PCI_IDE, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

/* An interrupt that was served within one access, and came again, is an edge all the same. */
void
pc_pci_lines(struct pc_apic *p)
{
	struct ide *i = &p->ide;
	bool line;

	if (dma_runs(p)) {
		struct ide_host host = host_of(p->pc.domain);

		preempt_point(); /* each element of a string to a port may come here */
		ide_dma(i, DMA_STEP, &host);
	}
	if (i->edge) {
		pic_set_irq(&p->pc.pic, IDE_IRQ, false);
		ioapic_set(&p->ioapic, IDE_IRQ, false);
		p->lines &= (uint16_t) ~(1u << IDE_IRQ);
		i->edge = 0;
	}
	line = i->irq && !(i->control & IDE_NIEN);
	if (line != (p->pc.pic.chip[1].lines >> (IDE_IRQ & 7) & 1)) /* mostly nothing is new */
		pic_set_irq(&p->pc.pic, IDE_IRQ, line);
}

uint64_t
pc_pci_deadline(struct pc_apic *p)
{
	return dma_runs(p) ? domain_now(p->pc.domain) : CLOCK_NEVER;
}

/* Two guests on one disk would each find what the other one wrote. */
static struct domain *
other_on(const struct domain *d)
{
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		struct domain *other = domain_find(id);

		if (other && other != d && other->disk == d->disk && other->state != DOMAIN_ENDED)
			return other;
	}
	return NULL;
}

int
pc_pci_init(struct pc_apic *p)
{
	struct domain *d = p->pc.domain, *other = d->disk ? other_on(d) : NULL;

	pci_init(&p->pci);
	pci_as_firmware(&p->pci, BMIBA);
	ide_init(&p->ide);
	if (other)
		printf("disk %s is d%u's\n", d->disk->name, other->id);
	if (d->disk && d->disk->size < IDE_SECTOR) {
		printf("disk %s has no whole sector of %u bytes\n", d->disk->name, IDE_SECTOR);
		return -EINVAL;
	}
	return other ? -EBUSY : 0;
}

/* disk [ID] */
static int
disk(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);

	if (d && d->disk)
		printf("d%u: disk %s, %lu sectors, from machine address %lx on\n", d->id,
		       d->disk->name, d->disk->size / IDE_SECTOR, d->disk->paddr);
	else if (d)
		printf("d%u has no disk\n", d->id);
	return d ? 0 : MONITOR_SAID;
}
MONITOR_COMMAND(disk, "disk", "[ID]", "a guest's disk, and where its bytes are");
