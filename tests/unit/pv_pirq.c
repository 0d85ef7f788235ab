/*
 * BUILD: vmm/pv/events/ports.c vmm/pv/events/pirq.c solutions/7-events/ports.c
 * solutions/7-events/upcall.c solutions/7-events/peers.c solutions/7-events/pirq.c
 */
/*
 * PIRQs: what each operation answers; and a device whose line is one by edge or by level, with a
 * driver that keeps to the protocol or does anything: none of its requests is lost, and a line that
 * is up does not come again before EOI.
 */
#include <errno.h>
#include <string.h>

#include <vmm/pv/events/ports.h>

#include "draw.h"
#include "tap.h"

#define IRQ    14u
#define ROUNDS 200000u

static struct pv_ports ports;
static struct xen_shared_info shared;
static struct {
	bool level, up, edge, open;
	unsigned came, again; /* again: while the domain had not said EOI */
} line;

struct pv_ports *
pv_ports_of(uint16_t domain)
{
	return domain ? NULL : &ports;
}

void *
pv_ports_page(void)
{
	return calloc(1, 4096);
}

void
pv_port_tells(struct pv_ports *p, unsigned vcpu, unsigned port)
{
}

void
pv_port_serves(struct pv_ports *p, enum pv_service service)
{
}

/*
 * As a controller does it: an edge waits until the line is open, a level for as long as it is up.
 */
static void
controller(void)
{
	while (line.open && (line.level ? line.up : line.edge)) {
		line.edge = false;
		line.came++;
		line.again += ports.pirq[IRQ].waits;
		pv_pirq_came(&ports, IRQ);
		if (line.open) { /* for ever */
			line.again++;
			break;
		}
	}
}

void
pv_line_open(unsigned irq, bool open)
{
	if (irq == IRQ)
		line.open = open;
}

static void
device(bool up)
{
	line.edge |= up && !line.up;
	line.up = up;
	controller();
}

static void
begin(bool level)
{
	for (unsigned n = 0; n < PV_PORT_PAGES; n++)
		free(ports.page[n]);
	memset(&ports, 0, sizeof(ports));
	memset(&shared, 0, sizeof(shared));
	memset(&line, 0, sizeof(line));
	line.level = level;
	ports.shared = &shared;
	ports.info[0] = &shared.vcpu_info[0];
	ports.pirq[IRQ].mapped = true;
}

static int
bind(uint32_t irq)
{
	struct xen_evtchn_bind_pirq b = { .pirq = irq };
	int err = pv_ports_op(&ports, XEN_EVTCHNOP_bind_pirq, &b);

	controller();
	return err ? err : (int)b.port;
}

static int
close_it(int port)
{
	return pv_ports_op(&ports, XEN_EVTCHNOP_close,
			   &(struct xen_evtchn_close){ (uint32_t)port });
}

static int
eoi(uint32_t irq)
{
	int err = pv_pirq_eoi(&ports, irq);

	controller();
	return err;
}

#define IS(got, want, ...) is_u64((uint64_t)(int64_t)(got), (uint64_t)(int64_t)(want), __VA_ARGS__)

static void
answers(void)
{
	struct xen_evtchn_status s = { .dom = XEN_DOMID_SELF, .port = 1 };

	begin(true);
	IS(bind(3), -EPERM, "a line that is not the domain's");
	IS(bind(PV_PIRQS), -EINVAL, "no line");
	IS(bind(~0u), -EINVAL, "nor that");
	IS(eoi(3), -EINVAL, "EOI of a line that is not the domain's");
	IS(eoi(~0u), -EINVAL, "EOI of none");
	IS(eoi(IRQ), 0, "EOI of one that is bound to nothing");
	IS(line.open, false, "... does not open it");
	IS(bind(IRQ), 1, "bind_pirq");
	IS(line.open, true, "... opens it");
	IS(bind(IRQ), -EEXIST, "... twice");
	IS(pv_ports_op(&ports, XEN_EVTCHNOP_status, &s), 0, "status");
	IS(s.status << 8 | s.u.pirq, XEN_EVTCHNSTAT_pirq << 8 | IRQ, "... of a PIRQ");
	IS(pv_ports_op(&ports, XEN_EVTCHNOP_send, &(struct xen_evtchn_send){ 1 }), -EINVAL, "send");
	device(true);
	IS(line.came << 8 | pv_port_is_pending(&ports, 1), 0x101, "it comes, once");
	IS(close_it(1), 0, "close");
	IS(eoi(IRQ), 0, "EOI behind that");
	IS(line.came << 8 | line.open, 0x100, "... opens nothing");
	IS(bind(IRQ), 1, "bound again");
	IS(line.came, 2, "... it comes, for it is still up");
	pv_pirq_unmap(&ports, IRQ);
	IS(eoi(IRQ), -EINVAL, "the domain's no more");
	IS(line.came << 8 | line.open, 0x200, "... and silent");
	ports.pirq[IRQ].mapped = true;
	IS(bind(IRQ), 2, "the domain's again, at another port");
	IS(close_it(1), 0, "its old port is closed");
	IS(ports.pirq[IRQ].port, 2, "... and it stays at the new one");
	pv_pirq_unmap_all(&ports);
	IS(line.open << 8 | ports.pirq[IRQ].mapped, 0, "all are given back");
}

/* What a driver does: the event is taken, then the device served, then EOI. */
static void
serve(int port)
{
	while (pv_port_is_pending(&ports, (unsigned)port)) {
		shared.pending[0] &= ~(1ul << port);
		device(false);
		eoi(IRQ);
	}
}

static bool
agrees(int port)
{
	const struct pv_pirq *q = &ports.pirq[IRQ];

	return q->port == port && line.open == (port && !q->waits);
}

static void
anything(bool level)
{
	unsigned wrong = 0, lost = 0;
	int port = 0;

	begin(level);
	for (unsigned n = 0; n < ROUNDS; n++) {
		switch (draw(10)) {
		case 0:
			close_it(port);
			port = 0;
			break;
		case 1:
			if (!port)
				device(false); /* of what came before it, it knows nothing */
			if (!port)
				port = bind(IRQ);
			break;
		case 2:
			shared.mask[0] ^= 1ul << port;
			break;
		case 3: /* more than it owes */
			if (port && !pv_port_is_pending(&ports, (unsigned)port))
				eoi(IRQ);
			break;
		case 4:
			device(false);
			break;
		case 5:
			if (port)
				serve(port);
			lost += port && line.up;
			break;
		default:
			device(true);
		}
		wrong += !agrees(port);
	}
	IS(wrong, 0, "by %s: the line is open where somebody listens and owes nothing",
	   level ? "level" : "edge");
	IS(lost, 0, "... no request is lost");
	IS(line.again, 0, "... none comes before EOI");
	ok(line.came > ROUNDS / 20, "... and %u have come", line.came);
}

int
main(void)
{
	answers();
	anything(true);
	anything(false);
	return done_testing();
}
