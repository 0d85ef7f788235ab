/*
 * The MMU mode "shadow": the CPU never sees the guest's page tables, but shadows of them, which map
 * the guest's linear addresses straight to machine frames.
 *
 *   guest:    CR3 -> table -> table -> guest frame            (gva -> gpa, the guest's own)
 *   CPU:      root -> shadow -> shadow -> machine frame       (gva -> hpa, ours)
 *
 * A shadow table has 512 entries of 8 bytes, whatever the guest's have. It is known by the guest
 * frame that it shadows and by how that frame is used (struct shadow_kind), so it outlives a change
 * of CR3. It starts empty and is filled by faults. A frame that has a shadow is tracked: when the
 * guest writes to it, the entries concerned go.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <kern/paging.h>
#include <vmm/domain.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mem/paging.h>
#include <vmm/mmu/window.h>
#include <vmm/vcpu.h>

/* How a guest frame is used: two uses have two shadows. */
struct shadow_kind {
	/* enum paging_format_id, or SHADOW_DIRECT: part of a large page, not a table */
	uint8_t format;
	uint8_t level; /* of the shadow */
	/*
	 * Which part of a table that has more entries than ours; and which of the four GiB, at
	 * level 2 of a guest with 32-bit addresses, for one of these holds the VMM window.
	 */
	uint8_t quadrant;
	uint8_t pad;
};
#define SHADOW_DIRECT PAGING_FORMATS

#define SHADOW_MAX 2048u /* per vCPU */
#define SHADOW_MIN 256u
#define TABLE_SIZE 512u
#define NO_SHADOW  0xffffu
#define ROOT_SLOT  0u /* the slot of the root's PDPT */

/*
 * A present entry is in one list: that of its guest frame (level 1), or that of the shadow it
 * points to.
 */
struct shadow_link {
	uint32_t next, prev; /* ids of entries, 0: none; prev may be the list's owner */
};

struct shadow {
	pte_t *table;              /* one frame */
	struct shadow_link *links; /* another one: links[i] belongs to table[i] */
	uint64_t gfn;
	struct shadow_kind kind;
	uint32_t parents; /* the entries that point here, a list */
	uint16_t next;    /* in the hash, or of the free ones; NO_SHADOW: the last */
	uint16_t writes;  /* of the guest to its table since it was last used */
	uint16_t present; /* entries that lead somewhere, the window's among them */
	bool used;
};
_Static_assert(sizeof(struct shadow) <= 64, "64 of them in a frame");
#define SHADOWS_PER_FRAME 64u

/*
 * Bits that CPUs ignore: an entry that leads to the VMM window; one that allows writes but for the
 * frame's being tracked.
 */
#define PTE_WINDOW  (1ul << 9)
#define PTE_TRACKED (1ul << 10)

struct shadow_stats {
	uint64_t filled, faults, emulated, dropped, written, made, freed, flooded, emptied, loads;
};

#define SHADOW_HASH 512u

#define SHADOW_RAM_MAX (1024ul << 20) /* of a guest; its frames have a list each */

/*
 * All shadows of a vCPU: one frame. Each vCPU has its own, for what they are worth is its own CR3's
 * and its own TLB's. Slot 0 is the root's PDPT, and has no guest
 * frame.
 */
struct shadow_mmu {
	struct domain *domain;
	struct vcpu *vcpu;
	struct paging paging; /* as of the vCPU's last load */
	/*
	 * The table that a fill begins at: the root's PDPT (slot 0, level 3), or, for a guest with
	 * 4 levels, the shadow of its own top table, which the CPU must use as its root then;
	 * NO_SHADOW: it was freed, and the next fill makes another.
	 */
	uint16_t top;
	uint8_t top_level;
	bool on;      /* the root shows shadows, not the flat map */
	bool marking; /* we are setting A and D bits ourselves: no shadow has to go for it */
	uint16_t count, limit, free; /* slots in use ever; how many there may be; the free list */
	uint16_t live;
	uint16_t hash[SHADOW_HASH];
	struct shadow *shadows[SHADOW_MAX / SHADOWS_PER_FRAME];
	uint32_t *heads[SHADOW_RAM_MAX >> 22]; /* by guest frame: the entries that map it */
	struct shadow_stats stats;
};
_Static_assert(sizeof(struct shadow_mmu) <= PAGE_SIZE, "one frame");

/* NULL as long as the guest has never turned its paging on. */
static inline struct shadow_mmu *
shadow_of(const struct vcpu *v)
{
	return v->mmu_data;
}

static inline struct shadow *
shadow_at_slot(struct shadow_mmu *m, unsigned slot)
{
	return &m->shadows[slot / SHADOWS_PER_FRAME][slot % SHADOWS_PER_FRAME];
}

/* The part of the linear addresses that an entry at this level of ours covers. */
static inline uint64_t
level_span(unsigned level)
{
	return 1ul << (PAGE_SHIFT + 9 * (level - 1));
}

static inline unsigned
shadow_index(unsigned level, gva_t a)
{
	return a.v / level_span(level) % TABLE_SIZE;
}

/* rmap.c: entries and the lists they are in. */
#define LIST_OF_FRAME(gfn)   (0x80000000u | (uint32_t)(gfn))
#define LIST_OF_SHADOW(slot) (0xc0000000u | (slot))
/* Sets an entry, in place of what was there; `list` is where it belongs. */
void shadow_set(struct shadow_mmu *m, unsigned slot, unsigned index, pte_t entry, uint32_t list);
void shadow_clear(struct shadow_mmu *m, unsigned slot, unsigned index);
void shadow_clear_list(struct shadow_mmu *m, uint32_t list);
void shadow_protect(struct domain *d, gfn_t g);

/* pool.c: making shadows, finding them, giving them back. */
int shadow_pool_init(struct shadow_mmu *m);
void shadow_pool_free(struct shadow_mmu *m);
/* Whether `n` more can be made; frames are taken for them, and stay the domain's. */
bool shadow_room(struct shadow_mmu *m, unsigned n);
unsigned shadow_find(struct shadow_mmu *m, gfn_t g, struct shadow_kind kind); /* or NO_SHADOW */
/* Finds it or makes it; shadow_room() has been asked before. Traces the frame of a table. */
unsigned shadow_get(struct shadow_mmu *m, gfn_t g, struct shadow_kind kind);
void shadow_free(struct shadow_mmu *m, unsigned slot);
/*
 * The next shadow of the same frame, whatever its kind; start with NO_SHADOW. NO_SHADOW: no more.
 */
unsigned shadow_of_frame(struct shadow_mmu *m, gfn_t g, unsigned after);
void shadow_free_all(struct shadow_mmu *m);
void shadow_window(struct vcpu *v);

/* lookup.c */
bool shadow_lookup(struct shadow_mmu *m, gva_t a, unsigned how, gpa_t *out);
void shadow_keep(struct shadow_mmu *m, gva_t a, const struct walk *w);

/* words/monitor.c */
bool shadow_show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size);

/* shadow.c: the guest's tables as a walk reads and writes them. */
uint64_t shadow_read_entry(void *ctx, gpa_t at, unsigned size);
void shadow_write_entry(void *ctx, gpa_t at, uint64_t entry, unsigned size);
inline struct walk_memory
guest_memory(struct shadow_mmu *m)
{
	return (struct walk_memory){ m, shadow_read_entry, shadow_write_entry };
}

/* pool.c: m->top, made if need be; shadow_room() has been asked before. */
unsigned shadow_top(struct shadow_mmu *m);

/* Lab 2A, fill.c: makes the CPU's tables lead from `a` to where *w leads. 0, -ENOSYS. */
int shadow_fill(struct shadow_mmu *m, gva_t a, const struct walk *w);
/* The kind of shadow that an entry at `level` of ours leads to. */
struct shadow_kind shadow_child_kind(const struct paging *p, unsigned level, gva_t a,
				     const struct walk *w);
/* Lab 2A, fault.c */
enum mmu_outcome shadow_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault);
/* Lab 2A, tables.c: the guest wrote to one of its tables. */
void shadow_table_written(struct shadow_mmu *m, gpa_t a, size_t len);
/* Lab 2B, roots.c */
void shadow_load_root(struct shadow_mmu *m);
bool shadow_reclaim(struct shadow_mmu *m, unsigned n);
