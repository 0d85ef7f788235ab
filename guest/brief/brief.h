/*
 * How a brief guest ends (asm.asm).
 */
#pragma once

void sleep_for_ever(void); /* hlt with interrupts on, and nothing that would wake it */
void undefined(void);      /* #UD without a handler */
void own_tables(void);     /* its own GDT and LDT, so that shadows are made; comes back */
