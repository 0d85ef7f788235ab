/*
 * The address map of the host (DESIGN: everything of Zeno lives in the Xen hole, PML4 slots
 * 256-271, because 64-bit PV guests own all the rest; xen/include/public/arch-x86/xen-x86_64.h,
 * "Virtual address layout"). The NASM twin of these numbers is kern/map.inc.
 *
 *   slot 256  0xffff800000000000  machine-to-phys table, as PV guests read it; else empty
 *   slot 258  0xffff810000000000  scratch
 *   slot 260  0xffff820000000000  per-vCPU area: GDT window, LDT window
 *   slot 261  0xffff828000000000  kernel image (KB + physical), stacks, MMIO, frame table, M2P
 *   slot 262  0xffff830000000000  direct map of physical memory
 */
#pragma once

#include <inc/addr.h>

#define SLOT(n)        (0xffff000000000000ul | ((uint64_t)(n) << 39))
#define SCRATCH_BASE   SLOT(258)
#define VCPU_AREA_BASE SLOT(260)
#define KB             SLOT(261)
#define FRAME_TABLE    (KB + 0x4000000000ul) /* 256 GiB into the slot: struct frame[] */
#define M2P_BASE       (KB + 0x5000000000ul) /* uint64_t per machine frame; NX */
#define STACK_AREA     (KB + 0x6000000000ul) /* guarded stacks */
#ifndef DIRECT_MAP                           /* a host test has its frames elsewhere */
#define DIRECT_MAP SLOT(262)
#endif
#define HOLE_FIRST_SLOT 256
#define HOLE_LAST_SLOT  271

/* Inside the per-vCPU area (slot 260). Window pages 0-13 of the GDT are the running vCPU's. */
#define GDT_WINDOW       VCPU_AREA_BASE
#define GDT_WINDOW_PAGES 16
#define GDT_GUEST_PAGES  14
#define LDT_WINDOW       (VCPU_AREA_BASE + 0x10000)
#define LDT_WINDOW_PAGES 16

/* Host selectors start at 0xe000, as in Xen. */
#define HOST_CS64 0xe008
#define HOST_DS   0xe010
#define HOST_TSS  0xe040
#define HOST_LDT  0xe050
#define GDT_LIMIT 0xe05f

static inline void *
hpa_ptr(hpa_t a)
{
	return (void *)(DIRECT_MAP + a.v);
}

static inline void *
mfn_ptr(mfn_t f)
{
	return hpa_ptr(mfn_to_hpa(f));
}

static inline mfn_t
ptr_mfn(const void *p) /* of a pointer into the direct map */
{
	return hpa_to_mfn(hpa((uint64_t)p - DIRECT_MAP));
}

/* The machine-to-phys table: which guest frame a machine frame is, for whoever owns it. */
#define M2P_INVALID (~0ull)

static inline void
m2p_set(mfn_t f, uint64_t gfn)
{
	((uint64_t *)M2P_BASE)[f.v] = gfn;
}
