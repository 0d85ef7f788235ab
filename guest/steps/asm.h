/*
 * guest/steps: the stubs, and sequences of instructions that run under TF, before breakpoints, or
 * into faults.
 */
#pragma once

#include <stdint.h>

#include <guest/lib/frame.h>

/* A sequence begins at `code`, which a call leads to, or iret for ring 3. */
struct sequence {
	const char *name;
	void (*code)(void);
	uint32_t ring; /* 0, 3; 0x33: 3 with IOPL 3; 0x103: 3, and `watched` has a breakpoint */
};

extern const struct sequence sequences[], break_sequences[]; /* the last has no name */
extern volatile uint32_t resume_at; /* where a fault goes on; 0: where it was */
extern uint32_t watched[];
extern uint8_t code16[];

void load_tables(const void *gdt_register, const void *idt_register, uint32_t tr);
/* Runs `code` in ring 3 until it calls int 0x80. */
void enter_user(void (*code)(void), uint32_t cs, void *stack, uint32_t ss, uint32_t eflags);
void paging_on(const uint32_t *directory); /* with CR4.PSE */
void paging_off(void);
void invalidate(uint32_t at);
uint32_t read_dr6(void);
void write_dr6(uint32_t value);
void write_dr7(uint32_t value);
void set_de(void);          /* CR4.DE: breakpoints on ports, too */
void watch(uint32_t *what); /* reads and writes of four bytes, by breakpoint 0 */
