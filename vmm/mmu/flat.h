/*
 * The MMU mode of a guest whose paging is off (flat.c): linear = guest-physical.
 */
#pragma once

#include <stdbool.h>

#include <inc/addr.h>

struct vcpu;

/* Of all RAM, with no window. 0 or -ENOMEM; mmu_flat_free() takes a half-made one too. */
int mmu_flat_init(struct vcpu *v);
/* ... and with the VMM window. */
int mmu_flat_init_window(struct vcpu *v);
void mmu_flat_free(struct vcpu *v);
