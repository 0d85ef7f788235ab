/*
 * The MMU mode of a guest whose paging is off (flat.c): linear = guest-physical.
 */
#pragma once

#include <stdbool.h>

#include <inc/addr.h>

struct vcpu;

int mmu_flat_init(struct vcpu *v);
void mmu_flat_free(struct vcpu *v);
