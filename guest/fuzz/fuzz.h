/*
 * The fuzzer guest: rounds of random code in ring 0 and ring 3, each from a seed, in a machine that
 * mends itself behind each of them.
 *
 * A round runs in an address space of its own, where the kernel's data are read-only, as its code
 * is in both, and CR0.WP is 1. So what random code can damage is the play area, and its own CPU's
 * state. Whatever ends the round, the handler loads that anew.
 */
#pragma once

#include <guest/lib/guest.h>
#include <guest/lib/random.h>

#define P  1u
#define W  2u
#define U  4u
#define A  0x20u
#define D  0x40u
#define PS 0x80u

/* Physical memory, mapped to the same linear addresses. */
#define TEXT        0x100000u
#define CODE        0x200000u /* the random code, two pages */
#define CODE_SIZE   0x2000u
#define PLAY        0x202000u /* data of the random code's */
#define STACK       0x206000u /* the page of its stack */
#define GDT         0x208000u /* descriptors that are edited */
#define LDT         0x209000u
#define TRAP_STACK  0x20a000u /* the page that rings 3's faults are pushed to */
#define TABLES      0x20b000u /* two page tables that are edited: those below TEST */
#define PLAY_END    0x20d000u
#define PDPT        0x210000u /* one page for each address space: the kernel's and the rounds' */
#define PD          0x212000u /* four pages for each */
#define DATA_TABLES 0x21a000u /* a page table for each: of the kernel's data */
#define LOW_TABLES  0x21c000u /* two page tables of the low 4 MiB, for both */
#define TABLES_END  0x21e000u
#define DATA        0x400000u /* the kernel's (fuzz.ld) */
#define REPORT \
	0x5ff000u /* how many rounds are over: the host reads it there (trials/guests/fuzz.c) */
#define RAM_END 0x600000u
#define TEST    0x40000000u /* linear addresses behind page tables that are edited */
#define WINDOW  0xffc00000u /* where the VMM window is under te and bt */

/* Selectors; those from PLAY_SEL on are edited. */
#define KCODE    0x08u
#define KDATA    0x10u
#define UCODE    0x1bu
#define UDATA    0x23u
#define TSS_SEL  0x28u
#define LDT_SEL  0x30u
#define PLAY_SEL 0x38u
#define SELS     64u

#define TICK_VECTOR 0x20u

/* What a round starts with: an iret frame under the general registers. */
struct start {
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t gs, fs, es, ds;
	uint32_t eip, cs, eflags, esp, ss;
};

/* How a round ended: what the handler found. */
struct end {
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t vector, error, eip, cs, eflags, esp, ss;
};

extern int pae;
extern struct end end;
extern uint32_t end_cr2;

/* chances.c */
uint32_t address(void); /* one that is worth an access */
uint32_t selector(void);
uint32_t number(void); /* an immediate operand */

/* code.c */
void make_code(void);
extern uint32_t flags_left_out;

/* space.c */
void make_spaces(int edited);
uint32_t cr3_of(unsigned space);
void edit_tables(unsigned times);
void edit_descriptors(unsigned times);
void good_descriptors(void);

/* same.c */
void same_rounds(uint32_t seed, uint32_t from, uint32_t count, int more);

/* asm.asm */
extern const uint8_t kernel_gdt[];
void tables_init(uint32_t round_cr3);
void run_round(const struct start *start, uint32_t gdt_limit); /* 0: the kernel's own GDT */
void state_init(void);
