/* BUILD: guest/dom0/bridge.c */
/*
 * dom0's bridge: who gets which frame, who may not send it, and ports that come and go.
 */
#include <string.h>

#include <guest/dom0/bridge.h>

#include "tap.h"

struct test_port {
	struct port port;
	unsigned got;
	size_t len;
};
static struct test_port a = { .port.mac = { 2, 0, 0, 0, 0, 1 } },
			b = { .port.mac = { 2, 0, 0, 0, 0, 2 } },
			c = { .port.mac = { 2, 0, 0, 0, 0, 3 } }, card = { .port.uplink = true },
			second = { .port.uplink = true };
static struct test_port *const all[] = { &a, &b, &c, &card, &second };
static const uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 },
		     group[6] = { 1, 0, 0x5e, 0, 0, 1 }, stranger[6] = { 2, 9, 9, 9, 9, 9 };

static void
count(struct port *p, const void *frame, size_t len)
{
	struct test_port *t = (struct test_port *)p;

	t->got++;
	t->len = len;
}

/* Who has got it, a letter each: from `from`, to this address, under that one. */
static const char *
sent(struct test_port *from, const uint8_t *to, const uint8_t *source, size_t len)
{
	static char who[8];
	uint8_t *frame = calloc(1, len ? len : 1);
	unsigned n = 0;

	if (len >= 12) {
		memcpy(frame, to, 6);
		memcpy(frame + 6, source, 6);
	}
	for (unsigned k = 0; k < 5; k++)
		all[k]->got = 0;
	bridge_receive(&from->port, frame, len);
	for (unsigned k = 0; k < 5; k++)
		for (unsigned times = all[k]->got; times; times--)
			who[n++] = "abcns"[k];
	who[n] = 0;
	free(frame);
	return who;
}

static void
is_str(const char *got, const char *want, const char *what)
{
	if (!ok(!strcmp(got, want), "%s", what))
		diag("got \"%s\", not \"%s\"", got, want);
}

static void
join_all(unsigned count_of)
{
	for (unsigned k = 0; k < count_of; k++) {
		all[k]->port.send = count;
		ok(bridge_join(&all[k]->port), "port %u joins", k);
	}
}

static void
hosts(void)
{
	join_all(3);
	is_str(sent(&a, b.port.mac, a.port.mac, 60), "b", "to one");
	is_str(sent(&a, everybody, a.port.mac, 60), "bc", "to all others");
	is_str(sent(&a, group, a.port.mac, 60), "bc", "to a group");
	is_str(sent(&a, a.port.mac, a.port.mac, 60), "", "to itself");
	is_str(sent(&a, stranger, a.port.mac, 60), "", "to a stranger, with no uplink");
	is_str(sent(&a, b.port.mac, c.port.mac, 60), "", "under somebody else's address");
	is_str(sent(&a, b.port.mac, stranger, 60), "", "under a stranger's");
	is_str(sent(&a, b.port.mac, everybody, 60), "", "under a group's");
	ok(a.port.refused == 3, "three were refused");
	is_str(sent(&a, b.port.mac, a.port.mac, 13), "", "too short");
	is_str(sent(&a, b.port.mac, a.port.mac, 0), "", "nothing");
	is_str(sent(&a, b.port.mac, a.port.mac, FRAME_MIN), "b", "the shortest");
	is_str(sent(&a, b.port.mac, a.port.mac, FRAME_MAX), "b", "the longest");
	ok(b.len == FRAME_MAX, "as long as it was");
	is_str(sent(&a, b.port.mac, a.port.mac, FRAME_MAX + 1), "", "too long");
}

static void
uplinks(void)
{
	struct test_port twin = b, grouped = b;

	for (unsigned k = 3; k < 5; k++) {
		all[k]->port.send = count;
		ok(bridge_join(&all[k]->port), "an uplink joins");
	}
	is_str(sent(&a, stranger, a.port.mac, 60), "ns", "strangers are behind the uplinks");
	is_str(sent(&a, b.port.mac, a.port.mac, 60), "b", "one who is here is not");
	is_str(sent(&a, everybody, a.port.mac, 60), "bcns", "all are there, too");
	is_str(sent(&card, a.port.mac, stranger, 60), "a", "from a stranger to one");
	is_str(sent(&card, everybody, stranger, 60), "abcs", "... and to all");
	is_str(sent(&card, stranger, stranger, 60), "s", "from one uplink to the other");
	is_str(sent(&card, a.port.mac, b.port.mac, 60), "", "nobody who is here sends from there");
	is_str(sent(&card, a.port.mac, everybody, 60), "", "nor does a group");
	ok(!bridge_join(&twin.port), "an address that another one has");
	grouped.port.mac[0] = 3;
	ok(!bridge_join(&grouped.port), "an address of many");
	bridge_leave(&twin.port);
	bridge_leave(&b.port);
	is_str(sent(&a, b.port.mac, a.port.mac, 60), "ns", "one that has left is a stranger");
	is_str(sent(&a, everybody, a.port.mac, 60), "cns", "... and gets nothing");
	ok(bridge_join(&twin.port), "and the address is free");
	bridge_leave(&twin.port);
	bridge_leave(&twin.port);
	for (unsigned k = 0; k < 5; k++)
		bridge_leave(&all[k]->port);
	is_str(sent(&a, everybody, a.port.mac, 60), "", "nobody is there");
}

int
main(void)
{
	hosts();
	uplinks();
	return done_testing();
}
