/*
 * A disk that another domain has, in Xen's ABI: the ring (io/ring.h), what is asked on it
 * (io/blkif.h), and the states in which both ends say how far they are (io/xenbus.h). Names as in
 * inc/xen.h.
 */
#pragma once

#include <inc/xen.h>

/* io/xenbus.h: each end writes its own into its `state`, as a number. */
enum xen_xenbus_state {
	XEN_XENBUS_Unknown, /* it is not there, or is no number */
	XEN_XENBUS_Initialising,
	XEN_XENBUS_InitWait,
	XEN_XENBUS_Initialised,
	XEN_XENBUS_Connected,
	XEN_XENBUS_Closing,
	XEN_XENBUS_Closed,
	XEN_XENBUS_Reconfiguring,
	XEN_XENBUS_Reconfigured,
};

/*
 * io/ring.h, the head of a shared page; its entries are behind it, as many as a power of two has
 * room. Indices count on and on: an entry's place is its index modulo their number.
 */
struct xen_ring {
	uint32_t req_prod, req_event; /* requests that there are; with which the back end is rung */
	uint32_t rsp_prod, rsp_event; /* responses, and the front end */
	uint8_t pad[48];
};

/* io/blkif.h. Sectors are 512 bytes here, whatever the disk's own are. */
enum xen_blkif_op {
	XEN_BLKIF_OP_READ = 0,
	XEN_BLKIF_OP_WRITE = 1,
	XEN_BLKIF_OP_WRITE_BARRIER = 2,
	XEN_BLKIF_OP_FLUSH_DISKCACHE = 3,
	XEN_BLKIF_OP_DISCARD = 5,
	XEN_BLKIF_OP_INDIRECT = 6,
};
enum xen_blkif_rsp {
	XEN_BLKIF_RSP_OKAY = 0,
	XEN_BLKIF_RSP_ERROR = -1,
	XEN_BLKIF_RSP_EOPNOTSUPP = -2,
};
#define XEN_BLKIF_SEGMENTS 11u
#define XEN_BLKIF_SECTOR   512u
struct xen_blkif_segment {
	uint32_t gref;
	uint8_t first_sect, last_sect; /* of the page's eight; both belong to it */
};
struct xen_blkif_request {
	uint8_t operation, nr_segments;
	uint16_t handle;
	uint64_t id; /* the front end's: its response has it, too */
	uint64_t sector_number;
	struct xen_blkif_segment seg[XEN_BLKIF_SEGMENTS];
};
/* Its segments lie in pages of their own, behind each other. */
#define XEN_BLKIF_INDIRECT_PAGES 8u
struct xen_blkif_indirect {
	uint8_t operation, indirect_op;
	uint16_t nr_segments;
	uint64_t id;
	uint64_t sector_number;
	uint16_t handle;
	uint32_t grefs[XEN_BLKIF_INDIRECT_PAGES];
};
struct xen_blkif_discard {
	uint8_t operation, flag;
	uint16_t handle;
	uint64_t id;
	uint64_t sector_number, nr_sectors;
};
struct xen_blkif_response {
	uint64_t id;
	uint8_t operation;
	int16_t status; /* enum xen_blkif_rsp */
};
union xen_blkif_entry {
	struct xen_blkif_request request;
	struct xen_blkif_response response;
};
#define XEN_BLKIF_RING 32u /* entries of one page */
struct xen_blkif_page {
	struct xen_ring ring;
	union xen_blkif_entry entry[XEN_BLKIF_RING];
	uint8_t pad[448]; /* nothing else of the front end's lies in a page that it grants */
};
#define XEN_VDISK_READONLY 4u /* in `info` */
