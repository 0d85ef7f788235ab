/*
 * What VT-x' CPU checks at VMLAUNCH and VMRESUME, in words.
 */
#pragma once

#include <vmm/exits/rules.h>
#include <vmm/vmx/vmcs.h>

/* What a capability MSR says of a control: bits that must be 1, and those that may be. */
struct vmx_allowed {
	uint32_t must, may;
};

/* What this CPU has, as far as rules ask for it: SDM 3D appendix A. */
struct vmx_cpu {
	struct vmx_allowed pin, primary, secondary, exit, entry;
	uint64_t cr0_must, cr0_may, cr4_must, cr4_may;
	uint64_t efer;                   /* the bits that may be set */
	uint64_t misc;                   /* IA32_VMX_MISC */
	uint64_t ept;                    /* IA32_VMX_EPT_VPID_CAP */
	unsigned phys_bits, linear_bits; /* of a physical address, of a linear one */
	bool long_host;                  /* the CPU is in IA-32e mode */
	bool any_error_code; /* IA32_VMX_BASIC: an exception has one or not, as you like */
};

/* What the rules look at: `read` gives a field of the VMCS that is to be entered. */
struct vmx_attempt {
	uint64_t (*read)(const void *vmcs, uint32_t field);
	const void *vmcs;
	const struct vmx_cpu *cpu;
	uint32_t at; /* the field that is asked about */
};

/*
 * Rule n of all, NULL: there are no more. One without words is asked of exercise 4.7, and there are
 * VMX_OWN_RULES of them.
 */
const struct entry_rule *vmx_rule(size_t n);
#define VMX_OWN_RULES 23u
/* NULL, or what is wrong by this rule, in words. */
const char *vmx_rule_words(struct vmx_attempt *e, const struct entry_rule *rule);
/* The first rule from number *n on that is broken, and its number; NULL: none is. */
const struct entry_rule *vmx_rule_broken(struct vmx_attempt *e, size_t *n);

/* own_rules.c, exercise 4.7: NULL, or what is wrong with the field e->at, in words. */
const char *vmx_own_wrong(const struct vmx_attempt *e);
