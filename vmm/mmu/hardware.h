/*
 * Zeno's own tables as a CPU with hardware virtualization walks them for a guest that has no nested
 * paging (hardware.c): the flat map while the guest's paging is off, Lab 2's shadows while it is
 * on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/*
 * What CR3 is to have when the CPU enters this vCPU, a physical address. `is_long`: the guest is in
 * long mode, and the CPU walks four levels; else it must walk in PAE paging, for the entries have 8
 * bytes. Good until another vCPU is entered, or this one's tables change.
 */
uint64_t mmu_hardware_cr3(struct vcpu *v, bool is_long);
