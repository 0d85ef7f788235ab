/*
 * Copies of a guest's VMCB that are entered to see whether the CPU takes them.
 */
#pragma once

#include <vmm/svm/svm.h>

/* A copy of the last guest's VMCB, with no event and nothing in memory; NULL: no frame for it. */
struct vmcb *vmcheck_copy(struct vcpu *v);
/* Enters the copy: the CPU takes it. */
bool vmcheck_cpu_takes(struct vmcb *b);
