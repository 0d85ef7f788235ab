/*
 * For guests that try things: what must hold, and what an instruction must raise.
 */
#pragma once

#include <guest/pv/lib/pv.h>

extern unsigned wrong; /* how much was */
void check(bool good, const char *what, uint64_t got);

bool has_word(const char *word); /* in the command line */
uint64_t draw(uint64_t below);   /* the same at each start */

/* try.asm: 0; 1: an exception came, and its handler has gone back there. */
uint64_t try(void *fn, uint64_t argument);
extern uint8_t try_back[];
extern uint64_t try_rsp;
/* Such a handler, and what it found. */
void caught(struct pv_frame *f);
extern struct pv_frame last;
void raises(const char *what, void *fn, uint64_t argument, uint64_t vector, uint64_t error);
void pv_return(void *to, uint64_t rsp) __attribute__((noreturn));
