/*
 * What a front end must not be able to do: `harm=WORD`. It asks for what can't be, breaks the
 * ring's and the store's rules, or ends at any step (`die=N`); its own disk is closed to it, or
 * not, and nothing else comes of it. Of these `requests` and `any` (`count=N` of them), and `die=`,
 * ask any back end; the others know how dom0's closes a disk.
 */
#include <guest/pv/disk/disk.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/text.h>

#define PATIENCE 20000000ul /* ns that a state may need to be another one */

static uint8_t page[4096] __attribute__((aligned(4096)));

/* ---- the ring, by hand ---- */

/* Until it comes, or it is clear that it does not. */
bool
back_becomes(enum xen_xenbus_state state)
{
	uint64_t until = pv_now() + 100 * PATIENCE, n = 0;

	while (pv_now() < until) {
		if (!xenbus_read_number(&bus, 0, disk.there, "state", &n) && n == state)
			return true;
		pv_wait(&pv_info->store_evtchn, 1, pv_now() + PATIENCE);
	}
	return false;
}

void
show(enum xen_xenbus_state state)
{
	disk.mine = state;
	xenbus_write_number(&bus, 0, disk.here, "state", state);
}

/* One request as it is; what it is answered. 99: nothing, or what was not asked. */
static int
answer_to(const struct xen_blkif_request *r)
{
	struct xen_blkif_response answer;
	uint64_t until = pv_now() + 100 * PATIENCE;

	((volatile union xen_blkif_entry *)ring_page.entry)[disk.ring.req_prod++ % XEN_BLKIF_RING]
		.request = *r;
	if (ring_push_requests(&disk.ring))
		pv_send(disk.port);
	while (!ring_last_responses(&disk.ring) && pv_now() < until)
		pv_wait(&disk.port, 1, pv_now() + PATIENCE);
	if (ring_responses(&disk.ring) != 1)
		return 99;
	answer = ((volatile union xen_blkif_entry *)
			  ring_page.entry)[disk.ring.rsp_cons++ % XEN_BLKIF_RING]
			 .response;
	/* an indirect one has its own operation there, and is answered by that */
	return answer.id == r->id && answer.operation == (r->operation == XEN_BLKIF_OP_INDIRECT
								  ? r->nr_segments
								  : r->operation)
		       ? answer.status
		       : 99;
}

/* ---- requests ---- */

/* A page of its own, to be read or written; a good request is made bad by one thing. */
static struct xen_blkif_request
good(uint32_t ref, unsigned op)
{
	return (struct xen_blkif_request){ .operation = (uint8_t)op,
					   .nr_segments = 1,
					   .id = draw(~0ul),
					   .seg = { { ref, 0, 7 } } };
}

static const struct {
	const char *what;
	uint64_t sector;
	uint8_t operation, segments, first, last;
	uint32_t ref; /* 0: the page's */
	int16_t status;
} rows[] = {
	{ "as it should be", 0, XEN_BLKIF_OP_READ, 1, 0, 7, 0, 0 },
	{ "a page that is not granted", 0, XEN_BLKIF_OP_READ, 1, 0, 7, 300, -1 },
	{ "an entry beyond the table", 0, XEN_BLKIF_OP_READ, 1, 0, 7, 512, -1 },
	{ "an entry beyond all tables", 0, XEN_BLKIF_OP_WRITE, 1, 0, 7, ~0u, -1 },
	{ "twelve segments", 0, XEN_BLKIF_OP_READ, 12, 0, 0, 0, -1 },
	{ "255 segments", 0, XEN_BLKIF_OP_WRITE, 255, 0, 0, 0, -1 },
	{ "no segment", 0, XEN_BLKIF_OP_READ, 0, 0, 0, 0, -1 },
	{ "a segment whose end is before it", 0, XEN_BLKIF_OP_READ, 1, 5, 4, 0, -1 },
	{ "a segment beyond its page", 0, XEN_BLKIF_OP_READ, 1, 0, 8, 0, -1 },
	{ "a segment far beyond it", 0, XEN_BLKIF_OP_WRITE, 1, 255, 255, 0, -1 },
	{ "a sector beyond the disk", 1ul << 40, XEN_BLKIF_OP_READ, 1, 0, 7, 0, -1 },
	{ "the last sectors there can be", ~0ul - 6, XEN_BLKIF_OP_READ, 1, 0, 7, 0, -1 },
	{ "... whose end is 0 again", ~0ul - 7, XEN_BLKIF_OP_WRITE, 1, 0, 7, 0, -1 },
	{ "2^55, which is 2^64 bytes", 1ul << 55, XEN_BLKIF_OP_WRITE, 1, 0, 7, 0, -1 },
	{ "a barrier", 0, XEN_BLKIF_OP_WRITE_BARRIER, 0, 0, 0, 0, -2 },
	{ "to discard", 0, XEN_BLKIF_OP_DISCARD, 0, 0, 0, 0, -2 },
	{ "indirect", 0, XEN_BLKIF_OP_INDIRECT, 255, 0, 0, 0, -1 },
	{ "no operation", 0, 255, 255, 255, 255, ~0u, -2 },
	{ "to flush", ~0ul, XEN_BLKIF_OP_FLUSH_DISKCACHE, 0, 0, 0, 0, 0 },
	{ "to flush a segment", 0, XEN_BLKIF_OP_FLUSH_DISKCACHE, 1, 0, 0, 0, -1 },
};

/* No disk's duty: a back end answers it as it likes (blkif.h), if it does. */
static bool
is_its_own(const struct xen_blkif_request *r)
{
	return r->operation == XEN_BLKIF_OP_WRITE_BARRIER || r->operation == XEN_BLKIF_OP_DISCARD ||
	       (r->operation == XEN_BLKIF_OP_FLUSH_DISKCACHE && r->nr_segments);
}

static void
bad_requests(void)
{
	uint32_t ref = refs_grant(&refs, (uint16_t)disk.peer, page, false), read_only;
	struct xen_blkif_request r;

	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		int status;

		r = good(rows[n].ref ? rows[n].ref : ref, rows[n].operation);
		r.nr_segments = rows[n].segments;
		r.sector_number = rows[n].sector;
		r.seg[0].first_sect = rows[n].first;
		r.seg[0].last_sect = rows[n].last;
		status = answer_to(&r);
		check(status == rows[n].status || (disk.peer && status <= 0 && is_its_own(&r)),
		      rows[n].what, (uint64_t)(int64_t)status);
	}
	check(refs_end(&refs, ref), "the page is its own again", ref);
	r = good(ref, XEN_BLKIF_OP_READ);
	check(answer_to(&r) == -1, "a page that was granted once", 0);
	read_only = refs_grant(&refs, (uint16_t)disk.peer, page, true);
	r = good(read_only, XEN_BLKIF_OP_READ);
	check(answer_to(&r) == -1, "to write what is to be read alone", 0);
	refs_end(&refs, read_only);
	read_only = refs_grant(&refs, 1, page, false);
	r = good(read_only, XEN_BLKIF_OP_READ);
	check(answer_to(&r) == -1, "what somebody else may use", 0);
	refs_end(&refs, read_only);
}

/* Requests of any bytes; most of one thing or the other. */
static void
any_requests(void)
{
	uint32_t ref = refs_grant(&refs, (uint16_t)disk.peer, page, false);
	unsigned count = has_word("count=") ? pv_number("count=") : 400;

	for (unsigned n = 0; n < count; n++) {
		struct xen_blkif_request r;
		int status;

		for (unsigned k = 0; k < sizeof(r); k++)
			((uint8_t *)&r)[k] = (uint8_t)draw(256);
		r.operation = (uint8_t)draw(4); /* such as need something */
		r.nr_segments = draw(4) ? (uint8_t)draw(12) : r.nr_segments;
		r.sector_number = draw(4) ? draw(disk.sectors) : r.sector_number;
		for (unsigned k = 0; k < XEN_BLKIF_SEGMENTS; k++)
			if (draw(16))
				r.seg[k] = (struct xen_blkif_segment){ ref, (uint8_t)draw(4),
								       (uint8_t)(4 + draw(4)) };
		status = answer_to(&r);
		check(status <= 0 && status >= -2, "any request is answered", n);
	}
	refs_end(&refs, ref);
}

/* ---- indices ---- */

/* The ring is nonsense: it is closed; and when this end begins anew, it has a disk again. */
static void
jumps(void)
{
	static const uint32_t by[] = { 33, 64, 1u << 31, ~0u, ~31u };

	for (unsigned n = 0; n < sizeof(by) / sizeof(by[0]); n++) {
		ring_page.ring.req_prod = disk.ring.req_prod + by[n];
		pv_send(disk.port);
		check(back_becomes(XEN_XENBUS_Closed), "its ring is closed", by[n]);
		while (disk.mine != XEN_XENBUS_Closed)
			blk_serve(&disk);
		show(XEN_XENBUS_Initialising);
		check(!blk_connect(&disk), "and opened", by[n]);
		check(!blk_do(&disk, XEN_BLKIF_OP_READ, 0, page, 8), "and is good", by[n]);
	}
}

/* The words of the ring that are the other end's, while it serves. */
static void
shakes(void)
{
	volatile uint32_t *words = (volatile uint32_t *)&ring_page;
	uint32_t ref = refs_grant(&refs, (uint16_t)disk.peer, page, false);

	for (unsigned n = 0; n < 300; n++) {
		struct xen_blkif_request r = good(ref, (unsigned)draw(2));

		((volatile union xen_blkif_entry *)
			 ring_page.entry)[disk.ring.req_prod++ % XEN_BLKIF_RING]
			.request = r;
		ring_push_requests(&disk.ring);
		words[1 + draw(3)] = draw(2) ? (uint32_t)draw(~0u) : disk.ring.req_prod;
		pv_send(disk.port);
		for (uint64_t k = draw(20); k; k--) /* it is changed while it is looked at */
			((volatile uint8_t *)ring_page.entry)[draw(sizeof(ring_page.entry))] =
				(uint8_t)draw(256);
		if (!draw(4))
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	}
	refs_end(&refs, ref); /* unless somebody is at it */
}

/* ---- the store ---- */

static void
refused(const char *dir, const char *key)
{
	int err = xenbus_write(&bus, 0, dir, key, "1");

	check(err == -EACCES, key, (uint64_t)-err);
}

/* What is not its own it can't write; its own it can, and has no disk behind it. */
static void
store(void)
{
	static const char *const states[] = {
		"", "x", "99", "4 ", "-1", "18446744073709551620", "00000000000000000000000000003"
	};
	static const char *const keys[] = { "ring-ref", "event-channel", "protocol" };
	static const char *const values[] = {
		"", "0", "9", "511", "4294967296", "-1", "x86_32-abi"
	};

	refused(disk.there, "state");
	refused(disk.there, "sectors");
	refused("/local/domain/0/backend/vbd", "9");
	refused("/local/domain/0/device/vbd/51712", "state");
	check(xenbus_remove(&bus, 0, disk.there) == -EACCES, "to remove it", 0);
	for (unsigned n = 0; n < sizeof(states) / sizeof(states[0]); n++) {
		check(!xenbus_write(&bus, 0, disk.here, "state", states[n]), "its own", n);
		check(back_becomes(XEN_XENBUS_Closed), "it has gone, then", n);
		show(XEN_XENBUS_Unknown);
		check(!blk_connect(&disk), "and comes again", n);
	}
	for (unsigned k = 0; k < 3; k++)
		for (unsigned n = 0; n < sizeof(values) / sizeof(values[0]); n++) {
			show(XEN_XENBUS_Initialising);
			check(back_becomes(XEN_XENBUS_InitWait), "it waits for a ring", n);
			xenbus_write(&bus, 0, disk.here, "ring-ref", "8");
			xenbus_write(&bus, 0, disk.here, "event-channel", "3");
			xenbus_write(&bus, 0, disk.here, "protocol", "x86_64-abi");
			xenbus_write(&bus, 0, disk.here, keys[k], values[n]);
			show(XEN_XENBUS_Initialised);
			check(back_becomes(XEN_XENBUS_Closed), "there is no such ring", k * 10 + n);
		}
	for (unsigned n = 0; n < 300; n++) /* a flood */
		xenbus_write(&bus, 0, disk.here, "state", n & 1 ? "1" : "3");
	check(!xenbus_remove(&bus, 0, disk.here), "its own place", 0);
}

/* ---- it ends ---- */

static void
at_step(unsigned step)
{
	if (step == pv_number("die="))
		pv_exit(1);
}

/* All that an end does, one after the other. */
static void
ends_at(void)
{
	struct xen_evtchn_alloc_unbound a = { .dom = XEN_DOMID_SELF,
					      .remote_dom = (uint16_t)disk.peer };
	struct xen_blkif_request r;
	uint32_t ref;

	at_step(1);
	show(XEN_XENBUS_Initialising);
	at_step(2);
	back_becomes(XEN_XENBUS_InitWait);
	at_step(3);
	ring_begin(&disk.ring, &ring_page.ring, XEN_BLKIF_RING);
	pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a);
	disk.port = a.port;
	ref = refs_grant(&refs, (uint16_t)disk.peer, &ring_page, false);
	xenbus_write_number(&bus, 0, disk.here, "ring-ref", ref);
	xenbus_write_number(&bus, 0, disk.here, "event-channel", a.port);
	at_step(4);
	show(XEN_XENBUS_Initialised);
	at_step(5);
	back_becomes(XEN_XENBUS_Connected);
	at_step(6);
	r = good(refs_grant(&refs, (uint16_t)disk.peer, page, false), XEN_BLKIF_OP_WRITE);
	for (unsigned n = 0; n < 20; n++)
		((volatile union xen_blkif_entry *)ring_page.entry)[disk.ring.req_prod++].request =
			r;
	if (ring_push_requests(&disk.ring))
		pv_send(disk.port);
	at_step(7);
	show(XEN_XENBUS_Connected);
	show(XEN_XENBUS_Closing);
	at_step(8);
	back_becomes(XEN_XENBUS_Closed);
	at_step(9);
}

void
harm(void)
{
	if (pv_number("die="))
		ends_at();
	else if (blk_connect(&disk))
		check(false, "it has a disk", 0);
	else if (has_word("harm=requests"))
		bad_requests();
	else if (has_word("harm=any"))
		any_requests();
	else if (has_word("harm=jump"))
		jumps();
	else if (has_word("harm=shake"))
		shakes();
	else if (has_word("harm=store"))
		store();
	else if (has_word("harm=rings"))
		rings();
	pv_printf("%u wrong; nothing has come of it\n", wrong);
	pv_exit(wrong != 0);
}
