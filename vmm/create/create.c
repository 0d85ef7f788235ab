/*
 * How domains come and go: made from a boot module, run as a thread, kept after their end until the
 * next one ends.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/debug/debug.h>
#include <vmm/dev/platform.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/exitlog.h>
#include <vmm/load/load.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>
#include <vmm/vcpu.h>

static struct domain *domains[DOMAIN_MAX + 1]; /* by id; 0 is the host */
static struct domain *last_ended;              /* kept, so that its exits can still be looked at */

static void
thread_ended(struct thread *t)
{
	struct vcpu *v = (struct vcpu *)((char *)t - offsetof(struct vcpu, thread));

	for_each_vcpu(other, v->domain)
	{
		if (other->thread.state != THREAD_ENDED)
			return;
	}
	domain_forget(NULL);
	last_ended = v->domain;
	reset_done(last_ended);
}

static const struct thread_class vcpu_class = {
	.name = "vcpu",
	.turn = vcpu_turn,
	.ready = vcpu_ready,
	.ended = thread_ended,
};

/* Behind the others. 0, -ENOMEM: domain_free() takes a half-made one, too. */
static int
vcpu_create(struct domain *d, const struct engine *engine)
{
	struct vcpu **end = &d->vcpu, *v;
	unsigned number = 0;

	for (; *end; end = &(*end)->next)
		number++;
	*end = v = host_page();
	if (!v)
		return -ENOMEM;
	v->domain = d;
	v->number = number;
	v->root = MFN_NONE;
	v->state.activity = number ? ACTIVITY_WAITS_FOR_SIPI : ACTIVITY_RUNS;
	v->engine = engine;
	v->handlers = exit_handlers_of(engine);
	v->valid = v->dirty = STATE_ALL; /* the loader's, to be taken over whole */
	v->thread.class = &vcpu_class;
	v->thread.account = &d->vcpu->thread.own; /* one for all */
	if (number)
		snprintf(v->thread.name, sizeof(v->thread.name), "d%u.%u %s", d->id, number,
			 d->name);
	else
		snprintf(v->thread.name, sizeof(v->thread.name), "d%u %s", d->id, d->name);
	v->log = host_page();
	v->tlb.entry = host_page();
	if (!v->log || !v->tlb.entry)
		return -ENOMEM;
	exit_log_init(v);
	v->watched = vcpu_watch || exit_streams;
	return 0;
}

static void
vcpu_free(struct vcpu *v)
{
	if (v->engine_data)
		v->engine->free(v);
	host_page_put(v->log);
	host_page_put(v->tlb.entry);
	host_page_put(v);
}

/* The domain's number and its frame: a free id, so that the oldest name is used up last. */
static struct domain *
new_domain(const struct module *m, unsigned first)
{
	for (unsigned id = first; id <= DOMAIN_MAX; id++) {
		if (domains[id])
			continue;
		domains[id] = host_page();
		if (!domains[id])
			return NULL;
		domains[id]->id = id;
		domains[id]->window_page = MFN_NONE;
		domains[id]->window = WINDOW_NONE;
		snprintf(domains[id]->name, sizeof(domains[id]->name), "%s", m->name);
		return domains[id];
	}
	return NULL;
}

/*
 * The engine has this CPU, and as many vCPUs; it knows the MMU mode. 0, or an error after a line
 * that says why not.
 */
static int
check_config(const struct domain_config *c)
{
	const char *why = c->engine->probe ? c->engine->probe() : NULL;
	const struct mmu_mode *mode = c->mmu ? c->mmu : engine_mode(c->engine);

	if (c->ram < 2u << 20 || c->ram > c->engine->ram_max || (c->ram & PAGE_MASK))
		printf("mem= takes MiB, 2 to %lu\n", c->engine->ram_max >> 20);
	else if (why)
		printf("engine %s: %s\n", c->engine->name, why);
	else if (!c->vcpus || c->vcpus > c->engine->max_vcpus)
		printf("engine %s: a domain has 1 to %u vCPUs\n", c->engine->name,
		       c->engine->max_vcpus);
	else if (c->logs_writes && !(mode && mode->touch))
		printf("log=1 is for an MMU mode that gives memory on demand: mmu=nested\n");
	else if (c->mmu && !engine_has_mode(c->engine, c->mmu))
		printf("engine %s has no MMU mode %s\n", c->engine->name, c->mmu->name);
	else if (c->disk && !(c->platform && c->platform->disk))
		printf("disk= is for a platform that has one: platform=pc-apic, devices=user\n");
	else if (c->vcpus > 1 && mode && mode->one_vcpu)
		printf("mmu=%s is for one vCPU\n", mode->name);
	else
		return 0;
	return why ? -ENODEV : -EINVAL;
}

SET_DECLARE(domain_services);

static int
open_services(struct domain *d, bool by_dom0)
{
	set_foreach (const struct domain_service *, s, domain_services)
		return d->service = s, s->open(d, by_dom0);
	printf("xen=1: this build has no hypercalls for guests with a CPU of their own\n");
	return -ENODEV;
}

/* All that a domain has beside its name. */
static int
furnish(struct domain *d, const struct domain_config *c)
{
	int err = p2m_init(d);

	d->ram = c->ram;
	if (!err)
		err = ram_give(d);
	for (unsigned i = 0; i < c->vcpus && !err; i++)
		err = vcpu_create(d, c->engine);
	if (!err && c->xen)
		err = open_services(d, c->by_dom0);
	if (!err)
		err = load_guest(d, c);
	for (struct vcpu *v = d->vcpu; v && !err; v = v->next)
		err = c->engine->init(v);
	if (!err && d->vcpu->state.cr0 & CR0_PG) /* a loader may begin in long mode */
		err = d->mmu->load(d->vcpu);
	d->clock_offset = clock_ns();
	if (!err && d->platform && d->platform->init)
		err = d->platform->init(d);
	return err;
}

/*
 * Makes a domain and lets it run. It ends through domain_stop() or domain_exit() and is freed when
 * the next one ends. Errors: -EINVAL (ram, vcpus, mmu), -ENOMEM, -ENOEXEC (the image; a line says
 * why), -ENODEV (this CPU has not what the engine needs; a line says what).
 */
int
domain_create(struct domain **out, const struct domain_config *config)
{
	struct domain *d;
	int err = check_config(config);

	if (err)
		return err;
	domain_forget(NULL);
	d = new_domain(config->module, config->id ? config->id : 1);
	if (!d)
		return -ENOMEM;
	d->mmu = config->mmu ? config->mmu : engine_mode(config->engine);
	d->page_frames = config->page_frames ? config->page_frames : 1;
	d->logs_writes = config->logs_writes;
	d->keyboard = config->keyboard;
	d->platform = config->platform;
	d->disk = config->disk;
	snprintf(d->words, sizeof(d->words), "%s", config->words);
	err = reset_init(d, config);
	if (!err)
		err = furnish(d, config);
	if (err) {
		domain_free(d);
		return err;
	}
	domain_input_init(d, config->id);
	side_printf("@Z start d%u %s\n", d->id, d->name);
	debug_created(d->vcpu);
	d->vcpu->thread.own.weight = (uint32_t)config->weight;
	for_each_vcpu(v, d) thread_add(&v->thread);
	*out = d;
	return 0;
}

/* Takes a half-made domain too. Its thread must not be running. */
void
domain_free(struct domain *d)
{
	if (d->service)
		d->service->close(d);
	for_each_vcpu(v, d)
	{
		if (d->mmu)
			d->mmu->free(v);
	}
	while (d->vcpu) {
		struct vcpu *v = d->vcpu;

		d->vcpu = v->next;
		vcpu_free(v);
	}
	if (d->platform)
		d->platform->free(d);
	p2m_free(d);
	if (last_ended == d)
		last_ended = NULL;
	domains[d->id] = NULL;
	host_page_put(d->again);
	host_page_put(d);
}

bool
domain_forget(const struct domain *but)
{
	bool goes = last_ended && last_ended != but;

	if (goes)
		domain_free(last_ended);
	return goes;
}

struct domain *
domain_find(unsigned id)
{
	return id <= DOMAIN_MAX ? domains[id] : NULL;
}
