/*
 * A domain that is put away, and goes on (`save`, `restore` of dom0's): it counts, in its memory,
 * on its disk and in its store, and sees that nothing of the three is lost, nor anything that its
 * CPU has. `shutdown` ends it. `deaf`: it does not obey; `alone`: it suspends without being asked;
 * `diskless`: it has no disk; `keep=WORD`: it has something then that nobody can put away.
 */
#include <guest/pv/drivers/blkfront.h>
#include <guest/pv/drivers/tell.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/memory.h>
#include <guest/pv/lib/suspend.h>
#include <guest/pv/lib/text.h>

int guest_main(const struct xen_start_info *info);

#define PAGE    4096u
#define STACK   16384u
#define STEP    2000000u /* ns, of which each count takes one */
#define SECTORS 64u      /* of the disk that it writes, one after the other */
#define MARK    0x5a6e6f5361766521ul
#define DATA    0x00cff3000000fffful
#define OURS    (5 * 8 | 3) /* a selector of its own table's */
#define DR0     0x123450ul

static uint8_t stack[STACK] __attribute__((aligned(16)));
static uint8_t sector[2][XEN_BLKIF_SECTOR] __attribute__((aligned(4096))); /* a page of its own */
static uint64_t user_root[512] __attribute__((aligned(4096)));
static uint64_t descriptors[512] __attribute__((aligned(4096)));
static uint64_t pattern[8 * 512] __attribute__((aligned(4096)));
static struct xenbus bus;
static struct refs refs;
static struct blkfront disk;
static struct xen_blkif_page ring_page __attribute__((aligned(4096)));
static uint64_t count, id, latest;

/* ---- what its CPU has ---- */

/* By NMIs: its callback is another handler's, so that nothing else leads there. */
#define NMI_STUB 3u /* that of int 3 */
static unsigned nmis;

extern const uint64_t pv_handlers[21]; /* start.asm */

static void
take(struct pv_frame *f)
{
	if (f->vector == NMI_STUB)
		nmis++;
	else
		check(false, "an exception", f->vector);
}

static void
hear_nmis(void)
{
	struct xen_callback_register r = { .type = XEN_CALLBACKTYPE_nmi,
					   .address = pv_handlers[NMI_STUB] };

	pv_handler = take;
	check(!pv_call(XEN_callback_op, XEN_CALLBACKOP_register, (uint64_t)&r, 0, 0),
	      "a callback of NMIs", 0);
}

static void
hears_nmis(void)
{
	unsigned before = nmis;

	check(!pv_call(XEN_vcpu_op, XEN_VCPUOP_send_nmi, 0, 0, 0), "an NMI", 0);
	check(nmis == before + 1, "... comes", nmis);
}

/* Its user's root, pinned; descriptors; a breakpoint; bases; a vector register; NMIs. */
static void
furnish(void)
{
	uint64_t gdt = pv_page(descriptors), mark = MARK;

	memcpy(user_root, (void *)pv_info->pt_base, PAGE);
	check(!pv_read_only(user_root), "a table", 0);
	check(!pv_mmuext(XEN_MMUEXT_PIN_L4_TABLE, pv_page(user_root)), "a pin", 0);
	check(!pv_mmuext(XEN_MMUEXT_NEW_USER_BASEPTR, pv_page(user_root)), "its user's root", 0);
	descriptors[OURS >> 3] = DATA;
	check(!pv_call(XEN_set_gdt, (uint64_t)&gdt, 512, 0, 0), "descriptors", 0);
	check(!pv_call(XEN_set_debugreg, 0, DR0, 0, 0), "a breakpoint", 0);
	pv_call(XEN_set_segment_base, XEN_SEGBASE_FS, (uint64_t)pattern, 0, 0);
	hear_nmis();
	__asm__ volatile("mov %w0, %%es; movq %1, %%xmm7" : : "r"(OURS), "r"(mark));
	for (unsigned n = 0; n < sizeof(pattern) / sizeof(pattern[0]); n++)
		pattern[n] = MARK * (n + 1);
}

/* All of that is as it was, and of machine frames the numbers are right. */
static void
look(void)
{
	const uint64_t *top = (void *)pv_info->pt_base;
	uint64_t mark, base;
	uint16_t es;

	__asm__ volatile("mov %%es, %w0; movq %%xmm7, %1; mov %%fs:0, %2"
			 : "=r"(es), "=r"(mark), "=r"(base));
	check(es == OURS, "a selector", es);
	check(mark == MARK, "a vector register", mark);
	check(base == pattern[0], "FS's base", base);
	check(pv_call(XEN_get_debugreg, 0, 0, 0, 0) == DR0, "a breakpoint", 0);
	for (unsigned n = 0; n < sizeof(pattern) / sizeof(pattern[0]); n++)
		if (pattern[n] != MARK * (n + 1)) {
			check(false, "its memory", n);
			break;
		}
	for (uint64_t pfn = 0; pfn < pv_info->nr_pages; pfn++) {
		uint64_t mfn = ((const uint64_t *)pv_info->mfn_list)[pfn];

		if (pv_guest_frame(mfn) != pfn) {
			check(false, "its p2m, and Zeno's table", pfn);
			break;
		}
	}
	for (unsigned n = 0; n < 512; n++)
		check(user_root[n] == top[n], "its user's root is like its kernel's", n);
	check(pv_mmuext(XEN_MMUEXT_PIN_L4_TABLE, pv_page(user_root)) == -EINVAL,
	      "what was pinned is pinned", 0);
	hears_nmis();
}

/* ---- its devices ---- */

static void
connect(void)
{
	int err;

	check(!pv_grants_init(), "a grant table", 0);
	refs_begin(&refs);
	check(xenbus_begin(&bus), "a store", 0);
	check(!xenbus_read_number(&bus, 0, "", "domid", &id), "its number", 0);
	check(!xenbus_watch(&bus, "control/shutdown", "control"), "a watch", 0);
	if (has_word("diskless"))
		return;
	err = blk_begin(&disk, &bus, &refs, &ring_page, NULL);
	if (!err)
		err = blk_connect(&disk);
	check(!err, "a disk", (uint64_t)-err);
}

/* The next number goes to the next sector; in the one before is the latest one. */
static void
to_disk(void)
{
	uint64_t *now = (uint64_t *)sector[0], *before = (uint64_t *)sector[1];

	for (unsigned n = 0; n < XEN_BLKIF_SECTOR / 8; n++)
		now[n] = (count + 1) * (n + 1);
	check(!blk_do(&disk, XEN_BLKIF_OP_WRITE, (count + 1) % SECTORS, now, 1), "it is written",
	      count);
	if (count) {
		check(!blk_do(&disk, XEN_BLKIF_OP_READ, count % SECTORS, before, 1), "it is read",
		      count);
		check(before[0] == count && before[63] == count * 64, "what it was", before[0]);
	}
}

static void
step(void)
{
	uint64_t stored = 0;

	if (!has_word("diskless"))
		to_disk();
	count++;
	/* the store is another one behind `restore`, and has no number then */
	if (!xenbus_read_number(&bus, 0, "", "data/count", &stored))
		check(stored + 1 == count, "the store's number", stored);
	check(!xenbus_write_number(&bus, 0, "", "data/count", count), "the store", count);
	check(pv_now() > latest, "its clock goes on", pv_now());
	latest = pv_now();
}

/* ---- put away ---- */

/* What nobody can put away: a page of Zeno's that it has mapped, a p2m that says something else. */
static void
keep_something(bool on)
{
	static uint64_t was;

	was = on ? pv_page(sector) : was;
	if (has_word("keep=page"))
		pv_map(sector, (on ? pv_info->shared_info : was << 12) | PTE_P | PTE_W | PTE_U);
	if (has_word("keep=p2m"))
		pv_set_page(sector, on ? 7 : was);
}

static void
put_away(void)
{
	uint64_t was = id, at = count;

	pv_printf("domain %lu: put away at %lu\n", id, count);
	keep_something(true);
	pv_grants_end();
	if (!pv_suspend()) {
		keep_something(false);
		check(!pv_grants_init(), "a grant table", 0);
		pv_printf("domain %lu: nobody has put me away\n", id);
		return;
	}
	connect();
	look();
	check(count == at, "its count", count);
	pv_printf("domain %lu was %lu: back at %lu\n", id, was, count);
}

static bool
is_told(const char *what)
{
	return !strcmp(bus.answer, what);
}

/* What is written there is taken, so that it is done once. False: it is to end. */
static bool
obey(void)
{
	if (!xenbus_heard(&bus, "control") || xenbus_read(&bus, 0, "", "control/shutdown"))
		return true;
	if (is_told("poweroff"))
		return false;
	if (is_told("suspend") && !has_word("deaf")) {
		xenbus_write(&bus, 0, "", "control/shutdown", "");
		put_away();
	}
	return true;
}

static void
begin(void)
{
	const uint32_t *store = &pv_info->store_evtchn;

	connect();
	furnish();
	look();
	for (unsigned n = 0; has_word("alone") && n < 3; n++)
		put_away();
	while (obey()) {
		step();
		if (count % 8 == 0)
			tell("count> ");
		pv_wait(store, 1, pv_now() + STEP);
	}
	if (!has_word("diskless"))
		blk_end(&disk);
	look();
	pv_printf("domain %lu: counted to %lu; %u wrong\n", id, count, wrong);
	pv_exit(wrong != 0);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_events_init();
	pv_return(begin, (uint64_t)stack + STACK - 8);
}
