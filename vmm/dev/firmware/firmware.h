/*
 * The platform `pc-apic` with firmware of its own: a ROM below 4 GiB and below 1 MiB, and RAM that
 * the host bridge puts in its place (pam.c); what starts in it, and what it says (firmware.c).
 *
 * 440FX = Intel 82441FX PCI and Memory Controller, order no. 290549-001.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <kern/paging.h>

struct domain;
struct io_range;
struct module;
struct vcpu;

#define PAM_BASE   0xc0000u
#define PAM_SIZE   0x40000u
#define PAM_FRAMES (PAM_SIZE >> PAGE_SHIFT)

#define FIRMWARE_LOG (PAGE_SIZE - 2 * PAM_FRAMES * sizeof(uint32_t) - PAM_FRAMES - 16)

/* One frame of the host's, of each such platform. */
struct firmware {
	/* Machine frames: what is seen where PAM shows no RAM; RAM, 0: not needed yet. */
	uint32_t rom[PAM_FRAMES], ram[PAM_FRAMES];
	uint8_t how[PAM_FRAMES]; /* PAM_READ, PAM_WRITE */
	uint64_t said;           /* bytes, of which the log has the last ones, in a ring */
	char log[FIRMWARE_LOG];
};
_Static_assert(sizeof(struct firmware) <= PAGE_SIZE, "one frame");

/* pam.c */
void pam_init(struct domain *d);
void pam_free(struct domain *d);
/* The guest may have written to any of the host bridge's registers. */
void pam_update(struct domain *d);
uint64_t pam_mmio_read(struct vcpu *v, uint64_t offset, unsigned size);
void pam_mmio_write(struct vcpu *v, uint64_t offset, unsigned size, uint64_t value);

/* firmware.c: parts of the platform. The domain has its p2m, and whatever ROM. 0 or -ENOMEM. */
int firmware_init(struct domain *d);
void firmware_free(struct domain *d); /* all of the machine, or what has been made of it */
extern const struct io_range firmware_ports[];
/* struct platform's: 0, or -ENOEXEC or -ENOMEM after a line. */
int firmware_load(struct domain *d, const struct module *m);
