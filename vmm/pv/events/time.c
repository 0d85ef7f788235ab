/*
 * Time and timers, as xen.h and vcpu.h say, and where they are silent, as Xen 4.17 does it. How
 * time is shown, and what is due, is the lab's: time.c of Lab 7.
 */
#include <inc/errno.h>
#include <vmm/pv/events/time.h>

#define SECOND     1000000000ul
#define PERIOD_MIN (SECOND / 1000)
#define FAR        (1ul << 50) /* thirteen days */
#define SOON       (SECOND / 10)

/* mul has its highest bit, so that nothing is lost: the guest's time stays below the true one. */
struct pv_scale
pv_time_scale(uint64_t tsc_hz)
{
	uint64_t ratio = (SECOND << 32) / tsc_hz, rest = (SECOND << 32) % tsc_hz;
	struct pv_scale s = { .shift = 0 };

	for (; ratio >> 32; s.shift++)
		ratio >>= 1;
	for (; !(ratio >> 31); s.shift--) {
		rest *= 2;
		ratio = ratio * 2 + (rest >= tsc_hz);
		rest -= rest >= tsc_hz ? tsc_hz : 0;
	}
	s.mul = (uint32_t)ratio;
	return s;
}

/* ---- timers ---- */

/* Xen's times have a sign: what is beyond has been, long ago. */
static uint64_t
moment(uint64_t at)
{
	return (int64_t)at < 0 ? 0 : at;
}

void
pv_timers_init(struct pv_timers *t)
{
	*t = (struct pv_timers){ .single = PV_NEVER, .poll = PV_NEVER, .next = PV_NEVER };
}

/*
 * Old kernels mean by a time far away, or before all times, now or never, nobody knows which: Xen
 * gives them one soon.
 */
void
pv_timer_set(struct pv_timers *t, uint64_t now, uint64_t at)
{
	if (!at)
		t->single = PV_NEVER;
	else if ((int64_t)at < 0 || (at > now && at - now >= FAR))
		t->single = now + SOON;
	else
		t->single = at;
}

int
pv_timer_single(struct pv_timers *t, uint64_t now, uint64_t at, uint32_t flags)
{
	if (flags & XEN_VCPU_SSHOTTMR_future && moment(at) < now)
		return -ETIME;
	t->single = moment(at);
	return 0;
}

int
pv_timer_period(struct pv_timers *t, uint64_t now, uint64_t period)
{
	if (period && (period < PERIOD_MIN || period > PV_NEVER >> 2))
		return -EINVAL;
	t->period = period;
	t->next = period ? now + period : PV_NEVER;
	return 0;
}

void
pv_timer_poll(struct pv_timers *t, uint64_t at)
{
	t->poll = at ? moment(at) : PV_NEVER;
}

uint64_t
pv_timers_next(const struct pv_timers *t)
{
	uint64_t next = t->single < t->next ? t->single : t->next;

	return next < t->poll ? next : t->poll;
}
