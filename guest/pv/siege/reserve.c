/*
 * Frames that come and go (memory_op) while they are anything else: mapped in several places,
 * tables that are pinned or walked, descriptors, grants that are mapped or copied, what Zeno writes
 * of its vCPU. Lists are long and wrong, and in the middle of them events come, whose handler
 * changes the same frames.
 */
#include <guest/pv/lib/grants.h>
#include <guest/pv/lib/memory.h>
#include <guest/pv/siege/siege.h>

#define POOL   48u
#define LIST   96u
#define REFS   24u /* grants, from FIRST on */
#define FIRST  8u
#define READ   (PTE_P | PTE_U)
#define PERIOD 300000ul

static uint8_t pool[POOL][PAGE] __attribute__((aligned(4096)));
static uint64_t had[POOL]; /* frames that it had there once, or has */
static uint64_t list[2][LIST];
static struct mapping {
	bool there;
	uint32_t handle;
	uint64_t at, bus; /* of the host's; of a device's */
} mappings[REFS];
static uint16_t me;
static uint64_t gone, come, others, mapped, copied, typed; /* what has been done */

static uint64_t
frame(void)
{
	uint64_t mfn = any(40) ? had[any(POOL)] : any(1ul << 15);

	return mfn ? mfn : had[any(POOL)];
}

static void *
place(void)
{
	return pool[any(POOL)];
}

static uint64_t
entry(void)
{
	return any(3) ? frame() << 12 | READ | (any(3) ? 0 : PTE_W) : 0;
}

/* One of them is another one now; most often the one that has gone. */
static void
learn(uint64_t was, uint64_t mfn)
{
	unsigned n = 0;

	while (n < POOL && had[n] != was)
		n++;
	had[n < POOL ? n : any(POOL)] = mfn;
}

/* ---- memory_op ---- */

static void
reserve(void)
{
	static const enum xen_memory_op ops[] = { XEN_XENMEM_decrease_reservation,
						  XEN_XENMEM_populate_physmap,
						  XEN_XENMEM_increase_reservation };
	unsigned n = 1 + (unsigned)any(any(4) ? 4 : LIST), which = (unsigned)any(3);
	uint64_t *to = list[0];
	int64_t done;

	for (unsigned i = 0; i < n; i++)
		to[i] = which ? pv_pfn(place()) : frame();
	done = pv_reserve(ops[which], to, n, any(8) ? 0 : (unsigned)any(4));
	*(which ? &come : &gone) += (uint64_t)done;
	for (int64_t i = 0; i < done; i++)
		which ? learn(0, to[i]) : learn(to[i], 0);
}

static void
exchange(void)
{
	unsigned in = any(6) ? 0 : (unsigned)any(4), out = any(6) ? 0 : (unsigned)any(4);
	uint64_t frames = (1 + any(any(4) ? 3 : LIST / 8)) << (in > out ? in : out);
	struct xen_memory_exchange x = {
		.in = { (uint64_t)list[0], frames >> in, in, 0, XEN_DOMID_SELF },
		.out = { (uint64_t)list[1], frames >> out, out, 0, XEN_DOMID_SELF },
		.nr_exchanged = any(9) ? 0 : any(4),
	};

	for (unsigned n = 0; n < LIST; n++) {
		list[0][n] = frame();
		list[1][n] = pv_pfn(place());
	}
	pv_memory_op(XEN_XENMEM_exchange, &x);
	others += x.nr_exchanged;
	for (uint64_t n = 0; n < x.nr_exchanged >> out && n < LIST; n++)
		learn(list[0][n << out >> in], list[1][n]);
}

/* ---- all else ---- */

static void
tables(void)
{
	struct xen_mmuext_op ops[4];
	unsigned n;

	switch (any(4)) {
	case 0: /* and what was there is gone: so it may be pinned, or given back */
		pv_map(place(), entry());
		break;
	case 1:
		pv_map(place(), 0);
		break;
	case 2:
		pv_update((frame() << 12) + any(512) * 8,
			  any(8) ? entry() : any(9) << 12 | any(1ul << 12));
		break;
	default:
		for (n = 0; n < 4; n++)
			ops[n] = (struct xen_mmuext_op){ .cmd = any(2) ? XEN_MMUEXT_UNPIN_TABLE
								       : (uint32_t)any(4),
							 .arg1 = frame() };
		typed += !pv_call(XEN_mmuext_op, (uint64_t)ops, 1 + any(4), 0, XEN_DOMID_SELF);
	}
}

static void
descriptors(void)
{
	uint64_t two[2] = { frame(), frame() };
	struct xen_mmuext_op ldt = { .cmd = XEN_MMUEXT_SET_LDT,
				     .arg1 = (uint64_t)place(),
				     .arg2 = any(600) };

	switch (any(4)) {
	case 0:
		pv_call(XEN_set_gdt, (uint64_t)two, any(1025), 0, 0);
		break;
	case 1:
		pv_call(XEN_mmuext_op, (uint64_t)&ldt, 1, 0, XEN_DOMID_SELF);
		break;
	case 2:
		pv_mmuext(XEN_MMUEXT_NEW_USER_BASEPTR, any(2) ? frame() : 0);
		break;
	default:
		pv_call(XEN_update_descriptor, frame() << 12 | any(PAGE), any(~0ul), 0, 0);
	}
}

/* One that is there is over, most often as it should be; else there is one. */
static void
map_or_unmap(unsigned n)
{
	struct mapping *m = &mappings[n];
	struct xen_gnttab_map_grant_ref r = { .flags = (uint32_t)any(32),
					      .ref = FIRST + n,
					      .dom = me };

	if (m->there) {
		m->there = pv_unmap_grant((void *)(any(9) ? m->at : (uint64_t)place()), m->bus,
					  m->handle) != 0;
		return;
	}
	r.host_addr = r.flags & XEN_GNTMAP_contains_pte ? (frame() << 12) + any(512) * 8
							: (uint64_t)place();
	m->there = !pv_grant_op(XEN_GNTTABOP_map_grant_ref, &r, 1) && !r.status;
	m->handle = r.handle;
	m->at = r.host_addr;
	m->bus = r.dev_bus_addr;
	mapped += m->there;
}

static void
grants(void)
{
	unsigned n = (unsigned)any(REFS);

	switch (any(4)) {
	case 0:
		pv_grants[FIRST + n].frame = (uint32_t)frame();
		pv_grants[FIRST + n].domid = any(9) ? me : 0;
		pv_grants[FIRST + n].flags = XEN_GTF_permit_access;
		break;
	case 1:
	case 2:
		map_or_unmap(n);
		break;
	default:
		copied += !pv_copy_grant(pv_granted(me, FIRST + n, 0),
					 (struct xen_gnttab_copy_ptr){ frame(), XEN_DOMID_SELF, 0 },
					 64, XEN_GNTCOPY_source_gref);
	}
}

/* Once: it stays there, with its mask, for nobody here looks into it any more. */
static void
own_info(void)
{
	struct xen_vcpu_register_vcpu_info r = { .mfn = frame() };

	pv_vcpu->upcall_mask = 1;
	pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, 0, (uint64_t)&r, 0);
}

static void
change(void)
{
	switch (any(10)) {
	case 0:
	case 1:
		reserve();
		break;
	case 2:
		exchange();
		break;
	case 3:
		descriptors();
		break;
	case 4:
	case 5:
		grants();
		break;
	default:
		tables();
	}
}

/* ---- it begins ---- */

static void
event(struct pv_frame *f)
{
	if (f->vector != PV_EVENT) {
		caught(f);
		return;
	}
	while (pv_event_next() >= 0)
		;
	for (uint64_t n = any(6); n; n--)
		change();
}

/* Mapped or not, to be written or read: a page table is written by whoever emulates that. */
static void
touch(uint64_t at)
{
	volatile uint64_t *word = (volatile uint64_t *)at + any(512);

	if (any(2))
		*word = entry();
	else
		(void)*word;
}

/* Its own number is 1 where the monitor starts it. */
void
reservation(void)
{
	struct xen_vcpu_set_periodic_timer period = { PERIOD };
	struct xen_evtchn_bind_virq timer = { .virq = XEN_VIRQ_TIMER };
	unsigned count = pv_number("calls=");

	begin();
	me = (uint16_t)pv_number("me=");
	check(!pv_grants_init(), "grants", 0);
	for (unsigned n = 0; n < POOL; n++)
		had[n] = pv_page(pool[n]);
	pv_handler = event;
	pv_event_op(XEN_EVTCHNOP_bind_virq, &timer);
	pv_call(XEN_vcpu_op, XEN_VCPUOP_set_periodic_timer, 0, (uint64_t)&period, 0);
	for (unsigned n = 0; n < count; n++) {
		change();
		if (!any(4))
			try(touch, (uint64_t)place());
		if (n == count - count / 8)
			own_info();
	}
	pv_printf("frames: %lu gone, %lu come, %lu others; %lu types, %lu mapped, %lu copied\n",
		  gone, come, others, typed, mapped, copied);
	pv_printf("it has %ld of %ld; the end\n", pv_reserved(XEN_XENMEM_current_reservation),
		  pv_reserved(XEN_XENMEM_maximum_reservation));
	pv_exit(0);
}
