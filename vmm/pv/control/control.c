/*
 * dom0, and its hypercall.
 */
#include <inc/errno.h>
#include <vmm/control/pause/pause.h>
#include <vmm/engine.h>
#include <vmm/pv/bus/bus.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/control/save/save.h>
#include <vmm/pv/pv.h>

static struct domain *dom0;              /* NULL: there is none */
static const struct thread_class *plain; /* of domains' threads, where dom0 has no hand in it */

struct domain *
pv_dom0(void)
{
	return dom0;
}

/* By its own number nobody reaches dom0. */
struct domain *
pv_domain_named(uint16_t domid)
{
	struct domain *d = domid ? domain_find(domid) : dom0;

	return d == dom0 && domid ? NULL : d;
}

/* ---- how domains end ---- */

static struct domain *
domain_in(struct thread *t)
{
	return ((struct vcpu *)((char *)t - offsetof(struct vcpu, thread)))->domain;
}

/* dom0 is told, and lets go of it. Without one it is the monitor's, as others are. */
static void
made_ended(struct thread *t)
{
	if (!domain_is_over(domain_in(t)))
		return;
	pv_pirq_unmap_all(&pv_events_of(domain_in(t))->ports);
	pv_devices_return(domain_in(t));
	pv_events_of(domain_in(t))->over = true;
	if (dom0)
		pv_virq_raise(&pv_events_of(dom0)->ports, 0, XEN_VIRQ_DOM_EXC);
	else
		plain->ended(t);
}

static const struct thread_class made_class = {
	.name = "vcpu", .turn = vcpu_turn, .ready = vcpu_ready, .ended = made_ended
};

static void
dom0_ended(struct thread *t)
{
	if (!domain_is_over(dom0))
		return;
	pv_bus_end();
	pv_foreign_drop(dom0->vcpu);
	pv_pirq_unmap_all(&pv_events_of(dom0)->ports);
	dom0 = NULL;
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		struct domain *d = domain_find(id);

		if (d && d->vcpu->thread.class == &made_class && pv_events_of(d)->over)
			domain_free(d);
	}
	plain->ended(t);
}

static const struct thread_class dom0_class = {
	.name = "vcpu", .turn = vcpu_turn, .ready = vcpu_ready, .ended = dom0_ended
};

/* A domain that the monitor starts may be dom0. */
static int
begin(struct domain *d)
{
	if (strcmp(d->name, "dom0"))
		return 0;
	if (dom0) {
		printf("dom0: there is one, d%u\n", dom0->id);
		return -EBUSY;
	}
	dom0 = d;
	pv_dom0_devices_begin(pv_of(d->vcpu)->types);
	pv_events_of(d)->ports.domain = 0;
	plain = d->vcpu->thread.class;
	for_each_vcpu(v, d) v->thread.class = &dom0_class;
	return 0;
}

/* ... before it has run. */
static void
forget(struct domain *d)
{
	if (d == dom0)
		dom0 = NULL;
	pv_devices_return(d);
}

static const struct pv_part control_part = { .begin = begin, .free = forget };
PV_PART(control_part);

/* ---- the hypercall ---- */

static int64_t
create(struct vcpu *v, uint64_t from)
{
	struct zeno_create c;
	struct domain *d;
	int64_t id;

	if (pv_read(v, &c, from, sizeof(c)))
		return -EFAULT;
	id = pv_make(v, &c);
	if (id < 0)
		return id;
	d = domain_find((unsigned)id);
	for_each_vcpu(v, d) v->thread.class = &made_class;
	memcpy(pv_events_of(d)->ends.note, c.note, sizeof(c.note));
	domain_pause(d, PAUSED_BY_DOM0);
	pv_domain_of(d)->returns = c.empty;
	if (c.empty)
		d->clock_offset = d->paused_at - c.ns;
	printf("d%u %s: made by dom0 with %lu MiB\n", d->id, d->name, d->ram >> 20);
	return id;
}

/*
 * Who ends a domain says so: "by dom0", "by the monitor's stop command". One with a machine of its
 * own may use that to end.
 */
static enum zeno_why
why(const struct domain *d)
{
	const struct pv_domain *pd = d->pv;

	if (d->state != DOMAIN_ENDED)
		return d->paused & PAUSED_ITSELF ? ZENO_SUSPEND : ZENO_NOT_YET;
	if (pd && pd->shutdown)
		return pd->shutdown;
	if (!d->stopped || d->reset)
		return d->reset ? ZENO_REBOOT : ZENO_POWEROFF;
	return !strncmp(d->end_reason, "by ", 3) ? ZENO_KILLED : ZENO_CRASH;
}

static bool
waits(const struct domain *d)
{
	for_each_vcpu(v, d) if (v->thread.state != THREAD_BLOCKED) return false;
	return true;
}

static void
look_at(const struct domain *d, struct zeno_look *l)
{
	const struct pv_domain *pd = d->pv; /* NULL: it knows of no monitor */
	const struct pv_events *pe = pd ? pd->events : NULL;
	const struct pv_ends none = { 0 }, *ends = pe ? &pe->ends : &none;
	/* one of dom0's has a last turn to come before it can be let go of */
	bool over = d->state == DOMAIN_ENDED && (!pe || !pe->made || pe->over);

	*l = (struct zeno_look){
		.domid = d == dom0 ? 0 : d->id,
		.state = over        ? ZENO_ENDED
			 : d->paused ? ZENO_PAUSED
			 : waits(d)  ? ZENO_WAITS
				     : ZENO_RUNS,
		.made = pe && pe->made,
		.why = why(d),
		.console_pfn = ends->console_pfn,
		.store_pfn = ends->store_pfn,
		.console_port = ends->console_port,
		.store_port = ends->store_port,
		.ram = d->ram - (pd ? (uint64_t)pd->away << PAGE_SHIFT : 0),
		.most = d->ram,
		.exits = domain_exits(d),
		.ns = domain_now(d),
		.used = d->vcpu->thread.account->used,
		.weight = d->vcpu->thread.account->weight,
		.vcpus = d->vcpu->thread.account->threads,
		.type = pd && pd->hvm ? ZENO_PVH : ZENO_PV,
	};
	if (pd && !pd->hvm)
		pv_save_look(d, l);
	snprintf(l->name, sizeof(l->name), "%s", d->name);
	snprintf(l->end, sizeof(l->end), "%s", d->end_reason);
	snprintf(l->note, sizeof(l->note), "%s", ends->note);
}

static int64_t
look(struct vcpu *v, uint64_t from, uint64_t to)
{
	struct zeno_look l;

	for (uint64_t id = from ? from : 1; id <= DOMAIN_MAX; id++) {
		struct domain *d = domain_find((unsigned)id);

		if (!d)
			continue;
		look_at(d, &l);
		return pv_write(v, to, &l, sizeof(l)) ? -EFAULT : (int64_t)id;
	}
	return -ESRCH;
}

/* Nothing of it is left in dom0's tables, nor in the TLB, for the host's own root is loaded. */
static int64_t
release(struct vcpu *v, struct domain *d)
{
	if (!pv_events_of(d)->over)
		return -EBUSY;
	pv_domain_gather(d); /* what others keep of it is found by its place, too */
	pv_domain_ended(d);
	if (pv_foreign_entries(v, d))
		return -EBUSY;
	v->flush = true;
	domain_free(d);
	return 0;
}

static int64_t
tell(struct vcpu *v, uint64_t from, uint64_t to)
{
	struct zeno_said s = { .len = 0 };

	pv_said(&s, from);
	return pv_write(v, to, &s, sizeof(s)) ? -EFAULT : 0;
}

static int64_t
weigh(struct domain *d, uint64_t weight)
{
	if (!weight || weight > WEIGHT_MAX)
		return -EINVAL;
	d->vcpu->thread.account->weight = (uint32_t)weight;
	return 0;
}

static int64_t
of_domain(struct vcpu *v, struct pv_call *c, struct domain *d)
{
	bool runs = d->state != DOMAIN_ENDED;
	int64_t result = 0;

	switch ((uint32_t)c->arg[0]) {
	case ZENO_PAUSE:
	case ZENO_UNPAUSE:
		if (!runs)
			return -ENODATA;
		if ((uint32_t)c->arg[0] == ZENO_PAUSE) {
			domain_pause(d, PAUSED_BY_DOM0);
			return 0;
		}
		pv_domain_of(d)->returns = false;
		domain_resume(d, PAUSED_ITSELF | (c->arg[2] ? 0 : PAUSED_BY_DOM0));
		return 0;
	case ZENO_DESTROY:
		if (!c->arg[2] || !pv_save_destroy(d))
			domain_stop(d, "by dom0");
		return 0;
	case ZENO_RELEASE:
		return release(v, d);
	case ZENO_WEIGHT:
		return weigh(d, c->arg[2]);
	case ZENO_PORTS:
		return runs ? pv_give_ports(d, c->arg[2], c->arg[3]) : -ENODATA;
	case ZENO_LINE:
		return runs ? pv_give_line(d, c->arg[2]) : -ENODATA;
	case ZENO_MAP:
		result = pv_foreign_map(v, d, c->arg[2], c->arg[3], &c->budget);
		c->again = result == -EAGAIN;
		pv_types_told(v);
		return result;
	default:
		return pv_domain_of(d)->hvm ? -EINVAL : pv_save_op(v, c, d);
	}
}

/* A domain of dom0's making; others are the monitor's. */
static int64_t
control(struct vcpu *v, struct pv_call *c)
{
	struct domain *d;

	switch ((uint32_t)c->arg[0]) {
	case ZENO_CREATE:
		return create(v, c->arg[1]);
	case ZENO_LOOK:
		return look(v, c->arg[1], c->arg[2]);
	case ZENO_SAID:
		return tell(v, c->arg[1], c->arg[2]);
	}
	if ((uint32_t)c->arg[0] == ZENO_WEIGHT && !c->arg[1])
		return weigh(dom0, c->arg[2]);
	d = c->arg[1] <= DOMAIN_MAX ? domain_find((unsigned)c->arg[1]) : NULL;
	if (!d)
		return -ESRCH;
	return d->vcpu->thread.class == &made_class ? of_domain(v, c, d) : -EPERM;
}

static int64_t
asks(struct vcpu *v, struct pv_call *c)
{
	if (v->domain != dom0)
		return -EPERM;
	if (c->inner) /* each of them may be long */
		return -EINVAL;
	pv_charge(&c->budget, PV_BATCH / 2);
	return control(v, c);
}
PV_HYPERCALL_AT(ZENO_CONTROL, control, asks);
