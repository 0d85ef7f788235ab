/*
 * MMU modes: what stands between a guest's linear addresses and the machine's memory once the guest
 * has turned paging on. Until then a guest is in mode "flat" (mmu_flat.c). A lab brings a mode by a
 * registered table: SET_ADD(mmu_modes, shadow_mode).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <inc/addr.h>
#include <inc/x86.h>

struct domain;
struct vcpu;
struct exit;
struct ram_range;

/* How memory is accessed: by whom, and what for. */
#define ACCESS_READ  0u
#define ACCESS_WRITE 1u
#define ACCESS_USER  2u /* as ring 3; else as a supervisor, or by the CPU itself (SDM 3A 4.6) */
#define ACCESS_FETCH 4u
#define ACCESS_PROBE 8u  /* the host only looks: sets no accessed or dirty bit, notes no fault */
#define ACCESS_FORCE 16u /* a debugger writes: W or not, but no table that the CPU walks */

/* What the CPU says of an access in a #PF's error code. PF_I is there since EFER.NXE is on. */
static inline uint8_t
access_of_error(uint32_t error)
{
	return (error & PF_W ? ACCESS_WRITE : 0) | (error & PF_U ? ACCESS_USER : 0) |
	       (error & PF_I ? ACCESS_FETCH : 0);
}

/* A #PF that the guest's own page tables are to blame for. */
struct page_fault {
	uint64_t address; /* for CR2 */
	uint32_t error;   /* SDM 3A 4.7 "Page-Fault Exceptions" */
	bool pending;
};

enum mmu_outcome {
	MMU_FILLED,      /* a hidden fault: try again */
	MMU_TRUE_FAULT,  /* the guest's: *fault */
	MMU_EMULATE,     /* the access can't be given to the CPU: emulate the instruction */
	MMU_NO_MEMORY,   /* the host has no frame left for it */
	MMU_NO_FRAME,    /* ... nor for the guest's own memory */
	MMU_BAD_TABLES,  /* an entry of nested tables is none that the CPU takes */
	MMU_TODO_FILL,   /* exercise 2.2 is not done */
	MMU_TODO_FAULT,  /* exercise 2.3 is not done */
	MMU_TODO_NESTED, /* exercise 5.1 is not done */
};

struct mmu_mode {
	const char *name;
	/*
	 * CR0, CR3 or CR4 have new values in v->state, with paging on or, after it was on, off.
	 * Errors: -EINVAL, a register of PAE paging may not have this value (#GP; nothing has
	 * changed); -ENOMEM; -ENOSYS, exercise 2.1 is not done.
	 */
	int (*load)(struct vcpu *v);
	void (*free)(struct vcpu *v); /* v->mmu_data, NULL too */
	void (*invlpg)(struct vcpu *v, gva_t a);
	/* EFER.NXE has another value in v->state. PAE's registers stay (SDM 3A 4.4.1). */
	void (*nx)(struct vcpu *v);
	/* No mapping of this frame may be writable any more. */
	void (*protect)(struct domain *d, gfn_t g);
	/* ... they may be again; NULL: the next write finds out. */
	void (*unprotect)(struct domain *d, gfn_t g);
	/* The window has another place. */
	void (*window)(struct vcpu *v);
	/* Whether the guest's tables, as they are now, have anything in the 2 MiB at `a`. */
	bool (*in_use)(struct vcpu *v, gva_t a);
	/* 0, or -EFAULT with *fault filled in. */
	int (*translate)(struct vcpu *v, gva_t a, unsigned how, gpa_t *out,
			 struct page_fault *fault);
	/* A line of words about where an address leads, from the top; false: there are no more. */
	bool (*show)(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size);
	enum mmu_outcome (*fault)(struct vcpu *v, const struct exit *e, struct page_fault *fault);
	/*
	 * The table that the CPU starts at for a guest in long mode; MFN_NONE: there is none yet.
	 * NULL: the CPU has the guest's own tables.
	 */
	mfn_t (*top)(struct vcpu *v);
	/*
	 * Of engines whose CPU has nested paging: v->root is an empty table now. 0 or -ENOMEM.
	 * NULL: a mode that does without.
	 */
	int (*nested_init)(struct vcpu *v);
	/* All of RAM gets its frames, in an order of the mode's own. 0 or -ENOMEM. NULL: any. */
	int (*give_ram)(struct domain *d, const struct ram_range *map);
	bool one_vcpu; /* of a domain: what it makes is the domain's, not the vCPU's */
	/*
	 * RAM that has no frame yet gets one: the p2m has it then. 0; -EFAULT, it is no RAM;
	 * -ENOMEM, and the domain ends. NULL: RAM has its frames from the start.
	 */
	int (*touch)(struct domain *d, gfn_t g);
	/*
	 * Another frame, or none, is to come behind g: nothing leads to the old one any more, in
	 * no table and no memory of tables. 0; -ENOMEM, and all is as it was. NULL: it can't be.
	 */
	int (*gone)(struct domain *d, gfn_t g);
	/* Of MMU_BAD_TABLES: what is wrong on the way to this address. */
	const char *(*wrong)(struct domain *d, gpa_t a);
	uint64_t cr4_not; /* bits of CR4 that a guest has not under it, though the engine has */
};

/* create/engines.c: NULL: no such mode in this build. */
const struct mmu_mode *mmu_find(const char *name);
