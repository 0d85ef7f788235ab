/*
 * guest/traps/asm.asm.
 */
#pragma once

#include <stdint.h>

/* What the stubs leave on the stack. esp and ss are there only if the frame came from ring 3. */
struct frame {
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t vector, error;
	uint32_t eip, cs, eflags, esp, ss;
};

extern const uint32_t stubs[256];
extern volatile uint32_t resume_at; /* where the handler lets a fault go on; 0: where it was */

void handle(struct frame *f); /* called by the stubs */
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
void leave_user(void) __attribute__((noreturn));
void user_call(void);
void user_cli(void);
void user_out(void);
void user_int30(void);
void user_load(void);
