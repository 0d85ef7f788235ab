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
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/paging.h>
#include <kern/trap.h>
#include <vmm/domain.h>
#include <vmm/pv/types.h>
#include <vmm/pv/vcpus.h>
#include <vmm/vcpu.h>

/* vm_assist's types that a domain may ask for. */
#define PV_ASSISTS                                                                              \
	(1ul << XEN_VMASST_TYPE_writable_pagetables | 1ul << XEN_VMASST_TYPE_pae_extended_cr3 | \
	 1ul << XEN_VMASST_TYPE_runstate_update_flag)

#define PV_TABLE_PAGES (GDT_GUEST_PAGES + LDT_WINDOW_PAGES)

/*
 * Where the pointers and the frames of a guest lead that has page tables of its own (hvm/): as
 * pv_read(), pv_write(); its frame of that number, MFN_NONE: it has none such.
 */
struct pv_far {
	int (*read)(struct vcpu *v, void *to, uint64_t from, uint64_t len);
	int (*write)(struct vcpu *v, uint64_t to, const void *from, uint64_t len);
	mfn_t (*frame)(struct vcpu *v, uint64_t number);
	bool (*hears)(struct vcpu *v); /* an event has come: whether it has an upcall to come */
	/* Its frame of that number has gone; is there again, of zeros. False: it is not done. */
	bool (*leave)(struct vcpu *v, uint64_t number);
	bool (*enter)(struct vcpu *v, uint64_t number);
};

/* A vCPU's: one frame. Its registers are v->state's: GS's other base is the user's, or kernel's. */
struct pv {
	mfn_t kernel_root, user_root; /* user: MFN_NONE until the kernel names it */
	struct xen_trap_info *traps;  /* by vector; one frame */
	struct pv_types *types;       /* the domain's, of all its vCPUs; one frame */
	const struct pv_far *far;     /* NULL: a PV kernel, whose tables are Zeno's, too */
	struct xen_vcpu_info *info;   /* in the page that the guest shares with Zeno, or its own */
	uint64_t kernel_sp;           /* for what comes while the user runs */
	uint64_t event_callback, failsafe_callback, syscall_callback, nmi_callback;
	uint64_t said;    /* a bit for each unknown hypercall that the log has: the first vCPU's */
	uint32_t assists; /* ... for each of vm_assist's types that it has asked for */
	uint32_t has_tables; /* ... of `tables` that is there: most vCPUs have none, or one */
	/* descriptors.c: what the windows show while it runs; NULL: a page of zeros */
	uint64_t *tables[PV_TABLE_PAGES];
	mfn_t gdt_frames[GDT_GUEST_PAGES]; /* MFN_NONE: none */
	uint64_t ldt_at;                   /* linear */
	uint16_t ldt_entries;
	uint8_t callback_masks; /* a bit for each type of callback: events are masked there */
	uint8_t iopl;           /* its kernel's in and out: from 1 on */
	uint8_t refused;        /* a bit for each of DS ES FS GS that could not be loaded */
	bool initialised;       /* it has begun, or may: registers, tables, a root are there */
	uint8_t pad[9];         /* so that RSP0 is as it must be */
	bool user;              /* the guest's user runs, on its root */
	struct ring_frame frame;
};
_Static_assert(sizeof(struct pv) <= PAGE_SIZE, "a pv is one frame");
_Static_assert(offsetof(struct pv, frame) + sizeof(struct ring_frame) == sizeof(struct pv),
	       "TSS.RSP0 is its end");
_Static_assert(sizeof(struct pv) % 16 == 0, "the CPU aligns RSP0 down to 16");
_Static_assert(offsetof(struct pv, user) + 1 == offsetof(struct pv, frame), "spot.inc looks there");

static inline struct pv *
pv_of(struct vcpu *v)
{
	return v->pv;
}

/* Events have come, and its kernel lets them in. */
static inline bool
pv_upcall_is_due(const struct pv *pv)
{
	return pv->info->upcall_pending && !pv->info->upcall_mask;
}

/* What the CPU may not remember of its tables is forgotten: before it goes on. */
static inline void
pv_flush(struct vcpu *v)
{
	if (__builtin_expect(!v->flush, 1))
		return;
	write_cr3(mfn_to_hpa(v->root).v);
	v->flush = false;
}

#define PV_LOW_END (1ul << 47)
/* All of it lies below the hole, or above it: canonical, and without coming round. */
static inline bool
pv_is_guests(uint64_t va, uint64_t len)
{
	if (va >= XEN_VIRT_END)
		return !len || len - 1 <= ~va;
	return va < PV_LOW_END && len <= PV_LOW_END - va;
}

static inline bool
pv_is_canonical(uint64_t a)
{
	return (int64_t)(a << 16) >> 16 == (int64_t)a;
}

/* engine.c: before the loader fills it; 0 or -ENOMEM. */
int pv_create(struct vcpu *v);
/* loader.c: long mode, as Zeno runs its code and its stack. */
void pv_flat_registers(struct cpu_state *s);
/* The lab's iret.c: the kernel's space, or the user's. */
void pv_switch_root(struct vcpu *v, bool user);
/* DS ES FS GS: null, where they could not be loaded; and GS as its user is to find it. */
void pv_forget_refused(struct vcpu *v);
void pv_set_user_gs(struct vcpu *v, uint16_t selector);

/*
 * The lab's enter.asm: into ring 3 with a frame and general registers, up to the next trap or
 * syscall: then both are the guest's again, and 0; error << 32 | vector if the entry itself has
 * failed.
 */
#define PV_SYSCALL   256 /* as a vector */
#define PV_SYSCALL32 257 /* ... by code that is not 64 bits wide */
#define PV_INSN      2   /* bytes of syscall, and of int n */
uint64_t pv_enter(struct ring_frame *f, uint64_t gpr[GPR_COUNT]);
void pv_leave(void);
/* copy.asm: one of both is in the guest's memory, by the root that is loaded; 0 or -EFAULT. */
int pv_copy(uint64_t to, uint64_t from, uint64_t len);
void pv_syscall(void); /* where the CPU's syscall leads */
void pv_syscall32(void);
/* selectors.asm: DS ES FS GS. One that the CPU refuses is null then; a bit for each of those. */
uint64_t pv_load_selectors(const uint16_t selectors[4]);
uint64_t pv_load_gs(uint16_t selector); /* 1: it is refused, and null */

/*
 * m2p.c: the table that shows each guest which guest frame a machine frame is; MFN_NONE: no memory.
 */
mfn_t pv_m2p_table(void);

/*
 * Of a frame that a PV domain has: the guest frame behind which it is in the domain's p2m. Zeno
 * keeps it here, since the guest may say anything of its frames in the machine-to-phys table.
 */
#define PV_LOOSE 0xffffffu /* no guest frame leads there; else below */
static inline uint32_t
pv_place(const struct frame *f)
{
	return (uint32_t)f->place_high << 16 | f->place_low;
}

static inline void
pv_set_place(struct frame *f, uint64_t place)
{
	f->place_high = (uint8_t)(place >> 16);
	f->place_low = (uint16_t)place;
}

/* direct.c: of a domain that has ended no frame is pinned any more, nor loose. */
void pv_unpin_all(struct domain *d);
/*
 * A root's entry of level 1 for an address; NULL: none, or it is not the guest's. Below a root of
 * the guest's, and beside the hole, there are tables of the guest's alone.
 */
static inline pte_t *
pv_entry(mfn_t root, uint64_t va)
{
	pte_t *table = mfn_ptr(root);

	if (!pv_is_guests(va, 1))
		return NULL;
#pragma GCC unroll 3
	for (unsigned shift = PAGE_SHIFT + 27; shift > PAGE_SHIFT; shift -= 9) {
		pte_t entry = table[va >> shift & (PV_ENTRIES - 1)];

		if (!(entry & PTE_P))
			return NULL;
		table = hpa_ptr(hpa(PTE_ADDR(entry)));
	}
	return &table[va >> PAGE_SHIFT & (PV_ENTRIES - 1)];
}

/*
 * mmu_calls.c: what a call about types has met is told, and the auditor may look; and a domain that
 * begins has the root that its builder has made. 0 or -EINVAL.
 */
void pv_types_told(struct vcpu *v);
/* One of mmu_update's requests, in guest memory; in entries of a walk, what may be done. */
int64_t pv_update_one(struct vcpu *v, const void *request, unsigned *budget);
/* A root that the guest names; for its user 0 is none. As pv_type_get(); may begin a walk. */
int pv_new_root(struct vcpu *v, mfn_t m, bool user, unsigned *budget);
int pv_types_begin(struct vcpu *v, mfn_t root);

/* services.c: features, the memory map, to where the guest wants them: 0, -EFAULT, -EINVAL. */
struct xen_e820;
int64_t pv_features(struct vcpu *v, uint64_t at, uint32_t submap);
int64_t pv_tell_map(struct vcpu *v, uint64_t at, const struct xen_e820 all[], uint32_t count);

/*
 * memory.c: a guest's pointers. Whoever reads reads once: 0, or -EFAULT, and then nothing is done.
 */
int pv_read(struct vcpu *v, void *to, uint64_t from, uint64_t len);
int pv_write(struct vcpu *v, uint64_t to, const void *from, uint64_t len);
/* Where it lies in the direct map, or, across two pages, a copy of it; NULL: -EFAULT. */
const void *pv_at(struct vcpu *v, uint64_t from, uint64_t len, void *copy);
int pv_fetch(struct vcpu *v, void *to, uint64_t len); /* at rip, kernel or user */
/* What a guest means by a frame's number; it need not be its own, nor any. */
mfn_t pv_frame_named(struct vcpu *v, uint64_t number);

/* table_write.c: a #PF of its kernel's may be a write that Zeno does for it. */
void pv_translate_write(struct vcpu *v, struct exit *e);

/*
 * privileged.c: the instruction at rip, of code that is 64 bits wide, up to the next question;
 * NULL: it is not there.
 */
struct insn;
const struct insn *pv_fetch_insn(struct vcpu *v);
/* A #GP of the kernel's, a #UD of anybody's: *e may be another exit then. */
void pv_translate_privileged(struct vcpu *v, struct exit *e);
void pv_translate_forced(struct vcpu *v, struct exit *e);
bool pv_is_forced(struct vcpu *v);
void pv_set_ts(struct vcpu *v, bool on);
uint64_t pv_cr4(const struct vcpu *v);

#define MSR_FS_BASE   0xc0000100
#define MSR_GS_BASE   0xc0000101
#define MSR_KERNEL_GS 0xc0000102
/* registers.c: those that are in the CPU while the guest runs. */
void pv_load_bases(const struct vcpu *v);
void pv_keep_bases(struct vcpu *v);
void pv_swap_gs(struct vcpu *v);
int pv_set_base(struct vcpu *v, uint64_t *base, uint64_t value);
void pv_load_breakpoints(const struct vcpu *v);
int pv_write_dr(struct vcpu *v, uint64_t n, uint64_t value);

/* descriptors.c: its tables are in the windows; NULL: nobody's are. */
void pv_show_tables(struct vcpu *v);
void pv_free_tables(struct vcpu *v);
int pv_set_gdt(struct vcpu *v, const uint64_t list[], unsigned entries); /* of frames */
int pv_set_ldt(struct vcpu *v, uint64_t at, uint64_t entries, unsigned *budget);
uint32_t pv_ldt_limit(const struct vcpu *v);

/*
 * The lab's frame.c: what a handler finds, on its kernel's stack (xen.h,
 * "HYPERVISOR_set_trap_table"), and the registers with which it begins; `masks`: without events
 * from then on. False: there is no room for the frame, and nothing has happened.
 */
enum pv_what { PV_EXCEPTION, PV_EVENT, PV_CALLED, PV_FAILSAFE };
bool pv_frame(struct vcpu *v, enum pv_what what, const struct event *event, uint64_t to,
	      bool masks);

/* bounce.c: the guest's own handler comes next. */
enum injection pv_bounce(struct vcpu *v, const struct event *event);
enum verdict pv_bounce_syscall(struct vcpu *v, struct exit *e);

/* A hypercall on its way. spot.inc pushes the first two. */
struct pv_call {
	uint64_t number, arg[6]; /* behind it the number is the result */
	union {                  /* begins 0: RESUME, and none of the three */
		uint64_t begins;
		struct {
			enum verdict verdict;
			bool again;  /* unfinished: by the same instruction, with these arguments */
			bool jumped; /* the guest's registers are others now, rip and rax, too */
			bool inner;  /* of a multicall */
		};
	};
	unsigned budget; /* entries that this exit may still look at, or what takes as long */
};
#define PV_BATCH 8192u /* ... at first */
/* Bytes of a console's between two looks at the host's affairs: each may be a line. */
#define PV_CONSOLE_AT_ONCE 128u

static inline void
pv_charge(unsigned *budget, uint64_t entries)
{
	*budget -= entries < *budget ? (unsigned)entries : *budget;
}
#define PV_CALLS(CALL)          \
	CALL(set_trap_table)    \
	CALL(mmu_update)        \
	CALL(set_gdt)           \
	CALL(stack_switch)      \
	CALL(set_callbacks)     \
	CALL(fpu_taskswitch)    \
	CALL(set_debugreg)      \
	CALL(get_debugreg)      \
	CALL(update_descriptor) \
	CALL(memory_op)         \
	CALL(multicall)         \
	CALL(update_va_mapping) \
	CALL(xen_version)       \
	CALL(console_io)        \
	CALL(grant_table_op)    \
	CALL(vm_assist)         \
	CALL(iret)              \
	CALL(set_segment_base)  \
	CALL(mmuext_op)         \
	CALL(sched_op)          \
	CALL(callback_op)       \
	CALL(physdev_op)
#define CALL(name) int64_t pv_call_##name(struct vcpu *v, struct pv_call *c);
PV_CALLS(CALL)
#undef CALL
int64_t pv_call(struct vcpu *v, struct pv_call *c);
int64_t pv_call_unknown(struct vcpu *v, uint64_t number); /* -ENOSYS, after a line */

/* One that another part of Zeno adds: PV_HYPERCALL(event_channel_op, op). */
struct pv_hypercall {
	uint64_t number;
	int64_t (*call)(struct vcpu *v, struct pv_call *c);
};
#define PV_HYPERCALL(name, fn) PV_HYPERCALL_AT(XEN_##name, name, fn)
#define PV_HYPERCALL_AT(number, name, fn)                                   \
	static const struct pv_hypercall hypercall_##name = { number, fn }; \
	SET_ADD(hypercalls, hypercall_##name)
