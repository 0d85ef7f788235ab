/*
 * Grants, shown one by one. `me=N peer=M serve`: it grants, and does what its peer asks by a word
 * in a page; `me=N peer=M`: it is that peer. `me=N`: own.c. `hostile`: hostile.c. `rounds=N`, under
 * the name dom0: rounds.c, with `child`.
 */
#include <guest/pv/grants/grants.h>

int guest_main(const struct xen_start_info *info);

/* What the one grants to the other, by these numbers. */
enum { WORDS = 8, TEXT, TABLE, MANY = 16 };
enum { NOTHING, SAY, REVOKE, HOLD, END };

static page_t words, text, many[16], windows[4], bytes;

void
is(int64_t got, int64_t wanted, const char *what)
{
	check(got == wanted, what, (uint64_t)got);
}

void
say(void *to, const char *words_of_it)
{
	char *at = to;

	while ((*at++ = *words_of_it++))
		;
}

void
own_again(void *window)
{
	is(pv_map(window, pv_page(window) << 12 | FLAT), 0, "its own page again");
}

uint64_t
number_behind(const char *line, const char *name)
{
	uint64_t n = 0;

	for (; *line; line++) {
		const char *a = line, *b = name;

		while (*b && *a == *b)
			a++, b++;
		if (*b)
			continue;
		while (*a >= '0' && *a <= '9')
			n = n * 10 + (uint64_t)(*a++ - '0');
		return n;
	}
	return 0;
}

/* ---- who grants ---- */

static volatile uint32_t *
word_in(page_t page)
{
	return (volatile uint32_t *)page;
}

static void
wait_until(volatile uint32_t *word, uint32_t value)
{
	while (*word != value)
		pv_poll(0, pv_now() + MS / 4);
}

/* Until its peer has said END, and then it ends, whatever is mapped. */
static void
serve(uint16_t peer)
{
	uint32_t done = 0, asked = NOTHING;

	say(text, "hello from who grants");
	for (unsigned n = 0; n < 16; n++)
		memset(many[n], 'a' + (int)n, PAGE);
	pv_grant(WORDS, peer, words, false);
	pv_grant(TEXT, peer, text, true);
	pv_grant(TABLE, peer, (void *)pv_info->pt_base, false);
	for (unsigned n = 0; n < 16; n++)
		pv_grant(MANY + n, peer, many[n], false);
	while (asked != END) {
		wait_until(word_in(words), ++done);
		asked = word_in(words)[1];
		if (asked == SAY)
			pv_printf("it has written: %s\n", (char *)words + 16);
		if (asked == REVOKE)
			pv_printf("revoked: %s\n",
				  pv_revoke(MANY) ? "yes" : "not while it is in use");
		word_in(words)[2] = done;
	}
}

/* ---- who uses ---- */

static uint32_t asked;

static void
ask(page_t at, uint32_t what)
{
	word_in(at)[1] = what;
	word_in(at)[0] = ++asked;
	if (what != END)
		wait_until(word_in(at) + 2, asked);
}

static void
write_to(uint64_t at)
{
	*(volatile uint8_t *)at = 1;
}

static void
maps(uint16_t peer)
{
	uint32_t to_text, to_many;

	is(pv_map_grant(windows[1], peer, TEXT, XEN_GNTMAP_host_map, &to_text),
	   XEN_GNTST_general_error, "to write what may only be read");
	is(pv_map_grant(windows[1], peer, TEXT, XEN_GNTMAP_host_map | XEN_GNTMAP_readonly,
			&to_text),
	   0, "to read");
	pv_printf("map: %s\n", (char *)windows[1]);
	raises("writing there", write_to, (uint64_t)windows[1], 14, 3);
	is(pv_map_grant(windows[2], peer, TABLE, XEN_GNTMAP_host_map, &to_many), XEN_GNTST_bad_page,
	   "a page table, to write");
	is(pv_map_grant(windows[2], peer, MANY, XEN_GNTMAP_host_map, &to_many), 0, "to write");
	ask(windows[0], REVOKE);
	is(pv_unmap_grant(windows[2], 0, to_many), 0, "unmap");
	is(pv_unmap_grant(windows[2], 0, to_many), XEN_GNTST_bad_handle, "... twice");
	raises("reading there", write_to, (uint64_t)windows[2], 14, 2);
	ask(windows[0], REVOKE);
	is(pv_map_grant(windows[2], peer, MANY, XEN_GNTMAP_host_map, &to_many),
	   XEN_GNTST_general_error, "what is granted no more");
	is(pv_unmap_grant(windows[1], 0, to_text), 0, "unmap");
	pv_printf("unmap: nothing is there\n");
}

static void
copies(uint16_t peer)
{
	struct xen_gnttab_copy batch[8];
	unsigned sum = 0;

	is(pv_copy_grant(pv_granted(peer, TEXT, 0), pv_own(bytes), 64, XEN_GNTCOPY_source_gref), 0,
	   "from there");
	pv_printf("copy: %s\n", (char *)bytes);
	is(pv_copy_grant(pv_own(bytes), pv_granted(peer, TEXT, 0), 64, XEN_GNTCOPY_dest_gref),
	   XEN_GNTST_general_error, "to what may only be read");
	say(bytes, "copied");
	is(pv_copy_grant(pv_own(bytes), pv_granted(peer, WORDS, 16), 7, XEN_GNTCOPY_dest_gref), 0,
	   "to there");
	ask(windows[0], SAY);
	for (unsigned n = 0; n < 8; n++)
		batch[n] = (struct xen_gnttab_copy){ .source = pv_granted(peer, MANY + 1 + n, n),
						     .dest = pv_own(bytes + n),
						     .len = 1,
						     .flags = XEN_GNTCOPY_source_gref };
	is(pv_grant_op(XEN_GNTTABOP_copy, batch, 8), 0, "eight at once");
	for (unsigned n = 0; n < 8; n++)
		sum += (unsigned)-batch[n].status;
	bytes[8] = 0;
	pv_printf("copy of eight: %s, %u of them refused\n", (char *)bytes, sum);
}

/* Its peer ends, and what is mapped stays as it was. */
static void
outlives(uint16_t peer)
{
	uint32_t handle[2];

	is(pv_map_grant(windows[2], peer, MANY + 1, XEN_GNTMAP_host_map, &handle[0]), 0,
	   "to write");
	is(pv_map_grant(windows[3], peer, MANY + 2, XEN_GNTMAP_host_map | XEN_GNTMAP_readonly,
			&handle[1]),
	   0, "to read");
	ask(windows[0], END);
	while (pv_map_grant(bytes, peer, MANY + 3, XEN_GNTMAP_device_map, handle + 1) !=
	       XEN_GNTST_bad_domain)
		pv_poll(0, pv_now() + MS);
	windows[2][1] = 'B';
	windows[2][2] = windows[3][0];
	windows[2][3] = 0;
	pv_printf("who granted has ended: %s\n", (char *)windows[2]);
	is(pv_unmap_grant(windows[2], 0, handle[0]), 0, "unmap");
}

static void
use(uint16_t peer)
{
	uint32_t handle;

	while (pv_map_grant(windows[0], peer, WORDS, XEN_GNTMAP_host_map, &handle))
		pv_poll(0, pv_now() + MS);
	say(windows[0] + 16, "hello from who maps");
	ask(windows[0], SAY);
	maps(peer);
	copies(peer);
	outlives(peer);
}

int
guest_main(const struct xen_start_info *info)
{
	unsigned me = (unsigned)number_behind(info->cmd_line, "me="),
		 peer = (unsigned)number_behind(info->cmd_line, "peer=");

	pv_init(info);
	pv_take_traps();
	pv_handler = caught;
	pv_events_init();
	is(pv_grants_init(), 0, "a table");
	if (number_behind(info->cmd_line, "rounds="))
		return rounds(number_behind(info->cmd_line, "rounds="));
	if (number_behind(info->cmd_line, "child="))
		child();
	if (number_behind(info->cmd_line, "hostile="))
		hostile(me, peer);
	else if (number_behind(info->cmd_line, "serve="))
		serve((uint16_t)peer);
	else if (peer)
		use((uint16_t)peer);
	else {
		own(me);
		return 0;
	}
	pv_printf("%u wrong; the end\n", wrong);
	return (int)wrong;
}
