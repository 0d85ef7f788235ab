/*
 * What domain control must refuse. Under the name dom0 it is dom0, and means harm, or is careless:
 * frames, numbers, pointers, and then anything at random (`long`: more of it); `die=WORD`: it ends
 * with another's pages mapped; `idle`: it is there.
 * Under any other name nothing is its to ask. Its ramdisk is the kernel of whom it makes.
 */
#include <guest/pv/control/control.h>

int guest_main(const struct xen_start_info *info);

static uint8_t window[2][PAGE] __attribute__((aligned(4096)));
struct zeno_create good;
static struct zeno_look l;

/* ---- who is not dom0 ---- */

static int
nobody(void)
{
	for (unsigned op = 0; op <= ZENO_BEGIN; op++)
		for (uint64_t id = 0; id < 20; id++)
			REFUSES(EPERM, "an operation", control(op, id, 0, (uint64_t)window));
	pv_printf("%u wrong; nothing is mine to ask\n", wrong);
	return 0;
}

/* ---- what dom0 may not ask ---- */

static void
numbers(void)
{
	static const uint64_t ids[] = { 0, 2, 16, 17, 0x7ff0, 0x10001, ~0ul, 1ul << 63 };

	for (unsigned op = ZENO_PAUSE; op <= ZENO_BEGIN; op++) {
		if (op == ZENO_SAID)
			continue;
		for (unsigned n = op == ZENO_WEIGHT; n < sizeof(ids) / sizeof(ids[0]); n++)
			REFUSES(ESRCH, "a number that nobody has",
				control(op, ids[n], 0, (uint64_t)window));
		REFUSES(EPERM, "itself", control(op, 1, 0, (uint64_t)window));
	}
	REFUSES(EINVAL, "no weight of its own", control(ZENO_WEIGHT, 0, 0, 0));
	REFUSES(EINVAL, "a weight of too much", control(ZENO_WEIGHT, 0, 65536, 0));
	REFUSES(ESRCH, "looking beyond all", control(ZENO_LOOK, ~0ul, (uint64_t)&l, 0));
	REFUSES(EFAULT, "looking into the hole", control(ZENO_LOOK, 0, DIRECT, 0));
	REFUSES(EFAULT, "what was said, into the hole", control(ZENO_SAID, ~0ul, DIRECT, 0));
	REFUSES(EFAULT, "looking into a page table", control(ZENO_LOOK, 0, pv_info->pt_base, 0));
}

static void
wrong_ones(void)
{
	static const uint64_t wild[] = {
		0, PAGE, DIRECT, 0xffff87fffffffff8, 0x7ffffffffffc, 0x800000000000, ~0ul - 2
	};
	struct zeno_create c;

	for (unsigned n = 0; n < sizeof(wild) / sizeof(wild[0]); n++) {
		REFUSES(EFAULT, "what is nowhere", control(ZENO_CREATE, wild[n], 0, 0));
		c = good, c.kernel = wild[n];
		REFUSES(EFAULT, "a kernel that is nowhere", create(&c));
		c = good, c.ramdisk = wild[n], c.ramdisk_size = 9;
		REFUSES(EFAULT, "a ramdisk that is nowhere", create(&c));
	}
	c = good, c.kernel_size = ~0ul;
	REFUSES(E2BIG, "a kernel that has no end", create(&c));
	c = good, c.kernel_size = 200ul << 20;
	REFUSES(EFAULT, "a kernel that goes beyond its memory", create(&c));
	c = good, c.kernel_size = 0;
	REFUSES(ENOEXEC, "no kernel", create(&c));
	c = good, c.kernel += 1;
	REFUSES(ENOEXEC, "what is no kernel", create(&c));
	c = good, c.mib = 0;
	REFUSES(EINVAL, "no memory", create(&c));
	c = good, c.vcpus = 0;
	REFUSES(EINVAL, "no vCPU", create(&c));
	c = good, c.vcpus = ZENO_VCPUS + 1;
	REFUSES(EINVAL, "a vCPU too many", create(&c));
	c = good, c.type = ZENO_PVH + 1;
	REFUSES(EINVAL, "a type that there is not", create(&c));
	c = good, c.mib = 1ul << 45;
	REFUSES(EINVAL, "more memory than there are addresses", create(&c));
	c = good, c.mib = 4096;
	REFUSES(ENOMEM, "more memory than there is", create(&c));
	c = good, c.name[0] = 0;
	REFUSES(EINVAL, "no name", create(&c));
	c = good, c.name[1] = '\n';
	REFUSES(EINVAL, "a name of two lines", create(&c));
	c = good, memset(c.name, 'x', sizeof(c.name));
	REFUSES(EINVAL, "a name without an end", create(&c));
	c = good, memcpy(c.name, "dom0", 5);
	REFUSES(EINVAL, "another dom0", create(&c));
	c = good, memset(c.words, 'x', sizeof(c.words));
	REFUSES(EINVAL, "words without an end", create(&c));
}

static void
in_a_multicall(void)
{
	struct {
		uint64_t op, result, args[6];
	} call = { .op = ZENO_CONTROL, .args = { ZENO_LOOK, 0, (uint64_t)&l } };

	pv_call(XEN_multicall, (uint64_t)&call, 1, 0, 0);
	check(call.result == (uint64_t)-EINVAL, "one of many", call.result);
}

static uint64_t
entry_of(const void *va)
{
	const uint64_t *table = NULL;

	/*
	 * the builder's tables: the first of level 1 is the fourth of them, and maps from VIRT_BASE
	 * on
	 */
	table = (const uint64_t *)(pv_info->pt_base + 3 * PAGE);
	return table[((uint64_t)va - 0xffffffff80000000) >> 12];
}

/* Of a domain whose number is `id`, and which has not run yet. */
static void
frames(uint64_t id)
{
	uint64_t at = (uint64_t)window[0], beside = (uint64_t)window[1], own = pv_page(window[1]),
		 foreign;

	control(ZENO_LOOK, id, (uint64_t)&l, 0);
	REFUSES(EINVAL, "a page that it does not have", control(ZENO_MAP, id, l.ram >> 12, at));
	REFUSES(EINVAL, "a page beyond all", control(ZENO_MAP, id, ~0ul, at));
	REFUSES(EINVAL, "into the hole", control(ZENO_MAP, id, 0, DIRECT));
	REFUSES(EINVAL, "where there is no table", control(ZENO_MAP, id, 0, 0));
	REFUSES(EINVAL, "with bits that are none", control(ZENO_MAP, id, 0, at | 4));
	/* of the builder's order, the page behind the console is its root */
	REFUSES(EINVAL, "its root, to write to",
		control(ZENO_MAP, id, l.console_pfn + 1, at | ZENO_MAP_WRITE));
	REFUSES(0, "its root, to look at", control(ZENO_MAP, id, l.console_pfn + 1, at));
	foreign = entry_of(window[0]) & 0x000ffffffffff000ul;
	check(foreign && foreign != pv_page(window[0]) << 12, "it is mapped", foreign);
	REFUSES(EINVAL, "... for writing after all", pv_map(window[0], foreign | 7));
	REFUSES(EINVAL, "... once more, elsewhere", pv_map(window[1], foreign | 5));
	REFUSES(EINVAL, "... as a table of its own",
		pv_mmuext(XEN_MMUEXT_PIN_L4_TABLE, foreign >> 12));
	REFUSES(EINVAL, "... as a root", pv_mmuext(XEN_MMUEXT_NEW_BASEPTR, foreign >> 12));
	REFUSES(EINVAL, "... written by a hypercall", pv_update(foreign, 0));
	REFUSES(0, "its console", control(ZENO_MAP, id, l.console_pfn, at | ZENO_MAP_WRITE));
	window[0][0] = 42;
	REFUSES(0, "... twice", control(ZENO_MAP, id, l.console_pfn, beside));
	check(window[1][0] == 42, "... and it is the same", window[1][0]);
	window[0][0] = 0;
	REFUSES(0, "... and not any more", pv_map(window[1], own << 12 | 7));
	window[1][0] = 1;
	check(!window[0][0], "... it is its own again", window[0][0]);
}

/* ---- a table of level 1 that has pages of others ---- */

#define SLOT  100u /* of the table of level 2 that maps the kernel: 2 MiB at... */
#define THERE (0xffffffff80000000ul + ((uint64_t)SLOT << 21))

static uint8_t spare[PAGE] __attribute__((aligned(4096)));

static int64_t
hook(uint64_t flags)
{
	uint64_t level2 = pv_page((void *)(pv_info->pt_base + 2 * PAGE));

	return pv_update((level2 << 12) + SLOT * 8, flags ? pv_page(spare) << 12 | flags : 0);
}

/* It is one while it is in use; taken out of the tables it can't come back with them. */
static void
in_a_table(uint64_t id)
{
	uint64_t own = pv_page(spare) << 12;

	control(ZENO_LOOK, id, (uint64_t)&l, 0);
	REFUSES(0, "a page that is only read", pv_map(spare, own | 5));
	REFUSES(0, "... is a table", hook(7));
	REFUSES(0, "a page of another's there", control(ZENO_MAP, id, l.console_pfn, THERE | 1));
	REFUSES(0, "and more", control(ZENO_MAP, id, l.console_pfn + 1, THERE + PAGE));
	*(volatile uint8_t *)(THERE + 8) = 7;
	REFUSES(0, "the table is none", hook(0));
	REFUSES(EINVAL, "... and can't be one again", hook(7));
	REFUSES(EINVAL, "... by a pin", pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, own >> 12));
	REFUSES(0, "it is memory", pv_map(spare, own | 7));
	memset(spare, 0, sizeof(spare));
	REFUSES(0, "and a table", pv_map(spare, own | 5));
	REFUSES(0, "... when they are gone", hook(7));
	REFUSES(0, "a page of another's there", control(ZENO_MAP, id, l.console_pfn, THERE | 1));
}

/* What is told as ended can be let go of. */
void
wait_for_end(uint64_t id)
{
	while (control(ZENO_LOOK, id, (uint64_t)&l, 0) == (int64_t)id && l.state != ZENO_ENDED)
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
}

/* There is one CPU: what two had of it is no more than the clock of the one that was first. */
static void
one_cpu(uint64_t id)
{
	uint64_t used;

	control(ZENO_LOOK, id, (uint64_t)&l, 0);
	used = l.used;
	check(used && l.ns, "it has had the CPU", used);
	control(ZENO_LOOK, 0, (uint64_t)&l, 0);
	check(l.used && used + l.used <= l.ns, "both together, not longer than that",
	      used + l.used);
}

/* ---- anything ---- */

static uint8_t windows[16][PAGE] __attribute__((aligned(4096)));
static uint64_t
any_address(void)
{
	const uint64_t wild[] = { 0,
				  DIRECT,
				  0x800000000000,
				  ~0ul,
				  pv_info->pt_base,
				  draw(~0ul),
				  THERE + draw(512) * PAGE };

	if (draw(4))
		return (uint64_t)windows[draw(15)] + (draw(8) ? draw(2) : draw(PAGE));
	return wild[draw(sizeof(wild) / sizeof(wild[0]))];
}

static void
any_create(void)
{
	struct zeno_create c = good;
	uint64_t *field[] = { &c.kernel, &c.kernel_size, &c.ramdisk, &c.ramdisk_size, &c.mib };

	c.mib = 2 + draw(3);
	if (draw(2))
		*field[draw(5)] += draw(3) ? draw(PAGE) : draw(~0ul);
	if (c.mib > 100) /* all there is, and more: for long */
		c.mib = draw(20) ? 1 : 4096;
	create(&c);
}

static void
one_thing(void)
{
	uint64_t id = draw(18), n = draw(16), own = pv_page(windows[n]) << 12;

	switch (draw(16)) {
	case 0:
		any_create();
		break;
	case 1:
		pv_map(windows[n], own | 7);
		break;
	case 2: /* what is there, with other bits */
		pv_map(windows[n], entry_of(windows[n]) ^ (1ul << (draw(24) + 52) % 64));
		break;
	case 3:
		pv_map(windows[n], entry_of(windows[draw(16)]));
		break;
	case 4:
		pv_mmuext((unsigned)draw(XEN_MMUEXT_NEW_BASEPTR),
			  entry_of(windows[n]) >> 12 & 0xffffff);
		break;
	case 5:
		hook(draw(2) ? 7 : 0);
		break;
	case 6:
		control(ZENO_DESTROY, id, 0, 0);
		break;
	case 7:
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
		break;
	case 8:
		control((unsigned)draw(16), draw(3) ? id : draw(~0ul),
			draw(3) ? draw(600) : draw(~0ul), any_address());
		break;
	case 9:
		for (n = 0; n < 16; n++)
			pv_map(windows[n], pv_page(windows[n]) << 12 | 7);
		break;
	case 10:
		control(ZENO_RELEASE, id, 0, 0);
		break;
	case 11:
		control(ZENO_PAUSE + (unsigned)draw(2), id, 0, 0);
		break;
	default:
		control(ZENO_MAP, id, draw(600), any_address());
	}
}

static void
unmap(void *window)
{
	uint64_t own = pv_page(window) << 12;

	if (pv_map(window, own | 7)) /* it may have become a table */
		REFUSES(0, "it is its own again", pv_map(window, own | 5));
}

/* Nothing is left of anybody behind it. */
static void
anything(unsigned rounds)
{
	pv_map(spare, pv_page(spare) << 12 | 7);
	memset(spare, 0, sizeof(spare));
	pv_map(spare, pv_page(spare) << 12 | 5);
	while (rounds--)
		one_thing();
	if (has_word("die="))
		return;
	for (unsigned n = 0; n < 16; n++)
		unmap(windows[n]);
	unmap((void *)pv_info->pt_base);
	hook(0);
	for (uint64_t id = 2; id < 17; id++)
		if (!control(ZENO_DESTROY, id, 0, 0)) {
			wait_for_end(id);
			REFUSES(0, "let go of the rest", control(ZENO_RELEASE, id, 0, 0));
		}
}

/* It has ended, and nothing that is mapped is anybody else's before it is let go. */
static void
ends(uint64_t id)
{
	uint64_t own = pv_page(window[0]) << 12 | 7;

	REFUSES(EBUSY, "letting go of what runs", control(ZENO_RELEASE, id, 0, 0));
	REFUSES(0, "destroy", control(ZENO_DESTROY, id, 0, 0));
	REFUSES(0, "... and again", control(ZENO_DESTROY, id, 0, 0));
	wait_for_end(id);
	one_cpu(id);
	REFUSES(EBUSY, "letting go of what is mapped", control(ZENO_RELEASE, id, 0, 0));
	window[0][8] = 1;
	REFUSES(ENODATA, "pause, behind its end", control(ZENO_PAUSE, id, 0, 0));
	REFUSES(0, "its pages are there", control(ZENO_MAP, id, 0, (uint64_t)window[1]));
	REFUSES(0, "unmap", pv_map(window[0], own));
	REFUSES(EBUSY, "letting go of what is mapped still", control(ZENO_RELEASE, id, 0, 0));
	REFUSES(0, "unmap", pv_map(window[1], pv_page(window[1]) << 12 | 7));
	REFUSES(EBUSY, "letting go of what a table has", control(ZENO_RELEASE, id, 0, 0));
	REFUSES(0, "the table is none", hook(0));
	REFUSES(0, "letting go", control(ZENO_RELEASE, id, 0, 0));
	REFUSES(ESRCH, "letting go twice", control(ZENO_RELEASE, id, 0, 0));
}

/* As many as there are numbers, which all end at once; the first ones run. */
static void
many(void)
{
	struct zeno_create small = good;
	int64_t id[17] = { 0 };
	unsigned count = 0;

	small.mib = 2;
	while (count < 16 && (id[count] = create(&small)) > 0)
		count++;
	check(count > 12 && id[count] == -ENOMEM, "more than there are numbers", count);
	for (unsigned n = 0; n < 4; n++)
		control(ZENO_UNPAUSE, (uint64_t)id[n], 0, 0);
	for (unsigned n = 0; n < count; n++)
		REFUSES(0, "end one of many", control(ZENO_DESTROY, (uint64_t)id[n], 0, 0));
	while (count--) {
		wait_for_end((uint64_t)id[count]);
		REFUSES(0, "let go of one of many",
			control(ZENO_RELEASE, (uint64_t)id[count], 0, 0));
	}
}

/* With pages of one that is paused, of one that runs, of one that has ended. */
static int
die(void)
{
	int64_t id[3];

	for (unsigned n = 0; n < 3; n++) {
		id[n] = create(&good);
		control(ZENO_LOOK, (uint64_t)id[n], (uint64_t)&l, 0);
		if (n < 2)
			control(ZENO_MAP, (uint64_t)id[n], l.console_pfn,
				(uint64_t)window[n] | ZENO_MAP_WRITE);
	}
	control(ZENO_DESTROY, (uint64_t)id[1], 0, 0);
	control(ZENO_UNPAUSE, (uint64_t)id[2], 0, 0);
	if (has_word("die=late"))
		pv_poll(0, pv_now() + 20000000);
	pv_printf("dom0 ends with %ld %ld %ld\n", id[0], id[1], id[2]);
	return has_word("die=crash");
}

int
guest_main(const struct xen_start_info *info)
{
	int64_t id, other;

	pv_init(info);
	pv_events_init();
	if (control(ZENO_LOOK, 0, (uint64_t)&l, 0) == -EPERM)
		return nobody();
	good = (struct zeno_create){ .name = "made",
				     .kernel = info->mod_start,
				     .kernel_size = info->mod_len,
				     .mib = 8,
				     .vcpus = 1 };
	while (has_word("idle"))
		pv_poll(0, 0);
	if (has_word("die=any"))
		anything(3000);
	if (has_word("die=midway"))
		return leave_empty();
	if (has_word("die="))
		return die();
	numbers();
	wrong_ones();
	in_a_multicall();
	id = create(&good);
	check(id == 2, "one that is as it should be", (uint64_t)id);
	other = create(&good);
	devices((uint64_t)id, (uint64_t)other);
	built_ones((uint64_t)id);
	frames((uint64_t)id);
	in_a_table((uint64_t)id);
	ends((uint64_t)id);
	control(ZENO_DESTROY, (uint64_t)other, 0, 0);
	wait_for_end((uint64_t)other);
	REFUSES(0, "the other one, too", control(ZENO_RELEASE, (uint64_t)other, 0, 0));
	devices_are_back();
	for (unsigned n = 0; n < (has_word("long") ? 20 : 1); n++)
		many();
	empty_ones(has_word("long") ? 400 : 20);
	anything(has_word("long") ? 40000 : 2000);
	pv_printf("%u wrong; the end\n", wrong);
	return 0;
}
