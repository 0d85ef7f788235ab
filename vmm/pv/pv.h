/*
 * The engine pv: a 64-bit kernel that knows that it has no machine of its own. Kernel and user are
 * both in ring 3, in two address spaces; a kernel asks by `syscall` for what it must not do itself
 * (Xen's ABI: inc/xen.h).
 *
 * What holds at each entry: no entry of the guest's page tables maps a frame that is not its own,
 * nor any page table for writing. The builder makes it so, and every later change is checked.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <inc/xen.h>
#include <kern/frame.h>
#include <kern/paging.h>
#include <kern/trap.h>
#include <vmm/domain.h>
#include <vmm/pv/types.h>
#include <vmm/vcpu.h>

/* A vCPU's: one frame. */
struct pv {
	bool user;                    /* the guest's user runs, on its root */
	mfn_t kernel_root, user_root; /* user: MFN_NONE until the kernel names it */
	struct xen_trap_info *traps;  /* by vector; one frame */
	struct pv_types *types;       /* the domain's; one frame */
	struct xen_vcpu_info *info;   /* the first in the page that the guest shares with Zeno */
	uint64_t kernel_sp;           /* for what comes while the user runs */
	uint64_t event_callback, failsafe_callback, syscall_callback;
	uint64_t said;         /* a bit for each unknown hypercall that the log has */
	uint16_t selectors[4]; /* DS ES FS GS, while others have the CPU */
	struct ring_frame frame;
};
_Static_assert(sizeof(struct pv) <= PAGE_SIZE, "a pv is one frame");
_Static_assert(offsetof(struct pv, frame) + sizeof(struct ring_frame) == sizeof(struct pv),
	       "TSS.RSP0 is its end");
_Static_assert(sizeof(struct pv) % 16 == 0, "the CPU aligns RSP0 down to 16");

static inline struct pv *
pv_of(struct vcpu *v)
{
	return v->engine_data;
}

/* engine.c: before the loader fills it; 0 or -ENOMEM. The kernel's space, or the user's. */
int pv_create(struct vcpu *v);
void pv_switch_root(struct vcpu *v, bool user);

/*
 * enter.asm: into ring 3 with a frame and general registers, up to the next trap or syscall: then
 * both are the guest's again, and 0; error << 32 | vector if the entry itself has failed.
 */
#define PV_SYSCALL 256 /* as a vector */
#define PV_INSN    2   /* bytes of syscall, and of int n */
uint64_t pv_enter(struct ring_frame *f, uint64_t gpr[GPR_COUNT]);
void pv_leave(void);
void pv_syscall(void); /* where the CPU's syscall leads */

/*
 * m2p.c: the table that shows each guest which guest frame a machine frame is; MFN_NONE: no memory.
 */
mfn_t pv_m2p_table(void);

/* direct.c: a root's entry of level 1 for an address; NULL: none, or it is not the guest's. */
pte_t *pv_entry(mfn_t root, uint64_t va);
/*
 * mmu_calls.c: the CPU forgets what it must (whoever has written an entry, or got or put a type);
 * and a domain that begins has the root that its builder has made. 0 or -EINVAL.
 */
#define PV_BATCH 8192u /* entries that one exit may look at */
void pv_types_flush(struct vcpu *v);
/* A root that the guest names; for its user 0 is none. As pv_type_get(); may begin a walk. */
int pv_new_root(struct vcpu *v, mfn_t m, bool user, unsigned *budget);
int pv_types_begin(struct vcpu *v, mfn_t root);

/*
 * memory.c: a guest's pointers. Whoever reads reads once: 0, or -EFAULT, and then nothing is done.
 */
bool pv_is_guests(uint64_t va, uint64_t len);
int pv_read(struct vcpu *v, void *to, uint64_t from, uint64_t len);
int pv_write(struct vcpu *v, uint64_t to, const void *from, uint64_t len);
/* Where it lies in the direct map, or, across two pages, a copy of it; NULL: -EFAULT. */
const void *pv_at(struct vcpu *v, uint64_t from, uint64_t len, void *copy);
int pv_fetch(struct vcpu *v, void *to, uint64_t len); /* at rip, kernel or user */

/* bounce.c: the guest's own handler comes next. */
enum injection pv_bounce(struct vcpu *v, const struct event *event);
enum verdict pv_bounce_syscall(struct vcpu *v, struct exit *e);

/* A hypercall on its way. */
struct pv_call {
	uint64_t number, arg[6];
	enum verdict verdict; /* RESUME, unless it says otherwise */
	bool again;  /* not finished: it goes on with these arguments, by the same instruction */
	bool jumped; /* the guest's registers are other ones now, rip and rax among them */
	bool inner;  /* of a multicall */
};
#define PV_CALLS(CALL)          \
	CALL(set_trap_table)    \
	CALL(mmu_update)        \
	CALL(stack_switch)      \
	CALL(set_callbacks)     \
	CALL(memory_op)         \
	CALL(multicall)         \
	CALL(update_va_mapping) \
	CALL(xen_version)       \
	CALL(console_io)        \
	CALL(iret)              \
	CALL(mmuext_op)         \
	CALL(sched_op)
#define CALL(name) int64_t pv_call_##name(struct vcpu *v, struct pv_call *c);
PV_CALLS(CALL)
#undef CALL
int64_t pv_call(struct vcpu *v, struct pv_call *c);
