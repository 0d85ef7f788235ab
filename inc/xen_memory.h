/*
 * What memory_op takes of a domain and gives it, in Xen's ABI (memory.h). Names as in inc/xen.h.
 */
#pragma once

#include <inc/xen.h>

/*
 * Extents are 2^extent_order frames each, in a row, the first one's number a multiple of that. The
 * call's result is how many have been done; from bit 6 of the command on it says how many were
 * before.
 */
#define XEN_MEMOP_EXTENT_SHIFT 6u
#define XEN_MEMOP_CMD_MASK     63u
struct xen_memory_reservation {
	uint64_t extent_start; /* where their numbers are, or go to */
	uint64_t nr_extents;
	uint32_t extent_order;
	uint32_t mem_flags;
	uint16_t domid;
};
#define XEN_MEMF_address_bits       0xffu /* of such addresses alone; 0: of any */
#define XEN_MEMF_populate_on_demand (1u << 16)

/* The frames of `in` for others, which become the guest frames that stand in out's list. */
struct xen_memory_exchange {
	struct xen_memory_reservation in, out;
	uint64_t nr_exchanged; /* extents of `in` */
};
