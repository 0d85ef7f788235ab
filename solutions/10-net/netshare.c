/*
 * Rates and turns (exercise 10.4): how much a card may send, and when it goes on.
 */
#include <guest/dom0/share.h>
#include <guest/pv/drivers/exercise.h>

/* EXERCISE 10.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 10.0 */

#define SECOND 1000000000u

/* What its bucket holds. */
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

/* Of a card that has a rate. */
static void
fill(struct share *s, uint64_t now)
{
	/*
	 * EXERCISE 10.4a: the bucket fills
	 * Holds: s->bytes has what the time since s->since has brought, and is no more than the
	 *  bucket holds; s->since is up to when.
	 * Beware: it is asked at any times, a microsecond or a year later, and whatever the rate
	 *  is: often asked makes neither more nor less. Numbers have 64 bits.
	 * Manual: share.h.
	 * Tools: most(), SECOND, SHARE_BURST
	 * Hint: 1,000 bytes a second, and asked each half of a millisecond: what has come in a
	 *  second?
	 * Hint: 3 bytes a second: how many have come 500 ms later, and behind how many ns of these
	 *  was the last of them whole?
	 * Hint: a tap drips into a bucket with a mark; who looks takes out whole litres, and pours
	 *  away no half one.
	 * until then: (void)most; s->since = now;
	 */
	uint64_t ns = now - s->since, made;

	if (ns > UINT64_MAX / s->rate) { /* far more than it holds */
		s->bytes = most(s);
		s->since = now;
		return;
	}
	/* Only the time that has made whole bytes is used up. */
	made = ns * s->rate / SECOND;
	s->bytes += made;
	s->since += made * SECOND / s->rate;
	if (s->bytes > most(s)) {
		s->bytes = most(s);
		s->since = now;
	}
	/* END EXERCISE 10.4a */
}

void
share_turn(struct share *s, uint64_t now)
{
	/*
	 * EXERCISE 10.4b: a turn
	 * Holds: s->deficit is a turn more; of turns that it could not use no more than two are
	 *  left. A bucket, if it has one, is filled.
	 * Beware: who has waited for its rate, and gets many turns meanwhile, must not have them
	 *  all at once.
	 * Manual: share.h; Shreedhar and Varghese, "Efficient Fair Queueing Using Deficit Round
	 *  Robin".
	 * Tools: fill(), SHARE_FRAME, SHARE_TURN
	 * Hint: two cards send, one frames of 60 bytes, one of 1,500. Whose turn is longer?
	 * Hint: a turn is 8,192 bytes, and the next frame has 1,514. How many go, and what is left
	 *  for the next turn?
	 * Hint: pocket money: what is not spent this week is there the next, and no purse has more
	 *  than two weeks of it.
	 * until then: (void)fill; (void)now; s->deficit = SHARE_TURN;
	 */
	s->deficit += SHARE_TURN;
	if (s->deficit > 2 * SHARE_TURN) /* its rate has held it back */
		s->deficit = 2 * SHARE_TURN;
	if (s->rate)
		fill(s, now);
	/* END EXERCISE 10.4b */
}

bool
share_takes(struct share *s, uint64_t len)
{
	/*
	 * EXERCISE 10.4c: a frame
	 * Holds: whether a frame of this length goes now: there is room for it in the turn, and in
	 *  the bucket, if there is one. It is taken out of both, or of none.
	 * Beware: who is refused is asked about the same frame again.
	 * Manual: share.h.
	 * Tools: SHARE_BURST, SHARE_TURN
	 * Hint: what is paid if the turn has enough, and the bucket has not?
	 * Hint: 100 bytes are left of the turn, 100 in the bucket: does a frame of 100 go?
	 * Hint: two tickets, one for the train and one for the seat: who has but one of them stays,
	 *  and keeps it.
	 * until then: (void)s; (void)len; return true;
	 */
	if (s->deficit < len || (s->rate && s->bytes < len))
		return false;
	s->deficit -= len;
	if (s->rate)
		s->bytes -= len;
	return true;
	/* END EXERCISE 10.4c */
}

void
share_idle(struct share *s)
{
	s->deficit = 0;
}

uint64_t
share_until(const struct share *s, uint64_t len)
{
	/*
	 * EXERCISE 10.4d: how long
	 * Holds: the first ns at which its bucket has enough for such a frame; 0, if it has now, or
	 *  if nothing but its turn is missing.
	 * Beware: one ns too early is woken in vain, and asked again; one too late is less than its
	 *  rate.
	 * Manual: share.h.
	 * Tools: SECOND, SHARE_BURST
	 * Hint: from when on has the missing been on its way?
	 * Hint: 3 bytes a second, an empty bucket, and a frame of 14: at which ns has it 14?
	 * Hint: a bus comes each 7 minutes. Who needs the third one from now waits for whole
	 *  buses, and not from the minute at which he asks.
	 * until then: (void)s; (void)len; return 0;
	 */
	if (!s->rate || s->bytes >= len)
		return 0;
	return s->since + ((len - s->bytes) * SECOND + s->rate - 1) / s->rate;
	/* END EXERCISE 10.4d */
}
