/*
 * A guest's page tables, whatever the MMU mode: how they look, and a walk through them.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <inc/addr.h>
#include <kern/paging.h>

#define PAGE_LEVELS 4 /* of the host's tables; level 1 maps pages of 4 KiB */

/* One of the ways in which a guest's tables may look (SDM 3A 4.1.1 "Four Paging Modes"). */
enum paging_format_id { PAGING_32, PAGING_32_PSE, PAGING_PAE, PAGING_LONG, PAGING_FORMATS };
struct paging_format {
	const char *name;
	uint8_t id;         /* enum paging_format_id */
	uint8_t levels;     /* of the guest */
	uint8_t registers;  /* the level that is in registers (PAE's PDPTEs), 0: none */
	uint8_t entry_size; /* bytes of an entry of a table */
	struct {
		uint8_t shift; /* the lowest bit of the index */
		uint8_t bits;
		bool large; /* bit 7 of an entry makes it map a page */
	} level[PAGE_LEVELS + 1];
};
extern const struct paging_format paging_formats[PAGING_FORMATS];

/* All that a walk depends on but memory. */
struct paging {
	const struct paging_format *format;
	uint64_t root;         /* gpa of the top table */
	uint64_t pdpte[4];     /* PAE: the registers that a load of CR3 filled */
	unsigned address_bits; /* MAXPHYADDR */
	bool wp, nx;           /* CR0.WP; EFER.NXE with CR4.PAE */
};

/* Memory as a walk sees it: the kernel's walks go to guest RAM, the tests' where they like. */
struct walk_memory {
	void *ctx;
	uint64_t (*read)(void *ctx, gpa_t at, unsigned size);
	void (*write)(void *ctx, gpa_t at, uint64_t entry, unsigned size);
};

struct walk {
	struct {
		gpa_t at; /* where the entry lies; not for registers */
		uint64_t entry;
	} step[PAGE_LEVELS + 1]; /* by level */
	unsigned last;           /* the level at which the walk ended */
	uint64_t rights; /* PTE_U and PTE_W if all entries have them; PTE_NX if one has it */
	gpa_t gpa;       /* where the address leads, if the walk did not fail */
	uint32_t error;  /* else the error code of the #PF */
};

static inline unsigned
paging_index(const struct paging *p, unsigned level, gva_t a)
{
	return a.v >> p->format->level[level].shift & ((1u << p->format->level[level].bits) - 1);
}

/* Whether an entry leads to a page, and not to a table. */
static inline bool
paging_maps(const struct paging *p, unsigned level, uint64_t entry)
{
	return level == 1 || (p->format->level[level].large && entry & PTE_PS);
}

/* paging_format.c: the bits of an entry that must be 0. */
uint64_t paging_reserved_some(const struct paging *p, unsigned level, uint64_t entry);

static inline uint64_t
paging_reserved(const struct paging *p, unsigned level, uint64_t entry)
{
	if (p->format->entry_size == 4 && (level == 1 || !paging_maps(p, level, entry)))
		return 0; /* 32-bit paging's tables have none */
	return paging_reserved_some(p, level, entry);
}

/*
 * Of the table or the page that an entry leads to (SDM 3A 4.3, table 4-4: a 4 MiB page has bits
 * 39:32 in 20:13).
 */
static inline uint64_t
paging_address(const struct paging *p, unsigned level, uint64_t entry)
{
	bool large = level > 1 && paging_maps(p, level, entry);

	if (p->format->entry_size == 8)
		return entry & 0xffffffffff000 &
		       ~((1ull << (large ? p->format->level[level].shift : PAGE_SHIFT)) - 1);
	return large ? (entry & 0xffc00000) | (entry & 0x1fe000) << 19 : entry & 0xfffff000;
}

/*
 * The guest's page directory that covers GiB i, by the registers as they are now; false: it has
 * none. (Of 2 or 3 levels.)
 */
static inline bool
directory_of(const struct paging *p, unsigned i, gfn_t *g)
{
	uint64_t table = p->format->registers ? p->pdpte[i] : p->root | PTE_P;

	*g = gpa_to_gfn(gpa(paging_address(p, 3, table)));
	return table & PTE_P;
}

/* Lab 2A, walk.c: 0 with w->gpa, or -EFAULT with w->error. Reads only. -ENOSYS: not written yet. */
int guest_walk(const struct paging *p, gva_t a, unsigned how, const struct walk_memory *memory,
	       struct walk *w);
/* PAE's registers as a load of CR3 fills them: 0, or -EINVAL, a reserved bit is set. */
int paging_load_pdptes(const struct paging *p, const struct walk_memory *memory, uint64_t pdpte[4]);
/* Lab 2B, rings.c: whether entries that grant `rights` together allow this access. */
bool rights_allow(const struct paging *p, uint64_t rights, unsigned how);
/*
 * Lab 2B, adbits.c: sets accessed and dirty bits as the CPU would for this access, in memory and in
 * *w.
 */
void walk_mark(const struct paging *p, unsigned how, const struct walk_memory *memory,
	       struct walk *w);
/* Whether the CPU may write without asking us: the leaf is dirty already. */
bool walk_dirty(const struct walk *w);
