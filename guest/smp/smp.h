/*
 * A guest with two CPUs, and the machine's APICs.
 */
#pragma once

#include <guest/lib/frame.h>
#include <guest/lib/guest.h>

#define LAPIC  ((volatile uint32_t *)0xfee00000)
#define IOAPIC ((volatile uint32_t *)0xfec00000)

/* Registers by their offset in words. */
enum lapic {
	ID = 0x20 / 4,
	VERSION = 0x30 / 4,
	TPR = 0x80 / 4,
	PPR = 0xa0 / 4,
	EOI = 0xb0 / 4,
	LDR = 0xd0 / 4,
	DFR = 0xe0 / 4,
	SVR = 0xf0 / 4,
	ISR = 0x100 / 4,
	TMR = 0x180 / 4,
	IRR = 0x200 / 4,
	ESR = 0x280 / 4,
	ICR = 0x300 / 4,
	ICR_HIGH = 0x310 / 4,
	TIMER = 0x320 / 4,
	LINT0 = 0x350 / 4,
	LINT1 = 0x360 / 4,
	ERROR = 0x370 / 4,
	INITIAL = 0x380 / 4,
	CURRENT = 0x390 / 4,
	DIVIDE = 0x3e0 / 4,
};

#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define LEVEL    0x8000u

/* Vectors. */
#define PIC_FIRST  0x20u
#define PIN_EDGE   0x30u
#define PIN_LEVEL  0x31u
#define TIMER_TICK 0x40u
#define LOW_ONE    0x51u
#define HIGH_ONE   0x61u
#define TO_SECOND  0x70u
#define TO_FIRST   0x71u
#define TO_BOTH    0x72u
#define SAY_ERROR  0x73u
#define SPURIOUS   0xffu

#define CPUS   2u
#define ROUNDS 10u
#define ADDED  2000u

/* What the second CPU is told to do, and how far it is. */
enum task { NOTHING, LISTEN, ADD, TICK, SLEEP, DIE };
extern volatile uint32_t task, done, alive;
extern volatile uint32_t came[CPUS][256]; /* interrupts, by CPU and vector */

extern uint32_t lock, sum;
extern uint32_t enough; /* interrupts, at which the machine ends; 0: never */

static inline uint32_t
me(void)
{
	return LAPIC[ID] >> 24;
}

void say(const char *what, uint32_t value);
void send(uint32_t to, uint32_t command);
void second_tables(void);
void second_main(void);
void hostile(const char *attack) __attribute__((noreturn));
void second_dies(void);
void deadlines(const char *count); /* the timer by deadlines, so often */

/* asm.asm */
extern char trampoline[], trampoline_end[];
void fill_trampoline(void *page, const void *gdt, uint32_t limit);
uint32_t first_cr0(const void *page);
void load_tables(const void *gdt, uint32_t gdt_limit, const void *idt, uint32_t idt_limit);
void wait_until(volatile uint32_t *word, uint32_t value);
uint64_t spin_until(volatile uint32_t *word, uint32_t value);
void let_in(void);
void halt_once(volatile uint32_t *word);
void add_locked(uint32_t *lock, uint32_t *sum, uint32_t count);
uint32_t cpuid_word(uint32_t leaf, uint32_t which);
uint32_t read_msr(uint32_t number);
void read_no_msr(void);
extern char no_msr[];
void write_msr(uint32_t number, uint32_t low, uint32_t high);
void triple_fault(void);
