/* What the guest's parts have in common. */
#pragma once

#include <guest/pv/lib/check.h>

void do_iret(uint64_t words);          /* asm.asm: HYPERVISOR_iret */
extern uint8_t failsafe[];             /* ... a callback: the vector is 100 then */
bool does(void *fn, uint64_t operand); /* main.c: an instruction; whether it went well */
uint64_t value(void *fn);              /* ... what one that reads has found */
void do_yield(uint64_t operand);       /* ... others have their turns */
void compat(void);
void breakpoints(void); /* breakpoints.c: debug registers */
void calls(void);       /* calls.c: hypercalls as such */
void faults(void);      /* faults.c: exceptions as such */
