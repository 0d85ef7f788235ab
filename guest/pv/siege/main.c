/*
 * A PV kernel that lays siege to whoever is beside it, above it, and at the other end of its rings:
 *
 *   any        calls of all kinds with words of all kinds (seed=N, calls=N)
 *   walk       types are walked without end, and events come in the middle, whose handler asks for
 *              more of the same (die=N: the N-th is its end; several: vCPUs beside it do so, too,
 *              and start and stop each other)
 *   ports      all that there are (stay: at its end, too)
 *   scribble   over all pages that somebody else looks at
 *   frames     it goes anywhere by iret, with descriptors and selectors of all kinds (seed=N,
 *              calls=N)
 *   reserve    frames come and go while they are tables, grants, descriptors (seed=N, calls=N;
 *              me=N: its own number)
 *   ring       it sends and sends
 */
#include <guest/pv/lib/text.h>
#include <guest/pv/siege/siege.h>

int guest_main(const struct xen_start_info *info);

/* ---- words ---- */

#define TABLES   (pv_info->nr_pt_frames)
#define SPARES   8u
#define WINDOW_1 0xffff830000000000ul /* of the hole: the direct map */

static uint8_t spare[SPARES][PAGE] __attribute__((aligned(4096)));
static uint64_t block[512] __attribute__((aligned(4096))); /* what calls are given */

uint64_t seed = 1;

uint64_t
any(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

void
begin(void)
{
	seed = seed * 2654435761u + pv_number("seed=") * 40503ul + 1;
	for (unsigned n = 0; n < 8; n++)
		any(2);
}

static uint8_t *
any_page(void)
{
	return spare[any(SPARES)];
}

static uint64_t
any_table(void)
{
	return pv_info->pt_base + any(TABLES) * PAGE;
}

static uint64_t
any_flags(void)
{
	return any(2) ? PTE_P | PTE_U | (any(2) ? PTE_W : 0) : any(1ul << 12);
}

static uint64_t
edge(void)
{
	static const uint64_t edges[] = {
		~0ul,
		~0ul - 7,
		1ul << 47,
		(1ul << 47) - 8,
		0xffff7ffffffffff8,
		XEN_VIRT_START,
		XEN_VIRT_START - 4,
		XEN_VIRT_END,
		XEN_VIRT_END - 8,
		1ul << 63,
		1ul << 52,
		1ul << 40,
		(1ul << 32) - 1,
		1ul << 32,
		1ul << 31,
		0x7ff0,
		0x7ff1,
		0x7ff2,
	};

	return edges[any(sizeof(edges) / sizeof(edges[0]))] + (any(3) ? 0 : any(9));
}

static uint64_t
word(void)
{
	switch (any(14)) {
	case 0:
	case 1:
		return any(8);
	case 2:
		return any(70);
	case 3:
		return pv_page(any_page());
	case 4:
		return pv_page((void *)any_table());
	case 5:
		return (uint64_t)any_page() + any(PAGE);
	case 6:
		return any_table() + any(PAGE);
	case 7:
		return (pv_page(any_page()) << 12) | any_flags();
	case 8:
		return (pv_page((void *)any_table()) << 12) | any_flags();
	case 9:
		return (pv_page((void *)any_table()) << 12) | any(8);
	case 10:
		return any(1ul << 15); /* somebody's frame */
	case 11:
		return WINDOW_1 + any(1ul << 30);
	case 12:
		return (uint64_t)&block[any(512)];
	default:
		return any(2) ? edge() : seed;
	}
}

/* ---- any calls ---- */

static const uint8_t numbers[] = {
	XEN_mmu_update,        XEN_mmu_update,       XEN_mmuext_op,    XEN_mmuext_op,
	XEN_update_va_mapping, XEN_set_gdt,          XEN_stack_switch, XEN_fpu_taskswitch,
	XEN_set_debugreg,      XEN_get_debugreg,     XEN_memory_op,    XEN_update_descriptor,
	XEN_set_timer_op,      XEN_xen_version,      XEN_console_io,   XEN_grant_table_op,
	XEN_grant_table_op,    XEN_vm_assist,        XEN_vcpu_op,      XEN_set_segment_base,
	XEN_event_channel_op,  XEN_event_channel_op, XEN_physdev_op,   XEN_set_trap_table,
	XEN_callback_op,
};

/* Where an entry of a spare page's is: what is there next is most often the guest's own end. */
static uint64_t
entry_at(void)
{
	uint64_t n = ((uint64_t)any_page() - (uint64_t)virt_base) / PAGE;

	return any(3000) ? (pv_page((void *)(pv_info->pt_base + (3 + n / 512) * PAGE)) << 12) +
				   n % 512 * 8 + any(3)
			 : (pv_page((void *)any_table()) << 12) + any(PAGE);
}

/* A call that is neither its own end nor a sleep, most often. */
static struct xen_multicall_entry
call(void)
{
	struct xen_multicall_entry c = { .op = numbers[any(sizeof(numbers))] };

	for (unsigned n = 0; n < 6; n++)
		c.args[n] = any(3) ? word() : (uint64_t)block;
	switch (c.op) {
	case XEN_mmu_update:
		for (unsigned n = 0; n < 16; n++)
			block[n] = n % 2 ? word() : entry_at();
		c.args[0] = any(9) ? (uint64_t)block : c.args[0];
		c.args[1] = any(9) ? any(9) : c.args[1];
		c.args[2] = any(3) ? 0 : c.args[2];
		c.args[3] = any(9) ? XEN_DOMID_SELF : c.args[3];
		break;
	case XEN_mmuext_op:
		for (unsigned n = 0; n < 12; n += 3)
			block[n] = any(22);
		c.args[0] = any(9) ? (uint64_t)block : c.args[0];
		c.args[1] = any(9) ? any(5) : c.args[1];
		c.args[2] = any(3) ? 0 : c.args[2];
		c.args[3] = any(9) ? XEN_DOMID_SELF : c.args[3];
		break;
	case XEN_update_va_mapping:
		c.args[0] = any(2000) ? (uint64_t)any_page() : c.args[0];
		break;
	case XEN_console_io:
		c.args[0] = 1 + any(4); /* its words are no news */
		break;
	case XEN_callback_op:
		block[0] = 4; /* where nothing ever comes */
		c.args[1] = (uint64_t)block;
		break;
	case XEN_set_trap_table:
		for (unsigned n = 0; n < 64; n += 2)
			block[n] |= 32;
		c.args[0] = (uint64_t)block;
		break;
	default:
		c.args[0] = any(9) ? any(20) : c.args[0];
		break;
	}
	return c;
}

static void
any_call(void)
{
	static struct xen_multicall_entry many[70];
	struct xen_multicall_entry c;

	for (unsigned n = (unsigned)any(40); n; n--)
		block[any(512)] = word();
	if (any(8)) {
		c = call();
		pv_call(c.op, c.args[0], c.args[1], c.args[2], c.args[3]);
		return;
	}
	for (unsigned n = 0; n < 70; n++)
		many[n] = call();
	pv_call(XEN_multicall, (uint64_t)many, any(71), 0, 0);
}

static void
any_calls(void)
{
	unsigned count = pv_number("calls=");

	begin();
	for (unsigned n = 0; n < count; n++) {
		uint64_t until = pv_now() + 100000;

		any_call();
		if (any(30) == 0)
			pv_poll((uint32_t)any(9), until);
	}
	pv_printf("%u calls; the end\n", count);
	pv_exit(0);
}

/* ---- what somebody else looks at ---- */

static void
scribble_over(volatile uint64_t *page)
{
	uint64_t words[16];

	for (unsigned n = 0; n < 16; n++) /* `word` asks start_info for its pages: first of all */
		words[n] = any(3) ? word() : 0;
	for (uint64_t n = any(500); n; n--)
		page[any(512)] = words[any(16)];
}

/* Its own start_info, too: whoever has made it may want to know what was there. */
static void
scribble(void)
{
	uint32_t console = pv_info->console_evtchn, store = pv_info->store_evtchn;
	volatile uint64_t *const pages[] = { pv_machine_page(pv_info->console_mfn),
					     pv_machine_page(pv_info->store_mfn),
					     (volatile uint64_t *)pv_shared };
	struct xen_start_info *info = (void *)(uintptr_t)pv_info, was = *pv_info;

	begin();
	pv_vcpu->upcall_mask = 1;
	for (unsigned n = 0; n < 300; n++) {
		scribble_over(pages[any(3)]);
		scribble_over((volatile uint64_t *)info);
		pv_send(console);
		pv_send(store);
		*info = was;
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	}
	memset(info, 0xff, PAGE);
	pv_printf("all is scribbled over\n");
	pv_exit(0);
}

/* ---- it sends ---- */

static void
ring(void)
{
	pv_printf("I ring\n");
	for (;;) {
		pv_send(pv_info->console_evtchn);
		pv_send(pv_info->store_evtchn);
	}
}

/* What comes of it is nothing to it. */
static void
take(struct pv_frame *f)
{
	if (f->vector == PV_EVENT)
		while (pv_event_next() >= 0)
			;
	else
		caught(f);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_take_traps();
	pv_handler = take;
	pv_events_init();
	pv_vcpu->upcall_mask = 0;
	if (has_word("any"))
		any_calls();
	if (has_word("walk"))
		walk();
	if (has_word("ports"))
		ports();
	if (has_word("frames"))
		frames();
	if (has_word("reserve"))
		reservation();
	if (has_word("scribble"))
		scribble();
	if (has_word("ring"))
		ring();
	pv_printf("no such word\n");
	return 1;
}
