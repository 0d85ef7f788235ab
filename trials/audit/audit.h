/*
 * Auditors: each compares tables that the CPU walks with what they are made from, from scratch. One
 * is for shadows, one for nested tables, one for types of frames, one for grants, one for how many
 * a domain has; a build has those of its labs, and a domain may have several.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <kern/kern.h>

struct vcpu;

struct audit_report {
	bool silent;
	unsigned found; /* differences, of which the first few are printed */
};

struct auditor {
	const char *what; /* it is of */
	bool (*is_for)(struct vcpu *v);
	void (*audit)(struct vcpu *v, struct audit_report *report);
	/*
	 * Damages the tables of a guest that has ended, and asks; all is put right again. Or NULL.
	 */
	void (*damage)(struct vcpu *v, uint64_t seed);
};

/* By an INITCALL. */
void auditor_add(const struct auditor *a);

void PRINTF_LIKE(2, 3) audit_differs(struct audit_report *report, const char *fmt, ...);
/* Whether there is any. */
bool audit_finds(struct vcpu *v);
