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
	 */
	exercise_todo("4s.7", "handouts/lab4sb.md#ex-4s-7");
	(void)b;
	(void)cpu;
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
	 */
	exercise_todo("4s.7", "handouts/lab4sb.md#ex-4s-7");
	(void)b;
	(void)cpu;
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
	 */
	exercise_todo("4s.7", "handouts/lab4sb.md#ex-4s-7");
	(void)b;
	(void)cpu;
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
	 */
	exercise_todo("4s.7", "handouts/lab4sb.md#ex-4s-7");
	(void)base;
	(void)bytes;
	(void)cpu;
	return NULL;
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
	 */
	exercise_todo("4s.7", "handouts/lab4sb.md#ex-4s-7");
	(void)b;
	(void)cpu;
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
