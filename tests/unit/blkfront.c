/* BUILD: guest/pv/drivers/blkfront.c solutions/9-block/blkask.c guest/pv/drivers/refs.c
 * solutions/9-block/states.c solutions/9-block/ring.c guest/pv/drivers/words.c */
/*
 * The front end of a disk (guest/pv/drivers/blkfront.h) with a back end that answers in any order,
 * and with one that lies: what was asked is answered once, what was not answers nothing, and all
 * grants come back.
 */
#include <string.h>

#include <guest/pv/drivers/blkfront.h>

#include "draw.h"
#include "tap.h"

/* ---- the guest around it, and the store ---- */

static struct xen_start_info info;
const struct xen_start_info *pv_info = &info;
static struct xenbus bus;
static struct refs refs;
static struct blkfront front;
static struct xen_blkif_page page __attribute__((aligned(4096)));
static uint8_t buffer[12 * 4096] __attribute__((aligned(4096)));
static struct xen_grant_entry table[PV_GRANTS];
volatile struct xen_grant_entry *const pv_grants = table;
static const char *other_end = "there"; /* what the store has as `backend` */
static uint64_t other_domain;
static uint64_t states[2]; /* the front end's, and the back end's */
static unsigned bad;

void
pv_grant(uint32_t ref, uint16_t to, const void *va, bool readonly)
{
	bad += table[ref].flags != 0;
	table[ref] = (struct xen_grant_entry){ .flags = XEN_GTF_permit_access, .domid = to };
}

bool
pv_revoke(uint32_t ref)
{
	bad += !table[ref].flags;
	table[ref].flags = 0;
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

static uint64_t now;
uint64_t
pv_now(void)
{
	return now;
}

int
xenbus_read(struct xenbus *x, uint32_t tx, const char *dir, const char *key)
{
	strcpy(x->answer, other_end);
	return 0;
}

int
xenbus_list(struct xenbus *x, const char *dir)
{
	strcpy(x->answer, "51712");
	return 0;
}

int
xenbus_read_number(struct xenbus *x, uint32_t tx, const char *dir, const char *key,
		   uint64_t *number)
{
	*number = !strcmp(key, "state")        ? states[!strcmp(dir, other_end)]
		  : !strcmp(key, "backend-id") ? other_domain
					       : 1000;
	return 0;
}

int
xenbus_write_number(struct xenbus *x, uint32_t tx, const char *dir, const char *key,
		    uint64_t number)
{
	if (!strcmp(key, "state"))
		states[0] = number;
	return 0;
}

int
xenbus_write(struct xenbus *x, uint32_t tx, const char *dir, const char *key, const char *value)
{
	return 0;
}

int
xenbus_start(struct xenbus *x, uint32_t *tx)
{
	return 0;
}

int
xenbus_end(struct xenbus *x, uint32_t tx, bool commit)
{
	return 0;
}

int
xenbus_watch(struct xenbus *x, const char *path, const char *token)
{
	return 0;
}

int
xenbus_unwatch(struct xenbus *x, const char *path, const char *token)
{
	return 0;
}

bool
xenbus_heard(struct xenbus *x, const char *token)
{
	return true;
}

/* ---- the back end ---- */

static struct ring_back back;
static struct xen_blkif_request held[XEN_BLKIF_RING];
static unsigned holds, asked_refs;
static uint16_t asked_of[64]; /* whose each grant was that another domain was shown */
static enum { FAIR, STRANGER, AGAIN, JUMP, SILENT } way;

static void
answer(uint64_t id)
{
	page.entry[back.rsp_prod++ % XEN_BLKIF_RING].response =
		(struct xen_blkif_response){ .id = id, .status = 0 };
	ring_push_responses(&back);
}

/* The front end sleeps: then this one has its turn, and answers one of those that it holds. */
void
pv_wait(const uint32_t *ports, unsigned count, uint64_t until)
{
	if (way == SILENT) { /* nobody is there: for longer than it has patience */
		now += 2000000000;
		way = FAIR;
		states[1] = XEN_XENBUS_Unknown;
		states[0] = XEN_XENBUS_Initialising;
		other_end = "elsewhere";
		other_domain = 7;
		return;
	}
	if (states[0] == XEN_XENBUS_Unknown || states[0] == XEN_XENBUS_Initialising) {
		states[1] = XEN_XENBUS_InitWait;
		return;
	}
	if (states[0] == XEN_XENBUS_Initialised) {
		back = (struct ring_back){ .shared = &page.ring, .size = XEN_BLKIF_RING };
		states[1] = XEN_XENBUS_Connected;
		return;
	}
	if (states[0] == XEN_XENBUS_Closing) {
		states[1] = XEN_XENBUS_Closed;
		return;
	}
	while (ring_requests(&back)) {
		const struct xen_blkif_request *r = &held[holds];

		held[holds++] = page.entry[back.req_cons++ % XEN_BLKIF_RING].request;
		for (unsigned n = 0; other_domain && n < r->nr_segments; n++)
			asked_of[asked_refs++] = table[r->seg[n].gref].domid;
	}
	if (way == JUMP) {
		page.ring.rsp_prod += 33;
	} else if (holds) {
		unsigned n = draw(holds);
		uint64_t id = held[n].id;

		held[n] = held[--holds];
		answer(way == STRANGER ? id + 64 : id);
		if (way == AGAIN)
			answer(id);
	}
}

static void
begin(void)
{
	memset(states, 0, sizeof(states));
	holds = 0;
	way = FAIR;
	memset(table, 0, sizeof(table));
	refs_begin(&refs);
	bad += blk_begin(&front, &bus, &refs, &page, NULL) != 0;
	bad += blk_connect(&front) != 0;
}

static void
fair(void)
{
	int request[XEN_BLKIF_RING];

	begin();
	for (unsigned n = 0; n < 3000; n++) {
		unsigned count = 1 + draw(XEN_BLKIF_RING), asked = 0;

		while (asked < count) {
			int r = blk_ask(&front, draw(2), draw(900),
					buffer + draw(8) * XEN_BLKIF_SECTOR, 1 + draw(80));

			if (r < 0)
				break;
			request[asked++] = r;
		}
		bad += asked != count;
		while (asked) { /* in any order */
			unsigned k = draw(asked);

			bad += blk_wait(&front, request[k]) != 0;
			request[k] = request[--asked];
		}
	}
	blk_end(&front);
	ok(!bad && refs.free == PV_GRANTS - REFS_FIRST,
	   "what is asked is answered, in any order, and all grants come back");
	ok(blk_ask(&front, 0, 0, buffer + 1, 1) == -EINVAL &&
		   blk_ask(&front, 0, 0, buffer, BLK_SECTORS + 1) == -EINVAL,
	   "what is no request is not asked");
}

static void
lies(void)
{
	static const char *const names[] = { "", "an answer to nobody", "two answers to one",
					     "more answers than requests" };

	for (way = STRANGER; way <= JUMP; way++) {
		int first, second, err, i = (int)way;

		bad = 0;
		begin();
		way = i;
		first = blk_ask(&front, XEN_BLKIF_OP_READ, 0, buffer, 80);
		second = blk_ask(&front, XEN_BLKIF_OP_READ, 0, buffer, 8);
		err = blk_wait(&front, first);
		if (!err) /* there was one for it, and one too many */
			err = blk_wait(&front, second);
		ok(err == -ENODEV && !bad && blk_ask(&front, 0, 0, buffer, 1) == -ENODEV,
		   "%s: it is not asked any more", names[way]);
		blk_end(&front);
		ok(refs.free == PV_GRANTS - REFS_FIRST && !bad, "... and all grants come back");
	}
}

/* Its disk is another domain's affair, while it waits for answers of the first one. */
static void
moves(void)
{
	int request[4];

	bad = 0;
	begin();
	for (unsigned n = 0; n < 4; n++)
		request[n] = blk_ask(&front, XEN_BLKIF_OP_WRITE, n * 100, buffer, 80);
	way = SILENT;
	for (unsigned n = 0; n < 4; n++)
		bad += blk_wait(&front, request[n]) != 0;
	ok(!bad && front.peer == 7 && !strcmp(front.there, "elsewhere"),
	   "another domain's back end answers what the first one has not");
	for (unsigned ref = REFS_FIRST; ref < PV_GRANTS; ref++)
		bad += table[ref].flags && table[ref].domid != 7;
	for (unsigned n = 0; n < asked_refs; n++)
		bad += asked_of[n] != 7;
	ok(!bad && asked_refs == 4 * 10, "... and has grants of its own for all of it");
	blk_end(&front);
	ok(refs.free == PV_GRANTS - REFS_FIRST && !bad, "... which come back");
	other_end = "there";
	other_domain = 0;
}

int
main(void)
{
	fair();
	moves();
	lies();
	return done_testing();
}
