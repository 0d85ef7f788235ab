/*
 * What one CPU of a domain does to another: INIT, start-up IPI, NMI.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cpu_state;
struct vcpu;

/* As INIT leaves it, but for TSC and the APIC's address: it runs, from f000:fff0. */
void startup_reset(struct cpu_state *s);

/* A CPU that waits for its start-up IPI: as INIT leaves it, but for TSC and the APIC's address. */
void startup_wait(struct vcpu *v);

/* False: it was none for this CPU. INIT to the first one ends the domain. */
bool startup_init(struct vcpu *v);
/* One that does not wait for it takes no notice (SDM 3A 9.4.3). */
void startup_sipi(struct vcpu *v, uint8_t vector);
void startup_nmi(struct vcpu *v);

/* At the start of its turn: INIT and start-up IPIs that have come. */
void startup_take(struct vcpu *v);
