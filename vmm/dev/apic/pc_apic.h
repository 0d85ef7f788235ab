/*
 * The platform `pc-apic`: what its parts know of each other (pc_apic.c, pc_pci.c).
 */
#pragma once

#include <vmm/dev/apic/ide.h>
#include <vmm/dev/apic/ioapic.h>
#include <vmm/dev/apic/lapic.h>
#include <vmm/dev/apic/pci.h>
#include <vmm/dev/apic/pm.h>
#include <vmm/dev/pc.h>
#include <vmm/vcpu.h>

#define VCPUS_MAX 8u

struct pc_apic {
	struct pc pc;   /* first: pc_of() finds it */
	uint16_t lines; /* as the I/O APIC has them */
	struct firmware *firmware;
	struct pm pm;
	struct pci pci;
	struct ide ide;
	struct ioapic ioapic;
	struct lapic lapic[VCPUS_MAX]; /* by the vCPU's number */
};

static inline struct pc_apic *
apic_of(struct domain *d)
{
	return d->machine;
}

static inline struct lapic *
lapic_of(const struct vcpu *v)
{
	return &apic_of(v->domain)->lapic[v->number];
}

/* pc_timer.c: both of a CPU's timers up to now, in ns; when there will be more of them. */
void pc_tick(struct vcpu *v, uint64_t now);
uint64_t pc_timer_deadline(struct vcpu *v);
bool pc_has_deadlines(void);
bool pc_msr(struct vcpu *v, uint32_t n, bool write, uint64_t *value);

/* The guest writes to a register of its local APIC, in either mode. */
void pc_lapic_write(struct vcpu *v, unsigned reg, uint32_t value);

/* pc_pci.c */
extern const struct io_range pc_pci_ports[];
int pc_pci_init(struct pc_apic *p); /* 0, or -EBUSY after a line */
void pc_pci_lines(struct pc_apic *p);
uint64_t pc_pci_deadline(struct pc_apic *p);
