/*
 * A line of the machine's: under the name dom0 it has the first IDE channel's, and a disk's first
 * sectors by it (what is read of the last one is printed). It sees that no interrupt is lost, by
 * edge and by level, and what it may not have. Under any other name it has nothing. `leave`: it
 * ends with the line up. `keys`: it hears of what is typed. Without a disk QEMU's channel has its
 * line all the same, and no sectors. `tame`: it writes to no drive that has not asked for it, of
 * which Bochs dies.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <inc/control.h>
#include <inc/errno.h>

#define IRQ    14u
#define DATA   0x1f0u
#define COUNT  0x1f2u
#define LBA    0x1f3u /* three bytes, and 4 bits of DRIVE */
#define DRIVE  0x1f6u
#define STATUS 0x1f7u /* written: a command. Who reads it takes the line down */
#define LOOK   0x3f6u /* the same, and the line stays up; written: bit 1 is nIEN */
#define BUSY   0x80u
#define DRQ    0x08u
#define READ   0x20u
#define IDLE   0xe1u /* a command that is over at once, and has no data */
#define HOLE   0xffff830000000000ul

int guest_main(const struct xen_start_info *info);
int keys(void);                              /* keys.c */
void bus_of_nobody(void), bus_of_dom0(void); /* bus.c */

static uint32_t port;
static uint16_t sector[256];

static uint8_t
in(uint16_t from)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "d"(from));
	return value;
}

static void
out(uint16_t to, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "d"(to));
}

#define IS(want, what, call)                                        \
	do {                                                        \
		int64_t got = call;                                 \
		check(got == (int64_t)(want), what, (uint64_t)got); \
	} while (0)

/* ---- hypercalls ---- */

static int64_t
physdev(enum xen_physdev_op op, void *arg)
{
	return pv_call(XEN_physdev_op, op, (uint64_t)arg, 0, 0);
}

static int64_t
map(uint16_t domid, int32_t type, int32_t index, int32_t pirq)
{
	struct xen_physdev_map_pirq m = { domid, type, index, pirq, 0, 0, 0, 0 };
	int64_t err = physdev(XEN_PHYSDEVOP_map_pirq, &m);

	return err ? err : m.pirq;
}

static int64_t
unmap(uint16_t domid, int32_t pirq)
{
	struct xen_physdev_unmap_pirq u = { domid, pirq };

	return physdev(XEN_PHYSDEVOP_unmap_pirq, &u);
}

static int64_t
eoi(uint32_t irq)
{
	struct xen_physdev_eoi e = { irq };

	return physdev(XEN_PHYSDEVOP_eoi, &e);
}

static int64_t
status(uint32_t irq)
{
	struct xen_physdev_irq_status_query q = { irq, 77 };
	int64_t err = physdev(XEN_PHYSDEVOP_irq_status_query, &q);

	return err ? err : q.flags;
}

static int64_t
by_level(int32_t gsi, uint8_t level)
{
	struct xen_physdev_setup_gsi s = { gsi, level, 0 };

	return physdev(XEN_PHYSDEVOP_setup_gsi, &s);
}

static int64_t
bind(uint32_t pirq)
{
	struct xen_evtchn_bind_pirq b = { .pirq = pirq };
	int64_t err = pv_event_op(XEN_EVTCHNOP_bind_pirq, &b);

	return err ? err : b.port;
}

static int64_t
close(void)
{
	struct xen_evtchn_close c = { port };

	return pv_event_op(XEN_EVTCHNOP_close, &c);
}

/* ---- who may not ---- */

static void
refused(const uint32_t *irqs, unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		IS(-EPERM, "a line", map(XEN_DOMID_SELF, XEN_MAP_PIRQ_TYPE_GSI, (int)irqs[n], -1));
		IS(-EPERM, "a trigger", by_level((int)irqs[n], 1));
		IS(-EPERM, "a port of a line", bind(irqs[n]));
		IS(-EINVAL, "a line's status", status(irqs[n]));
		IS(-EINVAL, "a line's EOI", eoi(irqs[n]));
		IS(-EINVAL, "no line, to give back", unmap(XEN_DOMID_SELF, (int)irqs[n]));
	}
}

static int
nobody(void)
{
	static const uint32_t irqs[] = { 0, 1, 4, IRQ, 15 };

	refused(irqs, sizeof(irqs) / sizeof(irqs[0]));
	IS(-EPERM, "dom0's line", map(0, XEN_MAP_PIRQ_TYPE_GSI, IRQ, -1));
	IS(0xff, "a port", in(STATUS));
	out(LOOK, 4); /* a reset */
	IS(0xff, "another", in(LOOK));
	bus_of_nobody();
	pv_printf("%u wrong; no line is mine\n", wrong);
	return 0;
}

static void
not_all(void)
{
	static const uint32_t others[] = { 0, 1, 2, 4, 7, 8, 15 };
	static const uint32_t none[] = { 16, 0x7fffffff, ~0u };
	const int gsi = XEN_MAP_PIRQ_TYPE_GSI;

	refused(others, sizeof(others) / sizeof(others[0]));
	for (unsigned n = 0; n < 3; n++) {
		IS(-EINVAL, "no line", map(XEN_DOMID_SELF, gsi, (int)none[n], -1));
		IS(-EINVAL, "a trigger of none", by_level((int)none[n], 1));
		IS(-EINVAL, "a port of none", bind(none[n]));
		IS(-EINVAL, "the status of none", status(none[n]));
		IS(-EINVAL, "EOI of none", eoi(none[n]));
		IS(-EINVAL, "none, to give back", unmap(0, (int)none[n]));
	}
	IS(-EPERM, "before it is mapped", bind(IRQ));
	IS(-EINVAL, "a message", map(XEN_DOMID_SELF, 0, IRQ, -1));
	IS(-EINVAL, "another number", map(XEN_DOMID_SELF, gsi, IRQ, 3));
	IS(-EPERM, "for another domain", map(1, gsi, IRQ, -1));
	for (unsigned op = 0; op < 40; op++)
		if (op == 5 || op == 6 || (op >= 12 && op <= 14) || op == 21)
			IS(-EFAULT, "what is nowhere", physdev(op, (void *)HOLE));
		else
			IS(-ENOSYS, "no operation", physdev(op, (void *)HOLE));
	for (unsigned n = 0; n < 8; n++) /* nor is a port beside its own */
		check(in((uint16_t)(0x170 + n)) == 0xff, "a port", n);
	bus_of_dom0();
}

/* ---- the disk ---- */

static bool
is_pending(void)
{
	return pv_shared->pending[port / 64] >> port % 64 & 1;
}

/* Its event comes, or never. */
static bool
comes(void)
{
	bool came;

	pv_poll(port, pv_now() + 2000000000);
	came = is_pending();
	while (pv_event_next() >= 0)
		;
	return came;
}

static void
begin(uint32_t lba, uint8_t count, uint8_t command)
{
	out(COUNT, count);
	for (unsigned n = 0; n < 3; n++)
		out((uint16_t)(LBA + n), (uint8_t)(lba >> 8 * n));
	out(DRIVE, 0xe0);
	out(STATUS, command);
}

/* What it was told is done, and its line is up, though nobody may have heard of it. */
static void
settle(uint8_t then)
{
	while ((in(LOOK) & (BUSY | then)) != then)
		;
}

static void
take_sector(void)
{
	uint16_t *to = sector;
	uint64_t words = 256;

	__asm__ volatile("rep insw" : "+D"(to), "+c"(words) : "d"(DATA) : "memory");
	check(!words && to == sector + 256, "rep insw", words);
}

/* Each sector has its interrupt. False: there is no disk, and the command's end has the one. */
static bool
read_all(uint32_t lba, uint8_t count)
{
	begin(lba, count, READ);
	for (unsigned n = 0; n < count; n++) {
		uint8_t found;

		check(comes(), "a sector's interrupt", n);
		found = in(STATUS);
		IS(0, "EOI", eoi(IRQ));
		if (!(found & DRQ))
			return false;
		take_sector();
	}
	return true;
}

static void
one_command(const char *what)
{
	begin(0, 0, IDLE);
	check(comes(), what, 0);
	in(STATUS);
	eoi(IRQ);
	check(!is_pending(), "... and once", 0);
}

/* ---- strings without an end ---- */

static uint64_t at, left;

/* `argument`: the port, and above it the direction flag; all of 2^64 words, from or to `at`. */
static void
words_in(uint64_t argument)
{
	__asm__ volatile("test $0x10000, %2; jz 1f; std; 1: rep insw; cld"
			 : "+D"(at), "+c"(left)
			 : "d"(argument)
			 : "memory", "cc");
}

static void
words_out(uint64_t argument)
{
	__asm__ volatile("rep outsw; cld" : "+S"(at), "+c"(left) : "d"(argument) : "memory");
}

/* Each comes to an address where it may not write, or read, and no further. */
static void
wild(void)
{
	static uint8_t area[3 * 4096] __attribute__((aligned(4096)));
	static const uint64_t none[] = { 0x1000, HOLE, 0xffff800000000000, 0xffff87fffffffffe };
	uint64_t middle = (uint64_t)area + 4096, flags = PTE_P | PTE_W | PTE_U;

	pv_take_traps();
	pv_handler = caught;
	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++) {
		at = none[n], left = ~0ul;
		check(try(words_in, DATA) && last.vector == 14 && !(last.error & 4), "in, nowhere",
		      none[n]);
		at = none[n], left = ~0ul;
		check(try(words_out, DATA) && last.vector == 14, "out, of nowhere", none[n]);
	}
	at = 1ul << 47, left = ~0ul;
	raises("in, beyond canonical", words_in, DATA, 13, 0);
	at = pv_info->pt_base, left = ~0ul;
	raises("in, to a page table", words_in, DATA, 14, 3);
	pv_map((void *)(middle + 4096), 0);
	at = middle, left = ~0ul;
	raises("in, up to what is not there", words_in, DATA, 14, 2);
	check(last.rdi == middle + 4096 && last.rcx == ~0ul - 2048, "... and so far", last.rcx);
	at = middle + 4095, left = ~0ul;
	raises("in, across", words_in, DATA, 14, 2);
	check(last.rcx == ~0ul, "... nothing of it", last.rcx);
	at = middle, left = ~0ul;
	if (!has_word("tame")) {
		raises("out, up to what is not there", words_out, DATA, 14, 0);
		check(last.rsi == middle + 4096 && last.rcx == ~0ul - 2048, "... and so far",
		      last.rcx);
	}
	pv_map((void *)(middle - 4096), 0);
	at = middle + 4094, left = ~0ul;
	raises("in, downwards", words_in, 0x10000 | DATA, 14, 2);
	__asm__ volatile("cld");
	check(last.rdi == middle - 2 && last.rcx == ~0ul - 2048, "... and so far", last.rcx);
	for (unsigned n = 0; n < 3; n += 2)
		pv_map(area + n * 4096, pv_page(area + n * 4096) << 12 | flags);
	pv_handler = NULL;
}

/* ---- none is lost ---- */

static void
by_edge(void)
{
	begin(0, 0, IDLE);
	check(comes(), "by edge", 0);
	in(STATUS);
	begin(0, 0, IDLE); /* before the first one's EOI */
	settle(0);
	check(!is_pending(), "no interrupt before EOI", 0);
	IS(0, "EOI", eoi(IRQ));
	check(comes(), "what came meanwhile", 0);
	in(STATUS);
	eoi(IRQ);
	pv_shared->mask[port / 64] |= 1ul << port % 64;
	begin(0, 0, IDLE);
	check(comes() || is_pending(), "a masked port is pending", 0);
	pv_shared->mask[port / 64] = 0;
	pv_shared->pending[port / 64] = 0;
	in(STATUS);
	eoi(IRQ);
}

/* The line is up until somebody reads the status: after each EOI it comes again. */
static void
level(void)
{
	IS(0, "by level", by_level(IRQ, 1));
	begin(0, 0, IDLE);
	for (unsigned n = 0; n < 1000; n++) {
		check(comes(), "a line that is up", n);
		eoi(IRQ);
		eoi(IRQ);
	}
	check(comes(), "... and again", 0);
	IS(0, "close, with the line up", close());
	IS(0, "EOI of a line that has no port", eoi(IRQ));
	port = (uint32_t)bind(IRQ);
	check(comes(), "bind, with the line up", 0);
	in(STATUS);
	eoi(IRQ);
	check(!is_pending(), "a line that is down", 0);
	begin(0, 0, IDLE);
	check(comes(), "up", 0);
	IS(0, "give it back, with the line up", unmap(XEN_DOMID_SELF, IRQ));
	IS(-EINVAL, "... twice", unmap(XEN_DOMID_SELF, IRQ));
	IS(-EINVAL, "EOI of one that is not mine", eoi(IRQ));
	check(!is_pending(), "it is silent", 0);
	IS(IRQ, "map it again", map(0, XEN_MAP_PIRQ_TYPE_GSI, IRQ, IRQ));
	IS(0, "close its old port", close());
	port = (uint32_t)bind(IRQ);
	check(comes(), "it is still up", 0);
	in(STATUS);
	eoi(IRQ);
}

int
guest_main(const struct xen_start_info *info)
{
	struct zeno_look l;
	uint32_t iopl = 1;

	pv_init(info);
	pv_events_init();
	if (has_word("keys"))
		return keys();
	physdev(XEN_PHYSDEVOP_set_iopl, &iopl);
	if (pv_call(ZENO_CONTROL, ZENO_LOOK, 0, (uint64_t)&l, 0) == -EPERM)
		return nobody();
	not_all();
	IS(IRQ, "its line", map(XEN_DOMID_SELF, XEN_MAP_PIRQ_TYPE_GSI, IRQ, -1));
	IS(XEN_IRQSTAT_needs_eoi, "its status", status(IRQ));
	IS(0, "EOI of what has not come", eoi(IRQ));
	port = (uint32_t)bind(IRQ);
	IS(-EEXIST, "a second port", bind(IRQ));
	IS(-EINVAL, "sending there", pv_send(port));
	out(LOOK, 0);
	in(STATUS);
	settle(0);
	one_command("a command's interrupt");
	if (wrong) { /* then it would wait for each of a thousand */
		pv_printf("%u wrong; it goes no further\n", wrong);
		return 0;
	}
	if (has_word("leave")) {
		by_level(IRQ, 1);
		begin(0, 0, IDLE);
		check(comes(), "its last one", 0);
		eoi(IRQ);
		pv_printf("%u wrong; I leave with the line up\n", wrong);
		return 0;
	}
	by_edge();
	level();
	by_level(IRQ, 0);
	wild();
	if (read_all(1, 3)) {
		sector[255] = 0;
		pv_printf("the disk says %s\n", (const char *)sector);
	}
	pv_printf("%u wrong; the end\n", wrong);
	return 0;
}
