/*
 * A local APIC in x2APIC mode (SDM 3A 11.12 "Extended XAPIC (x2APIC)"): its registers are MSRs, and
 * ICR is one of 64 bits. What they do is lapic.h's; here is what can be done with each.
 */
#pragma once

#include <vmm/dev/apic/lapic.h>

struct vcpu;

#define X2_FIRST    0x800u /* MSRs */
#define X2_LAST     0x8ffu
#define X2_SELF_IPI 0x3f0u /* a register that xAPIC has not */

#define APIC_BASE_MODE    (APIC_BASE_ENABLED | APIC_BASE_X2)
#define APIC_BASE_X2      0x400ul
#define APIC_BASE_ENABLED 0x800ul

/* SDM 3A figure 11-27 "Local x2APIC State Transitions with IA32_APIC_BASE". */
bool x2apic_allows(uint64_t base, uint64_t next);
/* A change that is allowed has been made; number: the CPU's. */
void x2apic_mode(struct lapic *l, uint64_t base, uint8_t number, bool has_deadline);

/* RDMSR, WRMSR; false: #GP. A write has yet to be made: lapic_write(), X2_SELF_IPI apart. */
bool x2apic_read(struct lapic *l, uint32_t msr, uint64_t now, uint64_t *value);
bool x2apic_takes(const struct lapic *l, uint32_t msr, uint64_t value);

/* pc_x2apic.c: for struct platform, beside what pc_msr() does; and what INIT leaves. */
bool x2apic_msr(struct vcpu *v, uint32_t n, bool write, uint64_t *value);
void x2apic_init_ipi(struct vcpu *v);
