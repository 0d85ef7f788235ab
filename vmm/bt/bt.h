/*
 * The engine bt, binary translation: the guest's kernel runs in ring 1 as translated code only, its
 * ring 3 directly.
 *
 * bt is te and a translator: exits that te has bt has, too, and te's handlers serve them. What
 * differs is how a sensitive instruction gets there, and that none is missed.
 *
 * The cache lies in the VMM window, at
 *
 *   BT_CODE_AT    code: read-only, executable, supervisor
 *   BT_SHARED_AT  one page that translated code writes: virtual flags, scratch (enum of BT_AT_...)
 *                 then the table of indirect targets: read-only
 *
 * The host writes code and table through the direct map, and believes nothing that it reads from
 * the shared page but the guest's own flags and target.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <vmm/bt/translate.h>
#include <vmm/te/rare/rare.h>

_Static_assert(BT_VECTOR == CALLOUT_VECTOR, "the gate that te closes");

#define BT_CODE_AT   0x100000u
#define BT_CODE_SIZE 0x200000u
#define BT_SHARED_AT 0x300000u
#define BT_TABLE     (8u << BT_TABLE_BITS)

/* Behind the slots of CACHED_SEL: the code segment and GS of translated code. */
#define BT_CS 0xdff0u

#define BT_BLOCKS   32768u /* 0 is none */
#define BT_EIPS     8192u  /* lists of blocks, by eip */
#define BT_FRAMES   16384u /* and by frame: in 64 MiB, each has its own */
#define BT_MAP_PAGE (PAGE_SIZE / sizeof(struct bt_map))
#define BT_MAPS     256u
#define BT_NOWHERE  (~0ull)
/* Why the guest does not go on in the cache; no vector of anybody. */
#define BT_NOT_TRANSLATED 0xfful
#define BT_LOST           0xfeul /* it is where no instruction of a block is */
#define BT_KNOWN          512u   /* places */
#define BT_KNOWN_PAGE     16u    /* of them in one frame */
#define BT_HOT            512u
#define BT_HOT_AT         8u  /* this many faults, and one more, make an instruction a call-out */
#define BT_COOL_AFTER     8u  /* and this many call-outs in vain make it an ordinary one again */
#define BT_LINKS          16u /* stubs that wait to be chained */
/* A prediction may be wrong so often before it is replaced; each time twice as often. */
#define BT_WRONG     16u
#define BT_WRONG_MAX 20u /* times */
#define BT_MIXED     16u
/*
 * This many writes beside its code make a frame mixed: more than a kernel that boots patches on one
 * page.
 */
#define BT_MIXED_AT 2048u

struct bt_block {
	uint32_t eip;              /* in the code segment */
	uint32_t at;               /* in the cache's code */
	uint16_t len;              /* of the translation */
	uint16_t next;             /* with the same hash of eip */
	uint16_t next_in_frame[2]; /* of its first byte; of its last, if that is another one */
	struct bt_map *map;
	uint32_t gfn[2];  /* of its first and last byte */
	uint32_t entries; /* by the host; chains are not counted */
	uint8_t guest_len;
	uint8_t flags;
	uint8_t bytes[EXIT_INSN_MAX]; /* the guest's, of one that is compared */
	uint8_t pad;
	uint16_t maps;
	uint64_t serial; /* of all that were ever translated */
};
_Static_assert(sizeof(struct bt_block) == 64, "64 to a frame");
#define BT_DEAD 1 /* its code has changed: its start is a stub that leads to the new one */
#define BT_COMPARED \
	2 /* on a mixed frame: one instruction, compared before each entry, never chained to */

/* What translated code and the host share. */
struct bt_shared {
	uint32_t vif, viopl, pending, slow, save[2], target, jump, sel[SEG_COUNT], minus_gs;
	uint32_t minus_cs, host_iret, back, back_gs, budget[BT_BUDGETS];
};
_Static_assert(offsetof(struct bt_shared, slow) == BT_AT_SLOW, "translate.h");
_Static_assert(offsetof(struct bt_shared, jump) == BT_AT_JUMP, "translate.h");
_Static_assert(offsetof(struct bt_shared, sel) == BT_AT_SEL(0), "translate.h");
_Static_assert(offsetof(struct bt_shared, minus_gs) == BT_AT_MINUS_GS, "translate.h");
_Static_assert(offsetof(struct bt_shared, minus_cs) == BT_AT_MINUS_CS, "translate.h");
_Static_assert(offsetof(struct bt_shared, host_iret) == BT_AT_HOST_IRET, "translate.h");
_Static_assert(offsetof(struct bt_shared, budget) == BT_AT_BUDGET, "translate.h");

/*
 * Host pointers to frames. Of blocks, maps and code only those that are in use have one: the cache
 * of a small guest is small.
 */
struct bt_pages {
	uint32_t *table[BT_TABLE / PAGE_SIZE];
	struct bt_map *maps[BT_MAPS];
	uint16_t *eips[BT_EIPS * 2 / PAGE_SIZE];
	uint16_t *frames[BT_FRAMES * 2 / PAGE_SIZE];
	uint8_t **code; /* a frame of pointers, and another one */
	struct bt_block **blocks;
};
_Static_assert(sizeof(struct bt_pages) <= PAGE_SIZE, "one frame");
_Static_assert(BT_CODE_SIZE / PAGE_SIZE <= PAGE_SIZE / 8, "one frame of pointers");
_Static_assert(BT_BLOCKS / 64 <= PAGE_SIZE / 8, "one frame of pointers");

struct bt_count {
	uint32_t key;
	uint32_t count;
};

struct bt_known;
struct bt_way;
struct paging_format;

/*
 * 2 MiB of linear addresses with translated code in them, and what maps them while the guest's
 * paging is on.
 */
struct bt_region {
	uint32_t base;    /* linear address >> 21 */
	uint32_t version; /* another one with each page: a table was compared for those of one */
	uint64_t entry;   /* of the page directory that is loaded, without A and D; 0: none */
	uint32_t table;   /* the guest frame of its page table, which is tracked, or BT_NO_TABLE */
	uint32_t pad;
	uint64_t pages[8]; /* a bit per page with code */
	uint32_t gfn[512]; /* the frame that it was translated from */
};
#define BT_REGIONS  64u
#define BT_NO_TABLE 0xffffffffu
_Static_assert(sizeof(struct bt_region) <= PAGE_SIZE, "one frame");

/* A page table that leads to the same frames as the one that is loaded; it is tracked. */
struct bt_alike {
	uint64_t entry; /* the directory's that leads to it, as in struct bt_region; 0: none */
	uint32_t base, version; /* of its region */
};
#define BT_ALIKE (PAGE_SIZE / sizeof(struct bt_alike))

/* A stub that has been met, and will be chained. */
struct bt_link {
	uint32_t at; /* in the cache's code */
	const struct bt_block *to;
};

struct bt_stats {
	uint64_t translated, guest_bytes, flushes, invalidated, chained, batches, predictions,
		misses, polls, steps, compared;
	uint32_t callouts[INSN_OP_COUNT];
};

/* Where the guest went on when it last came from some place; as long as the block lives. */
struct bt_next {
	struct bt_block *block;
	unsigned generation; /* 0: it is not known */
	uint32_t eip, at;    /* the guest's address, and the cache's */
};

struct bt {
	struct bt_pages *pages;
	struct bt_shared *shared;
	struct bt_count *hot;                  /* faults by eip */
	struct bt_region *regions[BT_REGIONS]; /* the rest are NULL, or not in use */
	struct bt_alike *alike;                /* by frame */
	struct bt_known *known[BT_KNOWN / BT_KNOWN_PAGE];
	unsigned region_count;
	bool no_room;           /* for a region more */
	uint32_t space_version; /* of the region that got a page last */
	/* when the address space was looked at last */
	bool nx;
	const struct paging_format *paging_format; /* NULL: paging was off */
	uint64_t tlb_generation;                   /* v->tlb's */
	unsigned breakpoint_writes; /* that the translations know of: te_of(v)->breakpoint_writes */
	unsigned map_used, blocks, code_used;
	unsigned generation;        /* flushes: a block of another one is gone */
	bool gs_ours;               /* the real GS holds LOAN_SEL */
	struct bt_block *last_exit; /* by the last exit, in this generation */
	struct bt_next *from; /* what the place has that the guest comes from; NULL: nothing */
	unsigned left_generation;
	uint64_t refused_at; /* the last exit's instruction, if a refused access; BT_NOWHERE */
	/* what all blocks of the cache depend on */
	uint32_t cs_base, cs_limit;
	bool stack32;
	bool gdt_lazy; /* the shadow GDT may be behind the guest's: te_of(v)->gdt_lazy */
	uint8_t mispredicted[BT_BUDGETS]; /* how often, by budget of bt_shared */
	struct bt_link link[BT_LINKS];
	unsigned links, links_generation;
	uint32_t mixed[BT_MIXED];
	unsigned mixed_count;
	struct bt_count writes[32]; /* beside code, by gfn */
	struct bt_way *ways;        /* rings.c */
	unsigned back;              /* te_of(v)->descriptors where the way to ring 3 is known */
	struct bt_stats stats;
};
_Static_assert(sizeof(struct bt) <= PAGE_SIZE, "one frame");

static inline struct bt *
bt_of(struct vcpu *v)
{
	return te_of(v)->bt;
}

/* Where an address in the cache is, in the guest's terms. */
struct bt_place {
	struct bt_block *block;
	uint16_t at;            /* in the translation */
	uint8_t kind;           /* enum bt_kind */
	bool exact;             /* registers and flags are the guest's */
	uint32_t eip;           /* the instruction that it belongs to, or goes to */
	struct bt_known *known; /* NULL: nothing is kept about it */
};

/*
 * A place that the guest left the cache at before, and what is there: it leaves at the same few
 * again and again. What the host found out about it holds as long as its block does.
 */
struct bt_known {
	uint32_t address;
	unsigned generation;
	uint64_t serial; /* the block's: another one may have its place */
	bool decoded;    /* a call-out's instruction */
	struct bt_place place;
	struct bt_next next; /* where the guest went on, when the host had done it */
	struct insn insn;
};
_Static_assert(sizeof(struct bt_known) * BT_KNOWN_PAGE <= PAGE_SIZE, "one frame");

static inline struct bt_known *
bt_known_slot(struct bt *bt, uint32_t address)
{
	unsigned n = (address ^ address >> 7) % BT_KNOWN;

	return bt->known[n / BT_KNOWN_PAGE] + n % BT_KNOWN_PAGE;
}

/* What is known of an address in the cache: an exact place. NULL: nothing, or not any more. */
static inline struct bt_known *
bt_known_at(struct bt *bt, uint32_t address)
{
	struct bt_known *k = bt_known_slot(bt, address);

	if (k->address != address || k->generation != bt->generation ||
	    k->serial != k->place.block->serial || k->place.block->flags)
		return NULL;
	return k;
}

/* window.c: the pages of the cache. */
int bt_window_init(struct vcpu *v); /* 0, -ENOMEM */
void bt_window_free(struct vcpu *v);
/*
 * Frames for the code up to here, for this block, for this page of maps; false: no more are
 * allowed, or there are.
 */
bool bt_window_code(struct vcpu *v, uint32_t end);
bool bt_window_block(struct bt *bt, unsigned block);
bool bt_window_maps(struct bt *bt, unsigned page);
void bt_code_write(struct bt *bt, uint32_t at, const void *bytes, size_t n);
void bt_code_read(struct bt *bt, uint32_t at, void *bytes, size_t n);
uint32_t bt_address(struct vcpu *v, uint32_t at); /* linear, of an offset in the code */
/* The table of indirect targets: the entry of `eip` leads to `to`; 0: to nothing. */
void bt_table_set(struct bt *bt, uint32_t eip, uint32_t to);
void bt_table_clear(struct bt *bt, uint32_t eip, uint32_t to); /* if it leads there */
void bt_table_empty(struct bt *bt);

/* translate_block.c: from guest memory to a block. */
struct bt_block *translate_block(struct vcpu *v, uint32_t eip,
				 struct exit *e); /* NULL: *e says why */
void bt_nothing(struct vcpu *v, struct exit *e);
void bt_not_code(struct vcpu *v, struct exit *e); /* 16-bit code: the fault that its CPU takes */
uint32_t bt_gfn(struct vcpu *v, uint64_t linear);
size_t bt_fetch(struct vcpu *v, uint64_t linear, unsigned how, uint8_t *buf, size_t n);

/* rings.c: ways between rings that were gone before. */
enum injection bt_inject(struct vcpu *v, const struct event *event);
void bt_keep_back(struct vcpu *v);
void bt_returned(struct vcpu *v, struct exit *e);
void bt_not_run(struct vcpu *v, struct exit *e, uint64_t failure);

/* space.c: blocks are known by linear address, so a change of what that means must be noticed. */
void bt_space_note(struct vcpu *v, const struct bt_block *b);
void bt_space_forget(struct bt *bt); /* no block is left */
bool bt_space_look(struct vcpu *v);  /* false: no memory */
void bt_space_page(struct vcpu *v, uint32_t linear);
void bt_space_written(struct vcpu *v, uint32_t gfn, uint32_t from, uint32_t to);
bool bt_space_has(const struct bt *bt, uint32_t gfn); /* a page table that is watched */

/* Before each entry. Whatever takes the window away flushes the TLB. False: no memory. */
static inline bool
bt_space_check(struct vcpu *v)
{
	const struct bt *bt = bt_of(v);

	return (!bt->no_room && v->tlb.generation == bt->tlb_generation) || bt_space_look(v);
}

/* frames.c: the blocks on each guest frame, so that a write finds them. */
void bt_frame_note(struct bt *bt, unsigned n, struct bt_block *b); /* its number, and itself */
void bt_frames_forget(struct bt *bt);

/* The list of frame g, in which others may be, too. */
static inline uint16_t *
bt_frame_list(struct bt *bt, uint32_t g)
{
	unsigned n = g % BT_FRAMES;

	return &bt->pages->frames[n * 2 / PAGE_SIZE][n % (PAGE_SIZE / 2)];
}

/* Where the list of frame g goes on behind a block in it. */
static inline uint16_t *
bt_frame_next(struct bt_block *b, uint32_t g)
{
	return &b->next_in_frame[(b->gfn[0] - g) % BT_FRAMES != 0];
}

/* Blocks have numbers from 1 up, in the order of their code. */
static inline struct bt_block *
bt_block(struct bt *bt, unsigned n)
{
	return &bt->pages->blocks[n / 64][n % 64];
}

/* te_segments_in() after translated code, whose CS and GS are Zeno's, and which never loads SS. */
static inline void
bt_segments_in(struct vcpu *v)
{
	const uint16_t *was = te_of(v)->real_sel;
	uint16_t es, ds, fs;

	__asm__ volatile("mov %%es, %0; mov %%ds, %1; mov %%fs, %2" : "=r"(es), "=r"(ds), "=r"(fs));
	if ((es ^ was[SEG_ES]) | (ds ^ was[SEG_DS]) | (fs ^ was[SEG_FS]))
		te_take_over(v, es, ds, fs, was[SEG_GS], false);
}

static inline struct bt_count *
bt_hot_slot(struct bt *bt, uint32_t eip)
{
	return &bt->hot[(eip ^ eip >> 9) % BT_HOT];
}

/* Lab 3A, cache.c */
struct bt_block *bt_lookup(struct bt *bt, uint32_t eip);
struct bt_block *bt_insert(struct vcpu *v, struct bt_translation *t);
void bt_flush(struct vcpu *v);
void bt_forget(struct bt *bt, const struct bt_block *b);
void bt_change_world(struct vcpu *v);
uint32_t bt_resume_at(struct vcpu *v, uint32_t eip);
struct bt_block *bt_block_for(struct vcpu *v, uint32_t eip, struct exit *e);

/* Lab 3A, callout.c */
bool tc_to_guest_pc(struct vcpu *v, uint32_t address,
		    struct bt_place *p); /* false: no block there */
void bt_callout(struct vcpu *v, struct exit *e, struct bt_known *known);
bool bt_is_hot(void *bt, uint32_t eip);

/* Lab 3B, link.c */
void bt_link_early(struct vcpu *v, struct bt_translation *t, uint32_t at);
struct bt_block *bt_follow(struct vcpu *v, const struct bt_place *p, struct exit *e);

/* Lab 3B, selfmod.c */
void bt_invalidate(struct vcpu *v, struct bt_block *b);
void bt_invalidate_range(struct vcpu *v, uint32_t gfn, uint32_t from, uint32_t to);
bool bt_is_mixed(const struct bt *bt, uint32_t gfn);
bool bt_unchanged(struct vcpu *v, const struct bt_block *b);
void bt_count_fault(struct vcpu *v, uint32_t eip);
void bt_count_in_vain(struct vcpu *v, uint32_t eip);

/* Lab 3B, direct.c */
void bt_run_user(struct vcpu *v, struct exit *e);
uint64_t bt_enter(struct vcpu *v);
bool bt_left(struct vcpu *v, struct exit *e, uint64_t entered_at, bool step);

/* tc.c */
bool bt_show(struct vcpu *v, uint64_t eip, unsigned line, char *buf, size_t size);
size_t bt_peek(struct vcpu *v, uint64_t address, void *buf, size_t len);
