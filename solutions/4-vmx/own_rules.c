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
	 * Hint: the manual's figure of the register shows which bits have no name: some must be 0,
	 *  and one of them must not.
	 * Hint: a key that turns only in one of two doors: one of the flags is for one mode of the
	 *  CPU, and two fields say together whether the guest will be in it.
	 * Hint: of DR7 the rule is rule_value(e) >> 32 and nothing else, since no bit of it depends
	 *  on another field.
	 * until then: (void)e; return NULL;
	 */
	uint64_t flags = rule_value(e), event = rule_field(e, ENTRY_EVENT);

	if (!(flags & FLAG_ONE) || flags & ~0x3f7fd7ul)
		return "bit 1 must be 1, bits 63:22, 15, 5 and 3 must be 0";
	if (flags & FLAG_VM && (rule_long_guest(e) || !(rule_field(e, GUEST_CR0) & CR0_PE)))
		return "VM=1 needs CR0.PE=1, and no \"IA-32e mode guest\"";
	if (event & VMX_EVENT_VALID && VMX_EVENT_TYPE(event) == VMX_EVENT_INTERRUPT &&
	    !(flags & FLAG_IF))
		return "IF must be 1 where an interrupt is injected";
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
	 * Hint: draw the sixteen types. Which of them can a CPU run, which can it push to, and
	 *  which one more does an unrestricted guest bring along from real mode?
	 * Hint: three rooms with a common wall. Code that conforms may be called from a weaker
	 *  ring, other code may not: what does that make of two numbers, <, = or >?
	 * Hint: for DS the manual compares the DPL with the selector's RPL; for CS it does not look
	 *  at a selector.
	 * until then: (void)type; (void)dpl; (void)unrestricted; return NULL;
	 */
	uint64_t cs = rule_field(e, CS_RIGHTS), ss = rule_field(e, SS_RIGHTS);

	if (rule_field(e, GUEST_RFLAGS) & FLAG_VM)
		return NULL;
	if (e->at == SS_RIGHTS) {
		if (!(rights & RIGHTS_UNUSABLE) && type != 3 && type != 7)
			return "type 3 or 7";
		if (!unrestricted && dpl != (rule_field(e, SEGMENT_FIELD(GUEST_ES, SEG_SS)) & 3))
			return "DPL must be the selector's RPL";
		if (dpl && (RIGHTS_TYPE(cs) == 3 || !(rule_field(e, GUEST_CR0) & CR0_PE)))
			return "DPL 0 where CS has type 3 or CR0.PE is 0";
		return NULL;
	}
	if ((type & 9) != 9 && !(type == 3 && unrestricted))
		return "type 9, 11, 13 or 15, and 3 for an unrestricted guest";
	if (type == 3 ? dpl != 0 : type < 12 ? dpl != RIGHTS_DPL(ss) : dpl > RIGHTS_DPL(ss))
		return "DPL as SS has it; conforming: no more; type 3: 0";
	if (rule_long_guest(e) && rights & RIGHTS_L && rights & RIGHTS_DB)
		return "in long mode L and D can't both be 1";
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
	 * Hint: e->cpu has two numbers for each register. What does a bit say that is 1 in both, in
	 *  one, in none?
	 * Hint: a form with a page of exceptions: cross out what is excepted before you compare.
	 * Hint: the host's registers have the same rule without exceptions; vmm/vmx/rules_host.c
	 *  has it, and nobody's mode beside it.
	 * until then: (void)e; return NULL;
	 */
	const struct vmx_cpu *cpu = e->cpu;
	uint64_t value = rule_value(e), free = CR0_NW | CR0_CD;
	bool is_long = rule_long_guest(e);

	if (e->at == GUEST_CR4) {
		if (cpu->cr4_must & ~value || value & ~cpu->cr4_may)
			return "bits that VMX operation fixes";
		if (is_long && !(value & CR4_PAE))
			return "\"IA-32e mode guest\" needs PAE=1";
		if (value & CR4_CET && !(rule_field(e, GUEST_CR0) & CR0_WP))
			return "CET=1 needs CR0.WP=1";
		return !is_long && value & CR4_PCIDE ? "PCIDE=1 needs \"IA-32e mode guest\"" : NULL;
	}
	if (rule_secondary(e, SECONDARY_UNRESTRICTED))
		free |= CR0_PE | CR0_PG;
	if (((cpu->cr0_must & ~value) | (value & ~cpu->cr0_may)) & ~free)
		return "bits that VMX operation fixes";
	if (value & CR0_PG && !(value & CR0_PE))
		return "PG=1 needs PE=1";
	return is_long && !(value & CR0_PG) ? "\"IA-32e mode guest\" needs PG=1" : NULL;
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
	 * Hint: all bits from one on are equal. Which is the first of them, and is it the same one
	 *  for RIP?
	 * Hint: fold a strip of paper at one place: what lies behind the fold must be all white or
	 *  all black. A signed number does that by itself when it is shifted to the right.
	 * Hint: for an address of 32 bits it would be address >> 32: there all bits are 0, and none
	 *  is copied.
	 * until then: (void)address; return NULL;
	 */
	unsigned above = 64 - e->cpu->linear_bits;
	uint64_t ldtr = rule_field(e, SEGMENT_FIELD(GUEST_ES_RIGHTS, SEGMENT_LDTR));
	int64_t top = (int64_t)address >> e->cpu->linear_bits;

	if (e->at == GUEST_RIP) {
		if (!rule_long_guest(e) || !(rule_field(e, CS_RIGHTS) & RIGHTS_L))
			return address >> 32 ? "bits 63:32 must be 0 outside of 64-bit code" : NULL;
		return top && ~top ? "bits beyond a linear address must be equal" : NULL;
	}
	if (e->at == SEGMENT_FIELD(GUEST_ES_BASE, SEGMENT_LDTR) && ldtr & RIGHTS_UNUSABLE)
		return NULL;
	return (uint64_t)((int64_t)(address << above) >> above) != address ? "must be canonical"
									   : NULL;
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
	 * Hint: your own injection writes this field. Which of the values that it never writes
	 *  would be wrong, and which only unusual?
	 * Hint: eight drawers, one of them empty. In three of them only some places are used, in
	 *  two of those only one.
	 * Hint: AMD-V does not care whether an error code goes with its exception; here two things
	 *  must be equal.
	 * until then: (void)event; (void)type; (void)vector; return NULL;
	 */
	bool real =
		rule_secondary(e, SECONDARY_UNRESTRICTED) && !(rule_field(e, GUEST_CR0) & CR0_PE);
	bool may_push = type == VMX_EVENT_EXCEPTION && !real;
	bool pushes = may_push && event_has_error(vector) &&
		      vector != VEC_CP; /* a vector that this manual does not list */

	if (!(event & VMX_EVENT_VALID))
		return NULL;
	if (event & 0x7ffff000)
		return "bits 30:12 must be 0";
	if (type == 1 || (type == VMX_EVENT_OTHER && !(e->cpu->primary.may & PRIMARY_MONITOR_TRAP)))
		return "bits 10:8 are no type of an event";
	if ((type == VMX_EVENT_NMI && vector != VEC_NMI) ||
	    (type == VMX_EVENT_EXCEPTION && vector > 31) || (type == VMX_EVENT_OTHER && vector))
		return "the vector is none of its type's";
	if (may_push && e->cpu->any_error_code)
		return NULL;
	if (!pushes && event & VMX_EVENT_HAS_ERROR)
		return "this event has no error code";
	return pushes && !(event & VMX_EVENT_HAS_ERROR) ? "this exception must have an error code"
							: NULL;
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
