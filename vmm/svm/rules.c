/*
 * The rules of VMRUN: a VMCB that breaks one comes back with VMEXIT_INVALID, and nothing else.
 * Pure: all that a rule looks at is in its argument. The manual's rules on shadow stacks are not
 * here: no guest sees CR4.CET. Nor does it say whether an exception's vector may be one that is
 * reserved.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <vmm/svm/rules.h>

#define IOPM_BYTES  0x3000u
#define MSRPM_BYTES 0x2000u

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

/* The CPU takes the address without its low 12 bits. */
static bool
map_beyond(const void *entry, uint64_t base, uint64_t bytes)
{
	base &= ~0xffful;
	return base & beyond(entry) || (base + bytes - 1) & beyond(entry);
}

static bool
iopm_beyond(const void *entry)
{
	return map_beyond(entry, vmcb_of(entry)->iopm_base, IOPM_BYTES);
}

static bool
msrpm_beyond(const void *entry)
{
	return map_beyond(entry, vmcb_of(entry)->msrpm_base, MSRPM_BYTES);
}

static bool
hosts_asid(const void *entry)
{
	return !vmcb_of(entry)->asid;
}

static bool
event_of_no_type(const void *entry)
{
	uint64_t event = vmcb_of(entry)->eventinj;
	unsigned type = SVM_EVENT_TYPE(event);

	return event & SVM_EVENT_VALID && type != SVM_EVENT_INTERRUPT && type != SVM_EVENT_NMI &&
	       type != SVM_EVENT_EXCEPTION && type != SVM_EVENT_SOFTWARE;
}

static bool
event_no_exception(const void *entry)
{
	uint64_t event = vmcb_of(entry)->eventinj;

	return event & SVM_EVENT_VALID && SVM_EVENT_TYPE(event) == SVM_EVENT_EXCEPTION &&
	       ((uint8_t)event == VEC_NMI || (uint8_t)event >= 32);
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
efer_without_svme(const void *entry)
{
	return !(vmcb_of(entry)->efer & EFER_SVME);
}

static bool
efer_reserved(const void *entry)
{
	return vmcb_of(entry)->efer & ~cpu_of(entry)->efer;
}

static bool
efer_no_long_mode(const void *entry)
{
	return vmcb_of(entry)->efer & (EFER_LME | EFER_LMA) && !cpu_of(entry)->has_long_mode;
}

static bool
cr0_nw_alone(const void *entry)
{
	uint64_t cr0 = vmcb_of(entry)->cr0;

	return cr0 & CR0_NW && !(cr0 & CR0_CD);
}

static bool
cr0_high(const void *entry)
{
	return vmcb_of(entry)->cr0 >> 32;
}

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

static bool
long_without_pe(const void *entry)
{
	return pages_long(entry) && !(vmcb_of(entry)->cr0 & CR0_PE);
}

static bool
code_of_two_sizes(const void *entry)
{
	uint16_t attr = vmcb_of(entry)->cs.attr;

	return pages_long(entry) && vmcb_of(entry)->cr4 & CR4_PAE && attr & ATTR_L &&
	       attr & ATTR_DB;
}

/* ---- the table ---- */

#define FIELD(name, member) \
	name, offsetof(struct vmcb, member), sizeof(((struct vmcb *)NULL)->member)
#define CHECKS "APM 2 15.5.1 \"Canonicalization and Consistency Checks\""
#define EVENTS "APM 2 15.20 \"Event Injection\""
#define NESTED "APM 2 15.25.4 \"Nested Paging and VMRUN/#VMEXIT\""

const struct entry_rule svm_rules[] = {
	{ FIELD("EFER", efer), "SVME must be 1", CHECKS, efer_without_svme },
	{ FIELD("CR0", cr0), "NW=1 needs CD=1", CHECKS, cr0_nw_alone },
	{ FIELD("CR0", cr0), "bits 63:32 must be 0", CHECKS, cr0_high },
	{ FIELD("CR3", cr3), "no bit beyond the CPU's physical addresses", CHECKS, cr3_reserved },
	{ FIELD("CR4", cr4), "a bit is set that this CPU has not", CHECKS, cr4_reserved },
	{ FIELD("DR6", dr6), "bits 63:32 must be 0", CHECKS, dr6_high },
	{ FIELD("DR7", dr7), "bits 63:32 must be 0", CHECKS, dr7_high },
	{ FIELD("EFER", efer), "a bit is set that this CPU has not", CHECKS, efer_reserved },
	{ FIELD("EFER", efer), "LME or LMA, and this CPU has no long mode", CHECKS,
	  efer_no_long_mode },
	{ FIELD("CR4", cr4), "EFER.LME=1 and CR0.PG=1 need PAE=1", CHECKS, long_without_pae },
	{ FIELD("CR0", cr0), "EFER.LME=1 and PG=1 need PE=1", CHECKS, long_without_pe },
	{ FIELD("CS.attrib", cs.attr), "in long mode L and D can't both be 1", CHECKS,
	  code_of_two_sizes },
	{ FIELD("intercept vector 4", intercepts[1]), "VMRUN (bit 0) must be intercepted", CHECKS,
	  no_vmrun_intercept },
	{ FIELD("IOPM_BASE_PA", iopm_base), "the 12 KiB must end within physical memory", CHECKS,
	  iopm_beyond },
	{ FIELD("MSRPM_BASE_PA", msrpm_base), "the 8 KiB must end within physical memory", CHECKS,
	  msrpm_beyond },
	{ FIELD("Guest ASID", asid), "0 is the host's", CHECKS, hosts_asid },
	{ FIELD("EVENTINJ", eventinj), "bits 10:8 are no type of an event", EVENTS,
	  event_of_no_type },
	{ FIELD("EVENTINJ", eventinj), "an exception's vector is below 32, and not 2", EVENTS,
	  event_no_exception },
	{ FIELD("N_CR3", n_cr3), "no bit beyond the CPU's physical addresses", NESTED,
	  ncr3_beyond },
	{ FIELD("G_PAT", pat), "each byte is a memory type: 0, 1, 4, 5, 6 or 7", NESTED,
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
svm_rule_value(const struct vmcb *b, const struct entry_rule *rule)
{
	const uint8_t *field = (const uint8_t *)b + rule->at;
	uint64_t value = 0;

	for (unsigned i = 0; i < rule->bytes; i++)
		value |= (uint64_t)field[i] << 8 * i;
	return value;
}
