/*
 * A guest with a CPU of its own that lays siege to the services: calls of all kinds with words of
 * all kinds (`seed=N calls=N`), pages of Zeno's shown anywhere, under what it has granted, where
 * Zeno writes, and over each other; and whatever is behind them is read and written meanwhile.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/grants.h>
#include <guest/pv/lib/text.h>
#include <guest/pvh/lib/pvh.h>
#include <inc/xen_vcpu.h>

#define PAGE  4096u
#define POOL  16u
#define TABLE 32u /* frames of a grant table, and more */
#define HIGH  (1ul << 20)

static uint8_t pool[POOL][PAGE] __attribute__((aligned(4096)));
static uint64_t block[64];
static uint64_t seed, done;
static unsigned shown, refused, maps, peer;
static uint64_t mapped_at[8];
static bool trying;

int guest_main(const struct xen_start_info *info);

static void
handler(struct pv_frame *f)
{
	if (f->vector == PV_EVENT) {
		pv_vcpu->upcall_pending = 0;
		return;
	}
	if (!trying) { /* it has an upcall by a vector that has no gate, say */
		pv_printf("exception %lu at %lx; the end\n", f->vector, f->rip);
		pv_exit(0);
	}
	f->rip = (uint64_t)try_back;
	f->rsp = try_rsp;
	f->cs = 8;
	f->ss = 16;
}

static uint64_t
any(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

/* Of its own, of nobody's, of a device's; of its code or its tables now and then: its end. */
static uint64_t
any_frame(void)
{
	static const uint64_t edges[] = {
		0,        0xa0,       0x9f,      0xff,       0xfec00, 0xfee00,           0xfffff,
		HIGH - 1, HIGH << 12, 1ul << 40, ~0ul >> 12, ~0ul,    HIGH + (1ul << 17)
	};

	switch (any(8)) {
	case 0:
		return HIGH + any(4);
	case 1:
		return 0x1000 + any(8); /* behind its 16 MiB: its rings, and then nothing */
	case 2:
		return edges[any(sizeof(edges) / sizeof(edges[0]))];
	default:
		return (uint64_t)pool[any(POOL)] >> 12;
	}
}

static uint64_t
word(void)
{
	switch (any(6)) {
	case 0:
		return any(9);
	case 1:
		return any_frame();
	case 2:
		return any_frame() << 12 | any(PAGE);
	case 3:
		return (uint64_t)&block[any(60)];
	case 4:
		return ~0ul - any(9);
	default:
		return seed;
	}
}

static void
to_msr(uint64_t page)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(XEN_HYPERCALL_MSR), "a"((uint32_t)page), "d"(page >> 32)
			 : "memory");
}

static void
touch(uint64_t at)
{
	*(volatile uint64_t *)(at & ~7ul) += 1;
}

static void
grant(void)
{
	volatile struct xen_grant_entry *e = &pv_grants[any(12)];

	e->flags = 0;
	e->domid = (uint16_t)(any(2) ? any(4) : any(1ul << 16));
	e->frame = (uint32_t)any_frame();
	e->flags = (uint16_t)(any(3) ? XEN_GTF_permit_access : any(1ul << 16));
}

static void
copy(void)
{
	struct xen_gnttab_copy c[4];

	for (unsigned n = 0; n < 4; n++)
		c[n] = (struct xen_gnttab_copy){
			.source = { any(2) ? any(14) : any_frame(),
				    any(2) ? XEN_DOMID_SELF : (uint16_t)any(4),
				    (uint16_t)any(PAGE) },
			.dest = { any(2) ? any(14) : any_frame(),
				  any(2) ? XEN_DOMID_SELF : (uint16_t)any(4), (uint16_t)any(PAGE) },
			.len = (uint16_t)any(PAGE),
			.flags = (uint16_t)any(4),
		};
	pv_grant_op(XEN_GNTTABOP_copy, c, (unsigned)any(5));
}

/* Somebody's, its own too, behind any frame; and an end of some mapping, or of none. */
static void
map(void)
{
	struct xen_gnttab_map_grant_ref m = {
		.host_addr = any_frame() << 12 | (any(9) ? 0 : any(PAGE)),
		.flags = any(2) ? XEN_GNTMAP_host_map : (uint32_t)any(64),
		.ref = (uint32_t)any(28),
		.dom = (uint16_t)(any(4) ? peer : any(4))
	};
	struct xen_gnttab_unmap_grant_ref u = { .host_addr = any(2) ? any_frame() << 12
								    : mapped_at[any(8)],
						.handle = (uint32_t)any(24) };

	if (any(2)) {
		pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1);
		maps += !m.status;
		if (!m.status)
			mapped_at[any(8)] = m.host_addr;
	} else {
		pv_grant_op(XEN_GNTTABOP_unmap_grant_ref, &u, 1);
		maps -= !u.status;
	}
}

static void
to_vcpu(void)
{
	static const uint8_t ops[] = { XEN_VCPUOP_register_runstate_memory_area,
				       XEN_VCPUOP_register_vcpu_time_memory_area,
				       XEN_VCPUOP_register_vcpu_info,
				       XEN_VCPUOP_set_singleshot_timer,
				       XEN_VCPUOP_set_periodic_timer,
				       XEN_VCPUOP_stop_periodic_timer,
				       XEN_VCPUOP_get_runstate_info,
				       XEN_VCPUOP_initialise };
	unsigned op = ops[any(sizeof(ops))];

	block[0] = op == XEN_VCPUOP_register_vcpu_info     ? any_frame()
		   : op == XEN_VCPUOP_set_periodic_timer   ? 1000000
		   : op == XEN_VCPUOP_set_singleshot_timer ? any(10000000000)
							   : word();
	block[1] = any(2) ? any(64) * 64 : 0;
	if (!pv_call(XEN_vcpu_op, op, any(9) ? 0 : any(5), (uint64_t)block, 0) &&
	    op == XEN_VCPUOP_register_vcpu_info)
		pv_vcpu = (void *)((block[0] << 12) + (uint32_t)block[1]);
}

static void
anything(void)
{
	static const uint8_t numbers[] = { XEN_xen_version,      XEN_console_io,
					   XEN_vm_assist,        XEN_event_channel_op,
					   XEN_hvm_op,           XEN_memory_op,
					   XEN_event_channel_op, XEN_set_timer_op,
					   XEN_grant_table_op };
	unsigned number = numbers[any(sizeof(numbers))];
	bool prints = number == XEN_console_io; /* its words are no news */
	uint64_t op = prints ? 1 + any(3) : any(12);

	for (unsigned n = 0; n < 8; n++)
		block[n] = any(2) ? any(16) : word();
	pv_call(number, op, any(3) ? (uint64_t)block : word(), any(20), word());
}

static void
tries(void *fn, uint64_t argument)
{
	trying = true;
	try(fn, argument);
	trying = false;
}

static void
step(void)
{
	int64_t err;

	switch (any(12)) {
	case 0:
	case 1:
		map();
		break;
	case 2:
	case 10:
	case 11:
		err = pvh_show(any(2) ? XEN_XENMAPSPACE_shared_info : XEN_XENMAPSPACE_grant_table,
			       any(3) ? 0 : any(TABLE + 2), any_frame());
		shown += !err;
		refused += err != 0;
		break;
	case 3:
		tries(to_msr, any_frame() << 12 | (any(4) ? 0 : any(PAGE)));
		break;
	case 4:
		tries(touch, any_frame() << 12 | any(PAGE));
		break;
	case 5:
		grant();
		break;
	case 6:
		copy();
		break;
	case 7:
		to_vcpu();
		break;
	default:
		anything();
	}
}

int
guest_main(const struct xen_start_info *info)
{
	unsigned calls = pv_number("calls=");

	(void)info;
	seed = pv_number("seed=") * 2654435761u + 1;
	pv_handler = handler;
	pvh_events_init();
	peer = pv_number("peer=");
	pvh_show(XEN_XENMAPSPACE_grant_table, 0, (uint64_t)pv_grants >> 12);
	for (done = 0; done < calls; done++)
		step();
	pv_printf("%u mapped still, %u shown, %u refused; the end\n", maps, shown, refused);
	return 0;
}
