/* BUILD: guest/dom0/link.c guest/pv/drivers/crc.c */
/*
 * Pages that go from one Zeno to another: over a cable that loses, doubles, delays and alters
 * frames, that breaks, and on which somebody lies.
 */
#include <stdlib.h>
#include <string.h>

#include <guest/dom0/link.h>
#include <guest/pv/drivers/crc.h>

#include "draw.h"
#include "tap.h"

#define PAGES   300u
#define PAGE    4096u
#define WAITING 64u
#define MS      1000000ul

static struct link here, there;
static struct link_frame queue[LINK_QUEUE];
static uint8_t from[PAGES][PAGE], to[PAGES][PAGE];
static uint64_t now, taken;
static bool full;

/* What is on the cable: whose it is, and its bytes. */
static struct waiting {
	struct link *for_whom;
	size_t len;
	uint8_t bytes[sizeof(struct link_frame)];
} waiting[WAITING];
static unsigned count, loss, cut; /* frames in 256 to which something happens; which way is cut */

static void
on_cable(struct link *for_whom, const void *frame, size_t len, unsigned way)
{
	struct waiting *w = &waiting[count];

	if (count == WAITING || cut & way || draw(256) < loss)
		return;
	count++;
	w->for_whom = for_whom;
	w->len = len;
	memcpy(w->bytes, frame, len);
	if (draw(256) < loss)
		w->bytes[draw((uint32_t)len)] ^= (uint8_t)(1u << draw(8));
	if (draw(256) < loss)
		on_cable(for_whom, frame, len, way);
}

static void
go_there(const void *frame, size_t len)
{
	on_cable(&there, frame, len, 1);
}

static void
come_back(const void *frame, size_t len)
{
	on_cable(&here, frame, len, 2);
}

static const char *
make(uint64_t pages)
{
	return pages > PAGES ? "it is too large" : NULL;
}

static uint8_t *
page(uint64_t at)
{
	taken++;
	return full ? NULL : to[at];
}

static void
begin(unsigned lost)
{
	static const uint8_t a[6] = { 2, 0, 0, 0, 0, 1 }, b[6] = { 2, 0, 0, 0, 0, 2 };

	memset(&here, 0, sizeof(here));
	memset(&there, 0, sizeof(there));
	memset(to, 0, sizeof(to));
	here.queue = queue;
	here.send = go_there;
	there.send = come_back;
	there.make = make;
	there.page = page;
	memcpy(here.mine, a, 6);
	memcpy(here.peer, b, 6);
	memcpy(there.mine, b, 6);
	memcpy(there.peer, a, 6);
	loss = lost;
	cut = 0;
	full = false;
	count = 0;
	for (unsigned n = 0; n < sizeof(from); n++)
		((uint8_t *)from)[n] = (uint8_t)draw(256);
	link_listen(&there, now);
	link_open(&here, draw(1u << 31), PAGES, now);
}

/* A millisecond: some frames arrive, not always the oldest ones. */
static void
pass(void)
{
	unsigned some = draw(20);

	now += MS;
	link_serve(&here, now);
	link_serve(&there, now);
	while (count && some--) {
		unsigned n = draw(256) < loss ? draw(count) : 0;
		struct waiting w = waiting[n];

		memmove(&waiting[n], &waiting[n + 1], (--count - n) * sizeof(w));
		link_hears(w.for_whom, w.bytes, w.len, now);
	}
}

/* Up to a state of who sends, or this much time. */
static bool
until(enum link_state state, unsigned ms)
{
	for (; here.state != state && ms; ms--)
		pass();
	return here.state == state;
}

/* All pages, the first once more at the end, as `save` does; and DONE. */
static void
send_all(void)
{
	for (unsigned n = 0; n <= PAGES; n++) {
		for (unsigned ms = 60000; link_room(&here) < 2 && ms && here.state <= LINK_TAKES;
		     ms--)
			pass();
		if (here.state > LINK_TAKES)
			return;
		link_put(&here, n % PAGES, from[n % PAGES]);
	}
	link_done(&here);
	for (unsigned ms = 60000; there.state == LINK_TAKES && here.state <= LINK_TAKES && ms; ms--)
		pass();
}

static void
arrives(void)
{
	for (unsigned lost = 0; lost < 100; lost += 11) {
		bool early;

		begin(lost);
		send_all();
		early = here.state == LINK_READY;
		ok(there.state == LINK_WHOLE && !early && !memcmp(from, to, sizeof(to)),
		   "all pages arrive where %u frames of 256 don't, or are others", lost);
		link_ready(&there);
		ok(until(LINK_READY, 4000) && there.state == LINK_READY, "who sends is told so");
		link_run(&here);
		ok(until(LINK_RUNS, 4000) && there.state == LINK_RUNS, "... and lets go");
	}
}

static void
refuses(void)
{
	begin(0);
	link_open(&here, 7, PAGES + 1, now);
	ok(until(LINK_REFUSED, 100) && !strcmp(here.text, "it is too large"),
	   "there is no room for so many");
	begin(20);
	full = true;
	send_all();
	ok(until(LINK_REFUSED, 4000) && !strcmp(here.text, "there is no memory for it"),
	   "there is no memory for a page");
	begin(20);
	send_all();
	link_refuse(&there, "its name is \x1b taken");
	ok(until(LINK_REFUSED, 4000) && !strcmp(here.text, "its name is . taken"),
	   "what has arrived is refused, in words that a terminal does not obey");
}

static void
breaks(void)
{
	for (unsigned way = 1; way < 4; way++) {
		begin(0);
		for (unsigned n = 0; n < 40; n++)
			pass();
		cut = way;
		send_all();
		for (unsigned n = 0; n < 6000; n++)
			pass();
		ok(here.state == LINK_SILENCE && there.state != LINK_READY &&
			   there.state != LINK_RUNS,
		   "it breaks (%u): who sends knows, and has all still", way);
	}
	begin(0);
	send_all();
	cut = 2;
	link_ready(&there);
	for (unsigned n = 0; n < 6000; n++)
		pass();
	ok(here.state == LINK_SILENCE && there.state == LINK_READY,
	   "it breaks before `ready`: who takes does nothing");
	begin(0);
	send_all();
	link_ready(&there);
	until(LINK_READY, 100);
	cut = 3;
	link_run(&here);
	for (unsigned n = 0; n < 6000; n++)
		pass();
	ok(here.state == LINK_SILENCE && there.state == LINK_SILENCE,
	   "it breaks behind `ready`: both know");
}

/* A frame with a right sum, and any numbers; near those that are right, half of the time. */
static void
lie(struct link *to_whom)
{
	static struct link_frame f;
	const uint8_t type[2] = { LINK_TYPE >> 8, LINK_TYPE & 0xff };
	uint32_t near = to_whom == &here ? here.answered + (uint32_t)draw(30) : there.made;
	bool long_one;

	memset(&f, 0x1b, sizeof(f));
	memcpy(f.from, to_whom->peer, sizeof(f.from));
	memcpy(f.type, type, sizeof(f.type));
	f.kind = (uint16_t)draw(6);
	f.magic = queue[0].magic;
	f.session = draw(4) ? here.session : (uint32_t)drawn();
	f.number = draw(2) ? near : (uint32_t)drawn();
	f.at = draw(2) ? draw(PAGES) : drawn();
	f.part = draw(2) ? (uint32_t)draw(10) : (uint32_t)drawn();
	f.crc = 0;
	long_one = f.kind == 1 || (f.kind == 4 && f.part == LINK_REFUSED);
	f.crc = crc32(0, (uint8_t *)&f, long_one ? sizeof(f) : offsetof(struct link_frame, bytes));
	link_hears(to_whom, &f, sizeof(f), now);
}

static void
lies(void)
{
	unsigned good = 0;

	for (unsigned round = 0; round < 200; round++) {
		begin(0);
		for (unsigned n = 0; n < 60; n++) {
			if (link_room(&here) > 1)
				link_put(&here, n, from[n]);
			lie(draw(2) ? &there : &here);
			pass();
		}
		good += here.state != LINK_RUNS && here.state != LINK_READY;
	}
	ok(good == 200, "nobody makes who sends let go before it has said that it is done");
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t bytes[sizeof(struct link_frame)];
		size_t len = draw(sizeof(bytes) + 1);
		uint8_t *exact = malloc(len + 1);

		for (size_t n = 0; n < len; n++)
			exact[n] = (uint8_t)draw(256);
		link_hears(draw(2) ? &there : &here, exact, len, now);
		free(exact);
	}
	ok(true, "and 20,000 frames of any bytes and lengths are none");
}

int
main(void)
{
	arrives();
	refuses();
	breaks();
	lies();
	return done_testing();
}
