/*
 * Exercises 4.8 and 4s.8: what the five patients of a person have, and the command that runs them.
 * Of AMD-V and VT-x each gives one struct ill_flavour.
 */
#pragma once

#include <trials/diagnosis/patient.h>

/* What is wrong: bits of a field that are the other way round, or a number that is added to it. */
struct ill_fault {
	const char *name;
	uint32_t at, size; /* in struct vmcb; of the VMCS the field's number */
	bool wide;         /* of a patient with 64 bits */
	uint64_t flip, add;
};
#define ILL_BITS(bits)   bits, 0
#define ILL_MORE(number) 0, (uint64_t)(number)

struct ill_group {
	const struct ill_fault *faults;
	unsigned count;
};
#define ILL_GROUP(faults)                 \
	{                                 \
		faults, ARRAY_LEN(faults) \
	}

/* What came of one entry. */
enum ill_came {
	ILL_ON_PLAN,
	ILL_OFF_PLAN,
	ILL_AT_END, /* its last instruction's exit */
	ILL_ROUND,  /* none came, for a long time */
	ILL_REFUSED,
};

struct ill_flavour {
	const struct ill_group *groups; /* each of a person's five has a fault of its own group */
	int (*ready)(void);             /* 0, -errno, or MONITOR_SAID */
	/* The structure is that of this patient, as it should be. */
	void (*make)(const struct patient *p);
	uint64_t nested_bits, nested_leaf_bits;
	uint64_t (*get)(const struct ill_fault *f);
	void (*set)(const struct ill_fault *f, uint64_t value);
	int (*show)(const char *wish); /* fields whose names begin so */
	/* Enters it for the n-th time, prints the exit, and does what is on the plan. */
	enum ill_came (*step)(struct patient *p, unsigned number, unsigned n);
	void (*done)(void);
};

/* The monitor's command: NAME PATIENT [vmcb | FIELD [VALUE]]. */
int ill_command(const struct ill_flavour *flavour, int argc, char **argv);

/* What the number-th of this name has, and the seed for the rest of it. */
const struct ill_fault *ill_fault_of(const struct ill_flavour *flavour, const char *name,
				     unsigned number, uint64_t *seed);
/* Makes a patient with this fault; gives what the field should be. */
uint64_t ill_make(const struct ill_flavour *flavour, struct patient *p, const struct ill_fault *f,
		  uint64_t seed);
/* Runs it, and prints its exits. */
void ill_run(const struct ill_flavour *flavour, struct patient *p, unsigned number);
