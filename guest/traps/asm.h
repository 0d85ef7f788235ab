/*
 * guest/traps/asm.asm.
 */
#pragma once

#include <stdint.h>

#include <guest/lib/frame.h>

extern volatile uint32_t resume_at; /* where the handler lets a fault go on; 0: where it was */

void load_tables(const void *gdt, uint32_t gdt_limit, const void *idt, uint32_t idt_limit,
		 uint32_t tr);
void divide_by_zero(void);
void undefined(void);
void breakpoint(void);
void load_gs(uint32_t selector);
void single_step(void);
void raise_30(void);
void raise_31(void);
void raise_32(void);
void raise_33(void);
void raise_34(void);
void raise_35(void);
void wait_for_interrupt(void);
/* Runs `code` in ring 3 until it calls int 0x80 with eax = 0xdead. */
void enter_user(void (*code)(void), uint32_t cs, void *stack, uint32_t ss);
void user_call(void);
void user_cli(void);
void user_out(void);
void user_int30(void);
void user_load(void);
