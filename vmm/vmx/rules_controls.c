/*
 * The rules of VM entries for the control fields: SDM 3C 27.2.1 "Checks on VMX Controls". An entry
 * that breaks one fails with VM-instruction error 7, and the host goes on behind it.
 *
 * Not here, since Zeno never sets the bit that they need: VM functions, VMCS shadowing, posted
 * interrupts' descriptor, sub-page permissions, page-modification logging; and of both states what
 * "load CET state" and the host's CR4.CET ask for (handouts/limits.md#hardware).
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/vmx/rules_look.h>

static bool
zero_that_must_be_one(uint64_t value, const struct vmx_allowed *allowed)
{
	return allowed->must & ~value;
}

static bool
one_that_is_not_there(uint64_t value, const struct vmx_allowed *allowed)
{
	return value & ~(uint64_t)allowed->may;
}

#define CONTROL(name)                                                                    \
	static bool name##_zero(const void *entry)                                       \
	{                                                                                \
		return zero_that_must_be_one(rule_value(entry), &rule_cpu(entry)->name); \
	}                                                                                \
	static bool name##_one(const void *entry)                                        \
	{                                                                                \
		return one_that_is_not_there(rule_value(entry), &rule_cpu(entry)->name); \
	}
CONTROL(pin)
CONTROL(primary)
CONTROL(exit)
CONTROL(entry)

RULE(secondary_zero, rule_field(entry, PRIMARY_CONTROLS) & PRIMARY_SECONDARY &&
			     zero_that_must_be_one(rule_value(entry), &rule_cpu(entry)->secondary))
RULE(secondary_one, rule_field(entry, PRIMARY_CONTROLS) & PRIMARY_SECONDARY &&
			    one_that_is_not_there(rule_value(entry), &rule_cpu(entry)->secondary))

static bool
pin_set(const void *entry, uint32_t bit)
{
	return rule_field(entry, PIN_CONTROLS) & bit;
}

static bool
primary_set(const void *entry, uint32_t bit)
{
	return rule_field(entry, PRIMARY_CONTROLS) & bit;
}

/* SDM 3D A.6: bits 24:16 of IA32_VMX_MISC. */
RULE(too_many_cr3_targets, rule_value(entry) > (rule_cpu(entry)->misc >> 16 & 0x1ff))
RULE(no_page, rule_value(entry) & 0xfff || rule_beyond(entry, rule_value(entry)))
RULE(io_bitmap_no_page, primary_set(entry, PRIMARY_IO_BITMAPS) && no_page(entry))
RULE(msr_bitmap_no_page, primary_set(entry, PRIMARY_MSR_BITMAPS) && no_page(entry))
RULE(virtual_apic_no_page, primary_set(entry, PRIMARY_TPR_SHADOW) && no_page(entry))
RULE(tpr_threshold_high, primary_set(entry, PRIMARY_TPR_SHADOW) &&
				 !rule_secondary(entry, SECONDARY_VIRTUAL_INTERRUPTS) &&
				 rule_value(entry) & ~0xfull)
RULE(apic_without_tpr_shadow,
     !primary_set(entry, PRIMARY_TPR_SHADOW) &&
	     rule_secondary(entry, SECONDARY_X2APIC | SECONDARY_APIC_REGISTERS |
					   SECONDARY_VIRTUAL_INTERRUPTS))
RULE(virtual_nmis_alone, pin_set(entry, PIN_VIRTUAL_NMIS) && !pin_set(entry, PIN_NMI))
RULE(nmi_window_alone, primary_set(entry, PRIMARY_NMI_WINDOW) && !pin_set(entry, PIN_VIRTUAL_NMIS))
RULE(apic_access_no_page, rule_secondary(entry, SECONDARY_APIC_ACCESSES) && no_page(entry))
RULE(x2apic_and_accesses,
     rule_secondary(entry, SECONDARY_X2APIC) && rule_secondary(entry, SECONDARY_APIC_ACCESSES))
RULE(virtual_interrupts_alone,
     rule_secondary(entry, SECONDARY_VIRTUAL_INTERRUPTS) && !pin_set(entry, PIN_EXTERNAL_INTERRUPT))
RULE(vpid_of_the_host, rule_secondary(entry, SECONDARY_VPID) && !rule_value(entry))
RULE(unrestricted_without_ept,
     rule_secondary(entry, SECONDARY_UNRESTRICTED) && !rule_secondary(entry, SECONDARY_EPT))

/* SDM 3D A.10: bit 8 uncacheable, bit 14 write-back. */
static bool
eptp_memory_type(const void *entry)
{
	unsigned type = rule_value(entry) & 7;
	uint64_t has = rule_cpu(entry)->ept;

	return rule_secondary(entry, SECONDARY_EPT) && !(type == 0 && has & 1u << 8) &&
	       !(type == 6 && has & 1u << 14);
}

RULE(eptp_levels, rule_secondary(entry, SECONDARY_EPT) && (rule_value(entry) >> 3 & 7) != 3)
RULE(eptp_accessed_dirty, rule_secondary(entry, SECONDARY_EPT) && rule_value(entry) & 1u << 6 &&
				  !(rule_cpu(entry)->ept & 1u << 21))
RULE(eptp_reserved, rule_secondary(entry, SECONDARY_EPT) &&
			    (rule_value(entry) & 0xf80 || rule_beyond(entry, rule_value(entry))))
RULE(saves_no_timer, rule_value(entry) & EXIT_SAVE_TIMER && !pin_set(entry, PIN_TIMER))

/* An area of 16 bytes for each MSR. */
static bool
area_misplaced(const void *entry, uint32_t count_field)
{
	uint64_t count = rule_field(entry, count_field), end = rule_value(entry) + count * 16 - 1;

	return count && (rule_value(entry) & 15 || rule_beyond(entry, rule_value(entry)) ||
			 rule_beyond(entry, end));
}

RULE(exit_store_misplaced, area_misplaced(entry, EXIT_MSR_STORE_COUNT))
RULE(exit_load_misplaced, area_misplaced(entry, EXIT_MSR_LOAD_COUNT))
RULE(entry_load_misplaced, area_misplaced(entry, ENTRY_MSR_LOAD_COUNT))

/* ---- the event to be injected: SDM 3C 25.8.3 ---- */

RULE(injects, rule_field(entry, ENTRY_EVENT) & VMX_EVENT_VALID)

static unsigned
type_of(const void *entry)
{
	return VMX_EVENT_TYPE(rule_field(entry, ENTRY_EVENT));
}

RULE(event_error_high, injects(entry) && rule_field(entry, ENTRY_EVENT) & VMX_EVENT_HAS_ERROR &&
			       rule_value(entry) & 0xffff0000)

/* SDM 3D A.6: bit 30 of IA32_VMX_MISC allows 0. */
static bool
event_length(const void *entry)
{
	unsigned type = type_of(entry);
	bool software = type == VMX_EVENT_SOFTWARE || type == VMX_EVENT_INT1 ||
			type == VMX_EVENT_SOFTWARE_EXCEPTION;

	return injects(entry) && software &&
	       (rule_value(entry) > 15 ||
		(!rule_value(entry) && !(rule_cpu(entry)->misc & 1u << 30)));
}

RULE(outside_smm, rule_value(entry) & (ENTRY_TO_SMM | ENTRY_END_DUAL_MONITOR))

/* ---- the table ---- */

#define EXECUTION "SDM 3C 27.2.1.1 \"VM-Execution Control Fields\""
#define EXITS     "SDM 3C 27.2.1.2 \"VM-Exit Control Fields\""
#define ENTRIES   "SDM 3C 27.2.1.3 \"VM-Entry Control Fields\""
#define ONE       "a bit is 1 that this CPU has not"
#define ZERO      "a bit is 0 that must be 1 on this CPU"
#define PAGE      "bits 11:0 must be 0, and none beyond the CPU's physical addresses 1"
#define AREA      "a multiple of 16, and all of the area within physical memory"

const struct entry_rule vmx_control_rules[] = {
	{ FIELD("pin-based controls", PIN_CONTROLS), ZERO, EXECUTION, pin_zero },
	{ FIELD("pin-based controls", PIN_CONTROLS), ONE, EXECUTION, pin_one },
	{ FIELD("primary controls", PRIMARY_CONTROLS), ZERO, EXECUTION, primary_zero },
	{ FIELD("primary controls", PRIMARY_CONTROLS), ONE, EXECUTION, primary_one },
	{ FIELD("secondary controls", SECONDARY_CONTROLS), ZERO, EXECUTION, secondary_zero },
	{ FIELD("secondary controls", SECONDARY_CONTROLS), ONE, EXECUTION, secondary_one },
	{ FIELD("CR3-target count", CR3_TARGET_COUNT), "no more than the CPU has", EXECUTION,
	  too_many_cr3_targets },
	{ FIELD("I/O-bitmap A", IO_BITMAP_A), PAGE, EXECUTION, io_bitmap_no_page },
	{ FIELD("I/O-bitmap B", IO_BITMAP_B), PAGE, EXECUTION, io_bitmap_no_page },
	{ FIELD("MSR bitmap", MSR_BITMAP), PAGE, EXECUTION, msr_bitmap_no_page },
	{ FIELD("virtual-APIC address", VIRTUAL_APIC), PAGE, EXECUTION, virtual_apic_no_page },
	{ FIELD("TPR threshold", TPR_THRESHOLD), "bits 31:4 must be 0", EXECUTION,
	  tpr_threshold_high },
	{ FIELD("secondary controls", SECONDARY_CONTROLS),
	  "a virtual APIC needs \"use TPR shadow\"", EXECUTION, apic_without_tpr_shadow },
	{ FIELD("pin-based controls", PIN_CONTROLS), "\"virtual NMIs\" needs \"NMI exiting\"",
	  EXECUTION, virtual_nmis_alone },
	{ FIELD("primary controls", PRIMARY_CONTROLS),
	  "\"NMI-window exiting\" needs \"virtual NMIs\"", EXECUTION, nmi_window_alone },
	{ FIELD("APIC-access address", APIC_ACCESS), PAGE, EXECUTION, apic_access_no_page },
	{ FIELD("secondary controls", SECONDARY_CONTROLS),
	  "\"virtualize x2APIC mode\" and \"virtualize APIC accesses\" exclude each other",
	  EXECUTION, x2apic_and_accesses },
	{ FIELD("secondary controls", SECONDARY_CONTROLS),
	  "\"virtual-interrupt delivery\" needs \"external-interrupt exiting\"", EXECUTION,
	  virtual_interrupts_alone },
	{ FIELD("VPID", VPID), "0 is the host's", EXECUTION, vpid_of_the_host },
	{ FIELD("EPT pointer", EPT_POINTER),
	  "bits 2:0 must be a memory type that the CPU walks with", EXECUTION, eptp_memory_type },
	{ FIELD("EPT pointer", EPT_POINTER), "bits 5:3 must be 3, for four levels", EXECUTION,
	  eptp_levels },
	{ FIELD("EPT pointer", EPT_POINTER), "bit 6 needs a CPU with A and D bits in EPT",
	  EXECUTION, eptp_accessed_dirty },
	{ FIELD("EPT pointer", EPT_POINTER),
	  "bits 11:7 must be 0, and none beyond the CPU's physical addresses 1", EXECUTION,
	  eptp_reserved },
	{ FIELD("secondary controls", SECONDARY_CONTROLS),
	  "\"unrestricted guest\" needs \"enable EPT\"", EXECUTION, unrestricted_without_ept },
	{ FIELD("VM-exit controls", EXIT_CONTROLS), ZERO, EXITS, exit_zero },
	{ FIELD("VM-exit controls", EXIT_CONTROLS), ONE, EXITS, exit_one },
	{ FIELD("VM-exit controls", EXIT_CONTROLS),
	  "\"save preemption timer\" needs \"activate preemption timer\"", EXITS, saves_no_timer },
	{ FIELD("VM-exit MSR-store address", EXIT_MSR_STORE), AREA, EXITS, exit_store_misplaced },
	{ FIELD("VM-exit MSR-load address", EXIT_MSR_LOAD), AREA, EXITS, exit_load_misplaced },
	{ FIELD("VM-entry controls", ENTRY_CONTROLS), ZERO, ENTRIES, entry_zero },
	{ FIELD("VM-entry controls", ENTRY_CONTROLS), ONE, ENTRIES, entry_one },
	{ FIELD("VM-entry interruption information", ENTRY_EVENT), OWN(ENTRIES) },
	{ FIELD("VM-entry exception error code", ENTRY_EVENT_ERROR), "bits 31:16 must be 0",
	  ENTRIES, event_error_high },
	{ FIELD("VM-entry instruction length", ENTRY_EVENT_LENGTH),
	  "1 to 15 for an instruction's event", ENTRIES, event_length },
	{ FIELD("VM-entry MSR-load address", ENTRY_MSR_LOAD), AREA, ENTRIES, entry_load_misplaced },
	{ FIELD("VM-entry controls", ENTRY_CONTROLS),
	  "\"entry to SMM\" and \"deactivate dual-monitor treatment\" need SMM", ENTRIES,
	  outside_smm },
};
const size_t vmx_control_rule_count = sizeof(vmx_control_rules) / sizeof(vmx_control_rules[0]);
