/*
 * Five of the things that VMRUN checks (exercise 4s.7); vmm/svm/rules.c has the others.
 *
 * Each function gives NULL, or a line that says what is wrong. It is pure: all that it looks at is
 * in its arguments.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <inc/addr.h>
#include <kern/kern.h>
#include <vmm/svm/rules.h>

/* EXERCISE 4s.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4s.0 */

static const char *
first_register_wrong(const struct vmcb *b, const struct svm_cpu *cpu)
{
	/*
	 * EXERCISE 4s.7a: the first control register
	 * Holds: says something if and only if the CPU refuses this guest for what is in CR0,
	 *  alone or beside a register that chooses the guest's mode.
	 * Beware: what MOV would refuse, VMRUN may take: a mode that no program can reach is
	 *  none the worse for it.
	 * Manual: APM 2 "Canonicalization and Consistency Checks", "CR0 Register".
	 * Tools: CR0_CD, CR0_NW, CR0_PE, CR0_PG, CR0_WP, EFER_LME of inc/x86.h
	 * Hint: the manual's list names this register in three of its lines. Which of them also
	 *  need another one to be read?
	 * Hint: two switches make four positions. Draw them for the two that are about caches: how
	 *  many of the four are forbidden?
	 * Hint: of CR4, VT-x says that bits fixed to 1 must be 1: there it is (cr4 & fixed) ==
	 *  fixed, and no bit is looked at beside another one.
	 * until then: (void)b; (void)cpu; return NULL;
	 */
	uint64_t cr0 = b->cr0;

	if (cr0 >> 32)
		return "bits 63:32 must be 0";
	if (cr0 & CR0_NW && !(cr0 & CR0_CD))
		return "NW=1 needs CD=1";
	if (b->efer & EFER_LME && cr0 & CR0_PG && !(cr0 & CR0_PE))
		return "EFER.LME=1 and PG=1 need PE=1";
	return NULL;
	/* END EXERCISE 4s.7a */
}

static const char *
features_wrong(const struct vmcb *b, const struct svm_cpu *cpu)
{
	/*
	 * EXERCISE 4s.7b: what is enabled
	 * Holds: says something if and only if the CPU refuses this guest for a bit of the
	 *  extended feature register alone: one that is missing, or one that this CPU has not.
	 * Beware: CPUs differ, and a bit may be known to Zeno and not to this CPU.
	 * Manual: APM 2 "Canonicalization and Consistency Checks", "Extended Feature Enable
	 *  Register (EFER)".
	 * Tools: EFER_LMA, EFER_LME, EFER_NXE, EFER_SVME of inc/x86.h
	 * Hint: one bit must be there in every guest's register, though no guest has use for it.
	 *  Which one?
	 * Hint: a stencil laid over the register: what shows beside it was not allowed. Who has
	 *  cut the stencil?
	 * Hint: for CR4 it would be b->cr4 & ~cpu->cr4, and nothing else; here a mode that the CPU
	 *  lacks comes on top.
	 * until then: (void)b; (void)cpu; return NULL;
	 */
	if (!(b->efer & EFER_SVME))
		return "SVME must be 1";
	if (b->efer & ~cpu->efer)
		return "a bit is set that this CPU has not";
	if (b->efer & (EFER_LME | EFER_LMA) && !cpu->has_long_mode)
		return "LME or LMA, and this CPU has no long mode";
	return NULL;
	/* END EXERCISE 4s.7b */
}

static const char *
code_wrong(const struct vmcb *b, const struct svm_cpu *cpu)
{
	/*
	 * EXERCISE 4s.7c: code of which size
	 * Holds: says something if and only if the CPU refuses this guest for the attributes of
	 *  its code segment.
	 * Beware: outside of the mode that they are for, the same attributes are taken.
	 * Manual: APM 2 "Canonicalization and Consistency Checks", "Long-Mode Segment
	 *  Descriptors".
	 * Tools: ATTR_CODE, ATTR_DB, ATTR_L, CR0_PG, CR4_PAE, EFER_LME of inc/x86.h
	 * Hint: a descriptor says in two bits how long addresses and operands are. Which pair of
	 *  values has no meaning?
	 * Hint: a lamp with three switches in a row: the rule is asked only when it burns. One of
	 *  the three is in none of the others' registers.
	 * Hint: that a stack segment is writable data would be attr & ATTR_RW && !(attr &
	 *  ATTR_CODE), whatever the mode: no condition in front of it.
	 * until then: (void)b; (void)cpu; return NULL;
	 */
	if (b->efer & EFER_LME && b->cr0 & CR0_PG && b->cr4 & CR4_PAE && b->cs.attr & ATTR_L &&
	    b->cs.attr & ATTR_DB)
		return "in long mode L and D can't both be 1";
	return NULL;
	/* END EXERCISE 4s.7c */
}

/* A map of `bytes` bytes at `base`: I/O permissions, or those of MSRs. */
static const char *
map_wrong(uint64_t base, uint64_t bytes, const struct svm_cpu *cpu)
{
	/*
	 * EXERCISE 4s.7d: a map in memory
	 * Holds: says something if and only if the CPU refuses this guest for where the map lies.
	 * Beware: the CPU looks at all of the map; and not at all of the number that it is given.
	 *  How much memory there can be is this CPU's matter, not the machine's.
	 * Manual: APM 2 "Canonicalization and Consistency Checks", "I/O Permissions Map".
	 * Tools: PAGE_MASK, PAGE_SIZE of inc/addr.h, svm_cpu
	 * Hint: what is the last byte that the CPU may read of this map, and can it be there?
	 * Hint: a shelf of ten boards, and a book three boards high: where is the highest place
	 *  for its foot? What if somebody names a place of board 20?
	 * Hint: a table of 64 bytes that may lie at any address below 4 GiB is fine if base <=
	 *  0x100000000 - 64; there no low bit is dropped.
	 * until then: (void)base; (void)bytes; (void)cpu; return NULL;
	 */
	uint64_t end = 1ul << cpu->phys_bits;

	base &= ~0xffful;
	return base > end - bytes ? "the map must end within physical memory" : NULL;
	/* END EXERCISE 4s.7d */
}

static const char *
event_wrong(const struct vmcb *b, const struct svm_cpu *cpu)
{
	/*
	 * EXERCISE 4s.7e: an event
	 * Holds: says something if and only if the CPU refuses to deliver what it is asked to.
	 * Beware: a vector that no exception has may be an interrupt's. If nothing is to be
	 *  delivered, nothing is wrong.
	 * Manual: APM 2 "Event Injection".
	 * Tools: SVM_EVENT_EXCEPTION, SVM_EVENT_HAS_ERROR, SVM_EVENT_INTERRUPT, SVM_EVENT_NMI,
	 *  SVM_EVENT_SOFTWARE, SVM_EVENT_TYPE(), SVM_EVENT_VALID of vmm/svm/vmcb.h, VEC_NMI
	 * Hint: your own injection writes this field. Which of the values that it never writes
	 *  would be wrong, and which only unusual?
	 * Hint: eight drawers, some of them empty. Of one drawer only the front part is used, and
	 *  one of its places belongs to the drawer beside it.
	 * Hint: VT-x refuses an NMI whose vector is not 2. AMD-V does not: it would be one
	 *  comparison more, and too strict here.
	 * until then: (void)b; (void)cpu; return NULL;
	 */
	uint64_t event = b->eventinj;
	unsigned type = SVM_EVENT_TYPE(event);
	uint8_t vector = (uint8_t)event;

	if (!(event & SVM_EVENT_VALID))
		return NULL;
	if (type == SVM_EVENT_EXCEPTION)
		return vector == VEC_NMI || vector >= 32
			       ? "an exception's vector is below 32, and not 2"
			       : NULL;
	if (type != SVM_EVENT_INTERRUPT && type != SVM_EVENT_NMI && type != SVM_EVENT_SOFTWARE)
		return "bits 10:8 are no type of an event";
	return NULL;
	/* END EXERCISE 4s.7e */
}

static const char *
ports_wrong(const struct vmcb *b, const struct svm_cpu *cpu)
{
	return map_wrong(b->iopm_base, 3 * 4096, cpu);
}

static const char *
registers_wrong(const struct vmcb *b, const struct svm_cpu *cpu)
{
	return map_wrong(b->msrpm_base, 2 * 4096, cpu);
}

const struct svm_own_rule svm_own_rules[SVM_OWN_RULES] = {
	{ SVM_FIELD("CR0", cr0), SVM_CHECKS, first_register_wrong },
	{ SVM_FIELD("EFER", efer), SVM_CHECKS, features_wrong },
	{ SVM_FIELD("CS.attrib", cs.attr), SVM_CHECKS, code_wrong },
	{ SVM_FIELD("IOPM_BASE_PA", iopm_base), SVM_CHECKS, ports_wrong },
	{ SVM_FIELD("MSRPM_BASE_PA", msrpm_base), SVM_CHECKS, registers_wrong },
	{ SVM_FIELD("EVENTINJ", eventinj), SVM_EVENTS, event_wrong },
};
