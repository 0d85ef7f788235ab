/*
 * Grant tables, in Xen's ABI (grant_table.h), version 1 of the table. Names as in inc/xen.h.
 */
#pragma once

#include <inc/xen.h>

/* The granter writes domid and frame first, and flags last; Zeno sets and clears two of them. */
struct xen_grant_entry {
	uint16_t flags;
	uint16_t domid; /* who may use it */
	uint32_t frame; /* machine's: of the granter's */
};
#define XEN_GTF_permit_access   1u
#define XEN_GTF_accept_transfer 2u
#define XEN_GTF_transitive      3u
#define XEN_GTF_type_mask       3u
#define XEN_GTF_readonly        (1u << 2)
#define XEN_GTF_reading         (1u << 3) /* Zeno's: it is in use */
#define XEN_GTF_writing         (1u << 4) /* Zeno's: ... for writing, too */
#define XEN_GTF_sub_page        (1u << 8)

enum xen_gnttabop {
	XEN_GNTTABOP_map_grant_ref = 0,
	XEN_GNTTABOP_unmap_grant_ref = 1,
	XEN_GNTTABOP_setup_table = 2,
	XEN_GNTTABOP_dump_table = 3,
	XEN_GNTTABOP_transfer = 4,
	XEN_GNTTABOP_copy = 5,
	XEN_GNTTABOP_query_size = 6,
	XEN_GNTTABOP_unmap_and_replace = 7,
	XEN_GNTTABOP_set_version = 8,
	XEN_GNTTABOP_get_status_frames = 9,
	XEN_GNTTABOP_get_version = 10,
	XEN_GNTTABOP_swap_grant_ref = 11,
	XEN_GNTTABOP_cache_flush = 12,
};
enum xen_gntst {
	XEN_GNTST_okay = 0,
	XEN_GNTST_general_error = -1,
	XEN_GNTST_bad_domain = -2,
	XEN_GNTST_bad_gntref = -3,
	XEN_GNTST_bad_handle = -4,
	XEN_GNTST_bad_virt_addr = -5,
	XEN_GNTST_bad_dev_addr = -6,
	XEN_GNTST_permission_denied = -8,
	XEN_GNTST_bad_page = -9,
	XEN_GNTST_bad_copy_arg = -10,
	XEN_GNTST_eagain = -12,
	XEN_GNTST_no_space = -13
};

/* Of map_grant_ref. */
#define XEN_GNTMAP_device_map      1u
#define XEN_GNTMAP_host_map        2u
#define XEN_GNTMAP_readonly        4u
#define XEN_GNTMAP_application_map 8u  /* its user may use it, too */
#define XEN_GNTMAP_contains_pte    16u /* host_addr is an entry's, in machine memory; else linear */
#define XEN_GNTMAP_guest_avail0    16  /* from this bit on: three bits for the entry */
struct xen_gnttab_map_grant_ref {
	uint64_t host_addr;
	uint32_t flags, ref;
	uint16_t dom;
	int16_t status;        /* out: enum xen_gntst */
	uint32_t handle;       /* out */
	uint64_t dev_bus_addr; /* out */
};
struct xen_gnttab_unmap_grant_ref {
	uint64_t host_addr, dev_bus_addr; /* 0: not that */
	uint32_t handle;
	int16_t status; /* out */
};
struct xen_gnttab_unmap_and_replace {
	uint64_t host_addr, new_addr; /* whose entry goes there */
	uint32_t handle;
	int16_t status; /* out */
};

#define XEN_GNTCOPY_source_gref 1u
#define XEN_GNTCOPY_dest_gref   2u
struct xen_gnttab_copy {
	struct xen_gnttab_copy_ptr {
		uint64_t what; /* a grant, in 32 bits, or a frame of its own */
		uint16_t domid, offset;
	} source, dest;
	uint16_t len, flags;
	int16_t status; /* out */
};

struct xen_gnttab_setup_table {
	uint16_t dom;
	uint32_t nr_frames;
	int16_t status;      /* out: enum xen_gntst */
	uint64_t frame_list; /* linear: so many uint64_t, for their machine frames */
};
struct xen_gnttab_query_size {
	uint16_t dom;
	uint32_t nr_frames, max_nr_frames; /* out, and so is */
	int16_t status;
};
struct xen_gnttab_set_version {
	uint32_t version; /* out, too */
};
struct xen_gnttab_get_version {
	uint16_t dom, pad;
	uint32_t version; /* out */
};
