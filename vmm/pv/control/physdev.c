/*
 * The machine's devices, as far as a domain has any: dom0 may have the first IDE channel, and what
 * bus.h names, with their interrupt lines and their ports. The channel's command and control blocks
 * and its line it can give to a domain that it has made, which has a disk by that; its bus master,
 * by which all of memory can be written, it can't. Nobody else has anything.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/thread.h>
#include <vmm/dev/platform.h>
#include <vmm/pv/bus/bus.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/events/events.h>
#include <vmm/pv/pv.h>

#define IDE_IRQ 14u
#define LEVEL   1u

enum { IDE, IDE_CONTROL, GIVEN, ADDRESS = GIVEN, DATA, MASTER, RANGES };

/* To whom dom0 has given them; NULL: they are its own. */
static const struct domain *given_ports[GIVEN], *given_line;

static const struct domain *
line_owner(unsigned irq)
{
	return irq == IDE_IRQ && given_line ? given_line : pv_dom0();
}

static const struct domain *
port_owner(uint16_t port)
{
	for (unsigned n = 0; n < GIVEN; n++)
		if (given_ports[n] &&
		    (uint16_t)(port - pv_dom0_ports[n].base) < pv_dom0_ports[n].count)
			return given_ports[n];
	return pv_dom0();
}

/* A device's own, all of them: by a part nobody could use it. */
int
pv_give_ports(const struct domain *d, uint64_t first, uint64_t last)
{
	for (unsigned n = 0; n < GIVEN; n++) {
		const struct io_range *r = &pv_dom0_ports[n];

		if (first != r->base || last != r->base + r->count - 1u)
			continue;
		if (given_ports[n] && given_ports[n] != d)
			return -EBUSY;
		given_ports[n] = d;
		return 0;
	}
	return -EPERM;
}

int
pv_give_line(const struct domain *d, uint64_t irq)
{
	if (irq != IDE_IRQ)
		return -EPERM;
	if (given_line ? given_line != d : pv_events_of(pv_dom0())->ports.pirq[irq].mapped)
		return -EBUSY;
	given_line = d;
	return 0;
}

void
pv_devices_return(const struct domain *d)
{
	for (unsigned n = 0; n < GIVEN; n++)
		if (given_ports[n] == d)
			given_ports[n] = NULL;
	if (given_line == d)
		given_line = NULL;
}

void
pv_line_open(unsigned irq, bool open)
{
	irq_open(irq, open);
}

/* On the host's side. Its owner's turn comes soon: a disk waits for it. */
static void
came(void *arg)
{
	unsigned irq = (unsigned)(uintptr_t)arg;
	const struct domain *d = line_owner(irq);
	struct pv_ports *p = d ? pv_ports_of(d == pv_dom0() ? 0 : (uint16_t)d->id) : NULL;

	if (p && p->pirq[irq].port)
		pv_pirq_came(p, irq);
	else
		irq_open(irq, false);
	need_resched = true;
}

/* ---- the hypercall ---- */

/* Whether this domain may have this line. */
static int
may_have(const struct vcpu *v, uint64_t irq)
{
	if (v->domain != pv_dom0() && v->domain != given_line)
		return -EPERM;
	if (irq >= PV_PIRQS)
		return -EINVAL;
	if (v->domain != line_owner((unsigned)irq))
		return -EPERM;
	return irq == IDE_IRQ || pv_bus_has_line((unsigned)irq) ? 0 : -EPERM;
}

static bool
is_self(const struct vcpu *v, uint16_t domid)
{
	return domid == XEN_DOMID_SELF || domid == pv_events_of(v->domain)->ports.domain;
}

/* A line's PIRQ has the line's own number. Messages (MSI) nobody has. */
static int
map_pirq(struct vcpu *v, void *arg)
{
	static bool registered[PV_PIRQS];
	struct xen_physdev_map_pirq *m = arg;
	unsigned irq = (unsigned)m->index;
	int err = is_self(v, m->domid) ? may_have(v, irq) : -EPERM;

	if (err)
		return err;
	if (m->type != XEN_MAP_PIRQ_TYPE_GSI || (m->pirq >= 0 && m->pirq != m->index))
		return -EINVAL;
	if (!registered[irq]) {
		irq_register(irq, came, (void *)(uintptr_t)irq);
		irq_open(irq, false);
		registered[irq] = true;
	}
	pv_events_of(v->domain)->ports.pirq[irq].mapped = true;
	m->pirq = m->index;
	return 0;
}

static int
unmap_pirq(struct vcpu *v, void *arg)
{
	const struct xen_physdev_unmap_pirq *u = arg;
	struct pv_ports *p = &pv_events_of(v->domain)->ports;

	if (!is_self(v, u->domid))
		return -EPERM;
	if ((unsigned)u->pirq >= PV_PIRQS || !p->pirq[u->pirq].mapped)
		return -EINVAL;
	pv_pirq_unmap(p, (unsigned)u->pirq);
	return 0;
}

static int
eoi(struct vcpu *v, void *arg)
{
	return pv_pirq_eoi(&pv_events_of(v->domain)->ports, ((struct xen_physdev_eoi *)arg)->irq);
}

static int
irq_status_query(struct vcpu *v, void *arg)
{
	struct xen_physdev_irq_status_query *q = arg;

	if (q->irq >= PV_PIRQS || !pv_events_of(v->domain)->ports.pirq[q->irq].mapped)
		return -EINVAL;
	q->flags = XEN_IRQSTAT_needs_eoi;
	return 0;
}

/* All of these lines are high when a device asks. */
static int
setup_gsi(struct vcpu *v, void *arg)
{
	const struct xen_physdev_setup_gsi *s = arg;
	int err = may_have(v, (unsigned)s->gsi);

	if (!err)
		irq_by_level((unsigned)s->gsi, s->triggering == LEVEL);
	return err;
}

static const struct {
	int (*op)(struct vcpu *v, void *arg);
	uint8_t size;
	bool answers;
} ops[] = {
#define OP(name, answers) \
	[XEN_PHYSDEVOP_##name] = { name, sizeof(struct xen_physdev_##name), answers }
	OP(irq_status_query, true), OP(eoi, false),       OP(map_pirq, true),
	OP(unmap_pirq, false),      OP(setup_gsi, false),
#undef OP
};

/* In place of Lab 6's, which knows the others. */
static int64_t
physdev_op(struct vcpu *v, struct pv_call *c)
{
	uint64_t arg[sizeof(struct xen_physdev_map_pirq) / sizeof(uint64_t)];
	uint32_t cmd = (uint32_t)c->arg[0];
	int result;

	if (cmd >= ARRAY_LEN(ops) || !ops[cmd].op)
		return pv_call_physdev_op(v, c);
	/* one that can't be told what came of it: nothing is done */
	if (pv_read(v, arg, c->arg[1], ops[cmd].size) ||
	    (ops[cmd].answers && pv_write(v, c->arg[1], arg, ops[cmd].size)))
		return -EFAULT;
	result = ops[cmd].op(v, arg);
	if (!result && ops[cmd].answers)
		pv_write(v, c->arg[1], arg, ops[cmd].size);
	return result;
}
PV_HYPERCALL(physdev_op, physdev_op);

/* ---- ports ---- */

static uint32_t
port_read(struct domain *d, uint16_t port, unsigned size)
{
	if (d != port_owner(port))
		return io_nobody(d, port, size);
	return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

static void
port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	if (d != port_owner(port))
		io_nobody(d, port, size);
	else if (size == 1)
		outb(port, (uint8_t)value);
	else if (size == 2)
		outw(port, (uint16_t)value);
	else
		outl(port, value);
}

/* Where the last ones lie is the firmware's to say: pv_dom0_devices_begin(). */
struct io_range pv_dom0_ports[RANGES + 1] = {
	[IDE] = { 0x1f0, 8, 4, "dom0's IDE", port_read, port_write },
	[IDE_CONTROL] = { 0x3f6, 1, 1, "dom0's IDE", port_read, port_write },
	[ADDRESS] = { BUS_ADDRESS, 4, 4, "dom0's PCI", pv_bus_address_read, pv_bus_address_write },
	[DATA] = { BUS_DATA, 4, 4, "dom0's PCI", pv_bus_data_read, pv_bus_data_write },
	[MASTER] = { .count = 0 },
};
uint8_t pv_dom0_claims[LOW_PORTS] = { [0x1f0 ... 0x1f7] = 1, [0x3f6] = 2 };

void
pv_dom0_devices_begin(struct pv_types *t)
{
	uint16_t master;

	pv_bus_begin(t);
	master = pv_bus_master();
	pv_dom0_ports[MASTER] = (struct io_range){ master,    master ? BUS_MASTER_PORTS : 0,
						   4,         "dom0's IDE",
						   port_read, port_write };
}
