/* BUILD: solutions/10-net/netshare.c */
/*
 * Rates and turns: what comes through in so much time, however it is asked for, and what a burst
 * is; who sends small frames beside who sends large ones.
 */
#include <guest/dom0/share.h>

#include "draw.h"
#include "tap.h"

#define MS 1000000ull

/* Bytes that go in so many ns, if somebody always has a frame and is asked at any times. */
static uint64_t
flows(uint64_t rate, uint64_t ns, uint64_t step, uint64_t frame)
{
	uint64_t now = 5 * MS, end = now + ns, sent = 0;
	struct share s;

	share_begin(&s, rate, now);
	s.bytes = 0;
	while (now < end) {
		share_turn(&s, now);
		while (share_takes(&s, frame))
			sent += frame;
		now += 1 + draw(step);
	}
	return sent;
}

static void
rates(void)
{
	static const uint64_t speeds[] = { 1000, 100000, 1250000, 12500000 };

	for (unsigned n = 0; n < 4; n++)
		for (uint64_t step = MS / 100; step <= 20 * MS; step *= 45) {
			uint64_t want = speeds[n] * 4,
				 got = flows(speeds[n], 4000 * MS, step, 1000);

			ok(got <= want && got + 2000 + speeds[n] / 25 > want,
			   "%llu bytes a second, asked every %llu us: %llu of %llu in 4 s",
			   (unsigned long long)speeds[n], (unsigned long long)step / 2000,
			   (unsigned long long)got, (unsigned long long)want);
		}
}

static void
bursts(void)
{
	uint64_t sent = 0, want, got;
	struct share s;

	share_begin(&s, 1000000, 0);
	share_turn(&s, 3600ull * 1000 * MS); /* an hour later */
	for (unsigned n = 0; n < 10; n++) {
		while (share_takes(&s, 500))
			sent += 500;
		share_turn(&s, 3600ull * 1000 * MS);
	}
	want = 60000; /* a minute's */
	got = flows(1000, 60000 * MS, 3000 * MS, 1000);
	ok(got <= want, "a slow one that is asked each second or so has no more: %llu of %llu",
	   (unsigned long long)got, (unsigned long long)want);
	ok(sent == 50000, "who was silent for an hour has 50 ms of it: %llu",
	   (unsigned long long)sent);
	ok(share_until(&s, 1000) == 3600ull * 1000 * MS + MS, "and the next in a millisecond");
	share_turn(&s, share_until(&s, 1000) - 1);
	ok(!share_takes(&s, 1000), "not before");
	share_turn(&s, share_until(&s, 1000));
	ok(share_takes(&s, 1000), "and then");
	share_begin(&s, 1, 0);
	share_turn(&s, 0);
	ok(share_takes(&s, SHARE_FRAME) && share_takes(&s, SHARE_FRAME) && !share_takes(&s, 14),
	   "two frames have room, however slow it is");
	share_begin(&s, 100000000000, 0); /* vifspec.c takes no more */
	s.bytes = 0;
	share_turn(&s, 184467441); /* bytes times ns are a little more than 2^64 */
	ok(s.bytes == 5000000000, "... and 50 ms have room, however fast it is: %llu",
	   (unsigned long long)s.bytes);
	share_begin(&s, 0, 0);
	share_turn(&s, 0);
	ok(share_takes(&s, SHARE_FRAME) && !share_until(&s, SHARE_FRAME), "no rate, no bucket");
}

/* Two that always have frames; one is held back by its rate now and then. */
static void
turns(void)
{
	struct share small, large, idle;
	uint64_t s = 0, l = 0;

	share_begin(&small, 0, 0);
	share_begin(&large, 0, 0);
	share_begin(&idle, 0, 0);
	for (unsigned n = 0; n < 1000; n++) {
		share_turn(&small, n);
		while (share_takes(&small, 60))
			s += 60;
		share_turn(&large, n);
		while (share_takes(&large, 1514))
			l += 1514;
		share_turn(&idle, n);
		share_idle(&idle);
	}
	ok(s + 2 * SHARE_TURN > l && l + 2 * SHARE_TURN > s,
	   "small frames and large ones: %llu and %llu bytes", (unsigned long long)s,
	   (unsigned long long)l);
	for (s = 0, share_turn(&idle, 0); share_takes(&idle, 1000);)
		s += 1000;
	ok(s <= SHARE_TURN, "who had nothing to send has saved nothing");
}

int
main(void)
{
	rates();
	bursts();
	turns();
	return done_testing();
}
