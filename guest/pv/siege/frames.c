/*
 * Descriptors of all kinds, as far as the monitor takes them, selectors of them, and frames of an
 * iret that name any of these, any flags, and any place: each comes back as an exception.
 */
#include <guest/pv/siege/siege.h>

#define ENTRIES 512u
#define PERIOD  1000000ul
#define ENOUGH  10000u

void do_iret(const uint64_t *words), do_iretq(const uint64_t *words);
void do_selectors(uint64_t selectors);
extern uint8_t landing[];

static uint64_t gdt[ENTRIES] __attribute__((aligned(4096)));
static uint8_t kernel_stack[4 * PAGE] __attribute__((aligned(16)));
static uint64_t room[1024], *const words = room + 1000; /* an event may come while rsp is there */
static unsigned came[32], refused;
static volatile bool trying;
static uint64_t where; /* the last exception was ... */
static unsigned again; /* ... so often in a row */

static void
handler(struct pv_frame *f)
{
	if (f->vector == PV_EVENT) {
		while (pv_event_next() >= 0)
			;
		return;
	}
	came[f->vector % 32]++;
	again = f->rip == where ? again + 1 : 0;
	where = f->rip;
	if (again > ENOUGH) /* it has gone where nothing can go on */
		pv_exit(0);
	if (!trying || (f->rip >= (uint64_t)try && f->rip < (uint64_t)try_back + 32) ||
	    (f->rsp > try_rsp && f->rsp < try_rsp + 512))
		return; /* a selector can't be loaded any more, in a new turn: it is null */
	caught(f);
	f->rflags &= ~0x400ul; /* DF: it is C that goes on */
}

/* One that is there most often, and of code or data; or anything. */
static uint64_t
descriptor(void)
{
	uint64_t d = any(~0ul) ^ any(~0ul) << 20;

	if (any(4))
		d |= 0x0000f00000000000ul;
	if (any(3))
		d |= 0x000f00000000fffful;
	return d;
}

static uint64_t
selector(void)
{
	static const uint16_t known[] = { 0,      3,      0xe008, 0xe010, 0xe023, 0xe02b, 0xe030,
					  0xe033, 0xe040, 0xe050, 0xfff8, 0xfffb, 0xdff8, 0x1004 };

	switch (any(4)) {
	case 0:
		return known[any(sizeof(known) / sizeof(known[0]))];
	case 1:
		return any(1ul << 16);
	default:
		return any(ENTRIES * 8);
	}
}

static uint64_t
place(void)
{
	static const uint64_t places[] = { 0x800000000000,
					   0x7fffffffffff,
					   0xffff7fffffffffff,
					   XEN_VIRT_START,
					   0xffff830000000000,
					   XEN_VIRT_END - 2,
					   1ul << 63,
					   ~0ul,
					   0 };

	return any(4) ? (uint64_t)landing : places[any(sizeof(places) / sizeof(places[0]))];
}

/* A stack of the kernel's own where it goes on itself: its handler's frame is to lie there. */
static void
frame(void)
{
	for (unsigned n = 0; n < 4; n++)
		words[n] = any(~0ul);
	words[3] = any(2) ? 0x100 : any(~0ul);
	words[4] = place();
	words[5] = any(3) ? selector() : any(2) ? 0xe033 : 0xe030;
	words[6] = any(2) ? any(~0ul) | 1 << 9 : 0x202;
	words[7] = (words[5] & 3) == 3 && any(2) ? any(~0ul) : try_rsp;
	words[8] = any(3) ? 0xe02b : selector();
}

static void
change_descriptors(void)
{
	for (unsigned n = 0; n < 8; n++) {
		unsigned i = (unsigned)any(ENTRIES);

		refused += pv_call(XEN_update_descriptor, pv_page(gdt) << 12 | i * 8, descriptor(),
				   0, 0) != 0;
	}
}

/*
 * `try_rsp` is where it stands then. By an iretq of its own it stays its kernel, whatever it seems:
 * with code of 32 bits its handler has no stack, and that is its end, most often.
 */
static void
go(uint64_t by)
{
	frame();
	if (by)
		do_iret(words);
	words[7] = try_rsp;
	do_iretq(words);
}

void
frames(void)
{
	struct xen_vcpu_set_periodic_timer period = { PERIOD };
	struct xen_evtchn_bind_virq timer = { .virq = XEN_VIRQ_TIMER };
	unsigned count = pv_number("calls=");
	uint64_t frame_of = pv_page(gdt), rounds = 0;

	begin();
	pv_map(gdt, frame_of << 12 | PTE_P | PTE_U);
	check(!pv_call(XEN_set_gdt, (uint64_t)&frame_of, ENTRIES, 0, 0), "its GDT", 0);
	check(!pv_mmuext(XEN_MMUEXT_NEW_USER_BASEPTR, pv_page((void *)pv_info->pt_base)),
	      "its user's root", 0);
	pv_call(XEN_stack_switch, 0xe02b, (uint64_t)kernel_stack + sizeof(kernel_stack), 0, 0);
	pv_handler = handler;
	pv_event_op(XEN_EVTCHNOP_bind_virq, &timer);
	pv_call(XEN_vcpu_op, XEN_VCPUOP_set_periodic_timer, 0, (uint64_t)&period, 0);
	for (unsigned n = 0; n < count; n++) {
		change_descriptors();
		trying = true;
		try(do_selectors,
		    selector() | selector() << 16 | selector() << 32 | selector() << 48);
		rounds += try(go, any(400));
		trying = false;
	}
	pv_printf("%lu frames led to exceptions: #UD %u, #GP %u, #PF %u, #NP %u, #SS %u\n", rounds,
		  came[6], came[13], came[14], came[11], came[12]);
	pv_exit(0);
}
