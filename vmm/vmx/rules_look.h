/*
 * How a rule of VM entries looks at the VMCS, for the tables and for exercise 4.7.
 */
#pragma once

#include <vmm/vmx/rules.h>
#include <vmm/x86/state.h>

/* By the sections of SDM 3C 27.2 and 27.3, in their order; a count of 0 ends them. */
struct vmx_chapter {
	const struct entry_rule *rules;
	size_t count;
};
extern const struct entry_rule vmx_control_rules[], vmx_host_rules[], vmx_guest_rules[],
	vmx_segment_rules[];
extern const size_t vmx_control_rule_count, vmx_host_rule_count, vmx_guest_rule_count,
	vmx_segment_rule_count;

static inline uint64_t
rule_field(const void *entry, uint32_t number)
{
	const struct vmx_attempt *e = entry;

	return e->read(e->vmcs, number);
}

static inline uint64_t
rule_value(const void *entry) /* the field that is asked about */
{
	return rule_field(entry, ((const struct vmx_attempt *)entry)->at);
}

static inline const struct vmx_cpu *
rule_cpu(const void *entry)
{
	return ((const struct vmx_attempt *)entry)->cpu;
}

static inline bool
rule_beyond(const void *entry, uint64_t a) /* no physical address of this CPU's */
{
	return a >> rule_cpu(entry)->phys_bits;
}

/* A secondary control. One that is not there counts as 0. */
static inline bool
rule_secondary(const void *entry, uint32_t bit)
{
	return rule_field(entry, PRIMARY_CONTROLS) & PRIMARY_SECONDARY &&
	       rule_field(entry, SECONDARY_CONTROLS) & bit;
}

static inline bool
rule_long_guest(const void *entry)
{
	return rule_field(entry, ENTRY_CONTROLS) & ENTRY_IA32E;
}

/* A rule of one expression: true where `entry` breaks it. */
#define RULE(name, ...)                     \
	static bool name(const void *entry) \
	{                                   \
		return __VA_ARGS__;         \
	}

/* The end of a row that is asked of exercise 4.7: it has neither words nor a test of its own. */
#define OWN(section) NULL, section, NULL

/* SDM 3A 12.12.2: types 2 and 3 are none. */
static inline bool
rule_pat_broken(uint64_t pat)
{
	for (unsigned i = 0; i < 8; i++) {
		uint8_t type = (uint8_t)(pat >> 8 * i);

		if (type > 7 || type == 2 || type == 3)
			return true;
	}
	return false;
}

/* Bits 14:13 of an encoding: SDM 3D appendix B. */
#define FIELD_BYTES(n) ((n) >> 13 & 3 ? ((n) >> 13 & 3) == 2 ? 4 : 8 : 2)
#define FIELD(name, n) name, n, FIELD_BYTES(n)
