/*
 * Exercise 4s.8: VMCBs that the CPU takes, with one field that is wrong.
 */
#pragma once

#include <trials/diagnosis/patient.h>
#include <vmm/svm/svm.h>

/* What is wrong: bits of a field that are the other way round, or a number that is added to it. */
struct ill_fault {
	const char *name;
	uint32_t at, size; /* in struct vmcb */
	bool wide;         /* of a patient with 64 bits */
	uint64_t flip, add;
};
struct ill_group {
	const struct ill_fault *faults;
	unsigned count;
};
extern const struct ill_group ill_groups[PATIENTS];

/* What the number-th of this name has, and the seed for the rest of it. */
const struct ill_fault *ill_fault_of(const char *name, unsigned number, uint64_t *seed);

/* The memory for all of them; NULL: there is none. */
struct patient *ill_ready(struct vmcb **b);
/* Makes the patient with this fault, and gives what the field should be. */
uint64_t ill_patient(struct vmcb *b, struct patient *p, const struct ill_fault *f, uint64_t seed);
/* Runs it, and prints its exits. */
void ill_run(struct vmcb *b, struct patient *p, unsigned number);
