/*
 * Five of the things that VM entry checks (exercise 4.7); vmm/vmx/rules_*.c have the others.
 *
 * Each function is asked about one field, whose number is e->at and whose value is rule_value(e),
 * and gives NULL, or a line that says what is wrong. It is pure: what else it looks at are other
 * fields of the same VMCS, by rule_field(), and e->cpu.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/kern.h>
#include <vmm/event.h>
#include <vmm/vmx/rules_look.h>

#define CS_RIGHTS SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_CS)
#define SS_RIGHTS SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_SS)

/* EXERCISE 4.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4.0 */

/* Asked for GUEST_RFLAGS. */
static const char *
flags_wrong(const struct vmx_attempt *e)
{
	/*
	 * EXERCISE 4.7a: the flags
	 * Holds: says something if and only if the CPU refuses this guest for its flags, alone or
	 *  beside what the entry brings and the mode that it leads to.
	 * Beware: bits that a program can't change are looked at, too. An event that is not valid
	 *  wants nothing.
	 * Manual: SDM 3C 27.3.1.4 "Checks on Guest RIP, RFLAGS, and SSP"; SDM 1 3.4.3.
	 * Tools: CR0_PE, FLAG_IF, FLAG_ONE, FLAG_TF, FLAG_VM of inc/x86.h, VMX_EVENT_INTERRUPT,
	 *  VMX_EVENT_TYPE(), VMX_EVENT_VALID
	 */
	exercise_todo("4.7", "handouts/lab4b.md#ex-4-7");
	(void)e;
	return NULL;
	/* END EXERCISE 4.7a */
}

/* Asked for CS_RIGHTS and for SS_RIGHTS. */
static const char *
rights_wrong(const struct vmx_attempt *e)
{
	uint64_t rights = rule_value(e);
	unsigned type = RIGHTS_TYPE(rights), dpl = RIGHTS_DPL(rights);
	bool unrestricted = rule_secondary(e, SECONDARY_UNRESTRICTED);

	/*
	 * EXERCISE 4.7b: code and stack
	 * Holds: says something if and only if the CPU refuses this guest for the type, the DPL or
	 *  the size of code that is asked about: for CS_RIGHTS, and for SS_RIGHTS.
	 * Beware: in virtual-8086 mode none of this is asked. The CPU may look at the DPL of a
	 *  segment that can't be used.
	 * Manual: SDM 3C 27.3.1.2 "Checks on Guest Segment Registers"; table 25-2.
	 * Tools: CR0_PE, FLAG_VM, RIGHTS_DB, RIGHTS_DPL(), RIGHTS_G, RIGHTS_L, RIGHTS_TYPE(),
	 *  RIGHTS_UNUSABLE, SEGMENT_FIELD()
	 */
	exercise_todo("4.7", "handouts/lab4b.md#ex-4-7");
	(void)type;
	(void)dpl;
	(void)unrestricted;
	return NULL;
	/* END EXERCISE 4.7b */
}

/* Asked for GUEST_CR0 and for GUEST_CR4. */
static const char *
control_register_wrong(const struct vmx_attempt *e)
{
	/*
	 * EXERCISE 4.7c: control registers
	 * Holds: says something if and only if the CPU refuses this guest for the register asked
	 *  about: for a bit that VMX fixes, or that contradicts the mode or CR0.
	 * Beware: some bits are free whatever capability MSRs say, and two more where guests
	 *  may begin in real mode.
	 * Manual: SDM 3C 27.3.1.1 "Checks on Guest Control Registers, Debug Registers, and MSRs";
	 *  24.8 "Restrictions on VMX Operation"; SDM 3D A.7, A.8.
	 * Tools: CR0_CD, CR0_NW, CR0_PE, CR0_PG, CR0_WP, CR4_PAE, CR4_PCIDE, rule_long_guest(),
	 *  rule_secondary(), SECONDARY_UNRESTRICTED, struct vmx_cpu
	 */
	exercise_todo("4.7", "handouts/lab4b.md#ex-4-7");
	(void)e;
	return NULL;
	/* END EXERCISE 4.7c */
}

/* Asked for all addresses that must be canonical, the host's too, and for GUEST_RIP. */
static const char *
address_wrong(const struct vmx_attempt *e)
{
	uint64_t address = rule_value(e);

	/*
	 * EXERCISE 4.7d: an address
	 * Holds: says something if and only if the CPU refuses the linear address that is asked
	 *  about.
	 * Beware: how many bits a linear address has is this CPU's matter. One of the bases is
	 *  asked only of a register that can be used. RIP has a rule of its own.
	 * Manual: SDM 1 3.3.7.1 "Canonical Addressing"; SDM 3C 27.2.2, 27.3.1.2, 27.3.1.4.
	 * Tools: RIGHTS_DB, RIGHTS_L, RIGHTS_UNUSABLE, rule_long_guest(), SEGMENT_FIELD(),
	 *  SEGMENT_LDTR, struct vmx_cpu
	 */
	exercise_todo("4.7", "handouts/lab4b.md#ex-4-7");
	(void)address;
	return NULL;
	/* END EXERCISE 4.7d */
}

/* Asked for ENTRY_EVENT. */
static const char *
event_wrong(const struct vmx_attempt *e)
{
	uint64_t event = rule_value(e);
	unsigned type = VMX_EVENT_TYPE(event);
	uint8_t vector = (uint8_t)event;

	/*
	 * EXERCISE 4.7e: an event
	 * Holds: says something if and only if the CPU refuses what is to be injected for this
	 *  field: type, vector, error code, other bits.
	 * Beware: whether an exception pushes an error code depends on the guest's mode, and some
	 *  CPUs don't mind. One type needs a control that may be lacking. If nothing is injected,
	 *  nothing is wrong.
	 * Manual: SDM 3C 27.2.1.3 "VM-Entry Control Fields"; table 25-17.
	 * Tools: event_has_error(), PRIMARY_MONITOR_TRAP, rule_secondary(), VEC_CP, VEC_NMI,
	 *  vmx_cpu of vmm/vmx/rules.h, VMX_EVENT_EXCEPTION, VMX_EVENT_HAS_ERROR, VMX_EVENT_NMI,
	 *  VMX_EVENT_OTHER, VMX_EVENT_SOFTWARE, VMX_EVENT_VALID
	 */
	exercise_todo("4.7", "handouts/lab4b.md#ex-4-7");
	(void)event;
	(void)type;
	(void)vector;
	return NULL;
	/* END EXERCISE 4.7e */
}

const char *
vmx_own_wrong(const struct vmx_attempt *e)
{
	switch (e->at) {
	case GUEST_RFLAGS:
		return flags_wrong(e);
	case CS_RIGHTS:
	case SS_RIGHTS:
		return rights_wrong(e);
	case GUEST_CR0:
	case GUEST_CR4:
		return control_register_wrong(e);
	case ENTRY_EVENT:
		return event_wrong(e);
	}
	return address_wrong(e);
}
