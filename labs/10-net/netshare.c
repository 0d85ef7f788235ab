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
	 */
	exercise_todo("10.4", "handouts/lab10b.md#ex-10-4");
	(void)most;
	s->since = now;
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
	 */
	exercise_todo("10.4", "handouts/lab10b.md#ex-10-4");
	(void)fill;
	(void)now;
	s->deficit = SHARE_TURN;
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
	 */
	exercise_todo("10.4", "handouts/lab10b.md#ex-10-4");
	(void)s;
	(void)len;
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
	 */
	exercise_todo("10.4", "handouts/lab10b.md#ex-10-4");
	(void)s;
	(void)len;
	return 0;
	/* END EXERCISE 10.4d */
}
