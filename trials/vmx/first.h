/*
 * A guest of a few bytes of code (first.c), in a VMCS that is given (given.c).
 */
#pragma once

#include <trials/first/memory.h>
#include <vmm/vmx/vmx.h>

#define FIRST_PAT 0x0007040600070406ul /* SDM 3A 12.12.4: after a reset */

/* Of the current VMCS: what ends the run, with these EPT tables; the guest's state. */
void vmx_given_controls(hpa_t tables);
void vmx_given_state(void);
/* The same guest as a state, of a vCPU that is nobody's; how a state goes to and fro. */
struct vcpu *vmx_given_vcpu(struct vmx *x, hpa_t vmcs);
void vmx_given_ways(struct vmx *x);

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
