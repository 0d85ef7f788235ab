/*
 * The patients of exercises 4.8 and 4s.8: guests of a few hundred bytes of code, which do a small
 * piece of work when they are well (work.asm). What a CPU is told of one is the flavour's; its
 * memory, and its state as it should be, are made here, from a person's name.
 */
#pragma once

#include <kern/frame.h>
#include <vmm/x86/state.h>

#define PATIENTS 5u /* a person's */

/* The guest's pages lie one behind the other, in its physical memory and in its linear one. */
enum patient_page {
	PAGE_CODE,
	PAGE_CARD,
	PAGE_STACK,
	PAGE_TABLES, /* GDT, LDT, TSS, IDT */
	PAGE_FIXED,  /* not writable */
	PAGE_ROOT,   /* paging structures, as CR3 has them */
	PAGE_LOWER,  /* what they point to, and so on: one page for each level */
	PATIENT_PAGES = PAGE_LOWER + 3,
	PAGE_NESTED = PATIENT_PAGES, /* Zeno's: nested tables, the root and three more */
	ALL_PAGES = PAGE_NESTED + 4,
};

struct patient {
	bool wide;    /* work64, not work32 */
	uint64_t gpa; /* of its first page */
	uint64_t linear;
	uint64_t base;   /* its segments': offsets are smaller than linear addresses by it */
	uint8_t event;   /* the vector of an interrupt that it waits for */
	uint32_t answer; /* EAX behind its cpuid */
	unsigned marks;  /* so many has it made, one after the other */
	mfn_t page[ALL_PAGES];
	uint8_t *memory[ALL_PAGES]; /* the same, where Zeno sees them */
	struct cpu_state state;
};

/* What the patient expects, and what it leaves: at the begin of PAGE_CARD. */
struct card {
	uint8_t text[16], copy[16]; /* it copies the one to the other */
	uint64_t rax, top, rsp, answer;
	uint64_t far, near, own; /* what FS, GS and the kernel's own GS show it */
	uint64_t calls, events;  /* its handlers count them */
};

/* The pages of one patient, once: the next one has the same. NULL: there is no memory for it. */
struct patient *patient_pages(void);
/* The number-th of this name: what chooses its fault, below `count`, and the seed of the rest. */
unsigned patient_choice(const char *name, unsigned number, unsigned count, uint64_t *seed);
/*
 * Makes it anew, and well. Each entry of its nested tables has these bits, and that of a page those
 * for a leaf, too.
 */
void patient_make(struct patient *p, bool wide, uint64_t seed, uint64_t bits, uint64_t leaf_bits);
/* It makes this mark. */
void patient_mark(struct patient *p, uint8_t mark);
/* Its last instruction, in its code segment. */
uint64_t patient_end(const struct patient *p);
/* It has done all of its work. */
bool patient_is_well(const struct patient *p);
