/*
 * guest/hostile/attacks.asm: each attack is a function that returns 0 if it had no effect, 1 if it
 * went through.
 */
#pragma once

#include <stdint.h>

struct attack {
	const char *name; /* NULL ends the table */
	uint32_t (*run)(void);
	uint32_t wants_tables; /* the guest loads its own GDT before it */
};

extern const struct attack attacks[];

extern uint64_t *const gdt_alias;
extern uint32_t ram_end;

void load_gdt(const void *base, uint32_t limit);
