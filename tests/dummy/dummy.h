/*
 * What the dummy engine and its script share.
 */
#pragma once

#include <vmm/domain.h>
#include <vmm/event.h>
#include <vmm/exit.h>
#include <vmm/vcpu.h>

#define DEVICE 0x90000000u /* where the bench has a register */

/* What a step's after() says of something that has not come yet: the step is played again. */
extern const char dummy_not_yet[];

struct step {
	const char *name;
	struct exit exit;
	void (*before)(struct vcpu *v);       /* what the guest did up to here */
	const char *(*after)(struct vcpu *v); /* NULL, or what is wrong with what became of it */
};

struct dummy {
	struct cpu_state cpu; /* what a guest's CPU would hold */
	unsigned refusals;    /* so many injections are to be refused */
	unsigned refused, injected, windows, fetches;
	struct event last; /* what was injected last */
	uint64_t device;   /* the bench's register */
	const struct step *script;
	unsigned at; /* its next step */
};

extern struct dummy *dummy; /* of the vCPU that was loaded last */

/*
 * script.c: the steps that the guest's words name, or those of one of several vCPUs, up to one
 * without a name.
 */
const struct step *dummy_script(const struct vcpu *v);
