/* BUILD: vmm/pv/events/time.c solutions/7-events/time.c */
/*
 * Time as a guest computes it from what it is shown, at any TSC; and timers: in the past, far
 * beyond, endless.
 */
#include <errno.h>
#include <string.h>

#include <vmm/pv/events/time.h>

#include "draw.h"
#include "tap.h"

#define SECOND 1000000000ul

/* xen.h, struct vcpu_time_info: "Current system time". */
static uint64_t
guests_time(const struct xen_vcpu_time_info *t, uint64_t tsc)
{
	uint64_t delta = tsc - t->tsc_timestamp;

	delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
	return t->system_time + (uint64_t)((unsigned __int128)delta * t->tsc_to_system_mul >> 32);
}

static void
clock(void)
{
	unsigned ahead = 0, behind = 0, narrow = 0;

	for (unsigned n = 0; n < 20000; n++) {
		uint64_t hz = 1000000 + (drawn() >> 5) % (n % 2 ? 10 * SECOND : 100000000);
		uint64_t tsc = drawn() >> 5, delta = (drawn() >> 5) % (10 * hz), ns = drawn() >> 5;
		uint64_t exact = ns + (uint64_t)((unsigned __int128)delta * SECOND / hz), got;
		struct xen_vcpu_time_info t = { .version = (uint32_t)n };

		pv_time_write(&t, tsc, ns, pv_time_scale(hz));
		got = guests_time(&t, tsc + delta);
		ahead += got > exact;
		behind += exact - got > 16;
		narrow += !(t.tsc_to_system_mul >> 31) || t.version & 1 || t.version == n;
	}
	is_u64(ahead, 0, "a guest's time is never ahead");
	is_u64(behind, 0, "nor more than 16 ns behind after ten seconds");
	is_u64(narrow, 0, "all of the multiplier is used, and the version is another, even one");
}

static void
wall(void)
{
	static struct xen_shared_info s;

	s.wc_version = 4;
	pv_time_write_wall(&s, 3 * SECOND + 5);
	is_u64(s.wc_sec, 946684803, "seconds of Unix's time");
	is_u64(s.wc_nsec, 5, "and what is behind them");
	is_u64(s.wc_version, 6, "the version is even, and another one");
	pv_time_write_wall(&s, 1ul << 62);
	is_u64((uint64_t)s.wc_sec_hi << 32 | s.wc_sec, 946684800 + (1ul << 62) / SECOND,
	       "a date far off has its high half");
}

static void
timers(void)
{
	struct pv_timers t;

	pv_timers_init(&t);
	is_u64(pv_timers_next(&t), PV_NEVER, "no timer at first");
	is_u64(pv_timers_take(&t, PV_NEVER - 1), 0, "... at no time");
	pv_timer_set(&t, 100, 200);
	is_u64(pv_timers_next(&t), 200, "set_timer_op");
	is_u64(pv_timers_take(&t, 199), 0, "not yet");
	is_u64(pv_timers_take(&t, 200), PV_TIMER_EVENT, "now");
	is_u64(pv_timers_take(&t, 300), 0, "and once");
	pv_timer_set(&t, 100, 50);
	is_u64(pv_timers_take(&t, 100), PV_TIMER_EVENT, "in the past: at once");
	pv_timer_set(&t, 100, 200);
	pv_timer_set(&t, 100, 0);
	is_u64(pv_timers_next(&t), PV_NEVER, "0 stops it");
	for (uint64_t at = 1ul << 51; at; at <<= 1) {
		pv_timer_set(&t, 100, at);
		is_u64(pv_timers_next(&t), 100 + SECOND / 10, "far away, 2^%d: soon",
		       __builtin_ctzl(at));
	}
	is_u64((uint64_t)pv_timer_single(&t, 100, 50, XEN_VCPU_SSHOTTMR_future), (uint64_t)-ETIME,
	       "single shot in the past, where it must not be");
	is_u64((uint64_t)pv_timer_single(&t, 100, ~0ul, XEN_VCPU_SSHOTTMR_future), (uint64_t)-ETIME,
	       "before all times, too");
	is_u64((uint64_t)pv_timer_single(&t, 100, ~0ul, 0), 0, "... where it may");
	is_u64(pv_timers_take(&t, 100), PV_TIMER_EVENT, "... at once");
	pv_timer_single(&t, 100, INT64_MAX, 0);
	is_u64(pv_timers_next(&t), INT64_MAX, "in 292 years");
	pv_timer_set(&t, 100, 0);
	is_u64((uint64_t)pv_timer_period(&t, 100, 999999), (uint64_t)-EINVAL, "a period too short");
	is_u64((uint64_t)pv_timer_period(&t, 100, ~0ul), (uint64_t)-EINVAL, "... too long");
	is_u64((uint64_t)pv_timer_period(&t, 0, SECOND), 0, "a period");
	is_u64(pv_timers_take(&t, SECOND), PV_TIMER_EVENT, "is over");
	is_u64(pv_timers_take(&t, 10 * SECOND), PV_TIMER_EVENT, "ten: one event");
	is_u64(pv_timers_next(&t), 11 * SECOND, "... and the next is a period away");
	pv_timer_period(&t, 0, 0);
	is_u64(pv_timers_next(&t), PV_NEVER, "stopped");
	pv_timer_poll(&t, 5);
	is_u64(pv_timers_take(&t, 7), PV_TIMER_POLL, "a wait for a port is over");
	pv_timer_poll(&t, 0);
	is_u64(pv_timers_next(&t), PV_NEVER, "or lasts");
}

int
main(void)
{
	clock();
	wall();
	timers();
	return done_testing();
}
