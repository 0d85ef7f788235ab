/*
 * What the platform `pc-apic` has on its PCI bus, and how a guest reaches it.
 *
 * No firmware runs before most guests, so functions are as it leaves them. PCI's ports for devices
 * are those from PCI_PORTS on: a guest may put a device's ports below, and will not find it there.
 */
#include <vmm/dev/apic/pc_apic.h>
#include <vmm/dev/io.h>
#include <vmm/domain.h>

#define BMIBA 0xc000 /* where firmware puts the IDE controller's ports */

static uint32_t
pci_port_read(struct domain *d, uint16_t port, unsigned size)
{
	return pci_read(&apic_of(d)->pci, port, size);
}

static void
pci_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	if (pci_write(&apic_of(d)->pci, port, size, value) == PCI_RESET)
		domain_stop(d, "it asks for a reset, by port %x", port);
}

const struct io_range pc_pci_ports[] = {
	{ PCI_ADDRESS_PORT, 8, 4, "PCI", pci_port_read, pci_port_write },
	{ 0 },
};

void
pc_pci_init(struct pc_apic *p)
{
	pci_init(&p->pci);
	pci_as_firmware(&p->pci, BMIBA);
}
