/*
 * A guest with a CPU of its own grants: `me=N peer=M`, what guest/pv/grants does as `serve`, by
 * frames' numbers of its own; its peer is that one. `me=N`: to itself, and what must be refused.
 * `me=N of=M`: it maps what that one grants, who serves.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/grants.h>
#include <guest/pv/lib/text.h>
#include <guest/pvh/lib/pvh.h>

#define EBUSY  (-16)
#define EINVAL (-22)
#define ENOSYS (-38)
#define PAGE   4096u
#define MS     1000000ul

/* guest/pv/grants/main.c */
enum { WORDS = 8, TEXT, TABLE, MANY = 16 };
enum { NOTHING, SAY, REVOKE, HOLD, END };

typedef uint8_t page_t[PAGE] __attribute__((aligned(4096)));
static page_t words, text, bytes, others, many[16];

int guest_main(const struct xen_start_info *info);

static void
handler(struct pv_frame *f)
{
	pv_printf("exception %lu, error code %lx, at %lx\n", f->vector, f->error, f->rip);
	pv_exit(1);
}

static uint64_t
gfn_of(volatile const void *page)
{
	return pv_page((const void *)page);
}

/* What may be no memory of its own. */
static void
grant(uint32_t ref, uint16_t to, uint64_t frame)
{
	pv_grant(ref, to, (const void *)(frame << 12), false);
}

static void
say(void *to, const char *words_of_it)
{
	char *at = to;

	while ((*at++ = *words_of_it++))
		;
}

static bool
same(const void *page, const char *words_of_it)
{
	const char *at = page;

	while (*at && *at == *words_of_it)
		at++, words_of_it++;
	return *at == *words_of_it;
}

/* Until its peer has said END, and then it ends, whatever is mapped. */
static void
serve(uint16_t peer)
{
	volatile uint32_t *word = (volatile uint32_t *)words;
	uint32_t done = 0, asked = NOTHING;

	say(text, "hello from who grants");
	for (unsigned n = 0; n < 16; n++)
		memset(many[n], 'a' + (int)n, PAGE);
	pv_grant(WORDS, peer, words, false);
	pv_grant(TEXT, peer, text, true);
	grant(TABLE, peer, gfn_of(pv_shared)); /* Zeno's own, which nobody may have */
	for (unsigned n = 0; n < 16; n++)
		pv_grant(MANY + n, peer, many[n], false);
	while (asked != END) {
		for (done++; word[0] != done;)
			pv_poll(0, 0);
		asked = word[1];
		if (asked == SAY)
			pv_printf("it has written: %s\n", (char *)words + 16);
		if (asked == REVOKE) {
			bool free = pv_revoke(MANY);

			check(pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(many[0])) ==
				      (free ? 0 : EBUSY),
			      "what is in use stays where it is", free);
			pv_printf("revoked: %s\n", free ? "yes" : "not while it is in use");
		}
		word[2] = done;
	}
}

/* A copy between a grant and a page by its number; its status. */
static int
copy(uint32_t ref, uint16_t of, uint64_t frame, bool to_grant)
{
	struct xen_gnttab_copy_ptr granted = { ref, of, 0 }, own = { frame, XEN_DOMID_SELF, 0 };

	return to_grant ? pv_copy_grant(own, granted, 64, XEN_GNTCOPY_dest_gref)
			: pv_copy_grant(granted, own, 64, XEN_GNTCOPY_source_gref);
}

/* It grants to itself, frames that are none, Zeno's, and one that comes to be another's. */
static void
own(uint16_t me)
{
	uint64_t console = 0;
	struct xen_gnttab_map_grant_ref m = {
		.host_addr = (uint64_t)others, .flags = XEN_GNTMAP_host_map, .ref = MANY, .dom = me
	};

	pvh_param(XEN_HVM_PARAM_CONSOLE_PFN, &console);
	const uint64_t bad[] = { gfn_of(pv_shared), gfn_of(pv_grants), 0xa0,     0xfee00,
				 0xfec00,           console,           1u << 20, ~0u };

	say(many[0], "by a grant");
	pv_grant(MANY, me, many[0], false);
	check(copy(MANY, me, gfn_of(bytes), false) == 0 && same(bytes, "by a grant"),
	      "from a grant of its own", bytes[0]);
	say(bytes, "and back");
	check(copy(MANY, me, gfn_of(bytes), true) == 0 && same(many[0], "and back"), "to it",
	      many[0][0]);
	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		grant(MANY + 1, me, bad[n]);
		check(copy(MANY + 1, me, gfn_of(bytes), false) == XEN_GNTST_bad_page,
		      "a grant of that", bad[n]);
		check(copy(MANY, me, bad[n], false) == XEN_GNTST_bad_page, "to that", bad[n]);
		check(copy(MANY, me, bad[n], true) == XEN_GNTST_bad_page, "from that", bad[n]);
	}
	check(!pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1) && m.status == XEN_GNTST_bad_domain,
	      "it maps nothing of its own", (uint64_t)(int64_t)m.status);
	check(pv_grant_op(XEN_GNTTABOP_unmap_and_replace, &m, 1) == ENOSYS, "nor replaces", 0);
	check(pvh_show(XEN_XENMAPSPACE_grant_table, 32, gfn_of(others)) == EINVAL, "no such frame",
	      0);
	/* its memory is another one by then: that is meant */
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(many[0])) &&
		      copy(MANY, me, gfn_of(bytes), false) == XEN_GNTST_bad_page &&
		      !pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(pv_shared)) &&
		      !copy(MANY, me, gfn_of(bytes), false) && !bytes[0],
	      "what is behind the number now", bytes[0]);
	/* one page of Zeno's in the place of another one, and back */
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(others)) &&
		      !pvh_show(XEN_XENMAPSPACE_grant_table, 1, gfn_of(others)) && !others[3072],
	      "over the other", others[3072]);
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(others)) &&
		      ((volatile struct xen_shared_info *)others)->wc_sec,
	      "and back", 0);
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(pv_shared)) && pv_shared->wc_sec,
	      "where it was", 0);
	/* the second frame of the table */
	check(!pvh_show(XEN_XENMAPSPACE_grant_table, 1, gfn_of(others)), "one frame more", 0);
	say(text, "far");
	((volatile struct xen_grant_entry *)others)[3] = (struct xen_grant_entry){
		.flags = XEN_GTF_permit_access, .domid = me, .frame = (uint32_t)gfn_of(text)
	};
	check(!copy(PV_GRANTS + 3, me, gfn_of(bytes), false) && same(bytes, "far"),
	      "an entry of that one", bytes[0]);
}

/* ---- it maps ---- */

#define HOST  XEN_GNTMAP_host_map
#define READS (XEN_GNTMAP_host_map | XEN_GNTMAP_readonly)
/* Behind its memory, where nothing is. */
static volatile uint8_t *const far = (void *)(128ul << 20);

static int
map(volatile void *at, uint16_t of, uint32_t ref, uint32_t flags, uint32_t *handle)
{
	return pv_map_grant((void *)at, of, ref, flags, handle);
}

/* Of who serves. */
static void
ask(uint32_t what)
{
	static uint32_t asked;
	volatile uint32_t *word = (volatile uint32_t *)words;

	word[1] = what;
	word[0] = ++asked;
	while (what != END && word[2] != asked)
		pv_poll(0, 0);
}

/* Places where no frame of another's may come, and what no mapping is. */
static void
nowhere(uint16_t me, uint16_t of)
{
	uint64_t console = 0;
	uint32_t handle = ~0u;
	int got;

	pvh_param(XEN_HVM_PARAM_CONSOLE_PFN, &console);
	const uint64_t bad[] = { 0,
				 0xa0000,
				 0xfee00000,
				 0xfec00000,
				 console << 12,
				 1ul << 30,
				 0xfffff000,
				 1ul << 40,
				 1ul << 52,
				 ~0ul << 12,
				 0x120000000,
				 (uint64_t)bytes + 1,
				 (uint64_t)words };

	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		got = map((void *)bad[n], of, MANY, HOST, &handle);
		check(got == XEN_GNTST_bad_virt_addr, "mapped there", bad[n]);
		got = pv_unmap_grant((void *)bad[n], 0, handle);
		check(got == XEN_GNTST_bad_handle, "unmapped by no handle", bad[n]);
	}
	check(map(bytes, me, MANY, HOST, &handle) == XEN_GNTST_bad_domain, "of itself", me);
	check(map(bytes, 77, MANY, HOST, &handle) == XEN_GNTST_bad_domain, "of nobody", 77);
	check(map(bytes, of, ~0u, HOST, &handle) == XEN_GNTST_bad_gntref, "no entry", 0);
	check(map(bytes, of, TABLE, HOST, &handle) == XEN_GNTST_bad_page, "a page table", 0);
	check(map(bytes, of, TEXT, HOST, &handle) == XEN_GNTST_general_error, "to write", 0);
	for (uint32_t flags = 0; flags < 64; flags++)
		if (flags != HOST && flags != READS)
			check(map(bytes, of, MANY, flags, &handle) == XEN_GNTST_general_error,
			      "by such flags", flags);
	for (uint64_t at = 1ul << 47; at; at <<= 1)
		check(pv_grant_op(XEN_GNTTABOP_map_grant_ref, (void *)at, 1) < 0 &&
			      pv_grant_op(XEN_GNTTABOP_unmap_grant_ref, (void *)at, 1) < 0,
		      "a request that is nowhere", at);
	check(bytes[0] == 'b' && bytes[4095] == 'b', "its own page is what it was", bytes[0]);
}

/* A page of another's in the place of one of its own, and where none was; each is gone again. */
static void
maps(uint16_t me, uint16_t of)
{
	volatile uint8_t *at = text;
	uint32_t reads, writes;

	memset(text, 't', PAGE);
	check(!map(text, of, TEXT, READS, &reads), "to read", 0);
	pv_printf("map: %s\n", (char *)text);
	*at = 'x';
	check(*at == 'h', "a write is lost", *at);
	check(!copy(TEXT, of, gfn_of(others), false) && others[0] == 'h', "here and there",
	      others[0]);
	check(!map(far, of, MANY, HOST, &writes), "to write", 0);
	ask(REVOKE);
	check(far[0] == 'a' && (far[1] = 'z') == far[1], "it is there", far[0]);
	check(map(far, of, MANY + 1, HOST, &writes) == XEN_GNTST_bad_virt_addr, "once alone", 0);
	check(pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(far)) == EBUSY,
	      "nor a page of Zeno's", 0);
	grant(MANY + 1, me, gfn_of(far));
	check(copy(MANY + 1, me, gfn_of(bytes), false) == XEN_GNTST_bad_page, "nor is it to grant",
	      0);
	grant(MANY + 1, me, gfn_of(text));
	check(copy(MANY + 1, me, gfn_of(bytes), true) == XEN_GNTST_bad_page, "nor the other one",
	      0);
	check(pv_unmap_grant(text, 0, writes) == XEN_GNTST_general_error &&
		      pv_unmap_grant((void *)far, 0, reads) == XEN_GNTST_general_error,
	      "one for the other", 0);
	check(pv_unmap_grant(bytes, 0, writes) == XEN_GNTST_bad_virt_addr, "where it is not", 0);
	check(!pv_unmap_grant((void *)far, 0, writes), "unmap", 0);
	check(pv_unmap_grant((void *)far, 0, writes) == XEN_GNTST_bad_handle, "... twice", 0);
	check(far[0] == 0xff, "nothing is there", far[0]);
	ask(REVOKE);
	check(map(far, of, MANY, HOST, &writes) == XEN_GNTST_general_error, "granted no more", 0);
	check(!pv_unmap_grant(text, 0, reads) && !text[0] && !text[4095], "memory as new", text[0]);
	pv_printf("unmap: nothing is there\n");
}

/* It ends with both mapped. */
static void
outlives(uint16_t of)
{
	uint32_t handle;

	check(!map(text, of, MANY + 1, HOST, &handle), "to write", 0);
	check(!map(far, of, MANY + 2, READS, &handle), "to read", 0);
	ask(END);
	while (map(others, of, MANY + 3, HOST, &handle) != XEN_GNTST_bad_domain)
		pv_poll(0, 0);
	text[1] = 'B';
	text[2] = far[0];
	text[3] = 0;
	pv_printf("who granted has ended: %s\n", (char *)text);
}

static void
use(uint16_t me, uint16_t of)
{
	uint32_t handle;

	while (map(words, of, WORDS, HOST, &handle))
		pv_poll(0, 0);
	say(words + 16, "hello from who maps");
	ask(SAY);
	memset(bytes, 'b', PAGE);
	nowhere(me, of);
	maps(me, of);
	outlives(of);
}

int
guest_main(const struct xen_start_info *info)
{
	unsigned me, peer, of = pv_number("of=");

	(void)info;
	pv_handler = handler;
	pvh_events_init();
	me = pv_number("me=");
	peer = pv_number("peer=");
	check(!pv_grants_init(), "a table", 0);
	if (of)
		use((uint16_t)me, (uint16_t)of);
	else if (peer)
		serve((uint16_t)peer);
	else
		own((uint16_t)me);
	pv_printf("%u wrong; the end\n", wrong);
	return (int)wrong;
}
