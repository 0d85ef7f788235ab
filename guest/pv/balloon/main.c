/*
 * A domain with a balloon: it has as much memory as dom0 wants it to have (`mem-set`), and says so;
 * `shutdown` ends it. What it gives back is what nothing of it maps. It is dom0's to say how much.
 */
#include <guest/pv/balloon/balloon.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/memory.h>
#include <inc/xen_rings.h>

#define KIB     4u /* of a frame */
#define ENTRIES 512u
#define UPPER   3u          /* of its page tables are none of level 1 */
#define AGAIN   100000000ul /* ns, until it asks for what there was not */

int guest_main(const struct xen_start_info *info);

static volatile struct xen_console_ring *console;

/* What there is no room for is not waited for. */
static void
say(const char *text)
{
	uint32_t at = console->out_prod;

	for (; *text && at - console->out_cons < sizeof(console->out); text++)
		console->out[at++ % sizeof(console->out)] = (uint8_t)*text;
	console->out_prod = at;
	pv_send(pv_info->console_evtchn);
}

static void
say_number(uint64_t n)
{
	char digits[21], *at = digits + 20;

	*at = 0;
	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	say(at);
}

/* A number of KiB in the store; 0: there is none, or that is none. */
static uint64_t
target(void)
{
	uint64_t kib = 0;
	char text[20];

	if (store_read("memory/target", text, sizeof(text)) <= 0)
		return 0;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9')
			return 0;
		kib = kib * 10 + (uint64_t)(*c - '0');
	}
	return kib;
}

/* What is there already; and it is not to be had. */
static void
try_target(void)
{
	char text[20];

	if (store_read("memory/target", text, sizeof(text)) > 0 &&
	    store_write("memory/target", text))
		say("\nit says itself what it is to have.");
}

static bool
is_to_end(void)
{
	char text[20];

	return store_read("control/shutdown", text, sizeof(text)) > 0 && text[0] == 'p';
}

/* Once for each time that it is something else; whoever waits for that sees its end at once. */
static void
tell(uint64_t kib)
{
	static uint64_t said_kib, said_has;
	uint64_t has = (uint64_t)pv_reserved(XEN_XENMEM_current_reservation) * KIB;

	if (kib == said_kib && has == said_has)
		return;
	say("\nit is to have ");
	say_number(kib);
	say(" KiB, and has ");
	say_number(has);
	say(".");
	said_kib = kib;
	said_has = has;
}

int
guest_main(const struct xen_start_info *info)
{
	struct balloon b = { .mfn = (uint64_t *)info->mfn_list };

	pv_init(info);
	pv_events_init();
	console = pv_machine_page(info->console_mfn);
	store_open();
	b.first = (info->nr_pt_frames - UPPER) * ENTRIES;
	b.count = info->nr_pages - b.first;
	try_target();
	store_watch("memory/target");
	store_watch("control/shutdown");
	while (!is_to_end()) {
		uint64_t kib = target();
		bool there = !kib || balloon_to(&b, kib / KIB);

		if (kib)
			tell(kib);
		if (!there)
			store_wait(pv_now() + AGAIN);
		while (there && !store_fired())
			store_wait(0);
	}
	return 0;
}
