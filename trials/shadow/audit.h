/*
 * The auditor of shadows (audit.c), and the one who tries it out (inject.c).
 */
#pragma once

#include <vmm/mmu/shadow/shadow.h>
#include <trials/audit/audit.h>

void shadow_damage(struct vcpu *v, uint64_t seed);
