/*
 * What one CPU of a domain does to another: INIT, start-up IPI, NMI.
 *
 * A build has it with whoever does SET_ADD(startups, ...); without, a domain has one CPU, and no
 * firmware, for that begins as INIT leaves a CPU.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cpu_state;
struct vcpu;

struct startup {
	void (*reset)(struct cpu_state *s);
	void (*init)(struct vcpu *v);
	void (*sipi)(struct vcpu *v, uint8_t vector);
	void (*take)(struct vcpu *v);
};

/* solutions/5-nested/startup.c, exercise 5.5. As INIT leaves a CPU: it runs, from f000:fff0. */
void startup_reset(struct cpu_state *s);
/* INIT, or a start-up IPI, has come for a CPU. */
void startup_init(struct vcpu *v);
void startup_sipi(struct vcpu *v, uint8_t vector);
/* At the start of its turn: what has come. NMIs are left for the run loop. */
void startup_take(struct vcpu *v);

/* startup.c. Notes that this has come (SIGNAL_ bits); the turn of the CPU that runs ends. */
void startup_signal(struct vcpu *v, unsigned what);
/* A CPU that waits for its start-up IPI, and as INIT leaves it: all of the state is dirty. */
void startup_wait(struct vcpu *v);

/* The platform's. */
bool pc_has_startup(void);
void pc_reset_state(struct cpu_state *s);
/* False: it was none for this CPU. INIT to the first one ends the domain. */
bool pc_init_ipi(struct vcpu *v);
void pc_startup_ipi(struct vcpu *v, uint8_t vector);
void pc_nmi(struct vcpu *v);
void pc_signals(struct vcpu *v);
