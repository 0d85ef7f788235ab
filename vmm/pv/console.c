/*
 * The services that Zeno gives a domain behind two of its ports: its console is the monitor's, with
 * the keys of whoever sits at it; its store has nothing in it. Domains that dom0 has made have dom0
 * there (control/).
 */
#include <inc/errno.h>
#include <vmm/domain.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

static void
say(void *ctx, uint8_t byte)
{
	domain_putc(ctx, byte);
}

/*
 * What has been typed; nobody types before the guest has said something, for until then nobody
 * listens.
 */
void
pv_console_look(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);
	bool any = false;
	int byte;

	if (!pd->listens)
		return;
	while (pv_console_has_room(pd->console) && (byte = domain_input(d)) >= 0) {
		pv_console_give(pd->console, (uint8_t)byte);
		any = true;
	}
	if (any)
		pv_service_raise(&pd->ports, PV_SERVICE_CONSOLE);
}

/* An answer may come behind a prompt that was among these bytes. */
static void
serve_console(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);

	pd->listens = true;
	if (pv_console_take(pd->console, say, d))
		pv_service_raise(&pd->ports, PV_SERVICE_CONSOLE);
	pv_console_look(d);
}

void
pv_port_serves(struct pv_ports *p, enum pv_service service)
{
	struct domain *d = p->of;
	struct pv_domain *pd = pv_domain_of(d);

	if (service == PV_SERVICE_CONSOLE)
		serve_console(d);
	else if (pv_store_serve(pd->store, &pd->store_state))
		pv_service_raise(p, PV_SERVICE_STORE);
}

int
pv_services_begin(struct vcpu *v, mfn_t console, mfn_t store)
{
	struct pv_domain *pd = pv_domain_of(v->domain);

	pd->console = mfn_ptr(console);
	pd->store = mfn_ptr(store);
	pd->store->server_features = XEN_STORE_FEATURE_ERROR;
	return pv_hold(v, console) && pv_hold(v, store) ? 0 : -EINVAL;
}
