/* BUILD: -D__XEN_INTERFACE_VERSION__=0x00040d00 */
/*
 * inc/xen_block.h against the public headers of Debian's libxen-dev: each number, and each field's
 * place.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

#include <inc/xen_block.h>

#include "abi.h"

static void
numbers(void)
{
	SAME(XEN_XENBUS_Unknown, XenbusStateUnknown);
	SAME(XEN_XENBUS_Initialising, XenbusStateInitialising);
	SAME(XEN_XENBUS_InitWait, XenbusStateInitWait);
	SAME(XEN_XENBUS_Initialised, XenbusStateInitialised);
	SAME(XEN_XENBUS_Connected, XenbusStateConnected);
	SAME(XEN_XENBUS_Closing, XenbusStateClosing);
	SAME(XEN_XENBUS_Closed, XenbusStateClosed);
	SAME(XEN_XENBUS_Reconfiguring, XenbusStateReconfiguring);
	SAME(XEN_XENBUS_Reconfigured, XenbusStateReconfigured);
	SAME(XEN_BLKIF_OP_READ, BLKIF_OP_READ);
	SAME(XEN_BLKIF_OP_WRITE, BLKIF_OP_WRITE);
	SAME(XEN_BLKIF_OP_WRITE_BARRIER, BLKIF_OP_WRITE_BARRIER);
	SAME(XEN_BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_FLUSH_DISKCACHE);
	SAME(XEN_BLKIF_OP_DISCARD, BLKIF_OP_DISCARD);
	SAME(XEN_BLKIF_OP_INDIRECT, BLKIF_OP_INDIRECT);
	SAME(XEN_BLKIF_RSP_OKAY, BLKIF_RSP_OKAY);
	SAME(XEN_BLKIF_RSP_ERROR, BLKIF_RSP_ERROR);
	SAME(XEN_BLKIF_RSP_EOPNOTSUPP, BLKIF_RSP_EOPNOTSUPP);
	SAME(XEN_BLKIF_SEGMENTS, BLKIF_MAX_SEGMENTS_PER_REQUEST);
	SAME(XEN_BLKIF_RING, __CONST_RING_SIZE(blkif, 4096));
	SAME(XEN_VDISK_READONLY, VDISK_READONLY);
}

static void
layouts(void)
{
	FIELD(blkif_request, operation, operation);
	FIELD(blkif_request, nr_segments, nr_segments);
	FIELD(blkif_request, handle, handle);
	FIELD(blkif_request, id, id);
	FIELD(blkif_request, sector_number, sector_number);
	FIELD(blkif_request, seg, seg);
	SIZE(blkif_request);
	SAME(offsetof(struct xen_blkif_indirect, indirect_op),
	     offsetof(struct blkif_request_indirect, indirect_op));
	SAME(offsetof(struct xen_blkif_indirect, nr_segments),
	     offsetof(struct blkif_request_indirect, nr_segments));
	SAME(offsetof(struct xen_blkif_indirect, sector_number),
	     offsetof(struct blkif_request_indirect, sector_number));
	SAME(offsetof(struct xen_blkif_indirect, grefs),
	     offsetof(struct blkif_request_indirect, indirect_grefs));
	SAME(XEN_BLKIF_INDIRECT_PAGES, BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST);
	SAME(sizeof(struct xen_blkif_segment), sizeof(struct blkif_request_segment));
	SAME(offsetof(struct xen_blkif_discard, nr_sectors),
	     offsetof(struct blkif_request_discard, nr_sectors));
	FIELD(blkif_response, id, id);
	FIELD(blkif_response, operation, operation);
	FIELD(blkif_response, status, status);
	SIZE(blkif_response);
	SAME(offsetof(struct xen_blkif_segment, first_sect),
	     offsetof(struct blkif_request_segment, first_sect));
	SAME(offsetof(struct xen_blkif_segment, last_sect),
	     offsetof(struct blkif_request_segment, last_sect));
	SAME(sizeof(struct xen_blkif_segment), sizeof(struct blkif_request_segment));
	SAME(sizeof(union xen_blkif_entry), sizeof(union blkif_sring_entry));
	SAME(offsetof(struct xen_ring, req_prod), offsetof(struct blkif_sring, req_prod));
	SAME(offsetof(struct xen_ring, req_event), offsetof(struct blkif_sring, req_event));
	SAME(offsetof(struct xen_ring, rsp_prod), offsetof(struct blkif_sring, rsp_prod));
	SAME(offsetof(struct xen_ring, rsp_event), offsetof(struct blkif_sring, rsp_event));
	SAME(sizeof(struct xen_blkif_page), 4096);
	SAME(offsetof(struct xen_blkif_page, entry), offsetof(struct blkif_sring, ring));
}

int
main(void)
{
	numbers();
	layouts();
	return done_testing();
}
