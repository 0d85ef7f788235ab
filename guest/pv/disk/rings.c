/*
 * Rings that can't be one, and what becomes of one that is: pages that are not to be had, in
 * entries that give nothing; ports that lead elsewhere; and, while the back end has a ring mapped,
 * all that is done to take it away.
 */
#include <guest/pv/disk/disk.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/memory.h>
#include <guest/pv/lib/text.h>

#define REF 20u
#define MAY XEN_GTF_permit_access

static uint8_t page[4096] __attribute__((aligned(4096)));

static void
entry(uint16_t flags, uint16_t domid, uint64_t frame)
{
	pv_grants[REF] = (struct xen_grant_entry){ flags, domid, (uint32_t)frame };
}

/* The handshake with this ring and this port: whether the back end takes them. */
static bool
is_taken(uint32_t ref, uint32_t port)
{
	show(XEN_XENBUS_Closed);
	show(XEN_XENBUS_Initialising);
	check(back_becomes(XEN_XENBUS_InitWait), "it waits for a ring", ref);
	xenbus_write_number(&bus, 0, disk.here, "ring-ref", ref);
	xenbus_write_number(&bus, 0, disk.here, "event-channel", port);
	show(XEN_XENBUS_Initialised);
	while (xenbus_read_number(&bus, 0, disk.there, "state", &(uint64_t){ 0 }))
		;
	return !back_becomes(XEN_XENBUS_Closed);
}

static uint32_t
unbound(uint16_t for_whom)
{
	struct xen_evtchn_alloc_unbound a = { .dom = XEN_DOMID_SELF, .remote_dom = for_whom };

	check(!pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a), "a port", 0);
	return a.port;
}

/* ---- what is none ---- */

static void
pages(void)
{
	uint64_t own = pv_page(page), table = 0;
	struct xen_gnttab_setup_table setup = { XEN_DOMID_SELF, 1, 0, (uint64_t)&table };
	uint32_t port = unbound(0);

	check(!pv_grant_op(XEN_GNTTABOP_setup_table, &setup, 1), "its table", 0);
	const struct xen_grant_entry none[] = {
		{ MAY | XEN_GTF_readonly, 0, (uint32_t)own },
		{ 0, 0, (uint32_t)own },
		{ XEN_GTF_accept_transfer, 0, (uint32_t)own },
		{ XEN_GTF_transitive, 0, (uint32_t)own },
		{ MAY | XEN_GTF_sub_page, 0, (uint32_t)own },
		{ MAY, 1, (uint32_t)own },
		{ MAY, XEN_DOMID_SELF, (uint32_t)own },
		{ MAY, 0, 0 },
		{ MAY, 0, ~0u },
		{ MAY, 0, (uint32_t)pv_page((void *)pv_info->pt_base) },
		{ MAY, 0, (uint32_t)(pv_info->shared_info >> 12) },
		{ MAY, 0, (uint32_t)table },
	};

	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++) {
		entry(none[n].flags, none[n].domid, none[n].frame);
		check(!is_taken(REF, port), "a page that is no ring", n);
	}
	check(pv_give_page(page), "its page is given back", 0);
	entry(MAY, 0, own);
	check(!is_taken(REF, port), "... and no ring", own);
	check(pv_get_page(page), "another one", 0);
}

static void
ports(void)
{
	struct xen_evtchn_bind_virq timer = { .virq = XEN_VIRQ_TIMER };
	struct xen_evtchn_bind_ipi ipi = { .vcpu = 0 };
	struct xen_evtchn_close c = { unbound(0) };
	struct xen_evtchn_bind_interdomain to_itself = { .remote_dom = XEN_DOMID_SELF,
							 .remote_port = unbound(XEN_DOMID_SELF) };

	check(!pv_event_op(XEN_EVTCHNOP_bind_virq, &timer), "a timer's", 0);
	check(!pv_event_op(XEN_EVTCHNOP_bind_ipi, &ipi), "an IPI's", 0);
	check(!pv_event_op(XEN_EVTCHNOP_close, &c), "one that is closed", 0);
	check(!pv_event_op(XEN_EVTCHNOP_bind_interdomain, &to_itself), "to itself", 0);
	const uint32_t none[] = { timer.port,
				  ipi.port,
				  c.port,
				  to_itself.local_port,
				  to_itself.remote_port,
				  pv_info->console_evtchn,
				  pv_info->store_evtchn,
				  unbound(5),
				  0,
				  ~0u };

	entry(MAY, 0, pv_page(page));
	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++) {
		check(!is_taken(REF, none[n]), "a port that is none for dom0", n);
		check(!(pv_grants[REF].flags & XEN_GTF_writing), "... which lets go of the page",
		      n);
	}
}

/* ---- one that is ---- */

static void
taken_away(void)
{
	uint64_t frame = pv_page(page), out = pv_pfn(page);
	struct xen_memory_exchange x = { .in = { (uint64_t)&frame, 1, 0, 0, XEN_DOMID_SELF },
					 .out = { (uint64_t)&out, 1, 0, 0, XEN_DOMID_SELF } };
	uint32_t port = unbound(0);
	struct xen_evtchn_close c = { port };

	memset(page, 0, sizeof(page));
	check(is_taken(REF, port), "a ring", 0);
	check(!pv_map(page, 0), "it has it mapped no more", 0);
	check(!pv_reserve(XEN_XENMEM_decrease_reservation, &frame, 1, 0), "nor gives it back", 0);
	check(pv_memory_op(XEN_XENMEM_exchange, &x), "nor has another one", 0);
	check(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, frame), "nor a table", 0);
	check(!pv_revoke(REF), "it is not taken back", 0);
	entry(MAY, 0, 0); /* the entry is its own to write */
	check(!pv_event_op(XEN_EVTCHNOP_close, &c), "its port is closed", 0);
	show(XEN_XENBUS_Connected);
	show(XEN_XENBUS_Closed);
	check(back_becomes(XEN_XENBUS_Closed), "dom0 lets go", 0);
	check(pv_reserve(XEN_XENMEM_decrease_reservation, &frame, 1, 0) == 1, "it goes", frame);
	check(pv_get_page(page), "another one", 0);
}

void
rings(void)
{
	pages();
	ports();
	taken_away();
	while (disk.mine != XEN_XENBUS_Closed)
		show(XEN_XENBUS_Closed);
	show(XEN_XENBUS_Initialising);
	check(!blk_connect(&disk), "and it has a disk again", 0);
	check(!blk_do(&disk, XEN_BLKIF_OP_READ, 0, page, 8), "... that is good", 0);
}
