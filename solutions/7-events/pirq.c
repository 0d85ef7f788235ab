/*
 * A line of the machine's that a domain has as a port: what becomes of it when it comes, when it
 * has been served, and when its port goes: exercise 7.6. Who may have one, and how it gets a port,
 * is in vmm/pv/events/pirq.c. Pure.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/events/ports.h>

/* EXERCISE 7.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 7.0 */

/* On the host's side: an interrupt of the machine's, whose line has a port. */
void
pv_pirq_came(struct pv_ports *p, unsigned irq)
{
	/*
	 * EXERCISE 7.6a: it comes
	 * Holds: whoever has the line's port hears of it, and until he says that he has been there
	 *  the line interrupts nobody again.
	 * Beware: a device holds its line up until its driver has been there, and here that is a
	 *  guest's, whose turn is later. What comes meanwhile is not lost: the controller keeps it.
	 * Manual: physdev.h "PHYSDEVOP_eoi", of Debian's libxen-dev; struct pv_pirq,
	 *  vmm/pv/events/ports.h.
	 * Tools: pv_line_open(), pv_port_is_pending(), pv_port_raise()
	 * Hint: who runs between this interrupt and the driver's turn, if the line is still up?
	 * Hint: a child rings and does not let go of the bell. Somebody must take it off its hook
	 *  before the door can be opened.
	 * Hint: the 8259 has a register for the same reason (`isr`, vmm/dev/pic.c): a line whose
	 *  interrupt has begun comes again only behind EOI.
	 * until then: (void)p; pv_line_open(irq, false);
	 */
	pv_line_open(irq, false);
	p->pirq[irq].waits = true;
	pv_port_raise(p, p->pirq[irq].port);
	/* END EXERCISE 7.6a */
}

int
pv_pirq_eoi(struct pv_ports *p, uint32_t irq)
{
	/*
	 * EXERCISE 7.6b: it has been served
	 * Holds: a line of this domain's that has come may come again, and does so if the device
	 *  wants something by now; 0. Or it is none of its lines: -EINVAL.
	 * Beware: the number is any number. A guest says EOI twice, or of a line that has not
	 *  come, or has no port by now: that is no error, and no line comes of which nobody hears.
	 * Manual: physdev.h "PHYSDEVOP_eoi", of Debian's libxen-dev; struct pv_pirq,
	 *  vmm/pv/events/ports.h.
	 * Tools: pv_line_open(), pv_pirq_bind(), PV_PIRQS
	 * Hint: of which lines does a domain owe an EOI, and who remembers that?
	 * Hint: a library lends a book again when it has come back; who brings back one that he
	 *  never had is thanked, and the shelf stays as it is.
	 * Hint: an EOI to an 8259 in whose service nothing is does nothing, either.
	 * until then: (void)p; (void)irq; return -EINVAL;
	 */
	if (irq >= PV_PIRQS || !p->pirq[irq].mapped)
		return -EINVAL;
	if (p->pirq[irq].waits) {
		p->pirq[irq].waits = false;
		pv_line_open(irq, true);
	}
	return 0;
	/* END EXERCISE 7.6b */
}

/* The port is about to be closed, or the domain loses the line. */
void
pv_pirq_unbind(struct pv_ports *p, unsigned irq, uint16_t port)
{
	/*
	 * EXERCISE 7.6c: without its port
	 * Holds: if the line leads to this port, it does no more: it is silent, it may have another
	 *  port, and nobody owes it anything.
	 * Beware: a domain gives a line back and takes it again, and its old port stays open; by
	 *  the time that one is closed, the line may be another port's.
	 * Manual: struct pv_pirq, vmm/pv/events/ports.h.
	 * Tools: pv_line_open(), pv_pirq_eoi()
	 * Hint: who else can have the line's number in his hand?
	 * Hint: when a flat is given up its telephone is cut off; not if the number has gone to
	 *  another flat before.
	 * Hint: pv_peer_let_go() (7.3) asks the other end, too, whether it still is that.
	 * until then: (void)p; (void)port; pv_line_open(irq, false);
	 */
	if (p->pirq[irq].port != port)
		return;
	p->pirq[irq].port = 0;
	p->pirq[irq].waits = false;
	pv_line_open(irq, false);
	/* END EXERCISE 7.6c */
}
