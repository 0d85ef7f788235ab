/* BUILD: solutions/9-block/states.c */
/*
 * The handshake (guest/pv/drivers/states.h) of two ends, from all states, whoever is first at any
 * time: it comes to 4/4 and stays there, or stands still for a reason. Either end may be another
 * one at any time, which begins anew.
 */
#include <string.h>

#include <guest/pv/drivers/states.h>

#include "tap.h"

#define STATES 7u /* up to Closed */

/* Where both are in the end, if nobody has said that he wants to part; by whoever has his turn. */
static bool seen[STATES][STATES];
static unsigned ends[STATES][STATES];

static void
play(enum xen_xenbus_state front, enum xen_xenbus_state back)
{
	enum step f = state_step(FRONT, front, back), b = state_step(BACK, back, front);

	if (seen[front][back])
		return;
	seen[front][back] = true;
	if (f == STEP_WAIT && b == STEP_WAIT)
		ends[front][back]++;
	if (f != STEP_WAIT)
		play(state_after(FRONT, f, front), back);
	if (b != STEP_WAIT)
		play(front, state_after(BACK, b, back));
}

/* From there; how many ends there are, and whether 4/4 is one of them. */
static unsigned
ends_of(enum xen_xenbus_state front, enum xen_xenbus_state back, bool *connected)
{
	unsigned count = 0;

	memset(seen, 0, sizeof(seen));
	memset(ends, 0, sizeof(ends));
	play(front, back);
	for (unsigned f = 0; f < STATES; f++)
		for (unsigned b = 0; b < STATES; b++)
			count += ends[f][b] != 0;
	*connected = ends[XEN_XENBUS_Connected][XEN_XENBUS_Connected];
	return count;
}

static void
comes_together(void)
{
	bool connected;
	unsigned count = ends_of(XEN_XENBUS_Initialising, XEN_XENBUS_Initialising, &connected);

	ok(count == 1 && connected, "from 1/1 there is one end, 4/4");
	for (unsigned other = 1; other < STATES; other++) {
		count = ends_of(XEN_XENBUS_Initialising, (enum xen_xenbus_state)other, &connected);
		ok(count == 1 && connected, "a front end that begins anew, at %u, comes to 4/4",
		   other);
		count = ends_of((enum xen_xenbus_state)other, XEN_XENBUS_Initialising, &connected);
		ok(count == 1 && connected == (other != XEN_XENBUS_Closing),
		   "a back end that begins anew, at %u, comes to %s", other,
		   other == XEN_XENBUS_Closing ? "an end" : "4/4");
	}
}

static void
parts(void)
{
	bool connected;
	unsigned count;

	count = ends_of(XEN_XENBUS_Closing, XEN_XENBUS_Connected, &connected);
	ok(count == 1 && ends[XEN_XENBUS_Closed][XEN_XENBUS_Closed], "a front end parts: 6/6");
	count = ends_of(XEN_XENBUS_Connected, XEN_XENBUS_Closing, &connected);
	ok(count == 1 && ends[XEN_XENBUS_Closed][XEN_XENBUS_Closed], "a back end parts: 6/6");
	ok(state_step(BACK, XEN_XENBUS_Closing, XEN_XENBUS_Connected) == STEP_WAIT,
	   "... and keeps the ring while its front end is at it");
	ok(state_step(FRONT, XEN_XENBUS_Connected, XEN_XENBUS_Unknown) == STEP_CLOSE &&
		   state_step(BACK, XEN_XENBUS_Connected, XEN_XENBUS_Unknown) == STEP_CLOSE,
	   "who has gone is let go of");
}

/* What it does there by itself, and what would be too early. */
static void
order(void)
{
	unsigned bad = 0;

	for (unsigned other = 0; other < 9; other++) {
		enum xen_xenbus_state o = (enum xen_xenbus_state)other;

		bad += (state_step(FRONT, XEN_XENBUS_Initialising, o) == STEP_PUBLISH) !=
		       (o == XEN_XENBUS_InitWait);
		bad += (state_step(FRONT, XEN_XENBUS_Initialised, o) == STEP_CONNECT) !=
		       (o == XEN_XENBUS_Connected);
		bad += (state_step(BACK, XEN_XENBUS_InitWait, o) == STEP_CONNECT) !=
		       (o == XEN_XENBUS_Initialised);
		bad += state_step(BACK, XEN_XENBUS_Initialising, o) != STEP_BEGIN;
	}
	is_u64(bad, 0, "nobody takes what the other one has not published");
}

int
main(void)
{
	comes_together();
	parts();
	order();
	return done_testing();
}
