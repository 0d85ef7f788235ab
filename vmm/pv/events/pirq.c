/*
 * PIRQs: lines of the machine's interrupt controllers that a domain has, each as a port.
 *
 *   the line is open --- it comes ---> it is closed, its port is pending --- EOI ---> it is open
 *
 * A device holds its line up until its driver has been there. Were the line left open, one by level
 * would come again at once, and the driver never have its turn. So it is closed first, and the
 * domain says when it has been there: if the device wants something by then, it comes again.
 */
#include <inc/errno.h>
#include <vmm/pv/events/ports.h>

int
pv_pirq_may_bind(const struct pv_ports *p, uint32_t irq)
{
	if (irq >= PV_PIRQS)
		return -EINVAL;
	if (!p->pirq[irq].mapped)
		return -EPERM;
	return p->pirq[irq].port ? -EEXIST : 0;
}

void
pv_pirq_bind(struct pv_ports *p, unsigned irq, uint16_t port)
{
	p->pirq[irq].port = port;
	p->pirq[irq].waits = false;
	pv_line_open(irq, true);
}

/* The line may be another port's by now, or another domain's. */
void
pv_pirq_unbind(struct pv_ports *p, unsigned irq, uint16_t port)
{
	if (p->pirq[irq].port != port)
		return;
	p->pirq[irq].port = 0;
	p->pirq[irq].waits = false;
	pv_line_open(irq, false);
}

void
pv_pirq_came(struct pv_ports *p, unsigned irq)
{
	pv_line_open(irq, false);
	p->pirq[irq].waits = true;
	pv_port_raise(p, p->pirq[irq].port);
}

/* One that has not come may be open, or no port's: then nothing is done. */
int
pv_pirq_eoi(struct pv_ports *p, uint32_t irq)
{
	if (irq >= PV_PIRQS || !p->pirq[irq].mapped)
		return -EINVAL;
	if (p->pirq[irq].waits) {
		p->pirq[irq].waits = false;
		pv_line_open(irq, true);
	}
	return 0;
}

/* Its port stays, and nothing comes there any more. */
void
pv_pirq_unmap(struct pv_ports *p, unsigned irq)
{
	if (p->pirq[irq].port)
		pv_pirq_unbind(p, irq, p->pirq[irq].port);
	p->pirq[irq].mapped = false;
}

void
pv_pirq_unmap_all(struct pv_ports *p)
{
	for (unsigned irq = 0; irq < PV_PIRQS; irq++)
		pv_pirq_unmap(p, irq);
}
