/*
 * A domain that is brought back out of an image that means harm: page tables that lead where they
 * may not, contexts of a CPU that no guest may have. What would have been refused to the domain
 * itself is refused to whoever says it for it, and what is not refused does no harm when it runs.
 */
#include <guest/pv/control/control.h>
#include <inc/xen_vcpu.h>

enum { CODE = 16, TABLES = 32, L4 = TABLES, L3, L2, L1, BAD, USER }; /* guest frames of its */
#define VA    0xffffffff80000000ul
#define INNER (PTE_P | PTE_W | PTE_U)

static uint64_t window[512] __attribute__((aligned(4096)));
static uint64_t words[512] __attribute__((aligned(4096)));
static struct xen_guest_context fine, g;
static uint64_t it; /* its number */
static uint32_t vcpus = 1;

static uint64_t
its(uint64_t pfn)
{
	return ZENO_FRAME_MFN(words[pfn]);
}

static int64_t
show(uint64_t pfn)
{
	return control(ZENO_MAP, it, pfn, (uint64_t)window | ZENO_MAP_WRITE);
}

static void
hide(void)
{
	REFUSES(0, "its own again", pv_map(window, pv_page(window) << 12 | INNER));
}

static void
put(uint64_t pfn, unsigned index, uint64_t entry)
{
	REFUSES(0, "a page that is to be written", show(pfn));
	window[index] = entry;
	hide();
}

static int64_t
pin(uint64_t pfn, unsigned level)
{
	return control(ZENO_PIN, it, pfn, level);
}

static int64_t
begin_one(uint64_t vcpu)
{
	return control(ZENO_BEGIN, it, vcpu, (uint64_t)&g);
}

static int64_t
begin(void)
{
	return begin_one(0);
}

/* ---- one that could run ---- */

/* Its code is a loop of hypercalls, in one page that its tables map, among themselves. */
static void
make(void)
{
	static const uint8_t code[] = { 0xb8, 29, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0xeb, 0xf5 };
	struct zeno_create c = good;

	c.empty = 1;
	c.mib = 2;
	c.vcpus = vcpus;
	c.console_pfn = 1;
	c.store_pfn = 2;
	it = (uint64_t)create(&c);
	REFUSES(-512, "its frames", control(ZENO_FRAMES, it, 0, (uint64_t)words));
	put(L4, 511, its(L3) << 12 | INNER);
	put(L3, 510, its(L2) << 12 | INNER);
	put(L2, 0, its(L1) << 12 | INNER);
	REFUSES(0, "a table", show(L1));
	for (unsigned n = 0; n < TABLES + 8; n++)
		window[n] = its(n) << 12 | (n < TABLES ? INNER : INNER & ~PTE_W);
	hide();
	REFUSES(0, "code", show(CODE));
	memcpy(window, code, sizeof(code));
	hide();
	memset(&fine, 0, sizeof(fine));
	fine.flags = XEN_VGCF_IN_KERNEL | XEN_VGCF_ONLINE;
	fine.regs.rip = VA + CODE * PAGE;
	fine.regs.rsp = VA + CODE * PAGE;
	fine.regs.cs = XEN_FLAT_CS64;
	fine.regs.ss = XEN_FLAT_SS64;
	fine.ctrlreg[3] = its(L4) << 12;
	g = fine;
}

static void
drop(void)
{
	REFUSES(0, "destroy", control(ZENO_DESTROY, it, 0, 0));
	wait_for_end(it);
	REFUSES(0, "let go", control(ZENO_RELEASE, it, 0, 0));
}

/* ---- what is refused ---- */

/* A second vCPU of one that the builder has made would do what dom0 likes in that one's name. */
static void
begins_beside(void)
{
	struct zeno_create c = good;
	uint64_t pfn = 0;

	c.vcpus = 2;
	it = (uint64_t)create(&c);
	control(ZENO_FRAMES, it, 0, (uint64_t)words);
	while (pfn < 511 && ZENO_FRAME_TYPE(words[pfn]) != 4)
		pfn++;
	memset(&g, 0, sizeof(g));
	g.flags = XEN_VGCF_IN_KERNEL | XEN_VGCF_ONLINE;
	g.ctrlreg[3] = its(pfn) << 12;
	REFUSES(EEXIST, "a vCPU beside a kernel's first", begin_one(1));
	control(ZENO_UNPAUSE, it, 0, 0);
	REFUSES(EEXIST, "... that runs", begin_one(1));
	drop();
}

void
built_ones(uint64_t id)
{
	it = id;
	REFUSES(EEXIST, "a pin of one that the builder has made", pin(0, 1));
	REFUSES(EEXIST, "... that is to begin once more", begin());
	REFUSES(EBUSY, "what one does that has not suspended",
		control(ZENO_CONTEXT, id, 0, (uint64_t)&g));
	REFUSES(ENOENT, "... of no vCPU", control(ZENO_CONTEXT, id, 9, (uint64_t)&g));
	REFUSES(EEXIST, "a vCPU that is none", control(ZENO_BEGIN, id, 1, (uint64_t)&g));
	REFUSES(EINVAL, "frames beyond all", control(ZENO_FRAMES, id, ~0ul, (uint64_t)words));
	REFUSES(EFAULT, "frames, into the hole", control(ZENO_FRAMES, id, 0, DIRECT));
	REFUSES(EEXIST, "a context in the hole", control(ZENO_BEGIN, id, 0, DIRECT));
	begins_beside();
}

/* An entry that no table may have, of each level. */
static void
entries(void)
{
	const uint64_t own = pv_page(window), root = pv_page((void *)pv_info->pt_base);
	const struct {
		unsigned level;
		uint64_t entry;
		const char *what;
	} bad[] = {
		{ 1, own << 12 | INNER, "a page of dom0's" },
		{ 1, root << 12 | PTE_P | PTE_U, "a page table of dom0's" },
		{ 1, pv_info->shared_info | INNER, "what dom0 shares with Zeno" },
		{ 1, PTE_P | PTE_U, "the machine's first page" },
		{ 1, 0x100000 | INNER, "Zeno's own" },
		{ 1, 0x000ffffffffff000ul | INNER, "no memory at all" },
		{ 1, its(CODE) << 12 | INNER | 1ul << 7, "bits that are none" },
		{ 1, its(BAD) << 12 | INNER, "itself, for writing" },
		{ 2, its(CODE) << 12 | INNER | 1ul << 7, "a large page" },
		{ 2, root << 12 | INNER, "a table of dom0's" },
		{ 2, its(BAD) << 12 | INNER, "itself, as a table below" },
		{ 3, its(L1) << 12 | INNER, "a table of a wrong level" },
	};

	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		put(BAD, 7, bad[n].entry);
		REFUSES(EINVAL, bad[n].what, pin(BAD, bad[n].level));
	}
	put(BAD, 7, 0);
	for (unsigned level = 1; level <= 4; level++) {
		REFUSES(0, "an empty one", pin(BAD + (level & 1), level));
		REFUSES(EINVAL, "... twice", pin(BAD + (level & 1), level));
		REFUSES(EINVAL, "... for writing", show(BAD + (level & 1)));
		drop();
		make();
	}
}

static void
pins(void)
{
	REFUSES(EINVAL, "a pin of what it has not", pin(512, 1));
	REFUSES(EINVAL, "... beyond all", pin(~0ul, 1));
	REFUSES(EINVAL, "... of no level", pin(L1, 0));
	REFUSES(EINVAL, "... of a fifth", pin(L4, 5));
	REFUSES(0, "a table, to write to", show(L3));
	REFUSES(EINVAL, "... that is to be one at once", pin(L4, 4));
	hide();
	REFUSES(0, "... when it is not", pin(L4, 4));
	REFUSES(EINVAL, "a table below, to write to", show(L1));
}

static void
is_refused(const char *what, uint64_t *place, uint64_t value)
{
	*place = value;
	REFUSES(EINVAL, what, begin());
	g = fine;
}

static void
contexts(void)
{
	const uint64_t wild = 0x800000000000ul, own = pv_page(window);

	is_refused("no root", &g.ctrlreg[3], 0);
	is_refused("dom0's root", &g.ctrlreg[3], pv_page((void *)pv_info->pt_base) << 12);
	is_refused("a root that is memory", &g.ctrlreg[3], pv_page(window) << 12);
	is_refused("a root beyond all", &g.ctrlreg[3], ~0ul);
	is_refused("a table below as its root", &g.ctrlreg[3], its(L3) << 12);
	is_refused("its user's root", &g.ctrlreg[1], its(L2) << 12);
	is_refused("its user, without a root", &g.flags, 0);
	is_refused("a place that is none", &g.regs.rip, wild);
	is_refused("a handler", &g.traps[14].address, wild);
	is_refused("a base", &g.fs_base, wild);
	is_refused("too many descriptors", &g.gdt_entries, 1ul << 40);
	g = fine;
	g.gdt_entries = 512;
	g.gdt_frames[0] = own;
	REFUSES(EINVAL, "dom0's memory as descriptors", begin());
	g.gdt_frames[0] = its(L4);
	REFUSES(EINVAL, "a page table as descriptors", begin());
}

/* ---- what runs ---- */

/* It has its turns, whatever it does with them, or has ended by a fault of its own. */
static void
let_run(void)
{
	control(ZENO_UNPAUSE, it, 0, 0);
	pv_poll(0, pv_now() + 3000000);
}

/* Ring 0, its ports, its flags: what is not refused is not what it gets. */
static void
harmless(void)
{
	g = fine;
	g.ldt_base = DIRECT;
	is_refused("an LDT in the hole", &g.ldt_entries, 1);
	g.regs.cs = 0xe008;
	g.regs.ss = 0xe010;
	g.regs.rflags = ~0ul & ~(1ul << 8);
	g.regs.ds = g.regs.es = g.regs.fs = g.regs.gs = 0xe010;
	g.ctrlreg[0] = g.ctrlreg[4] = ~0ul;
	g.flags = ~0ul;
	g.vm_assist = ~0ul;
	memset(g.fpu, 0xff, sizeof(g.fpu));
	memset(g.debugreg, 0xff, sizeof(g.debugreg));
	g.traps[13] = (struct xen_trap_info){ 13, 3, 0xe008, DIRECT };
	REFUSES(0, "all that is harmful, if it were believed", begin());
	REFUSES(EEXIST, "... once more", begin());
	REFUSES(EEXIST, "... a pin behind it", pin(USER, 1));
	let_run();
}

/* A word of it is another one, or several. */
static void
any_context(void)
{
	uint64_t *all = (uint64_t *)&g;

	g = fine;
	for (uint64_t n = draw(6); n; n--)
		all[draw(2) ? draw(sizeof(g) / 8) : 64 + draw(26)] ^=
			draw(2) ? 1ul << draw(64) : draw(~0ul);
}

/* ---- what suspends ---- */

/* Or all the time that it needs for that has gone by. */
static bool
is_suspended(void)
{
	uint64_t until = pv_now() + 1000000000;
	struct zeno_look l = { .state = ZENO_RUNS };

	while (l.state != ZENO_PAUSED && pv_now() < until) {
		pv_poll(0, pv_now() + 100000);
		control(ZENO_LOOK, it, (uint64_t)&l, 0);
	}
	return l.state == ZENO_PAUSED && l.why == ZENO_SUSPEND;
}

/* Not by having suspended: it stands still, and its exits are what they were. */
static bool
is_paused(void)
{
	struct zeno_look l, later;

	control(ZENO_LOOK, it, (uint64_t)&l, 0);
	pv_poll(0, pv_now() + 3000000);
	control(ZENO_LOOK, it, (uint64_t)&later, 0);
	return later.state == ZENO_PAUSED && later.why == ZENO_NOT_YET && l.exits == later.exits;
}

/* One that does nothing else is paused none the less, if it is let go only of what it has asked. */
static void
pauses(void)
{
	static const uint8_t code[] = {
		0xb8, 29,   0,    0,   0,                  /* mov eax, XEN_sched_op */
		0xbf, 2,    0,    0,   0,                  /* mov edi, XEN_SCHEDOP_shutdown */
		0x48, 0xc7, 0xc6, 0,   8, CODE / 16, 0x80, /* mov rsi, VA + CODE * PAGE + 0x800 */
		0x0f, 0x05, 0xeb, 0xeb                     /* syscall, and anew */
	};
	struct zeno_look l;

	make();
	REFUSES(0, "code", show(CODE));
	memcpy(window, code, sizeof(code));
	window[0x800 / 8] = XEN_SHUTDOWN_suspend;
	hide();
	g = fine;
	REFUSES(0, "one that suspends", begin());
	control(ZENO_UNPAUSE, it, 0, 0);
	check(is_suspended(), "it suspends", 0);
	REFUSES(0, "... and goes on", control(ZENO_UNPAUSE, it, true, 0));
	check(is_suspended(), "... and again", 0);
	REFUSES(0, "a pause meanwhile", control(ZENO_PAUSE, it, 0, 0));
	REFUSES(0, "... which stays", control(ZENO_UNPAUSE, it, true, 0));
	check(is_paused(), "it stands still", 0);
	REFUSES(EBUSY, "what it goes on with", control(ZENO_CONTEXT, it, 0, (uint64_t)&g));
	REFUSES(0, "its end of both", control(ZENO_UNPAUSE, it, 0, 0));
	check(is_suspended(), "... behind which it runs", 0);
	REFUSES(0, "what it goes on with", control(ZENO_CONTEXT, it, 0, (uint64_t)&g));
	REFUSES(0, "its end", control(ZENO_DESTROY, it, 0, 0));
	wait_for_end(it);
	control(ZENO_LOOK, it, (uint64_t)&l, 0);
	check(l.why == ZENO_KILLED, "it was not put away", l.why);
	REFUSES(0, "let go", control(ZENO_RELEASE, it, 0, 0));
}

/* Of several vCPUs any may be the first to begin, and others never do. */
static void
any_one(void)
{
	vcpus = 1 + (uint32_t)draw(ZENO_VCPUS);
	make();
	if (draw(2)) { /* a table has an entry more */
		uint64_t to = draw(2) ? its(draw(64)) : draw(1ul << 20);

		put(L4 + draw(4), (unsigned)draw(512), to << 12 | draw(1ul << 12));
	}
	for (uint64_t n = draw(3); n; n--)
		pin(TABLES + draw(8), (unsigned)draw(5));
	for (uint64_t n = draw(vcpus) + 1; n; n--) {
		uint64_t vcpu = draw(4) ? draw(vcpus) : draw(ZENO_VCPUS);

		any_context();
		if (begin_one(vcpu) && draw(2)) {
			g = fine;
			begin_one(vcpu);
		}
		if (!draw(4))
			let_run();
	}
	let_run();
	drop();
	vcpus = 1;
}

/* dom0 ends before one is back: nobody has begun, or, of a second one, its second vCPU alone. */
int
leave_empty(void)
{
	vcpus = 2;
	make();
	pv_printf("dom0 ends with %lu", it);
	make();
	REFUSES(0, "its second vCPU, before its first", begin_one(1));
	pv_printf(" %lu\n", it);
	return 0;
}

void
empty_ones(unsigned rounds)
{
	struct zeno_create c = good;
	struct zeno_look l;

	c.empty = 1;
	c.console_pfn = c.mib << 8;
	REFUSES(EINVAL, "a ring beyond its memory", create(&c));
	make();
	control(ZENO_UNPAUSE, it, 0, 0); /* nobody has begun it */
	REFUSES(0, "it stands still", control(ZENO_PAUSE, it, 0, 0));
	g = fine;
	REFUSES(EEXIST, "a vCPU of one that was let go", begin());
	REFUSES(EEXIST, "... a page table", pin(L1, 1));
	drop();
	make();
	entries();
	pins();
	contexts();
	harmless();
	drop();
	make();
	g = fine;
	REFUSES(0, "one that is as it should be", begin());
	let_run();
	do /* as often as it takes: it does nothing else */
		pv_poll(0, pv_now() + 1000000);
	while (control(ZENO_LOOK, it, (uint64_t)&l, 0) > 0 && l.state != ZENO_ENDED &&
	       l.exits < 10);
	check(l.state != ZENO_ENDED, "it runs", l.exits);
	drop();
	pauses();
	while (rounds--)
		any_one();
}
