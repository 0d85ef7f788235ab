/* What the guest's parts have in common. */
#pragma once

#include <guest/pv/lib/check.h>

void do_iret(uint64_t words); /* asm.asm: HYPERVISOR_iret */
extern uint8_t failsafe[];    /* ... a callback: the vector is 100 then */
void compat(void);
void calls(void);  /* calls.c: hypercalls as such */
void faults(void); /* faults.c: exceptions as such */
