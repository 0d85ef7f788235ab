/*
 * A domain on a network: it pings, sends UDP, and answers both.
 *
 *   ip=10.0.2.7       its address, unless its card's back end says one
 *   ping=10.0.2.1     ... so many times, count=5, and as much by UDP to port 7, which returns it
 *   and=10.0.2.8      the same behind that
 *   lost-pings=100    ms for an answer, else 4 s: for who knows that none comes
 *   lost-datagrams=100
 *   blast=30          it sends so many of the longest frames to dom0, and says how long that took
 *   bench=10.0.2.8    what frames cost: bench.c
 *   whole             what it sends back is what has come, and not as many bytes of any kind
 *   serve             it goes on until it is asked to end: control/shutdown; each time that it
 *                     has been connected it says "ready> " to who has its console
 */
#include <guest/pv/drivers/tell.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/text.h>
#include <guest/pv/net/net.h>

int guest_main(const struct xen_start_info *info);

#define STACK 16384u
#define ECHO  7u
#define LOG   514u /* syslog: what is said there is shown */
#define TRIES 20u  /* until a neighbour is known */

static uint8_t stack_of_ours[STACK] __attribute__((aligned(16)));
struct xenbus bus;
struct refs refs;
struct netfront card;
struct net_memory memory;
struct inet stack;
static bool stopped, whole;
static unsigned asked; /* card.stores, when one was last asked to tell of that */

/* ---- the card ---- */

static void
send(struct inet *n, const void *frame, size_t len)
{
	uint8_t *page = net_page(&card);

	if (page) {
		memcpy(page, frame, len);
		net_send(&card, len);
	}
}

/* One that goes to nobody else. */
static bool
send_back(const uint8_t *frame, size_t len)
{
	uint8_t *page;

	if (len < 14 || get16(frame + 12) != ETH_LOOP || !(page = net_page(&card)))
		return false;
	if (whole)
		memcpy(page, frame, len);
	memcpy(page, frame + MAC_SIZE, MAC_SIZE);
	memcpy(page + MAC_SIZE, card.mac, MAC_SIZE);
	put16(page + 12, ETH_LOOP);
	net_send(&card, len);
	return true;
}

/* Whether there was something to do. */
static bool
look_for_end(void)
{
	if (asked != card.stores && !xenbus_watch(&bus, "control/shutdown", "end"))
		asked = card.stores;
	if (!xenbus_heard(&bus, "end"))
		return false;
	stopped |= !xenbus_read(&bus, 0, "control", "shutdown") && bus.len;
	return true;
}

void
serve(uint64_t until)
{
	const uint8_t *frame;
	bool any = false;
	size_t len;

	net_serve(&card);
	while ((frame = net_take(&card, &len))) {
		if (!send_back(frame, len))
			inet_receive(&stack, frame, len);
		any = true;
	}
	net_push(&card);
	any |= look_for_end();
	if (!any && !stopped)
		net_sleep(&card, until);
}

/* ---- what it asks ---- */

/* ns for an answer: only a lost one takes that long. */
static uint64_t
patience(bool ping)
{
	unsigned ms = ping ? pv_number("lost-pings=") : pv_number("lost-datagrams=");

	return (ms ? ms : 4000) * 1000000ul;
}

static uint8_t bytes[INET_BODY];
static uint16_t answered;  /* the last ping's number, from 1 on */
static size_t answer_len;  /* ... bytes */
static unsigned came_back; /* by UDP */

static void
pong(struct inet *n, uint32_t from, uint16_t id, uint16_t number, size_t len)
{
	answered = number;
	answer_len = len;
}

static void
from_echo(struct inet *n, uint32_t from, uint16_t from_port, const uint8_t *got, size_t len)
{
	came_back += from_port == ECHO && !memcmp(got, bytes, len);
	answer_len = len;
}

/* By ping, or by UDP; whether as many bytes have come back. */
static bool
ask(uint32_t to, bool ping, uint16_t number, size_t len)
{
	unsigned before = came_back, tries = 0;
	uint64_t until;
	int err;

	answered = 0;
	do {
		err = ping ? inet_ping(&stack, to, 1, number, len)
			   : inet_udp(&stack, to, 1000, ECHO, bytes, len);
		until = pv_now() + (err ? patience(ping) / TRIES : patience(ping));
		if (err)
			serve(until);
	} while (err == -EAGAIN && ++tries < TRIES);
	net_push(&card);
	while (!err && (ping ? answered != number : came_back == before) && pv_now() < until)
		serve(until);
	return (ping ? answered == number : came_back != before) && answer_len == len;
}

static void
ask_all(uint32_t to, unsigned count)
{
	unsigned pings = 0, datagrams = 0;
	char text[IP_TEXT];

	for (unsigned n = 0; n < count; n++) {
		size_t most =
			n ? INET_BODY - 8 : 0; /* the first one is the shortest, one the longest */
		size_t len = n == 1 ? most : draw(most + 1);

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)draw(256);
		pings += ask(to, true, (uint16_t)(n + 1), len);
		datagrams += ask(to, false, 0, len);
	}
	pv_printf("%s: of %u pings %u came back, and of %u datagrams %u\n", ip_text(to, text),
		  count, pings, count, datagrams);
}

static void
blast(unsigned count)
{
	static const uint8_t head[] = { 0, 0x16, 0x3e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5 };
	uint64_t from = pv_now();

	for (unsigned n = 0; n < count;) {
		uint8_t *page = net_page(&card);

		if (page) {
			memcpy(page, head, sizeof(head));
			memcpy(page + MAC_SIZE, card.mac, MAC_SIZE);
			n += !net_send(&card, NET_FRAME);
		} else if (net_push(&card), !net_sent_all(&card)) {
			net_sleep(&card, UINT64_MAX);
		}
	}
	net_push(&card);
	while (!net_sent_all(&card))
		net_sleep(&card, UINT64_MAX);
	pv_printf("%u frames in %lu ms\n", count, (pv_now() - from) / 1000000);
}

/* ---- what it answers ---- */

static void
echo(struct inet *n, uint32_t from, uint16_t from_port, const uint8_t *got, size_t len)
{
	if (from_port != ECHO)
		inet_udp(n, from, ECHO, from_port, got, len);
}

static void
show(struct inet *n, uint32_t from, uint16_t from_port, const uint8_t *got, size_t len)
{
	char text[IP_TEXT], line[80];
	size_t k;

	for (k = 0; k < len && k + 1 < sizeof(line); k++)
		line[k] = (char)(got[k] >= ' ' && got[k] <= '~' ? got[k] : '.');
	line[k] = 0;
	pv_printf("%s says: %s\n", ip_text(from, text), line);
}

/* ---- from its begin to its end ---- */

uint32_t
word_ip(const char *name)
{
	char text[IP_TEXT];
	uint32_t ip;

	for (const char *at = pv_info->cmd_line; *at; at++) {
		size_t len = strlen(name), k = 0;

		while (len && k < len && at[k] == name[k])
			k++;
		if (k < len || (at > (const char *)pv_info->cmd_line && at[-1] != ' '))
			continue;
		for (k = 0; k + 1 < sizeof(text) && at[len + k] && at[len + k] != ' '; k++)
			text[k] = at[len + k];
		text[k] = 0;
		return ip_parse(text, &ip) ? ip : 0;
	}
	return 0;
}

void
begin_stack(void)
{
	bool said = !xenbus_read(&bus, 0, card.dev.there, "ip") && ip_parse(bus.answer, &stack.ip);

	memcpy(stack.mac, card.mac, MAC_SIZE);
	if (!said)
		stack.ip = word_ip("ip=");
	stack.mask = INET_IP(255, 255, 255, 0);
	stack.send = send;
	stack.pong = pong;
	inet_listen(&stack, ECHO, echo);
	inet_listen(&stack, LOG, show);
	inet_listen(&stack, 1000, from_echo);
}

static void
use(void)
{
	unsigned count = pv_number("count=") ? pv_number("count=") : 5, said = 0;

	if (word_ip("ping="))
		ask_all(word_ip("ping="), count);
	if (word_ip("and="))
		ask_all(word_ip("and="), count);
	if (pv_number("blast="))
		blast(pv_number("blast="));
	if (word_ip("bench=")) {
		uint8_t mac[MAC_SIZE];

		ask(word_ip("bench="), true, 1, 0);
		if (!arp_find(&stack, word_ip("bench="), mac))
			bench(mac);
	}
	while (has_word("serve") && !stopped) {
		serve(UINT64_MAX);
		if (said < card.times) {
			said = card.times;
			tell("ready> ");
		}
	}
}

static void
begin(void)
{
	char mac[MAC_TEXT], ip[IP_TEXT];
	int err;

	for (unsigned n = pv_number("seed="); n; n--)
		draw(2);
	check(!pv_grants_init(), "a grant table", 0);
	check(xenbus_begin(&bus), "a store", 0);
	refs_begin(&refs);
	err = net_begin(&card, &bus, &refs, &memory, NULL);
	if (!err && (has_word("harm=") || has_word("die=")))
		harm();
	if (!err)
		err = net_connect(&card);
	if (err) {
		pv_printf("no card: error %d\n", -err);
		pv_exit(1);
	}
	begin_stack();
	whole = has_word("whole");
	pv_printf("vif %s: 4/4, %s is %s\n", card.dev.token, mac_text(card.mac, mac),
		  ip_text(stack.ip, ip));
	use();
	net_end(&card);
	check(refs.free == PV_GRANTS - REFS_FIRST, "all grants have come back", refs.free);
	check(!card.lies, "the other end kept the rules", 0);
	pv_printf("%u wrong; the end\n", wrong);
	pv_exit(wrong != 0);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_events_init();
	pv_return(begin, (uint64_t)stack_of_ours + STACK - 8);
}
