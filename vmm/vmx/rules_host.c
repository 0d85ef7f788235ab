/*
 * The rules of VM entries for the host's state: SDM 3C 27.2.2 to 27.2.4. An entry that breaks one
 * fails with VM-instruction error 8, and the host goes on behind it.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/vmx/rules_look.h>

static bool
exit_set(const void *entry, uint32_t bit)
{
	return rule_field(entry, EXIT_CONTROLS) & bit;
}

RULE(host_is_long, exit_set(entry, EXIT_HOST_LONG))

static bool
cr0_fixed(const void *entry)
{
	const struct vmx_cpu *cpu = rule_cpu(entry);

	return cpu->cr0_must & ~rule_value(entry) || rule_value(entry) & ~cpu->cr0_may;
}

static bool
cr4_fixed(const void *entry)
{
	const struct vmx_cpu *cpu = rule_cpu(entry);

	return cpu->cr4_must & ~rule_value(entry) || rule_value(entry) & ~cpu->cr4_may;
}

RULE(cr3_beyond, rule_beyond(entry, rule_value(entry)))
RULE(pat, exit_set(entry, EXIT_LOAD_PAT) && rule_pat_broken(rule_value(entry)))
RULE(efer_reserved, exit_set(entry, EXIT_LOAD_EFER) && rule_value(entry) & ~rule_cpu(entry)->efer)

static bool
efer_mode(const void *entry)
{
	uint64_t mode = rule_value(entry) & (EFER_LME | EFER_LMA);

	return exit_set(entry, EXIT_LOAD_EFER) &&
	       mode != (host_is_long(entry) ? EFER_LME | EFER_LMA : 0u);
}

RULE(rpl_or_ldt, rule_value(entry) & 7)
RULE(null, !rule_value(entry))
RULE(null_without_long, !rule_value(entry) && !host_is_long(entry))
RULE(host_long_as_the_cpu, host_is_long(entry) != rule_cpu(entry)->long_host)
RULE(guest_long_of_short_host, rule_long_guest(entry) && !host_is_long(entry))
RULE(cr4_without_pae, host_is_long(entry) && !(rule_value(entry) & CR4_PAE))
RULE(cr4_pcid, !host_is_long(entry) && rule_value(entry) & CR4_PCIDE)
RULE(rip_of_short_host, !host_is_long(entry) && rule_value(entry) >> 32)

#define REGISTERS "SDM 3C 27.2.2 \"Checks on Host Control Registers, MSRs, and SSP\""
#define SEGMENTS  "SDM 3C 27.2.3 \"Checks on Host Segment and Descriptor-Table Registers\""
#define SIZE      "SDM 3C 27.2.4 \"Checks Related to Address-Space Size\""
#define RPL_TI    "RPL and TI must be 0"

const struct entry_rule vmx_host_rules[] = {
	{ FIELD("host CR0", HOST_CR0), "bits that VMX operation fixes", REGISTERS, cr0_fixed },
	{ FIELD("host CR4", HOST_CR4), "bits that VMX operation fixes", REGISTERS, cr4_fixed },
	{ FIELD("host CR3", HOST_CR3), "no bit beyond the CPU's physical addresses", REGISTERS,
	  cr3_beyond },
	{ FIELD("host IA32_SYSENTER_ESP", HOST_SYSENTER_ESP), OWN(REGISTERS) },
	{ FIELD("host IA32_SYSENTER_EIP", HOST_SYSENTER_EIP), OWN(REGISTERS) },
	{ FIELD("host IA32_PAT", HOST_PAT), "each byte is a memory type: 0, 1, 4, 5, 6 or 7",
	  REGISTERS, pat },
	{ FIELD("host IA32_EFER", HOST_EFER), "a bit is set that this CPU has not", REGISTERS,
	  efer_reserved },
	{ FIELD("host IA32_EFER", HOST_EFER), "LMA and LME must be as \"host address-space size\"",
	  REGISTERS, efer_mode },
	{ FIELD("host ES selector", HOST_ES_SELECTOR), RPL_TI, SEGMENTS, rpl_or_ldt },
	{ FIELD("host CS selector", HOST_CS_SELECTOR), RPL_TI, SEGMENTS, rpl_or_ldt },
	{ FIELD("host SS selector", HOST_SS_SELECTOR), RPL_TI, SEGMENTS, rpl_or_ldt },
	{ FIELD("host DS selector", HOST_DS_SELECTOR), RPL_TI, SEGMENTS, rpl_or_ldt },
	{ FIELD("host FS selector", HOST_FS_SELECTOR), RPL_TI, SEGMENTS, rpl_or_ldt },
	{ FIELD("host GS selector", HOST_GS_SELECTOR), RPL_TI, SEGMENTS, rpl_or_ldt },
	{ FIELD("host TR selector", HOST_TR_SELECTOR), RPL_TI, SEGMENTS, rpl_or_ldt },
	{ FIELD("host CS selector", HOST_CS_SELECTOR), "can't be 0", SEGMENTS, null },
	{ FIELD("host TR selector", HOST_TR_SELECTOR), "can't be 0", SEGMENTS, null },
	{ FIELD("host SS selector", HOST_SS_SELECTOR), "can't be 0 in a host of 32 bits", SEGMENTS,
	  null_without_long },
	{ FIELD("host FS base", HOST_FS_BASE), OWN(SEGMENTS) },
	{ FIELD("host GS base", HOST_GS_BASE), OWN(SEGMENTS) },
	{ FIELD("host TR base", HOST_TR_BASE), OWN(SEGMENTS) },
	{ FIELD("host GDTR base", HOST_GDTR_BASE), OWN(SEGMENTS) },
	{ FIELD("host IDTR base", HOST_IDTR_BASE), OWN(SEGMENTS) },
	{ FIELD("VM-exit controls", EXIT_CONTROLS),
	  "\"host address-space size\" must be the mode that the CPU is in", SIZE,
	  host_long_as_the_cpu },
	{ FIELD("VM-entry controls", ENTRY_CONTROLS),
	  "\"IA-32e mode guest\" needs \"host address-space size\"", SIZE,
	  guest_long_of_short_host },
	{ FIELD("host CR4", HOST_CR4), "a host of 64 bits has PAE=1", SIZE, cr4_without_pae },
	{ FIELD("host CR4", HOST_CR4), "a host of 32 bits has PCIDE=0", SIZE, cr4_pcid },
	{ FIELD("host RIP", HOST_RIP), "a host of 32 bits has a RIP of 32 bits", SIZE,
	  rip_of_short_host },
	{ FIELD("host RIP", HOST_RIP), OWN(SIZE) },
};
const size_t vmx_host_rule_count = sizeof(vmx_host_rules) / sizeof(vmx_host_rules[0]);
