/*
 * FPU, SSE and debug registers: who runs owns them, and kern/sched/thread.c switches them.
 *
 * A host function uses none of them (-mgeneral-regs-only), so an exit saves nothing.
 */
#pragma once

#include <stdint.h>

/* CR0 and CR4 for the FPU and SSE, and both at their reset values (fpu.asm). */
void fpu_init(void);
/* The area is 512 bytes, 16-byte aligned: SDM 1 10.5.1 "FXSAVE Area". Both clear CR0.TS and CR0.EM,
 * which a guest may have left set. */
void fpu_save(void *area);
void fpu_restore(const void *area);
extern const uint8_t fpu_reset[512];  /* such an area, with the values of a reset */
extern const uint64_t debug_reset[8]; /* the debug registers', as those below take them */

/* DR0-3, 6, 7; [4] and [5] are left alone. Between them DR7 is clear, so no breakpoint of the old
 * owner can hit. */
void debug_registers_save(uint64_t dr[8]);
void debug_registers_restore(const uint64_t dr[8]);
void debug_registers_clear(void);
