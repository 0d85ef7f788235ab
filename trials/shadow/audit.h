/*
 * The auditor of shadows (audit.c), and the one who tries it out (inject.c).
 */
#pragma once

#include <vmm/mmu/shadow/shadow.h>

/* The number of differences; the first few are printed. */
unsigned shadow_audit(struct vcpu *v, bool silent);
void audit_now_and_then(struct vcpu *v);
