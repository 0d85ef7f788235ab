/*
 * A guest of a few bytes of code, in a VMCS that is given (first.c).
 */
#pragma once

#include <vmm/vmx/vmx.h>

/*
 * Flat 32-bit code that begins with these bytes, at most a page: its VMCS is current, and was never
 * launched. 0 or an error.
 */
int vmx_first_guest(const uint8_t *bytes, size_t count);
void vmx_first_done(void); /* that VMCS is current no more */
