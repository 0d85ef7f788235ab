/*
 * guest/tables/asm.asm: the instructions that C cannot say.
 */
#pragma once

#include <stdint.h>

void interrupts_off(void);
void interrupts_on(void);
void load_gdt(const void *base, uint32_t limit, uint32_t code, uint32_t data);
uint32_t read_through_es(uint32_t selector, uint32_t offset); /* loads ES, and keeps it */
uint32_t read_es(uint32_t offset);
uint32_t read_cr0(void);
uint32_t read_cr2(void);
uint32_t read_cr3(void);
uint32_t read_cr4(void);
void write_cr0(uint32_t value);
void write_cr2(uint32_t value);
void write_cr3(uint32_t value);
void write_cr4(uint32_t value);
void clear_ts(void);
