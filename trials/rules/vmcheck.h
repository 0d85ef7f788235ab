/*
 * `vmcheck`: an exercise's rules of VM entries beside the CPU's verdict (4.7 on VT-x, 4s.7 on
 * AMD-V).
 */
#pragma once

#include <kern/host.h>
#include <vmm/vcpu.h>

#define VMCHECK_RULES 32u /* of an engine, at most */

/* What it asks of an engine. A structure is a VMCB, or the memory that a VMCS is written from. */
struct vmcheck {
	const char *engine;
	unsigned rules;
	/* A fresh copy of this guest's structure; NULL: no memory for it. */
	void *(*copy)(struct vcpu *v);
	/* Changes something of it that the rules look at, and prints what. */
	void (*change)(void *structure, uint64_t *seed);
	/* What the exercise's rule says: NULL, or what is wrong. */
	const char *(*ask)(const void *structure, unsigned rule);
	const char *(*field)(unsigned rule); /* that this rule is about */
	/* The field that breaks a rule of Zeno's, which is no exercise; NULL: none does. */
	const char *(*zeno)(const void *structure);
	const char *(*cpu)(struct vcpu *v, void *structure); /* the verdict, in words */
};
/* SET_ADD(vmchecks, ...) */

static inline unsigned
vmcheck_pick(uint64_t *seed, unsigned below)
{
	return (unsigned)(seeded_next(seed) >> 16) % below;
}
