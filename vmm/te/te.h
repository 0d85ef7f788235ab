/*
 * The engine te, trap and emulate: a 32-bit protected-mode kernel in ring 1.
 *
 * Its privileged instructions fault, since CPL is 1 and IOPL 0, and are emulated; everything else
 * runs natively. The guest's descriptor tables are never loaded: the CPU sees shadows of them.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <inc/errno.h>
#include <kern/map.h>
#include <kern/trap.h>
#include <vmm/dev/io.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/window.h>
#include <vmm/vcpu.h>
#include <vmm/x86/descriptor.h>
#include <vmm/x86/emulate.h>
#include <vmm/x86/insn.h>

#define GUEST_KERNEL_RING 1u
#define LAB_1A            "lab1a.md"
#define LAB_1B            "lab1b.md"

/*
 * The last entries of the shadow GDT's page 13 are not the guest's: slot i holds the descriptor of
 * segment register i when the guest's table no longer does (see te_resync). A guest GDT ends before
 * them.
 */
#define CACHED_SEL(seg) ((uint16_t)(0xdfc0 + 8 * (seg)))
#define GUEST_GDT_LIMIT 0xdfbfu
/* A slot that holds te->loan while GS is loaded with it, and nothing while the guest runs. */
#define LOAN_SEL 0xdff8u

/*
 * An instruction that was decoded before, with its bytes (more than it has: 16). Where they lie
 * holds for as long as no translation of a page with code has changed.
 */
#define TE_DECODED 16
struct te_decoded {
	uint64_t key;  /* linear address and enum cpu_mode; TE_NOT_DECODED: nothing is known */
	uint64_t code; /* v->tlb.code, when that was */
	const uint64_t *from; /* the guest's bytes, in the direct map */
	uint64_t bytes[2];
	struct insn insn;
};
#define TE_NOT_DECODED (~0ull)

/* A descriptor table of the guest's and the frames that are tracked for it, page by page. */
#define TE_TABLE_PAGES 17 /* 64 KiB that begin anywhere */
#define TE_NO_FRAME    0xffffffffu
#define TE_LAZY_GDT    32 /* entries; a longer one is tracked always */
#define TE_BESIDE      64 /* writes beside a GDT before it is no longer tracked */
struct te_tracked {
	struct table_reg table; /* base and limit 0: none */
	unsigned pages;
	uint32_t gfn[TE_TABLE_PAGES]; /* TE_NO_FRAME: not mapped, or no memory */
};

/* A ring-3 code descriptor of the guest's tables, and its shadow in ring 0 and in ring 3. */
struct te_user_code {
	uint16_t sel;
	uint64_t *entry; /* where it is shown; NULL: there is no page yet */
	uint64_t shadow[2];
};
/* So many show up in ring 3; more are cached ones. */
#define TE_USER_CODE (PAGE_SIZE / sizeof(struct te_user_code))

/*
 * A descriptor, its shadow in one of the rings, and the hidden part that it gives a segment
 * register.
 */
#define TE_SHADOWS 8 /* by DPL, and code or not */
struct te_shadow {
	uint64_t desc, shadow;
	struct segment hidden;
};

#define TE_RAM_MAX (1024ul << 20) /* the window lies above, wherever it moves to */

struct te {
	/*
	 * The stack of a #DB that comes late, at the first instruction of a stub (kern/trap.c):
	 * RSP is within the frame then. The frame of that #DB and trap_host() take less than half.
	 */
	uint64_t late[64];
	struct ring_frame frame; /* TSS.RSP0 is its end: a trap pushes into it */
	const struct insn *insn; /* the instruction of this exit, after te_fetch() */
	/*
	 * What the CPU holds, or will at the next entry: selectors (CS, SS without RPL),
	 * descriptors.
	 */
	uint16_t real_sel[SEG_COUNT];
	uint64_t real_desc[SEG_COUNT];
	uint64_t loan;      /* the descriptor of an engine above: guests can't load it themselves */
	uint8_t sti_stalls; /* exits without progress in a sti's shadow */
	bool reload;        /* DS, ES, FS, GS must be loaded before the next entry */
	uint8_t loaded; /* segment registers with another descriptor, a bit each; see registers.c */
	uint64_t *gdt[GDT_GUEST_PAGES]; /* shadow pages; NULL: not there, reads as zeros */
	uint64_t *ldt[LDT_WINDOW_PAGES];
	uint16_t gdt_limit, ldt_limit;  /* of the tables that have shadows */
	struct te_user_code *user_code; /* TE_USER_CODE of them */
	unsigned user_codes;
	struct te_shadow shadows[2][TE_SHADOWS]; /* in ring 0, in ring 3 */
	struct te_decoded decoded[TE_DECODED];   /* by linear address */
	struct bt *bt;                           /* the engine bt adds its own; NULL under te */
	struct te_tracked tracked_gdt, tracked_ldt;
	bool gdt_lazy; /* the GDT is looked at on the way to ring 3, not tracked; rare/lazy.c */
	uint64_t seen[TE_LAZY_GDT]; /* its entries when it was looked at last */
	unsigned beside;            /* writes to its frame that did not hit it */
	uint8_t shadow_cpl;         /* that the shadow tables were made for */
	bool shows_user_code;       /* in each ring: no code of the kernel's goes there unasked */
	bool has_breakpoints;       /* the CPU's DR7 may have some of the guest's */
	unsigned breakpoint_writes; /* of the guest's debug registers */
	unsigned descriptors;       /* changes of those that are counted */
	uint64_t counted; /* a bit each; entries of a table share one, and the two tables */
#define TE_COUNTED(sel) (1ull << ((sel) >> 3) % 64)
};
_Static_assert(sizeof(struct te) <= PAGE_SIZE, "one frame");

static inline struct te *
te_of(struct vcpu *v)
{
	return v->engine_data;
}

/* The place of one of Zeno's own selectors in the shadow GDT. */
static inline uint64_t *
te_own_slot(struct te *te, uint16_t sel)
{
	return &te->gdt[GDT_GUEST_PAGES - 1][sel % PAGE_SIZE / 8];
}

static inline const struct insn *
te_insn(struct vcpu *v)
{
	return te_of(v)->insn;
}

/* Where the shadow of a selector below the host's stands; NULL: it has no page yet. */
static inline uint64_t *
te_shadow_entry(const struct te *te, uint16_t sel)
{
	uint64_t *page = (sel & 4 ? te->ldt : te->gdt)[sel / PAGE_SIZE];

	return page ? &page[sel % PAGE_SIZE / sizeof(*page)] : NULL;
}

/* What the CPU would load for this selector now. 0: not present. */
static inline uint64_t
te_shadow_at(const struct te *te, uint16_t sel)
{
	const uint64_t *entry = sel & 4 || sel <= GUEST_GDT_LIMIT ? te_shadow_entry(te, sel) : NULL;

	return entry ? *entry : 0;
}

/* The guest's CPL: 0 or 3. */
static inline unsigned
te_cpl(const struct vcpu *v)
{
	return v->state.seg[SEG_CS].sel & 3;
}

/* Rings 1 and 2, which te and bt do not give a guest. */
static inline bool
te_in_middle_ring(const struct vcpu *v)
{
	return (te_cpl(v) + 1) & 2;
}

/* The real ring for the guest's CPL: its kernel's ring 0 is ring 1, user ring 3 is ring 3. */
static inline unsigned
te_ring(const struct vcpu *v)
{
	return te_cpl(v) | GUEST_KERNEL_RING;
}

struct te_access;

/* What a transfer to another ring or segment changes before it may still fault. */
struct te_saved {
	uint64_t rip, rflags, rsp, real_cs, real_ss;
	struct segment cs, ss;
};

static inline void
te_save(struct vcpu *v, struct te_saved *saved)
{
	const struct cpu_state *s = &v->state;

	*saved = (struct te_saved){ s->rip,
				    s->rflags,
				    s->gpr[RSP],
				    te_of(v)->real_desc[SEG_CS],
				    te_of(v)->real_desc[SEG_SS],
				    s->seg[SEG_CS],
				    s->seg[SEG_SS] };
}

static inline void
te_restore(struct vcpu *v, const struct te_saved *saved)
{
	struct cpu_state *s = &v->state;

	s->rip = saved->rip;
	s->rflags = saved->rflags;
	s->gpr[RSP] = saved->rsp;
	s->seg[SEG_CS] = saved->cs;
	s->seg[SEG_SS] = saved->ss;
	te_of(v)->real_desc[SEG_CS] = saved->real_cs;
	te_of(v)->real_desc[SEG_SS] = saved->real_ss;
}

/*
 * An event on its way to one of the guest's own handlers (struct event, with the places that te
 * makes of it).
 */
struct te_event {
	uint8_t vector;
	uint8_t kind; /* enum event_kind */
	bool has_error;
	uint32_t error;
	uint64_t rip;       /* where the handler is to return to */
	uint64_t fault_rip; /* where the instruction is, for a fault on the way */
};

/* te.c: the engine, in the parts that bt uses, too. */
extern const char *const te_mmu_modes[];
int te_init(struct vcpu *v);
void te_free(struct vcpu *v);
void te_load(struct vcpu *v);
void te_run(struct vcpu *v, struct exit *e);
void te_not_run(struct vcpu *v, struct exit *e, uint64_t failure); /* te_enter()'s */
uint64_t te_enter(struct vcpu *v, bool loan); /* 0, or what ring_enter() says */
void te_translate(struct vcpu *v, struct exit *e, const struct ring_frame *f);
void te_entry_failed(struct vcpu *v, struct exit *e, uint64_t failure);
void te_end_sti_shadow(struct vcpu *v, uint64_t entered_at);
void te_take_dr6(struct vcpu *v);
void te_take_step(struct vcpu *v);
/* What an instruction that traps asked for; EXIT_NONE: nothing special. */
extern const uint8_t te_reason_of[INSN_OP_COUNT];
static inline enum exit_reason
te_reason(unsigned op)
{
	return te_reason_of[op];
}
void te_load_cr4(struct vcpu *v);

/* A debug trap waits for the end of one instruction behind mov ss: Zeno steps over that. */
static inline bool
te_holds_trap(const struct vcpu *v)
{
	const struct cpu_state *s = &v->state;

	return s->pending_debug && s->mov_ss_shadow && !(s->rflags & FLAG_TF);
}

/* event.c */
enum verdict te_deliver(struct vcpu *v, const struct exit *e, const struct te_event *event);
enum injection te_inject(struct vcpu *v, const struct event *event);

/* user.c: whether CPL 3 may do what this exit asks for. Of some the handler knows, as for CPL 0. */
#define TE_ANY_RING                                                                       \
	(1ull << EXIT_SEGMENT | 1ull << EXIT_FAR | 1ull << EXIT_IRET | 1ull << EXIT_INT | \
	 1ull << EXIT_SYSCALL)
bool te_allowed(struct vcpu *v, const struct exit *e);
void te_drop_inner_segments(struct vcpu *v);

/* Lab 1B, reflect.c: 0, or -EFAULT with *fault filled in and v->state in between. */
int te_deliver_once(struct vcpu *v, const struct te_event *event, struct te_access *access,
		    struct emu_fault *fault);
/* Lab 1B, interrupts.c */
enum verdict te_interrupt(struct vcpu *v, uint8_t vector);
enum verdict te_wait(struct vcpu *v, struct exit *e);

/* tables.c: shadow GDT and LDT. */
int te_tables_init(struct vcpu *v); /* 0, -ENOMEM */
void te_tables_free(struct vcpu *v);
/*
 * Call after v->state.gdtr or ldtr changed: tracks the frames of the guest's table and builds its
 * shadow. Returns 0, or -ENOMEM with an empty shadow.
 */
int te_gdt_changed(struct vcpu *v);
int te_ldt_changed(struct vcpu *v);
/* After a change of the guest's page tables: the tables may lie in other frames now. 0, -ENOMEM. */
int te_tables_moved(struct vcpu *v);
int te_page_moved(struct vcpu *v, gva_t a);      /* ... in the page at a alone */
int te_sync_entry(struct vcpu *v, uint16_t sel); /* 0, or -ENOMEM: it is not present then */
void te_track_anew(struct vcpu *v, struct te_tracked *t, const struct table_reg *table,
		   enum page_track_why why);
void te_window_moved(struct vcpu *v);
/*
 * The guest's own descriptor for a selector: 0, or -EINVAL (null, beyond the limit, no memory
 * there).
 */
int te_guest_descriptor(struct vcpu *v, uint16_t sel, uint64_t *desc);
int te_look_descriptor(struct vcpu *v, uint16_t sel, uint64_t *desc); /* ... as ACCESS_PROBE says */

/*
 * The guest's descriptor for a selector that is loaded for this use: 0, or -EFAULT with the CPU's
 * fault. `cpl` is the CPL that its DPL is compared with.
 */
static inline int
te_check_selector(struct vcpu *v, uint16_t sel, enum desc_use use, unsigned cpl, uint64_t *desc,
		  struct emu_fault *fault)
{
	enum vector vector = VEC_GP;

	if (sel & ~3 && !te_guest_descriptor(v, sel, desc) && desc_suits(*desc, sel, cpl, use)) {
		if (*desc & DESC_P)
			return 0;
		vector = use == DESC_FOR_STACK ? VEC_SS : VEC_NP;
	}
	*fault = (struct emu_fault){ .vector = vector, .has_error = true, .error = sel & ~3u };
	return -EFAULT;
}
/* After a change of CPL: ring-3 code comes and goes in the shadow tables; calls te_resync(). */
void te_cpl_changed(struct vcpu *v);
/*
 * registers.c: decides which selectors the next entry loads so that the CPU's hidden parts equal
 * the guest's.
 */
void te_resync(struct vcpu *v);
void te_resync_loaded(struct vcpu *v); /* the same, where only te_set_segment() changed them */
/* After an exit: takes over what the guest loaded into segment registers without a trap. */
void te_segments_in(struct vcpu *v);
void te_take_over(struct vcpu *v, uint16_t es, uint16_t ds, uint16_t fs, uint16_t gs, bool all);
void te_taken_over(struct vcpu *v, int seg, uint16_t real);
/* Loads a segment register as the guest's CPU would; see segload.c. */
enum verdict te_segment(struct vcpu *v, struct exit *e);
uint64_t te_register_shadow(struct vcpu *v, enum seg_reg seg, uint64_t desc);
enum verdict te_no_shadow(struct vcpu *v, struct exit *e, uint16_t sel, uint32_t base,
			  uint32_t limit);
/* rare/far.c */
enum verdict te_no_ring(struct vcpu *v, const struct exit *e, uint16_t sel, unsigned ring);
enum verdict te_far(struct vcpu *v, struct exit *e); /* a far transfer that te does not emulate */
enum verdict te_nested_iret(struct vcpu *v, struct exit *e); /* iret with NT set */

/* fetch.c: te_fetch() of what is not known yet, or where it lies is not. */
bool te_decode(struct vcpu *v, struct exit *e);

static inline enum cpu_mode
te_mode(const struct vcpu *v)
{
	return v->state.seg[SEG_CS].attr & ATTR_DB ? MODE32 : MODE16;
}

static inline bool
te_decoded(struct vcpu *v, struct exit *e, const struct insn *insn)
{
	te_of(v)->insn = insn;
	e->insn_len = insn->len;
	e->insn_op = insn->op;
	return true;
}

/*
 * The instruction at the guest's rip, if it was decoded before: fills in insn_len and insn_op of
 * *e, and te_insn(v).
 */
static inline bool
te_fetch_known(struct vcpu *v, struct exit *e)
{
	uint32_t at = (uint32_t)(v->state.seg[SEG_CS].base + v->state.rip);
	uint64_t key = at | (uint64_t)te_mode(v) << 32;
	const struct te_decoded *known = &te_of(v)->decoded[at % TE_DECODED];

	return known->key == key && known->code == v->tlb.code &&
	       known->bytes[0] == known->from[0] && known->bytes[1] == known->from[1] &&
	       te_decoded(v, e, &known->insn);
}

/* The same for any. False: the bytes are not all there, or are no instruction. */
static inline bool
te_fetch(struct vcpu *v, struct exit *e)
{
	return te_fetch_known(v, e) || te_decode(v, e);
}

size_t te_operand(struct vcpu *v, char *buf, size_t size);
bool te_undefined(struct vcpu *v); /* the bytes at rip are all there, and are no instruction */

/* memory.c: the emulator's view of guest memory. */
struct te_access {
	struct vcpu *v;
	bool hit_window; /* an access to the VMM window was refused */
};
extern const struct emu_ops te_ops;
/*
 * n words of `size` bytes onto the guest's stack, words[0] first, or off it: 0, or -EFAULT with
 * *fault filled in; rsp may be in between then, and the caller puts it back.
 */
int te_push_frame(struct te_access *a, unsigned size, const uint64_t *words, unsigned n,
		  struct emu_fault *fault);
int te_pop_frame(struct te_access *a, unsigned size, uint64_t *words, unsigned n,
		 struct emu_fault *fault);
/* Emulates the instruction of this exit with the general emulator. */
enum verdict te_emulate(struct vcpu *v, struct exit *e);
enum verdict te_natively(struct vcpu *v, struct exit *e); /* what that does not know */
/*
 * The guest's own fault, met while the host did an instruction for it. FAULTED, or the guest is
 * stopped.
 */
enum verdict te_guest_fault(struct vcpu *v, struct exit *e, const struct te_access *access,
			    const struct emu_fault *fault);
uint64_t te_linear(struct vcpu *v, const struct insn *insn); /* of its memory operand */

/* rare/sensitive.c */
enum verdict te_emulate_sensitive(struct vcpu *v, struct exit *e, struct te_access *access);
extern bool te_umip;                        /* CR4.UMIP is set while guests run */
bool te_umip_refuses(const struct insn *i); /* ... and this one faulted for it */

/* control.c */
enum verdict te_write_cr(struct vcpu *v, struct exit *e, unsigned n, uint64_t value);
enum verdict te_cr0_parts(struct vcpu *v, struct exit *e);

/* rare/stringio.c */
enum verdict te_string_io(struct vcpu *v, struct exit *e);

/* load.asm */
uint64_t te_load_data_segments(const uint16_t sel[SEG_COUNT]); /* 0, or error << 32 | vector */

/*
 * Lab 1A, enter.asm: into ring 1 and back. 0 after a trap from the guest; error << 32 | vector if
 * the entry itself faulted.
 */
uint64_t ring_enter(struct ring_frame *f, uint64_t gpr[]);
void ring_leave(void);

/* Lab 1A, state_convert.c */
void te_to_frame(struct vcpu *v, struct ring_frame *f);
void te_from_frame(struct vcpu *v, const struct ring_frame *f);
uint64_t real_rflags(uint64_t guest);
uint64_t guest_rflags(uint64_t real, uint64_t before);

/* Lab 1A, segments.c: pure. `window` is the linear address where the guest's memory ends. */
uint64_t shadow_descriptor(uint64_t guest, uint64_t window);

#include <vmm/te/segment.h>
