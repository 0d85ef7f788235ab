/*
 * A domain with Xen's services beside its platform: made, shown to the core, and freed.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/grant/grant.h>
#include <vmm/pv/hvm/hvm.h>

/* ---- its interrupt ---- */

bool
hvm_upcall_is_due(struct vcpu *v)
{
	const struct hvm *h = hvm_of(v->domain);

	return h->vector && !h->told && pv_of(v)->info->upcall_pending;
}

/* Something new has come for it: what it was told before says nothing of that. */
bool
hvm_hears(struct vcpu *v)
{
	hvm_of(v->domain)->told = false;
	return hvm_upcall_is_due(v);
}

static bool
pending(struct vcpu *v)
{
	return hvm_upcall_is_due(v) || hvm_of(v->domain)->base->pending(v);
}

/*
 * The guest takes it off itself, in its own memory. Until somebody looks again, at the latest with
 * the next turn, it counts as done, lest the CPU exits once more for each upcall as soon as its
 * handler has returned.
 */
static uint8_t
ack(struct vcpu *v)
{
	struct hvm *h = hvm_of(v->domain);

	if (!hvm_upcall_is_due(v))
		return h->base->ack(v);
	h->told = true;
	return h->vector;
}

/* Meanwhile its handler may have seen to what waited: *v goes on as it is now. */
static enum verdict
exit_window(struct vcpu *v, struct exit *e)
{
	hvm_of(v->domain)->told = false;
	v->irq_pending = pending(v);
	return hvm_of(v->domain)->engine[EXIT_WINDOW_IRQ](v, e);
}

/* It sleeps, unless an interrupt is there already. */
static enum verdict
exit_hlt(struct vcpu *v, struct exit *e)
{
	enum verdict verdict = hvm_of(v->domain)->engine[EXIT_HLT](v, e);

	if (verdict == BLOCK)
		pv_waits(v);
	return verdict;
}

/* A device's access comes by here, too: the time is shown once in a turn, or when one is due. */
static void
lines(struct domain *d)
{
	struct hvm *h = hvm_of(d);

	h->told = false;
	h->base->lines(d);
	if (h->turn == sched_turns + 1 && pv_events_deadline(d) > domain_now(d))
		return;
	h->turn = sched_turns + 1;
	pv_events_lines(d);
}

/*
 * Asked of a vCPU that sleeps, and at the beginning of each turn of one that runs: then it has the
 * CPU, as a PV engine's load() says it (runstate.c).
 */
static uint64_t
deadline(struct domain *d)
{
	uint64_t base = hvm_of(d)->base->deadline(d), own = pv_events_deadline(d);

	if (d->vcpu->thread.state != THREAD_BLOCKED)
		pv_runs(d->vcpu);
	return base < own ? base : own;
}

/* ---- made and freed ---- */

/* Its vCPU and its memory are there still: what others use of it becomes the host's. */
static void
close(struct domain *d)
{
	if (!d->pv)
		return;
	if (pv_running == d->vcpu)
		pv_running = NULL;
	hvm_grants_forget(d);
	pv_let_go(d);
	pv_domain_unmapped(d);
}

static void
free_services(struct domain *d)
{
	struct hvm *h = hvm_of(d);

	h->base->free(d);
	host_page_put(h->types);
	host_page_put(h->pv);
	pv_domain_free(d);
	host_page_put(h);
}

static void
wrap(struct domain *d, struct hvm *h)
{
	struct vcpu *v = d->vcpu;

	h->platform = *h->base;
	h->platform.free = free_services;
	h->platform.lines = lines;
	h->platform.pending = pending;
	h->platform.ack = ack;
	h->platform.deadline = deadline;
	h->platform.msr = hvm_msr;
	h->platform.punctual = true;
	h->engine = v->handlers;
	memcpy(h->handlers, h->engine, sizeof(h->handlers));
	h->handlers[EXIT_HYPERCALL] = hvm_exit_hypercall;
	h->handlers[EXIT_CPUID] = hvm_exit_cpuid;
	h->handlers[EXIT_WINDOW_IRQ] = exit_window;
	h->handlers[EXIT_HLT] = exit_hlt;
	v->handlers = h->handlers;
}

/* What is a vCPU's in a PV domain; of its page tables Zeno knows nothing. 0 or -ENOMEM. */
static int
make_pv(struct domain *d, struct hvm *h)
{
	struct vcpu *v = d->vcpu;
	struct pv *pv = h->pv = host_page();

	h->types = host_page();
	if (!pv || !h->types)
		return -ENOMEM;
	pv->kernel_root = pv->user_root = MFN_NONE;
	pv->far = &hvm_far;
	pv->types = h->types;
	pv->types->owner = d->id;
	pv->types->flush = &v->flush;
	pv->info = &pv_domain_of(d)->shared->vcpu_info[0];
	pv->info->upcall_mask = 0; /* RFLAGS.IF is what lets it in */
	v->pv = pv;
	return 0;
}

/* Its console and its store, in frames of its own. 0, -ENOMEM. */
static int
make_pages(struct domain *d, struct hvm *h, bool by_dom0)
{
	struct pv_plan plan = { .console_pfn = hvm_page_gfn(d, HVM_CONSOLE),
				.store_pfn = hvm_page_gfn(d, HVM_STORE) };

	for (unsigned n = 0; n < HVM_PAGES; n++) {
		mfn_t m = frame_alloc(FRAME_GUEST, d->id);

		if (!mfn_ok(m))
			return -ENOMEM;
		frame_of(m)->next = NULL; /* which is what it is used as: ordinary memory */
		if (p2m_set(d, gfn(hvm_page_gfn(d, n)), m, P2M_RAM)) {
			frame_put(m);
			return -ENOMEM;
		}
	}
	if (pv_domain_open(d, &plan, by_dom0))
		return -ENOMEM;
	h->port[HVM_CONSOLE] = plan.console_port;
	h->port[HVM_STORE] = plan.store_port;
	return 0;
}

static void
make_grants(struct pv_grants *g, struct hvm *h)
{
	g->frame = hvm_frame_granted;
	g->name = g->owner;
	g->types = h->types;
}

/* NULL, or what such a domain has not. */
static const char *
wrong(const struct domain *d)
{
	if (!d->vcpu->engine->probe || d->vcpu->engine->base)
		return "is for engine=svm and engine=vmx";
	if (!d->platform || strncmp(d->platform->name, "pc", 2))
		return "is for platform=pc and platform=pc-apic";
	if (!d->mmu || !d->mmu->gone || d->logs_writes)
		return "is for mmu=nested, without log=1";
	if (ram_end(d) != d->ram >> PAGE_SHIFT) /* what comes behind its RAM would be devices */
		return "is for 3 GiB of RAM at most";
	return d->vcpu->next ? "is for one vCPU" : NULL;
}

static int
open(struct domain *d, bool by_dom0)
{
	const struct platform *base = d->platform;
	const char *why = wrong(d);
	struct hvm *h;
	int err;

	if (why) {
		printf("%s: xen=1 %s; see handouts/pv.md#hvm\n", d->name, why);
		return -EINVAL;
	}
	h = host_page();
	if (!h)
		return -ENOMEM;
	h->base = base;
	h->shared_at = HVM_NOWHERE;
	for (unsigned n = 0; n < PV_GRANT_FRAMES; n++)
		h->grants_at[n] = HVM_NOWHERE;
	err = pv_domain_create(d); /* another platform, for a while */
	d->platform = base;
	if (!pv_domain_of(d)) {
		host_page_put(h);
		return err;
	}
	pv_domain_of(d)->hvm = h;
	wrap(d, h);
	d->platform = &h->platform;
	if (!err)
		err = make_pv(d, h);
	if (!err)
		make_grants(pv_grants_of[d->id], h);
	return err ? err : make_pages(d, h, by_dom0);
}

static const struct domain_service service = { open, close };
SET_ADD(domain_services, service);
