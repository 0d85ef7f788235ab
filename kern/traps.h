/*
 * What trap.c, trap.asm and gdt.c share and nobody else calls; see kern/trap.h for the rest.
 */
#pragma once

#include <kern/trap.h>

/* Which stack of the TSS; 0 in a gate: none. */
enum ist { IST_NONE, IST_NMI, IST_DB, IST_DF, IST_MC };

/* gdt.c: GDT, TSS and the stacks of its IST. */
void gdt_init(void);

/* trap.asm */
extern void (*const trap_stubs[256])(void);
extern const char trap_text_start[], trap_text_end[];

/* words/trap_words.c: the error code in words, "" if the vector has none or it is 0. */
void error_code_words(unsigned vector, uint64_t error, char *buf, size_t size);
/* The host's own bug; and a trap from a ring in which nobody runs code yet. */
void trap_die(const struct trap_frame *f) __attribute__((noreturn));
void trap_nobody(struct trap_frame *f) __attribute__((noreturn));
