/*
 * The parts of guest/paging that C cannot say: asm.asm. A guest with paging, faults that it looks
 * at, and a ring 3.
 */
#pragma once

#include <stdint.h>

/* What the last faulting access ended in; vector 0: it did not fault. */
extern volatile uint32_t fault_vector, fault_error, fault_cr2, faults;

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_ADD, ACCESS_PUSH, ACCESS_JUMP, ACCESS_COPY };

void tables_init(void); /* GDT, TSS, IDT */
extern uint8_t idt[8 * 64], gdt[48];
void load_idt(const void *base, uint32_t limit), load_gdt(const void *base, uint32_t limit);
uint32_t load_fs(uint32_t selector); /* a fault is noted as that of an access is */
/*
 * One access in ring 0, or in ring 3 with the code that user_code()'s page has. Returns the value
 * that was read, or `value`; after a fault 0.
 */
uint32_t kernel_access(uint32_t access, uint32_t address, uint32_t value);
uint32_t user_access(uint32_t access, uint32_t address, uint32_t value);
extern uint8_t user_code[], user_code_end[]; /* to be copied to where ring 3 may run it */
extern uint32_t user_entry, user_stack;      /* linear addresses that user_access() uses */

uint32_t read_cr0(void), read_cr2(void), read_cr3(void), read_cr4(void);
void write_cr0(uint32_t value), write_cr3(uint32_t value), write_cr4(uint32_t value);
void write_nxe(int on); /* EFER.NXE */
uint32_t read_efer(void);
void invalidate(uint32_t address);
uint32_t has_feature(uint32_t bit); /* CPUID.1:EDX */
