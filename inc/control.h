/*
 * What dom0 asks of Zeno about other domains: one hypercall, of Zeno's own. Xen's (domctl, sysctl)
 * are no ABI but belong to one release, with its own tools.
 *
 * Its number: xen.h leaves 48 to 55 to an architecture, and x86 has given away the first two of
 * them. So it is the last, which Xen would come to last.
 *
 *   control(CREATE, struct zeno_create *)   a domain's number; it is built, and paused
 *   control(LOOK, from, struct zeno_look *) the first domain that has this number or a higher one
 *   control(PAUSE, number)
 *   control(UNPAUSE, number, kept)          it goes on; `kept` not 0: unless PAUSE has stopped it
 *   control(DESTROY, number, away)          it ends, as by a fault of its own; `away` not 0: it has
 *                                           suspended, and was put away
 *   control(RELEASE, number)                it has ended, and nothing is left of it
 *   control(WEIGHT, number, weight)         its part of the CPU, 1 to 65535; 0: dom0's own
 *   control(MAP, number, pfn, va)           its page is at va, where a page is mapped now; va |
 *                                           ZENO_MAP_WRITE: for writing, too
 *   control(SAID, from, struct zeno_said *) what the monitor's console was told, from that byte on
 *   control(PORTS, number, first, last)     it has these ports of dom0's from now on, until it ends
 *   control(LINE, number, irq)              ... and this line of the machine's
 *
 * To put a domain away, and to bring it back (below, `words` is uint64_t[512], `context` a struct
 * xen_guest_context *):
 *   control(FRAMES, number, pfn, words)     ZENO_FRAME_ words of its frames from there on: how many
 *   control(CONTEXT, number, vcpu, context) what it goes on with: one that has suspended, or -EBUSY
 *   control(PIN, number, pfn, level)        of one that CREATE has made empty: as it would itself
 *   control(BEGIN, number, vcpu, context)   ... and that vCPU begins, as by VCPUOP_initialise
 * The last two are over with UNPAUSE: -EEXIST. What runs is its kernel's affair.
 *
 * One suspends by SCHEDOP_shutdown: it is paused, LOOK says why, and VIRQ_DOM_EXC that there is
 * one. If UNPAUSE lets it go again its call answers 1, that nobody has put it away; in CONTEXT the
 * answer is 0.
 *
 * -EPERM: who asks is not dom0, or dom0 has not made that domain. -ESRCH: there is none such.
 * Domains that have ended wait for RELEASE, and VIRQ_DOM_EXC says that there are some. What LOOK
 * tells as ended is: behind DESTROY one has a last turn to come. -EBUSY of RELEASE: it has not
 * ended yet, or pages of it are still mapped. PORTS and LINE give what one device has, as a whole:
 * -EPERM: dom0 has no such device, or one that it can't give; -EBUSY: another domain has it, or
 * dom0 itself has mapped the line.
 */
#pragma once

#include <stdint.h>

#define ZENO_CONTROL 55u
enum zeno_control {
	ZENO_CREATE,
	ZENO_LOOK,
	ZENO_PAUSE,
	ZENO_UNPAUSE,
	ZENO_DESTROY,
	ZENO_RELEASE,
	ZENO_MAP,
	ZENO_WEIGHT,
	ZENO_SAID,
	ZENO_PORTS,
	ZENO_LINE,
	ZENO_FRAMES,
	ZENO_CONTEXT,
	ZENO_PIN,
	ZENO_BEGIN,
};
#define ZENO_FRAME_NONE    (~0ul) /* it has none there */
#define ZENO_FRAME_MFN(w)  ((w)&0xffffffffffffful)
#define ZENO_FRAME_TYPE(w) ((w) >> 52 & 7) /* 1 to 4: a page table of this level; 0: memory */
#define ZENO_FRAME_PINNED  (1ul << 55)
#define ZENO_MAP_WRITE     1u
#define ZENO_VCPUS         4u

enum zeno_type {
	ZENO_PV,
	ZENO_PVH, /* with a CPU of its own, entered by its PVH note */
};

/* All of it is read before anything is done. */
struct zeno_create {
	char name[24];                                       /* NUL-terminated, as `words` are */
	uint64_t kernel, kernel_size, ramdisk, ramdisk_size; /* linear, bytes; size 0: none */
	uint64_t mib;
	uint32_t vcpus; /* 1 to ZENO_VCPUS; of ZENO_PVH: 1 */
	uint32_t type;  /* enum zeno_type */
	char words[512];
	char note[64]; /* dom0's own: LOOK has it, also for the dom0 that comes next */
	/* It is to be brought back: no kernel is loaded, and no vCPU begins before BEGIN. */
	uint32_t empty;
	uint64_t console_pfn, store_pfn; /* where its rings are; and what its clock says: ns */
	uint64_t ns;
};

/* The last 8 KiB are kept. len 0: that was all. */
struct zeno_said {
	uint64_t next; /* where it goes on: `from`, the next time */
	uint32_t len;
	char text[500];
};

enum zeno_state { ZENO_RUNS, ZENO_PAUSED, ZENO_ENDED, ZENO_WAITS };
/* How: as sched.h's SHUTDOWN_ reasons, from 1 on; its own fault is a crash, too. */
enum zeno_why {
	ZENO_NOT_YET,
	ZENO_POWEROFF,
	ZENO_REBOOT,
	ZENO_SUSPEND,
	ZENO_CRASH,
	ZENO_KILLED = 16, /* by dom0, or at the monitor */
};
struct zeno_look {
	uint16_t domid;                    /* as other domains know it */
	uint8_t state;                     /* enum zeno_state */
	uint8_t made;                      /* by dom0 */
	uint32_t console_port, store_port; /* of its own */
	uint32_t why;                      /* enum zeno_why: of one that has ended, or suspended */
	uint64_t console_pfn, store_pfn;
	uint64_t ram, most; /* bytes that it has; that it may have */
	uint64_t exits, ns; /* its own clock */
	uint64_t used;      /* ns of the CPU, all vCPUs of it */
	uint64_t weight;
	uint32_t vcpus;
	uint32_t type;               /* enum zeno_type, of one that dom0 has made */
	uint64_t shared;             /* machine frame of the page that it shares with Zeno ... */
	uint64_t p2m_cr3, p2m_vaddr; /* ... where it says these (arch-x86/xen.h) */
	char name[24];
	char end[240]; /* why it has ended, in words */
	char note[64];
};
