/*
 * Devices of the machine's that dom0 has: where they are, and their interrupts.
 */
#include <guest/dom0/pci.h>
#include <guest/pv/lib/events.h>

#define ADDRESS   0xcf8u
#define DATA      0xcfcu
#define ENABLE    (1u << 31)
#define FUNCTIONS 256u

static void
let_us(void)
{
	uint32_t iopl = 1;

	pv_call(XEN_physdev_op, XEN_PHYSDEVOP_set_iopl, (uint64_t)&iopl, 0, 0);
}

uint32_t
pci_read(int function, unsigned at)
{
	out32(ADDRESS, ENABLE | (unsigned)function << 8 | at);
	return in32(DATA);
}

void
pci_command(int function, uint16_t bits)
{
	out32(ADDRESS, ENABLE | (unsigned)function << 8 | PCI_COMMAND);
	out16(DATA, bits);
}

int
pci_find(uint16_t class)
{
	let_us();
	for (unsigned f = 0; f < FUNCTIONS; f++) {
		bool there = (pci_read((int)f, PCI_ID) & 0xffff) != 0xffff;

		if (there && pci_read((int)f, PCI_CLASS) >> 16 == class)
			return (int)f;
		if (!there && !(f & 7))
			f += 7;
	}
	return -1;
}

uint32_t
line_bind(unsigned line, bool by_level)
{
	struct xen_physdev_map_pirq m = { .domid = XEN_DOMID_SELF,
					  .type = XEN_MAP_PIRQ_TYPE_GSI,
					  .index = (int32_t)line,
					  .pirq = -1 };
	struct xen_physdev_setup_gsi s = { (int32_t)line, by_level, 0 };
	struct xen_evtchn_bind_pirq b = { .pirq = line };

	let_us();
	if (pv_call(XEN_physdev_op, XEN_PHYSDEVOP_map_pirq, (uint64_t)&m, 0, 0) ||
	    pv_call(XEN_physdev_op, XEN_PHYSDEVOP_setup_gsi, (uint64_t)&s, 0, 0) ||
	    pv_event_op(XEN_EVTCHNOP_bind_pirq, &b))
		return 0;
	return b.port;
}

void
line_let_go(unsigned line, uint32_t port)
{
	struct xen_physdev_unmap_pirq u = { .domid = XEN_DOMID_SELF, .pirq = (int32_t)line };
	struct xen_evtchn_close c = { port };

	pv_event_op(XEN_EVTCHNOP_close, &c);
	pv_call(XEN_physdev_op, XEN_PHYSDEVOP_unmap_pirq, (uint64_t)&u, 0, 0);
}

void
line_done(unsigned line)
{
	struct xen_physdev_eoi e = { line };

	pv_call(XEN_physdev_op, XEN_PHYSDEVOP_eoi, (uint64_t)&e, 0, 0);
}
