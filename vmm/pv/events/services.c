/*
 * The services that Zeno gives a domain behind two of its ports: its console is the monitor's, with
 * the keys of whoever sits at it; its store has nothing in it. Domains that dom0 has made have dom0
 * there (control/).
 */
#include <inc/errno.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/events/events.h>
#include <vmm/pv/pv.h>
#include <vmm/words/monitor.h>

static void
say(void *ctx, uint8_t byte)
{
	domain_putc(ctx, byte);
}

/* For who has no ring, and reads by console_io: the first key is taken, and kept until then. */
static void
look_for_key(struct domain *d)
{
	struct pv_ports *p = &pv_events_of(d)->ports;
	struct pv_domain *pd = pv_domain_of(d);
	int byte = pd->key || !p->virq[0][XEN_VIRQ_CONSOLE] ? -1 : domain_input(d);

	if (byte < 0)
		return;
	pd->key = (uint16_t)(byte + 1);
	pv_virq_raise(p, 0, XEN_VIRQ_CONSOLE);
}

/*
 * What has been typed; nobody types before the guest has said something, for until then nobody
 * listens.
 */
void
pv_console_look(struct domain *d)
{
	struct pv_events *pe = pv_events_of(d);
	bool any = false;
	int byte;

	if (!pe->listens) {
		look_for_key(d);
		return;
	}
	while (pv_console_has_room(pe->console) && (byte = pv_console_key(d)) >= 0) {
		pv_console_give(pe->console, (uint8_t)byte);
		any = true;
	}
	if (any)
		pv_service_raise(&pe->ports, PV_SERVICE_CONSOLE);
}

/* An answer may come behind a prompt that was among these bytes. */
static void
serve_console(struct domain *d)
{
	struct pv_events *pe = pv_events_of(d);
	unsigned said = pv_console_take(pe->console, PV_CONSOLE_AT_ONCE, say, d);

	pe->listens = true;
	pe->says = said == PV_CONSOLE_AT_ONCE;
	if (said)
		pv_service_raise(&pe->ports, PV_SERVICE_CONSOLE);
	pv_console_look(d);
}

void
pv_port_serves(struct pv_ports *p, enum pv_service service)
{
	struct domain *d = p->of;
	struct pv_events *pe = pv_events_of(d);

	if (service == PV_SERVICE_CONSOLE)
		serve_console(d);
	else if (pv_store_serve(pe->store, &pe->store_state))
		pv_service_raise(p, PV_SERVICE_STORE);
}

static int
begin(struct domain *d, mfn_t console, mfn_t store)
{
	struct pv_events *pe = pv_events_of(d);

	pe->console = mfn_ptr(console);
	pe->store = mfn_ptr(store);
	pe->store->server_features = XEN_STORE_FEATURE_ERROR;
	return pv_hold(d->vcpu, console) && pv_hold(d->vcpu, store) ? 0 : -EINVAL;
}

/* Zeno's, or where dom0 has made the domain, ports that dom0 binds. */
int
pv_services_open(struct domain *d, struct pv_plan *plan, bool by_dom0)
{
	struct pv_events *pe = pv_events_of(d);
	int store = by_dom0 ? pv_ports_offer(&pe->ports, 0)
			    : pv_ports_serve(&pe->ports, PV_SERVICE_STORE);
	int console = by_dom0 ? pv_ports_offer(&pe->ports, 0)
			      : pv_ports_serve(&pe->ports, PV_SERVICE_CONSOLE);

	if (store < 0 || console < 0)
		return -ENOMEM;
	plan->store_port = (uint32_t)store;
	plan->console_port = (uint32_t)console;
	if (!by_dom0)
		return begin(d, mfn(p2m_entry(d, gfn(plan->console_pfn))->mfn),
			     mfn(p2m_entry(d, gfn(plan->store_pfn))->mfn));
	pe->made = true;
	pe->ends = (struct pv_ends){ plan->console_pfn, plan->store_pfn, plan->console_port,
				     plan->store_port, "" };
	return 0;
}

/* What a kernel does then is its own affair: Linux says which of its ports are pending. */
static int
virq(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);
	struct pv_ports *p = d ? pv_ports_of(d == pv_dom0() ? 0 : (uint16_t)d->id) : NULL;
	bool any = false;

	if (!d)
		return MONITOR_SAID;
	for (unsigned n = 0; p && n < PV_VCPUS; n++) {
		any |= p->virq[n][XEN_VIRQ_DEBUG];
		pv_virq_raise(p, n, XEN_VIRQ_DEBUG);
	}
	if (!any)
		printf("d%u: it has no port for VIRQ_DEBUG\n", d->id);
	return any ? 0 : MONITOR_SAID;
}
MONITOR_COMMAND(virq, "virq", "[ID]", "VIRQ_DEBUG to a PV guest: it says what it waits for");
