/*
 * PIRQs: lines of the machine's interrupt controllers that a domain has, each as a port. Who may
 * have one, and how it comes and goes; what becomes of an interrupt is the lab's: pirq.c of Lab 7.
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
	p->pirq[irq] = (struct pv_pirq){ .mapped = true, .port = port };
	pv_line_open(irq, true);
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
