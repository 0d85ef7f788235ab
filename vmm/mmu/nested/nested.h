/*
 * The MMU modes of engines whose CPU walks two sets of tables: the guest's own, and below them
 * Zeno's, from guest-physical to machine addresses. "flat" has all of RAM in them from the start.
 *
 * Both CPUs' tables have four levels, and P (or R), W and the bit for a large page in the same
 * places, as the host's own have; what else an entry has differs.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#pragma once

#include <stdint.h>

#include <inc/addr.h>
#include <kern/paging.h>
#include <vmm/mem/mmu.h>

struct vcpu;

/* What an entry has beside an address: of a table, of a page; and what the CPU marks in it. */
struct nested_format {
	uint64_t table, page;
	uint64_t accessed, dirty; /* 0: it does not */
	unsigned address_bits;    /* of the CPU: MAXPHYADDR */
	unsigned largest;         /* level of the largest page that this CPU has: 1, 2, 3 */
	/* What is wrong with an entry, in words. NULL: nothing. */
	const char *(*wrong)(pte_t entry, int level);
};
#define EPT_ACCESSED (1ul << 8) /* SDM 3C table 29-7 */
#define EPT_DIRTY    (1ul << 9)
/* Their owners, the engines, say at the start what the CPU has. */
extern struct nested_format nested_npt, nested_ept;

#define FRAMES_OF(level) (1ul << 9 * ((level)-1)) /* a page's at this level */

/*
 * Makes v->root, the top of the nested tables, with the first vCPU; the others have the same. 0 or
 * -ENOMEM; the mode's free() takes a half-made one.
 */
int nested_init(struct vcpu *v, struct nested_format *format);

/* hole.c: what nobody has below 1 MiB reads as ones without an exit. 0 or -ENOMEM. */
int nested_hole(struct domain *d);
/* The p2m has another frame here, or of another type; of what is mapped by 4 KiB. */
void nested_changed(struct domain *d, gfn_t g);

/* blocks.c */
int nested_give_ram(struct domain *d, const struct ram_range *map);
/* So many frames in a row, aligned as one page: the first. MFN_NONE: there are none. */
mfn_t nested_block(struct domain *d, uint64_t frames_wanted);

/* nested.c: what is alike in these modes (vmm/mem/mmu.h). */
void nested_free(struct vcpu *v);
int nested_load(struct vcpu *v);
void nested_protect(struct domain *d, gfn_t g);
void nested_nothing(struct vcpu *v);
void nested_invlpg(struct vcpu *v, gva_t a);
bool nested_in_use(struct vcpu *v, gva_t a);
bool nested_show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size);

/* The level of the largest page that could map g: frames in a row, of which nobody tracks one. */
unsigned nested_row(struct domain *d, gfn_t g, unsigned largest);

/* What is wrong with an entry on the way to a, in words. */
const char *nested_wrong(struct domain *d, gpa_t a);

/* monitor.c: what there is in the tables; pages by level, from 1. */
struct nested_count {
	uint64_t tables, pages[4], accessed, dirty;
};
void nested_count(const struct domain *d, struct nested_count *n);

/*
 * walk.c: what a walk went by, from the top: entries, and the words of the guest's memory that they
 * lie in. It comes to the same end as long as these, and the control registers, are what they were.
 */
#define NESTED_LEVELS 4u
struct nested_trail {
	unsigned length; /* 0: paging is off */
	const uint64_t *at[NESTED_LEVELS];
	uint64_t value[NESTED_LEVELS];
	gpa_t entry[NESTED_LEVELS];
};
int nested_trail(struct vcpu *v, gva_t a, gpa_t *out, struct nested_trail *trail);

/*
 * The guest's own tables, walked in software. 0, or -EFAULT with *fault. Instructions that exit,
 * and what they do it to, are few, and the same again and again: walks are kept, and what they went
 * by is compared each time, for the guest changes it unseen. Frames that go have them forgotten.
 */
#define NESTED_KNOWN 16u
#define NESTED_KEY   0x800ul /* never 0, and no ACCESS_ bit; 400: AC */
struct nested_known {
	uint64_t key; /* page, NESTED_KEY, EFLAGS.AC, ACCESS_ bits; 0: there is none */
	uint64_t page, cr3, cr0, cr4, efer;
	struct nested_trail trail;
};
int nested_walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault);

/* A vCPU's, one frame: its mmu_data. The modes have more behind it. */
struct nested_own {
	struct nested_known known[NESTED_KNOWN];
};
