/*
 * The rules of VMRUN: a VMCB that breaks one comes back with VMEXIT_INVALID, and nothing else.
 * Pure: all that a rule looks at is in its argument. The manual's rules on shadow stacks are not
 * here: no guest sees CR4.CET. What it says of CR0, EFER, CS, the two maps and EVENTINJ is in
 * svm_own_rules, exercise 4s.7 of Lab 4s.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <vmm/svm/rules.h>

static const struct vmcb *
vmcb_of(const void *entry)
{
	return ((const struct svm_entry *)entry)->vmcb;
}

static const struct svm_cpu *
cpu_of(const void *entry)
{
	return ((const struct svm_entry *)entry)->cpu;
}

static uint64_t
beyond(const void *entry) /* the bits that no physical address has */
{
	return ~0ul << cpu_of(entry)->phys_bits;
}

/* ---- controls ---- */

static bool
no_vmrun_intercept(const void *entry)
{
	return !(vmcb_of(entry)->intercepts[1] & 1u << SVM_VMRUN % 32);
}

static bool
hosts_asid(const void *entry)
{
	return !vmcb_of(entry)->asid;
}

static bool
ncr3_beyond(const void *entry)
{
	const struct vmcb *b = vmcb_of(entry);

	return b->np_enable & 1 && b->n_cr3 & beyond(entry);
}

/* APM 2 7.8.1: types 2 and 3 are none, and of each byte three bits are used. */
static bool
pat_of_no_type(const void *entry)
{
	const struct vmcb *b = vmcb_of(entry);

	for (unsigned i = 0; b->np_enable & 1 && i < 8; i++) {
		uint8_t type = (uint8_t)(b->pat >> 8 * i);

		if (type > 7 || type == 2 || type == 3)
			return true;
	}
	return false;
}

/* ---- the guest's state ---- */

static bool
cr3_reserved(const void *entry)
{
	return vmcb_of(entry)->cr3 & beyond(entry);
}

static bool
cr4_reserved(const void *entry)
{
	return vmcb_of(entry)->cr4 & ~cpu_of(entry)->cr4;
}

static bool
dr6_high(const void *entry)
{
	return vmcb_of(entry)->dr6 >> 32;
}

static bool
dr7_high(const void *entry)
{
	return vmcb_of(entry)->dr7 >> 32;
}

/* The guest's paging would be that of long mode. */
static bool
pages_long(const void *entry)
{
	return vmcb_of(entry)->efer & EFER_LME && vmcb_of(entry)->cr0 & CR0_PG;
}

static bool
long_without_pae(const void *entry)
{
	return pages_long(entry) && !(vmcb_of(entry)->cr4 & CR4_PAE);
}

/* ---- the table ---- */

#define NESTED "APM 2 15.25.4 \"Nested Paging and VMRUN/#VMEXIT\""

const struct entry_rule svm_rules[] = {
	{ SVM_FIELD("CR3", cr3), "no bit beyond the CPU's physical addresses", SVM_CHECKS,
	  cr3_reserved },
	{ SVM_FIELD("CR4", cr4), "a bit is set that this CPU has not", SVM_CHECKS, cr4_reserved },
	{ SVM_FIELD("DR6", dr6), "bits 63:32 must be 0", SVM_CHECKS, dr6_high },
	{ SVM_FIELD("DR7", dr7), "bits 63:32 must be 0", SVM_CHECKS, dr7_high },
	{ SVM_FIELD("CR4", cr4), "EFER.LME=1 and CR0.PG=1 need PAE=1", SVM_CHECKS,
	  long_without_pae },
	{ SVM_FIELD("intercept vector 4", intercepts[1]), "VMRUN (bit 0) must be intercepted",
	  SVM_CHECKS, no_vmrun_intercept },
	{ SVM_FIELD("Guest ASID", asid), "0 is the host's", SVM_CHECKS, hosts_asid },
	{ SVM_FIELD("N_CR3", n_cr3), "no bit beyond the CPU's physical addresses", NESTED,
	  ncr3_beyond },
	{ SVM_FIELD("G_PAT", pat), "each byte is a memory type: 0, 1, 4, 5, 6 or 7", NESTED,
	  pat_of_no_type },
};
const size_t svm_rule_count = sizeof(svm_rules) / sizeof(svm_rules[0]);

const struct entry_rule *
svm_rule_broken(const struct vmcb *b, const struct svm_cpu *cpu, const struct entry_rule *from)
{
	const struct svm_entry entry = { b, cpu };

	return entry_rule_broken(svm_rules, svm_rule_count, from, &entry);
}

uint64_t
svm_field_value(const struct vmcb *b, uint32_t at, uint32_t bytes)
{
	const uint8_t *field = (const uint8_t *)b + at;
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)field[i] << 8 * i;
	return value;
}

struct svm_broken
svm_broken(const struct vmcb *b, const struct svm_cpu *cpu, unsigned number)
{
	const struct entry_rule *r = NULL;

	for (unsigned i = 0; i < SVM_OWN_RULES; i++) {
		const struct svm_own_rule *own = &svm_own_rules[i];
		const char *words = own->wrong(b, cpu);

		if (words && !number--)
			return (struct svm_broken){ own->field, words, own->section,
						    svm_field_value(b, own->at, own->bytes) };
	}
	while ((r = svm_rule_broken(b, cpu, r)))
		if (!number--)
			return (struct svm_broken){ r->field, r->words, r->section,
						    svm_field_value(b, r->at, r->bytes) };
	return (struct svm_broken){ 0 };
}
