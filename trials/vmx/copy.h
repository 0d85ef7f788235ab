/*
 * Copies of a guest's VMCS that are entered to see whether the CPU takes them.
 */
#pragma once

#include <vmm/vmx/vmx.h>
#include <trials/vmx/image.h>

/* The VMCS of this guest as it is, which is current then. */
const struct vmcs_image *vmcs_read_image(struct vcpu *v);
void vmcs_write_image(const struct vmcs_image *image);
/* The same for a copy: without an event, and with nothing in memory; NULL: no frame for it. */
const struct vmcs_image *vmcs_copy(struct vcpu *v);
/* What the CPU says; 0: it takes it, 7 and 8: the error of VMfail, 33 and 34: the exit reason. */
unsigned vmcs_copy_enter(struct vcpu *v, const struct vmcs_image *image);
/* The CPU dies of it, instead of refusing it. */
bool vmcs_copy_kills(const struct vmcs_image *image);
/* If the CPU takes this, it does not come back, or harms the host when it does. */
bool vmcs_copy_stays_away(const struct vmcs_image *image);
