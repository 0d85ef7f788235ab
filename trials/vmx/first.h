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

/*
 * For other trials with a VMCS of their own: it is the current one, cleared, and no engine's guest
 * has the CPU; an entry, no longer than a tick of the host's; whether its exit was for the host's
 * sake.
 */
void vmx_trial_take_cpu(mfn_t vmcs);
enum vmx_entry vmx_trial_enter(uint64_t gpr[GPR_COUNT], bool *was_launched);
bool vmx_trial_hosts_turn(uint64_t reason);
