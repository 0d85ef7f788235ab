/*
 * The second vCPU: what it begins with, and how it is told what to do.
 */
#include <guest/pv/cpus/cpus.h>

uint64_t gdt[CPUS][512] __attribute__((aligned(4096)));
uint64_t root[512] __attribute__((aligned(4096))); /* of its own */
uint64_t stacks[CPUS][STACK / 8] __attribute__((aligned(4096)));

extern const uint64_t pv_event_entry, pv_handlers[21]; /* start.asm */

struct xen_guest_context *
context_for(unsigned n, void *entry)
{
	static struct xen_guest_context g;

	g = (struct xen_guest_context){
		.flags = XEN_VGCF_IN_KERNEL | XEN_VGCF_I387_VALID,
		.regs = { .rip = (uint64_t)entry,
			  .rsp = (uint64_t)stacks[n] + STACK,
			  .cs = XEN_FLAT_CS64 & ~3u,
			  .ss = XEN_FLAT_SS64 & ~3u,
			  .rflags = 0x202 },
		.gdt_frames = { pv_page(gdt[n]) },
		.gdt_entries = 512,
		.kernel_ss = XEN_FLAT_SS64,
		.kernel_sp = (uint64_t)stacks[n] + STACK,
		.ctrlreg = { [3] = pv_page((void *)pv_info->pt_base) << 12 },
		.event_callback = pv_event_entry,
	};
	g.fpu[0] = 0x7f; /* FCW, and MXCSR, of a reset */
	g.fpu[1] = 0x03;
	g.fpu[24] = 0x80;
	g.fpu[25] = 0x1f;
	for (unsigned v = 0; v < 20; v++)
		g.traps[v] = (struct xen_trap_info){ .vector = (uint8_t)v,
						     .cs = XEN_FLAT_CS64,
						     .address = pv_handlers[v] };
	return &g;
}

/* ---- its orders ---- */

static void (*volatile wanted)(void);

void
second_main(void)
{
	for (;;) {
		if (wanted) {
			wanted();
			wanted = NULL;
		}
		give_up_turn();
	}
}

void
order(void (*fn)(void))
{
	wanted = fn;
}

void
obeyed(void)
{
	while (wanted)
		give_up_turn();
}

void
tell(void (*fn)(void))
{
	order(fn);
	obeyed();
}
