/*
 * The guest of sequences: a few instructions that only a kernel runs, drawn by a seed from a table,
 * from a state that is the same each time; then what became of the CPU and of memory.
 *
 * A timer ticks meanwhile. Its handler counts the tick, and changes nothing else but what is below
 * the stack pointer; so what is told does not depend on when a tick comes.
 */
#pragma once

#include <guest/lib/guest.h>
#include <guest/lib/random.h>

/*
 * Physical memory, mapped to the same linear addresses: below 64 KiB, so that 16-bit segments reach
 * it with the same offsets.
 */
#define CODE       0x1000u /* the sequence */
#define RETURNS    0x2000u /* what gates and far calls lead to: each goes back at once */
#define PLAY       0x3000u /* operands in memory, three pages */
#define READ_ONLY  0x6000u
#define STACK      0x7000u /* its first word counts ticks */
#define TRAP_STACK 0x8000u /* of ring 0, for faults of ring 3 */
#define GDT        0x9000u
#define GDT2       0xa000u
#define LDT        0xb000u
#define POINTERS   0xc000u /* far pointers, and what lgdt and lidt load */
#define ABSENT     0x40000000u

/* iretd; retf of 32-bit code; o32 retf and iret of 16-bit code. */
#define RETURN_IRET   (RETURNS + 0x00u)
#define RETURN_FAR    (RETURNS + 0x10u)
#define RETURN_FAR16  (RETURNS + 0x20u)
#define RETURN_IRET16 (RETURNS + 0x30u)

/* Selectors. Those up to TSS2_SEL are below the short limit of a GDT, too. */
#define KCODE       0x08u
#define KDATA       0x10u
#define UCODE       0x1bu
#define UDATA       0x23u
#define TSS_SEL     0x28u
#define LDT_SEL     0x30u
#define CODE16      0x38u
#define CONFORMING  0x40u
#define TSS2_SEL    0x48u
#define DATA16      0x50u
#define READ_SEL    0x58u
#define EXECUTE     0x60u
#define DOWN16      0x68u
#define GONE_DATA   0x70u
#define GONE_CODE   0x78u
#define GONE_LDT    0x80u
#define LDT2_SEL    0x88u
#define GONE_TSS    0x90u
#define BASED       0x98u
#define SELS        20u
#define BEYOND      0x3f8u
#define SHORT_LIMIT (DATA16 - 1)

#define VEC_GATES 0x30u /* gates of all kinds */
#define GATES     8u

/* What a sequence starts with: an iret frame under the general registers. */
struct start {
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t gs, fs, es, ds;
	uint32_t eip, cs, eflags;
};

struct table {
	uint16_t limit;
	uint32_t base;
	uint16_t zero;
} __attribute__((packed));

/* How it ended: what the handler pushed. */
struct end {
	struct table gdtr, idtr;
	uint32_t ds, es, fs, gs;
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t vector, error, eip, cs, eflags, esp, ss;
};

struct after {
	uint32_t cr0, cr2, cr3, cr4, dr[4], dr6, dr7, tr, ldtr, efer, frame;
};

extern struct end end;
extern struct after after;
extern int unpaged; /* the sequence has switched paging off */
extern int plain;   /* 1: nothing by which te's guest could see its ring */
extern int checks;  /* 1: on a machine that checks a segment's limit and rights at each access */

/* operands.c */
uint32_t one_of(const uint32_t *some, unsigned count);
#define ONE_OF(some) one_of(some, sizeof(some) / sizeof((some)[0]))
uint32_t selector(void);
int is_plain(uint32_t sel);
uint32_t stack_selector(void);
uint32_t address(void);
uint32_t number(void);
uint32_t flags(void);
uint32_t cr_value(unsigned n);
uint32_t dr_value(unsigned n);

/* table.c */
uint32_t make_sequence(void); /* where it ends */

/* tables.c */
extern uint32_t directories[2][1024];
void paging_on(void);
void tables_init(void);  /* once */
void tables_fresh(void); /* before each sequence */

/* asm.asm */
extern const uint32_t stubs[256];
extern uint64_t idt[256], idt2[256];
void run_sequence(const struct start *start);
void state_init(const struct table *gdtr, const struct table *idtr);
void timer_init(void);
