/*
 * Other vCPUs beside the first one: they change what it walks, look for each other's roots and
 * tables, start and stop each other, and have their areas where somebody has a page table.
 */
#include <guest/pv/lib/text.h>
#include <guest/pv/siege/siege.h>
#include <inc/xen_vcpu.h>

#define OTHERS 3u
#define STACK  (2 * PAGE)

static uint8_t stacks[OTHERS + 1][STACK] __attribute__((aligned(4096)));
static uint64_t gdt[512] __attribute__((aligned(4096)));
extern const uint64_t pv_event_entry, pv_handlers[21]; /* start.asm */

static void
other_main(void)
{
	for (;;)
		others_turn();
}

static uint64_t
some_root(void)
{
	return (any(3) ? pv_page((void *)pv_info->pt_base) : walked()) << 12;
}

/* Most often it can begin; and where not, roots have been taken in which it could not run. */
static void
start(unsigned n)
{
	static struct xen_guest_context g;
	bool good = any(4);

	memset(&g, 0, sizeof(g));
	g.flags = XEN_VGCF_IN_KERNEL | (any(2) ? XEN_VGCF_ONLINE : 0);
	g.regs.rip = (uint64_t)other_main;
	g.regs.rsp = (uint64_t)stacks[n] + STACK - 8;
	g.regs.cs = XEN_FLAT_CS64;
	g.regs.ss = XEN_FLAT_SS64;
	g.regs.rflags = 0x202;
	for (unsigned v = 0; v < 20; v++)
		g.traps[v] = (struct xen_trap_info){ .vector = (uint8_t)v,
						     .cs = XEN_FLAT_CS64,
						     .address = pv_handlers[v] };
	g.event_callback = pv_event_entry;
	g.gdt_frames[0] = any(4) ? pv_page(gdt) : walked();
	g.gdt_entries = any(2) ? 512 : 0;
	g.kernel_sp = g.regs.rsp;
	g.ctrlreg[3] = good ? pv_page((void *)pv_info->pt_base) << 12 : some_root();
	g.ctrlreg[1] = any(2) ? some_root() : 0;
	g.ldt_base = any(2) ? (uint64_t)gdt : any(2) ? pv_info->pt_base : any(~0ul);
	g.ldt_entries = !good ? 8193 : any(2) ? 0 : any(513);
	pv_call(XEN_vcpu_op, XEN_VCPUOP_initialise, n, (uint64_t)&g, 0);
}

void
others_begin(void)
{
	while (pv_call(XEN_vcpu_op, XEN_VCPUOP_up, 1, 0, 0))
		start(1);
}

/* What one does to another: to itself, too. */
void
to_another(void)
{
	unsigned n = 1 + (unsigned)any(OTHERS);
	uint64_t at = any(2) ? (uint64_t)gdt + any(PAGE) : pv_info->pt_base + any(PAGE);
	struct xen_vcpu_register_vcpu_info place = { .mfn = any(2) ? pv_page(gdt) : walked(),
						     .offset = (uint32_t)any(64) * 64 };

	switch (any(9)) {
	case 0:
	case 1:
		start(n);
		break;
	case 2:
	case 3:
		pv_call(XEN_vcpu_op, XEN_VCPUOP_up, n, 0, 0);
		break;
	case 4:
		pv_call(XEN_vcpu_op, XEN_VCPUOP_down, n, 0, 0);
		break;
	case 5:
		pv_call(XEN_vcpu_op, XEN_VCPUOP_register_runstate_memory_area, n, (uint64_t)&at, 0);
		break;
	case 6:
		pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_time_memory_area, n, (uint64_t)&at,
			0);
		break;
	case 7:
		if (!any(8))
			pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, n, (uint64_t)&place, 0);
		break;
	default:
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	}
}
