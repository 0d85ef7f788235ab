/*
 * Rates and turns.
 */
#include <guest/dom0/share.h>

#define SECOND 1000000000u

static uint64_t
most(const struct share *s)
{
	uint64_t burst = s->rate * SHARE_BURST / SECOND;

	return burst > 2 * SHARE_FRAME ? burst : 2 * SHARE_FRAME;
}

void
share_begin(struct share *s, uint64_t rate, uint64_t now)
{
	*s = (struct share){ .rate = rate, .since = now };
	s->bytes = most(s);
}

/* Only the time that has made whole bytes is used up, so that often asked is not less filled. */
static void
fill(struct share *s, uint64_t now)
{
	uint64_t ns = now - s->since, made;

	if (ns > UINT64_MAX / s->rate) { /* far more than it holds */
		s->bytes = most(s);
		s->since = now;
		return;
	}
	made = ns * s->rate / SECOND;
	s->bytes += made;
	s->since += made * SECOND / s->rate;
	if (s->bytes > most(s)) {
		s->bytes = most(s);
		s->since = now;
	}
}

void
share_turn(struct share *s, uint64_t now)
{
	s->deficit += SHARE_TURN;
	if (s->deficit > 2 * SHARE_TURN) /* its rate has held it back */
		s->deficit = 2 * SHARE_TURN;
	if (s->rate)
		fill(s, now);
}

bool
share_takes(struct share *s, uint64_t len)
{
	if (s->deficit < len || (s->rate && s->bytes < len))
		return false;
	s->deficit -= len;
	if (s->rate)
		s->bytes -= len;
	return true;
}

void
share_idle(struct share *s)
{
	s->deficit = 0;
}

uint64_t
share_until(const struct share *s, uint64_t len)
{
	if (!s->rate || s->bytes >= len)
		return 0;
	return s->since + ((len - s->bytes) * SECOND + s->rate - 1) / s->rate;
}
