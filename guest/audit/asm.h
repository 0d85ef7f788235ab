/*
 * guest/audit/asm.asm: the instructions under audit, and the stubs of the traps.
 */
#pragma once

#include <stdint.h>

#include <guest/lib/frame.h>

extern volatile uint32_t resume_at;        /* where a fault goes on */
extern volatile uint32_t seen[8];          /* what an instruction has shown */
extern volatile uint32_t asked[4];         /* selectors for it to look at */
extern volatile uint32_t own_code;         /* CS of the level that runs */
extern void (*volatile user_target)(void); /* what user_run() calls, in ring 3 */

void load_tables(const void *gdt, uint32_t gdt_limit, const void *idt, uint32_t idt_limit,
		 uint32_t tr, uint32_t ldt);
/* Runs `code` in ring 3 until it calls int 0x80. */
void enter_user(void (*code)(void), uint32_t cs, void *stack, uint32_t ss);
void user_run(void);

/* One function for each instruction; each works at both levels, and fills in seen[]. */
void do_sgdt(void);
void do_sidt(void);
void do_sldt(void);
void do_smsw(void);
void do_pushf(void);
void do_popf(void);
void do_lar(void);
void do_lsl(void);
void do_verr(void);
void do_verw(void);
void do_pop(void);
void do_push(void);
void do_call(void);
void do_jmp(void);
void do_int(void);
void do_ret(void);
void do_str(void);
void do_mov(void);
void do_cpuid(void);
void do_rdtsc(void);
void do_xgetbv(void);
