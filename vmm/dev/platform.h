/*
 * What kind of machine a domain is: its devices, on its buses, and how interrupts come from them.
 *
 * Nobody else knows a device: the core asks the platform, engines ask v->irq_pending. One per kind
 * of machine, by a registered table: SET_ADD(platforms, pc_platform).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crtc;
struct domain;
struct module;
struct vcpu;
struct io_range;
struct mmio_range;

/*
 * What an access to a device has left to be brought up to date. A device that knows better than
 * CHANGED_LINES says so each time, in d->changed; what comes of time alone is no access's matter.
 */
enum changed {
	CHANGED_LINES, /* lines, and what waits for a vCPU */
	CHANGED_REQUESTS,
	CHANGED_NOTHING,
};

#define LOW_PORTS 0x400u /* as many as an ISA card looks at */

struct platform {
	const char *name;
	const char *what;
	int (*init)(struct domain *d); /* makes d->machine; 0, -ENOMEM. NULL: it is there */
	void (*free)(struct domain *d);
	const struct io_range *ports; /* a count of 0 ends them; NULL: none */
	uint8_t *claims; /* io.c: [port], below LOW_PORTS: 1 + whose it is; 0: nobody's */
	const struct mmio_range *mmio; /* a size of 0 ends them; NULL: none */
	/* Brings interrupt lines up to date with devices and time. */
	void (*lines)(struct domain *d);
	/* Whether an interrupt waits for this vCPU; which it is, and it counts as taken then. */
	bool (*pending)(struct vcpu *v);
	uint8_t (*ack)(struct vcpu *v);
	/*
	 * When lines() will find more though nobody touches a device, in ns of the domain's clock;
	 * CLOCK_NEVER.
	 */
	uint64_t (*deadline)(struct domain *d);
	/* v->signals: INIT and start-up IPIs come into effect, before a turn. NULL: none come. */
	void (*signals)(struct vcpu *v);
	/* v->state.cr8, the task priority, has been written; NULL: nobody looks at it. */
	void (*priority)(struct vcpu *v);
	/* While a vCPU runs, its turn ends at that time; false: at the next tick. */
	bool punctual;
	/* Its display's registers, for who wants to see it (screen.c); NULL: they are not here. */
	const struct crtc *(*display)(struct domain *d);
	bool disk; /* d->disk is one that the guest finds */
	/*
	 * What CPUID says of APICs, in the registers that it has filled; NULL: that there are none.
	 */
	void (*cpuid)(struct vcpu *v, uint32_t leaf);
	/* An MSR of the platform's, read into *value, or written; false, or NULL: none of its. */
	bool (*msr)(struct vcpu *v, uint32_t n, bool write, uint64_t *value);
	/* The image is its ROM, where the CPU begins. 0, or an error after a line. NULL: none. */
	int (*firmware)(struct domain *d, const struct module *m);
	/*
	 * ACPI's tables as they will lie at `at`, RSDP first, at most ACPI_SIZE (apic/acpi.h); how
	 * many bytes. Called before init. NULL: there are none.
	 */
	size_t (*acpi)(struct domain *d, uint8_t *buf, uint32_t at);
};

/* NULL: no such platform in this build. */
const struct platform *platform_find(const char *name);

/*
 * Brings the lines of its devices up to date, and v->irq_pending with them. Called when a turn
 * begins, after each access to a device, and at a sleeping vCPU's deadline. A domain without a
 * platform has no lines.
 */
void platform_lines(struct domain *d);
/* When its lines have to be looked at next though nobody touches a device: in clock_ns(). */
uint64_t platform_deadline(struct domain *d);
/* The guest has written CR8. */
void platform_priority(struct vcpu *v);
/* Has the host's clock end the turn at that time, where the platform wants it so. */
void platform_alarm(struct domain *d);
/* The vector of the interrupt that waits for this vCPU, which has it now. */
uint8_t platform_ack(struct vcpu *v);
