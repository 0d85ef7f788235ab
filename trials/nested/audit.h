/*
 * The auditor of nested tables (audit.c), and the one who tries it out (inject.c).
 */
#pragma once

#include <trials/audit/audit.h>

void nested_damage(struct vcpu *v, uint64_t seed);
