/*
 * How many frames a PV domain has, and which: it gives some back, gets others, or changes them for
 * others (memory_op, in Xen's ABI: inc/xen_memory.h).
 *
 * A domain never has more than it was made with. What it gives back is free at once: so it gives
 * back what nobody uses, and no other frame. In Xen a frame that is mapped still is free behind its
 * last use; here the extent that has it is not done.
 */
#pragma once

#include <inc/xen_memory.h>
#include <vmm/pv/pv.h>

#define PV_ORDER_MAX 9u /* of an extent: as for Xen's domains without devices */
#define PV_RUN_MAX   (1u << PV_ORDER_MAX)

/* ---- frames.c ---- */

/* The domain has it, and nobody uses it as anything. */
bool pv_frame_idle(const struct pv_types *t, mfn_t m);
/* `idle` is free, and nobody's; what the CPU remembers of it is forgotten. */
void pv_frame_leave(struct vcpu *v, mfn_t idle);
/*
 * A new frame is the domain's, which it may have, and the guest knows it by this number
 * (M2P_INVALID: by none).
 */
void pv_frame_enter(struct vcpu *v, mfn_t fresh, uint64_t pfn);
/*
 * 2^order new frames in a row, zero, the first one's number a multiple of that, below 2^bits bytes
 * (0: anywhere). They have an owner, and are no domain's yet. MFN_NONE: there is no such run.
 */
mfn_t pv_frames_take(uint16_t owner, unsigned order, unsigned bits);
void pv_frames_untake(mfn_t first, unsigned order);

/* ---- exchange.c ---- */

int64_t pv_exchange(struct vcpu *v, struct pv_call *c);

/* ---- reservation.c ---- */

/*
 * Whether this many frames in extents of that order can be looked at now; else the call is to come
 * again. `takes`: about as long as so many entries of a walk of types, each.
 */
bool pv_has_time(struct pv_call *c, unsigned takes, unsigned order);
#define PV_TAKES_NEW  64u /* it is filled with zeros */
#define PV_TAKES_IDLE 8u
/* 0: it may speak of this domain's memory, for it is its own; or -ESRCH, -EPERM. */
int pv_names_itself(const struct vcpu *v, uint16_t domid);
