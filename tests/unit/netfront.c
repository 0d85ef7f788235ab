/*
 * BUILD: solutions/10-net/netfront.c guest/pv/drivers/netlink.c guest/pv/drivers/refs.c
 * guest/pv/drivers/address.c solutions/9-block/states.c solutions/9-block/ring.c
 * guest/pv/drivers/words.c
 */
/*
 * The front end of a network card (guest/pv/drivers/netfront.h) with a back end that sends each
 * frame back, and with one that lies: what is taken lies in a page that nobody else has any more,
 * one that lies is not asked again, and all grants come back but those that it keeps.
 */
#include <string.h>

#include <guest/pv/drivers/netfront.h>

#include "draw.h"
#include "tap.h"

/* ---- the guest around it, and the store ---- */

static struct xen_start_info info;
const struct xen_start_info *pv_info = &info;
static struct xenbus bus;
static struct refs refs;
static struct netfront front;
static struct net_memory memory;
static const uint8_t *granted[PV_GRANTS]; /* pages; NULL: none */
static bool held[PV_GRANTS];              /* the back end has it mapped, and keeps it */
static bool readonly[PV_GRANTS];
static unsigned grants;
static struct xen_grant_entry table[PV_GRANTS]; /* no card moves a grant to somebody else */
volatile struct xen_grant_entry *const pv_grants = table;
static enum xen_xenbus_state states[2]; /* the front end's, and the back end's */
static bool news;                       /* the store has something to say */
static unsigned bad;

void
pv_grant(uint32_t ref, uint16_t to, const void *va, bool ro)
{
	bad += granted[ref] != NULL || to != 5 || (uint64_t)va % NET_PAGE;
	granted[ref] = va;
	readonly[ref] = ro;
	grants++;
}

bool
pv_revoke(uint32_t ref)
{
	bad += !granted[ref];
	if (held[ref])
		return false;
	granted[ref] = NULL;
	grants--;
	return true;
}

int64_t
pv_event_op(enum xen_evtchnop op, void *arg)
{
	if (op == XEN_EVTCHNOP_alloc_unbound)
		((struct xen_evtchn_alloc_unbound *)arg)->port = 3;
	return 0;
}

int64_t
pv_send(uint32_t port)
{
	return 0;
}

uint64_t
pv_now(void)
{
	return 0;
}

int
xenbus_read(struct xenbus *x, uint32_t tx, const char *dir, const char *key)
{
	strcpy(x->answer, "00:16:3e:01:02:03");
	return 0;
}

int
xenbus_watch(struct xenbus *x, const char *path, const char *token)
{
	return -1;
}

bool
xenbus_heard(struct xenbus *x, const char *token)
{
	bool heard = news;

	news = false;
	return heard;
}

int
device_begin(struct device *d, struct xenbus *x, const char *kind, const char *name)
{
	*d = (struct device){ .bus = x, .there = "there", .here = "here", .peer = 5 };
	return 0;
}

void
device_end(struct device *d)
{
}

enum xen_xenbus_state
device_state(struct device *d, const char *dir)
{
	return states[!strcmp(dir, "there")];
}

void
device_show(struct device *d, enum xen_xenbus_state state)
{
	states[0] = state;
}

int
device_publish(struct device *d, const struct device_says *what, unsigned count)
{
	return 0;
}

/* ---- the back end ---- */

static struct ring_back tx, rx;
static struct xen_netif_tx_request sent[NET_SENT]; /* that it has not answered */
static unsigned sents;

/* Shakes hands; what goes over the rings is each test's affair. */
void
pv_wait(const uint32_t *ports, unsigned count, uint64_t until)
{
	news = true;
	if (states[0] == XEN_XENBUS_Unknown || states[0] == XEN_XENBUS_Initialising) {
		states[1] = XEN_XENBUS_InitWait;
	} else if (states[0] == XEN_XENBUS_Connected && states[1] == XEN_XENBUS_InitWait) {
		tx = (struct ring_back){ .shared = &memory.tx.ring, .size = XEN_NETIF_RING };
		rx = (struct ring_back){ .shared = &memory.rx.ring, .size = XEN_NETIF_RING };
		sents = 0;
		states[1] = XEN_XENBUS_Connected;
	} else if (states[0] == XEN_XENBUS_Closing) {
		states[1] = XEN_XENBUS_Closed;
	}
}

/* It has no page that was not sent, and writes to none of these. */
static void
take_requests(void)
{
	while (ring_requests(&tx)) {
		struct xen_netif_tx_request r =
			memory.tx.entry[tx.req_cons++ % XEN_NETIF_RING].request;

		bad += sents == NET_SENT || !granted[r.gref] || !readonly[r.gref] || r.flags ||
		       r.offset + r.size > (int)NET_PAGE;
		sent[sents++ % NET_SENT] = r;
	}
}

static void
answer_sent(uint16_t id, enum xen_netif_rsp status)
{
	memory.tx.entry[tx.rsp_prod++ % XEN_NETIF_RING].response =
		(struct xen_netif_tx_response){ .id = id, .status = (int16_t)status };
}

/* The place that is next, and its answer there. */
static struct xen_netif_rx_request
next_room(void)
{
	struct xen_netif_rx_request r = memory.rx.entry[rx.rsp_prod % XEN_NETIF_RING].request;

	bad += !granted[r.gref] || readonly[r.gref];
	return r;
}

static void
answer_room(struct xen_netif_rx_response r)
{
	memory.rx.entry[rx.rsp_prod++ % XEN_NETIF_RING].response = r;
}

static void
push(void)
{
	ring_push_responses(&tx);
	ring_push_responses(&rx);
}

static void
begin(void)
{
	memset(states, 0, sizeof(states));
	memset(granted, 0, sizeof(granted));
	memset(held, 0, sizeof(held));
	grants = bad = 0;
	refs_begin(&refs);
	bad += net_begin(&front, &bus, &refs, &memory, NULL) != 0;
	bad += net_connect(&front) != 0 || front.mac[5] != 3;
}

/* Whether this page is one that somebody else may still use. */
static bool
is_granted(const uint8_t *at)
{
	for (unsigned ref = 0; ref < PV_GRANTS; ref++)
		if (granted[ref] && at >= granted[ref] && at < granted[ref] + NET_PAGE)
			return true;
	return false;
}

/* ---- with one that keeps the rules ---- */

/* One of those that were sent, by its first byte and its length, comes where there is room. */
static void
send_back(uint8_t *first, uint16_t *len, unsigned n)
{
	unsigned k = (unsigned)draw(sents);
	struct xen_netif_tx_request s = sent[k];
	struct xen_netif_rx_request r = next_room();
	uint16_t offset = (uint16_t)draw(NET_PAGE - s.size + 1);

	sent[k] = sent[--sents];
	memcpy((uint8_t *)granted[r.gref] + offset, granted[s.gref], s.size);
	first[n] = *granted[s.gref];
	len[n] = s.size;
	answer_room((struct xen_netif_rx_response){
		.id = r.id, .offset = offset, .status = (int16_t)s.size });
	answer_sent(s.id, draw(4) ? XEN_NETIF_RSP_OKAY : XEN_NETIF_RSP_DROPPED);
}

/* Each is sent once and comes once, in the order in which the back end has sent it back. */
static void
fair(void)
{
	static uint8_t first[NET_ROOM];
	static uint16_t len[NET_ROOM];
	uint64_t went = 0, came = 0;

	begin();
	for (unsigned round = 0; round < 3000; round++) {
		unsigned count = 0;

		for (unsigned n = (unsigned)draw(40); n; n--) {
			uint8_t *page = net_page(&front);

			if (!page)
				break;
			bad += is_granted(page);
			page[0] = (uint8_t)drawn();
			bad += net_send(&front, 60 + draw(NET_FRAME - 59)) != 0;
			went++;
		}
		net_push(&front);
		take_requests();
		while (sents && draw(8) && ring_requests(&rx) > count)
			send_back(first, len, count++);
		rx.req_cons += count;
		push();
		for (unsigned n = 0; n < count; n++) {
			size_t got;
			const uint8_t *frame = net_take(&front, &got);

			bad += !frame || got != len[n] || *frame != first[n] || is_granted(frame);
			came++;
		}
	}
	ok(!bad && !front.lies && went == front.sent && came == front.got && came + sents == went,
	   "frames go and come, each once, by pages that the other end does not have then");
	ok(front.failed && went > 10000, "... of %lu frames; what it could not send is counted",
	   (unsigned long)went);
	net_end(&front);
	ok(refs.free == PV_GRANTS - REFS_FIRST && !grants && !bad, "... and all grants come back");
}

/* ---- with one that lies ---- */

struct lie {
	const char *name;
	void (*tell)(void);                /* NULL: there is room, and what stands in its place */
	struct xen_netif_rx_response says; /* its id: how far from the right one */
};

static void
stranger(void)
{
	answer_sent(NET_SENT, XEN_NETIF_RSP_OKAY);
}

static void
far(void)
{
	answer_sent(UINT16_MAX, XEN_NETIF_RSP_OKAY);
}

static void
nobody(void)
{
	answer_sent((uint16_t)(sent[0].id + 7), XEN_NETIF_RSP_OKAY);
}

static void
twice(void)
{
	answer_sent(sent[0].id, XEN_NETIF_RSP_OKAY);
	answer_sent(sent[0].id, XEN_NETIF_RSP_OKAY);
}

static void
keeps(void)
{
	held[sent[0].gref] = true;
	answer_sent(sent[0].id, XEN_NETIF_RSP_OKAY);
}

static void
jump(void)
{
	tx.rsp_prod = tx.req_cons + 1;
}

static void
far_jump(void)
{
	tx.rsp_prod += 0x80000000u;
}

/* What stands in the next place of the other ring. */
static void
room(struct xen_netif_rx_response r)
{
	r.id = (uint16_t)(r.id + next_room().id);
	answer_room(r);
}

static void
keeps_room(void)
{
	held[next_room().gref] = true;
	room((struct xen_netif_rx_response){ .status = 60 });
}

static void
more_room(void)
{
	rx.rsp_prod += NET_ROOM + 1;
}

static const struct lie lies[] = {
	{ "an answer to a frame that it has no place for", .tell = stranger },
	{ "... far from any", .tell = far },
	{ "an answer to a frame that was not sent", .tell = nobody },
	{ "two answers to one frame", .tell = twice },
	{ "a frame that was sent, whose page it keeps", .tell = keeps },
	{ "more answers than frames", .tell = jump },
	{ "... by half of all there are", .tell = far_jump },
	{ "a frame in another one's place", .says = { .id = 1, .status = 60 } },
	{ "a frame longer than a page", .says = { .status = NET_PAGE + 1 } },
	{ "a frame outside of its page", .says = { .offset = UINT16_MAX, .status = 1 } },
	{ "a frame that goes over its page's end",
	  .says = { .offset = NET_PAGE - 59, .status = 60 } },
	{ "a frame in pieces, which nobody asked for",
	  .says = { .flags = XEN_NETRXF_more_data, .status = 60 } },
	{ "... with extras", .says = { .flags = XEN_NETRXF_extra_info, .status = 60 } },
	{ "... without its checksum", .says = { .flags = XEN_NETRXF_csum_blank, .status = 60 } },
	{ "a frame in a page that it keeps", .tell = keeps_room },
	{ "more frames than there is room for", .tell = more_room },
};

static void
one_lie(const struct lie *lie)
{
	uint8_t *page;
	size_t len;
	unsigned kept = 0;

	begin();
	for (unsigned n = 0; n < 3; n++) {
		bad += !net_page(&front);
		bad += net_send(&front, 100) != 0;
	}
	net_push(&front);
	take_requests();
	if (lie->tell)
		lie->tell();
	else
		room(lie->says);
	push();
	bad += net_take(&front, &len) != NULL;
	net_sent_all(&front);
	page = net_page(&front);
	ok(!bad && front.lies && !page && net_send(&front, 60) == -ENODEV &&
		   !net_take(&front, &len),
	   "%s: it is not asked any more", lie->name);
	states[1] = XEN_XENBUS_Initialising; /* another one, in its place */
	news = true;
	bad += net_connect(&front) != 0 || front.lies != (lie->tell == keeps_room);
	net_end(&front);
	for (unsigned ref = 0; ref < PV_GRANTS; ref++)
		kept += held[ref];
	ok(!bad && grants == kept && refs.free == PV_GRANTS - REFS_FIRST - kept,
	   "... and all grants come back, but for %u that it keeps", kept);
}

/* What says that it could not be done, or that it is empty, is no lie; what follows is a frame. */
static void
no_lie(void)
{
	const uint8_t *frame;
	size_t len = 0;

	begin();
	room((struct xen_netif_rx_response){ .status = XEN_NETIF_RSP_ERROR });
	room((struct xen_netif_rx_response){ .offset = UINT16_MAX,
					     .status = XEN_NETIF_RSP_DROPPED });
	room((struct xen_netif_rx_response){ .status = 0 });
	room((struct xen_netif_rx_response){ .offset = 4000, .status = 96 });
	push();
	frame = net_take(&front, &len);
	ok(frame == memory.room[3] + 4000 && len == 96 && front.got == 1 && !front.lies && !bad,
	   "a place that it could not use is no frame, and no lie");
}

/* All that it can write, at any time: rings, entries, what it keeps. No frame leaves its page. */
static void
garbage(void)
{
	unsigned frames = 0, taken = 0, begun = 0;

	for (unsigned round = 0; round < 4000; round++) {
		const uint8_t *frame;
		size_t len;

		if (!round || front.lies) {
			begin();
			begun++;
		}
		for (unsigned n = 0; n < 4 && net_page(&front); n++)
			frames += !net_send(&front, 1 + draw(NET_FRAME));
		net_push(&front);
		for (unsigned n = (unsigned)draw(4); n; n--) {
			unsigned at = (unsigned)(rx.rsp_prod + draw(4)) % NET_ROOM;

			memory.tx.entry[at].response = (struct xen_netif_tx_response){
				.id = (uint16_t)draw(draw(2) ? NET_SENT : 65536)
			};
			memory.rx.entry[at].response = (struct xen_netif_rx_response){
				.id = (uint16_t)(draw(9) ? at : draw(65536)),
				.offset = (uint16_t)draw(draw(2) ? 100 : 65536),
				.flags = (uint16_t)(draw(9) ? 0 : draw(16)),
				.status = (int16_t)(draw(3) ? draw(1500) : drawn())
			};
		}
		rx.rsp_prod += (uint32_t)(draw(40) ? draw(4) : drawn());
		memory.rx.ring.rsp_prod = rx.rsp_prod;
		memory.tx.ring.rsp_prod += (uint32_t)(draw(40) ? draw(9) == 0 : drawn());
		while ((frame = net_take(&front, &len))) {
			uint64_t at = (uint64_t)(frame - memory.room[0]);

			bad += frame < memory.room[0] || at / NET_PAGE >= NET_ROOM ||
			       at % NET_PAGE + len > NET_PAGE || is_granted(frame);
			taken++;
		}
		bad += grants != PV_GRANTS - REFS_FIRST - refs.free;
	}
	ok(!bad && begun > 100 && frames > 1000 && taken > 100,
	   "whatever it writes: %u frames that are taken lie in pages of our own, over %u back ends",
	   taken, begun);
}

int
main(void)
{
	fair();
	for (const struct lie *lie = lies; lie < lies + sizeof(lies) / sizeof(lies[0]); lie++)
		one_lie(lie);
	no_lie();
	garbage();
	return done_testing();
}
