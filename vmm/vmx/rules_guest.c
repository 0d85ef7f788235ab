/*
 * The rules of VM entries for the guest's state but its segments: SDM 3C 27.3.1. An entry that
 * breaks one is an exit with reason 33 and bit 31, "VM-entry failure".
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/vmx/rules_look.h>

static bool
entry_set(const void *entry, uint32_t bit)
{
	return rule_field(entry, ENTRY_CONTROLS) & bit;
}

/* ---- control registers, debug registers, MSRs ---- */

/* SDM 4 table 2-2, of all models together; bit 1, BTF, makes TF step branches. */
#define DEBUGCTL_BITS 0xffc3ul
#define DEBUGCTL_BTF  2u

RULE(debugctl_reserved, entry_set(entry, ENTRY_LOAD_DEBUG) && rule_value(entry) & ~DEBUGCTL_BITS)
RULE(own_beyond, rule_beyond(entry, rule_value(entry)))
RULE(dr7_high, entry_set(entry, ENTRY_LOAD_DEBUG) && rule_value(entry) >> 32)
RULE(pat, entry_set(entry, ENTRY_LOAD_PAT) && rule_pat_broken(rule_value(entry)))
RULE(efer_reserved, entry_set(entry, ENTRY_LOAD_EFER) && rule_value(entry) & ~rule_cpu(entry)->efer)
RULE(efer_lma, entry_set(entry, ENTRY_LOAD_EFER) &&
		       !!(rule_value(entry) & EFER_LMA) != rule_long_guest(entry))
RULE(efer_lme, entry_set(entry, ENTRY_LOAD_EFER) && rule_field(entry, GUEST_CR0) & CR0_PG &&
		       !!(rule_value(entry) & EFER_LMA) != !!(rule_value(entry) & EFER_LME))

/* ---- descriptor tables ---- */

RULE(limit_high, rule_value(entry) >> 16)

static bool
injects(const void *entry, unsigned type)
{
	uint64_t event = rule_field(entry, ENTRY_EVENT);

	return event & VMX_EVENT_VALID && VMX_EVENT_TYPE(event) == type;
}

/* ---- what is no register ---- */

/* SDM 3D A.6: bits 8:6 of IA32_VMX_MISC. */
static bool
activity_unknown(const void *entry)
{
	uint64_t state = rule_value(entry);

	return state > 3 || (state && !(rule_cpu(entry)->misc >> (5 + state) & 1));
}

RULE(halted_in_ring3, rule_value(entry) == ACTIVITY_HALTED &&
			      RIGHTS_DPL(rule_field(entry, SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_SS))))
RULE(blocked_and_inactive,
     rule_value(entry) && rule_field(entry, GUEST_INTERRUPTIBILITY) & (SHADOW_STI | SHADOW_MOV_SS))

/* Behind a HLT: interrupts, NMIs, #DB, #MC, MTF. In shutdown: NMI and #MC. */
static bool
event_in_activity(const void *entry)
{
	uint64_t event = rule_field(entry, ENTRY_EVENT), type = VMX_EVENT_TYPE(event);
	uint8_t vector = (uint8_t)event;

	if (!(event & VMX_EVENT_VALID))
		return false;
	switch (rule_value(entry)) {
	case ACTIVITY_HALTED:
		return !(type == VMX_EVENT_INTERRUPT || type == VMX_EVENT_NMI ||
			 type == VMX_EVENT_OTHER ||
			 (type == VMX_EVENT_EXCEPTION && (vector == VEC_DB || vector == VEC_MC)));
	case ACTIVITY_SHUTDOWN:
		return !(type == VMX_EVENT_NMI ||
			 (type == VMX_EVENT_EXCEPTION && vector == VEC_MC));
	case ACTIVITY_WAITS_FOR_SIPI:
		return true;
	}
	return false;
}

/* Bit 4 is for enclaves, which no guest has. */
RULE(blocking_reserved, rule_value(entry) & ~0xfull)

static bool
blocked_twice(const void *entry)
{
	uint64_t both = SHADOW_STI | SHADOW_MOV_SS;

	return (rule_value(entry) & both) == both;
}

RULE(sti_without_if, rule_value(entry) & SHADOW_STI && !(rule_field(entry, GUEST_RFLAGS) & FLAG_IF))
RULE(interrupt_while_blocked,
     injects(entry, VMX_EVENT_INTERRUPT) && rule_value(entry) & (SHADOW_STI | SHADOW_MOV_SS))
RULE(nmi_while_blocked, injects(entry, VMX_EVENT_NMI) && rule_value(entry) & SHADOW_MOV_SS)
RULE(blocked_by_smi, rule_value(entry) & SHADOW_SMI)
RULE(virtual_nmi_while_blocked, injects(entry, VMX_EVENT_NMI) &&
					rule_field(entry, PIN_CONTROLS) & PIN_VIRTUAL_NMIS &&
					rule_value(entry) & SHADOW_NMI)

/* Bits 3:0, 12, 14; RTM's bit 16 is only for CPUs with RTM. */
RULE(pending_debug_reserved, rule_value(entry) & ~0x500full)

/* A single step that waits must be pending, and only then. */
static bool
pending_debug_step(const void *entry)
{
	bool steps = rule_field(entry, GUEST_RFLAGS) & FLAG_TF &&
		     !(rule_field(entry, GUEST_DEBUGCTL) & DEBUGCTL_BTF);
	bool waits = rule_field(entry, GUEST_INTERRUPTIBILITY) & (SHADOW_STI | SHADOW_MOV_SS) ||
		     rule_field(entry, GUEST_ACTIVITY) == ACTIVITY_HALTED;

	return waits && !!(rule_value(entry) & DR6_BS) != steps;
}

RULE(link,
     ~rule_value(entry) && (rule_value(entry) & 0xfff || rule_beyond(entry, rule_value(entry))))

/* SDM 3A 4.4.1: bits 2:1, 8:5 and those beyond the CPU's physical addresses. */
static bool
pdpte_reserved(const void *entry)
{
	bool used = rule_secondary(entry, SECONDARY_EPT) && !rule_long_guest(entry) &&
		    rule_field(entry, GUEST_CR0) & CR0_PG && rule_field(entry, GUEST_CR4) & CR4_PAE;

	return used && rule_value(entry) & 1 &&
	       (rule_value(entry) & 0x1e6 || rule_beyond(entry, rule_value(entry)));
}

/* ---- the table ---- */

#define REGISTERS "SDM 3C 27.3.1.1 \"Checks on Guest Control Registers, Debug Registers, and MSRs\""
#define TABLES    "SDM 3C 27.3.1.3 \"Checks on Guest Descriptor-Table Registers\""
#define PLACE     "SDM 3C 27.3.1.4 \"Checks on Guest RIP, RFLAGS, and SSP\""
#define OTHER     "SDM 3C 27.3.1.5 \"Checks on Guest Non-Register State\""
#define PDPTES    "SDM 3C 27.3.1.6 \"Checks on Guest Page-Directory-Pointer-Table Entries\""
#define RESERVED  "reserved bits must be 0"

const struct entry_rule vmx_guest_rules[] = {
	{ FIELD("guest CR0", GUEST_CR0), OWN(REGISTERS) },
	{ FIELD("guest CR4", GUEST_CR4), OWN(REGISTERS) },
	{ FIELD("guest IA32_DEBUGCTL", GUEST_DEBUGCTL), RESERVED, REGISTERS, debugctl_reserved },
	{ FIELD("guest CR3", GUEST_CR3), "no bit beyond the CPU's physical addresses", REGISTERS,
	  own_beyond },
	{ FIELD("guest DR7", GUEST_DR7), "bits 63:32 must be 0", REGISTERS, dr7_high },
	{ FIELD("guest IA32_SYSENTER_ESP", GUEST_SYSENTER_ESP), OWN(REGISTERS) },
	{ FIELD("guest IA32_SYSENTER_EIP", GUEST_SYSENTER_EIP), OWN(REGISTERS) },
	{ FIELD("guest IA32_PAT", GUEST_PAT), "each byte is a memory type: 0, 1, 4, 5, 6 or 7",
	  REGISTERS, pat },
	{ FIELD("guest IA32_EFER", GUEST_EFER), "a bit is set that this CPU has not", REGISTERS,
	  efer_reserved },
	{ FIELD("guest IA32_EFER", GUEST_EFER), "LMA must be as \"IA-32e mode guest\"", REGISTERS,
	  efer_lma },
	{ FIELD("guest IA32_EFER", GUEST_EFER), "with CR0.PG=1 LME must be as LMA", REGISTERS,
	  efer_lme },
	{ FIELD("guest GDTR base", GUEST_GDTR_BASE), OWN(TABLES) },
	{ FIELD("guest IDTR base", GUEST_IDTR_BASE), OWN(TABLES) },
	{ FIELD("guest GDTR limit", GUEST_GDTR_LIMIT), "bits 31:16 must be 0", TABLES, limit_high },
	{ FIELD("guest IDTR limit", GUEST_IDTR_LIMIT), "bits 31:16 must be 0", TABLES, limit_high },
	{ FIELD("guest RIP", GUEST_RIP), OWN(PLACE) },
	{ FIELD("guest RFLAGS", GUEST_RFLAGS), OWN(PLACE) },
	{ FIELD("activity state", GUEST_ACTIVITY), "no such state on this CPU", OTHER,
	  activity_unknown },
	{ FIELD("activity state", GUEST_ACTIVITY), "HLT only with SS.DPL 0", OTHER,
	  halted_in_ring3 },
	{ FIELD("activity state", GUEST_ACTIVITY), "must be active behind STI or MOV SS", OTHER,
	  blocked_and_inactive },
	{ FIELD("activity state", GUEST_ACTIVITY), "this event can't be injected in it", OTHER,
	  event_in_activity },
	{ FIELD("interruptibility state", GUEST_INTERRUPTIBILITY), RESERVED, OTHER,
	  blocking_reserved },
	{ FIELD("interruptibility state", GUEST_INTERRUPTIBILITY),
	  "blocking by STI and by MOV SS exclude each other", OTHER, blocked_twice },
	{ FIELD("interruptibility state", GUEST_INTERRUPTIBILITY),
	  "blocking by STI needs RFLAGS.IF=1", OTHER, sti_without_if },
	{ FIELD("interruptibility state", GUEST_INTERRUPTIBILITY),
	  "no interrupt is injected behind STI or MOV SS", OTHER, interrupt_while_blocked },
	{ FIELD("interruptibility state", GUEST_INTERRUPTIBILITY),
	  "no NMI is injected behind MOV SS", OTHER, nmi_while_blocked },
	{ FIELD("interruptibility state", GUEST_INTERRUPTIBILITY), "blocking by SMI needs SMM",
	  OTHER, blocked_by_smi },
	{ FIELD("interruptibility state", GUEST_INTERRUPTIBILITY),
	  "with \"virtual NMIs\" no NMI is injected while NMIs are blocked", OTHER,
	  virtual_nmi_while_blocked },
	{ FIELD("pending debug exceptions", GUEST_PENDING_DEBUG), RESERVED, OTHER,
	  pending_debug_reserved },
	{ FIELD("pending debug exceptions", GUEST_PENDING_DEBUG),
	  "behind STI, MOV SS or HLT BS must be 1 if TF=1 and BTF=0, else 0", OTHER,
	  pending_debug_step },
	{ FIELD("VMCS link pointer", LINK_POINTER), "all ones, or a page within physical memory",
	  OTHER, link },
	{ FIELD("guest PDPTE0", SEGMENT_FIELD(GUEST_PDPTE, 0)), RESERVED, PDPTES, pdpte_reserved },
	{ FIELD("guest PDPTE1", SEGMENT_FIELD(GUEST_PDPTE, 1)), RESERVED, PDPTES, pdpte_reserved },
	{ FIELD("guest PDPTE2", SEGMENT_FIELD(GUEST_PDPTE, 2)), RESERVED, PDPTES, pdpte_reserved },
	{ FIELD("guest PDPTE3", SEGMENT_FIELD(GUEST_PDPTE, 3)), RESERVED, PDPTES, pdpte_reserved },
};
const size_t vmx_guest_rule_count = sizeof(vmx_guest_rules) / sizeof(vmx_guest_rules[0]);
