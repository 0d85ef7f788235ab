/*
 * One guest more for a trial that makes thousands.
 */
#include <inc/errno.h>
#include <trials/guests/one.h>
#include <vmm/dev/platform.h>
#include <vmm/mem/p2m.h>
#include <vmm/vcpu.h>
#include <vmm/words/monitor.h>

struct watched {
	const struct one_guest *guest;
	struct domain *domain;
	struct one_end *end;
	uint64_t turns; /* when it made progress last */
};

static void
look(struct watched *w)
{
	uint32_t now = 0;

	if (w->guest->report)
		gpa_read(w->domain, gpa(w->guest->report), &now, sizeof(now));
	if (now != w->end->progress)
		w->turns = w->domain->vcpu->thread.turns;
	w->end->progress = now;
}

/*
 * A guest that sleeps has nothing to wake it for, and one that goes on and on must not hold up the
 * rest.
 */
static bool
is_over(void *arg)
{
	struct watched *w = arg;
	struct domain *d = w->domain;
	struct thread *t = &d->vcpu->thread;

	look(w);
	if (d->state == DOMAIN_RUNNING && ((t->state == THREAD_BLOCKED && !w->guest->report) ||
					   t->turns - w->turns > w->guest->turns)) {
		domain_stop(d, "put out at %04x:%08lx", d->vcpu->state.seg[SEG_CS].sel,
			    d->vcpu->state.rip);
		w->end->put_out = true;
	}
	if (d->state == DOMAIN_ENDED)
		thread_wake(t); /* its next turn sees that it has ended */
	return t->state == THREAD_ENDED;
}

int
one_guest(const struct one_guest *g, const char *words, struct one_end *end)
{
	struct watched w = { .guest = g, .end = end };
	const struct domain_config config = { .module = g->module,
					      .engine = g->engine,
					      .platform = platform_find("pc"),
					      .ram = g->mib << 20,
					      .vcpus = 1,
					      .words = words };
	int err = domain_create(&w.domain, &config);

	*end = (struct one_end){ 0 };
	if (err)
		return err;
	w.domain->silent = true;
	monitor_wait(is_over, &w, false);
	if (w.domain->vcpu->thread.state != THREAD_ENDED) {
		w.domain->silent = false;
		domain_stop(w.domain, "with the trial");
		thread_wake(&w.domain->vcpu->thread);
		return -EAGAIN;
	}
	end->stopped = w.domain->stopped;
	snprintf(end->why, sizeof(end->why), "%s", w.domain->end_reason);
	domain_free(w.domain);
	return 0;
}
