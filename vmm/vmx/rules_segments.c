/*
 * The rules of VM entries for the guest's segments: SDM 3C 27.3.1.2. Each register has four fields,
 * whose encodings go up together, so a rule finds its register by the field that it is about.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/vmx/rules_look.h>

enum { SEG_LDTR = SEGMENT_LDTR, SEG_TR = SEGMENT_TR };

#define SELECTOR(n) SEGMENT_FIELD(GUEST_ES, n)
#define LIMIT(n)    SEGMENT_FIELD(GUEST_ES_LIMIT, n)
#define RIGHTS(n)   SEGMENT_FIELD(GUEST_ES_RIGHTS, n)
#define BASE(n)     SEGMENT_FIELD(GUEST_ES_BASE, n)

static uint64_t
selector(const void *entry, unsigned n)
{
	return rule_field(entry, SELECTOR(n));
}

static uint64_t
rights(const void *entry, unsigned n)
{
	return rule_field(entry, RIGHTS(n));
}

static bool
usable(const void *entry, unsigned n)
{
	return !(rights(entry, n) & RIGHTS_UNUSABLE);
}

RULE(is_v86, rule_field(entry, GUEST_RFLAGS) & FLAG_VM)
RULE(unrestricted, rule_secondary(entry, SECONDARY_UNRESTRICTED))

/* The register whose access rights, selector, base or limit the rule is about. */
static unsigned
of_rights(const void *entry)
{
	return (((const struct vmx_attempt *)entry)->at - GUEST_ES_RIGHTS) / 2;
}

static unsigned
of_base(const void *entry)
{
	return (((const struct vmx_attempt *)entry)->at - GUEST_ES_BASE) / 2;
}

/* Rules for access rights hold outside of virtual-8086 mode, for what can be used. */
static bool
judged(const void *entry)
{
	unsigned n = of_rights(entry);

	return (n >= SEG_LDTR || !is_v86(entry)) &&
	       (n == SEG_CS || n == SEG_TR || usable(entry, n));
}

/* ---- selectors ---- */

RULE(in_ldt, rule_value(entry) & 4)
RULE(ldtr_in_ldt, usable(entry, SEG_LDTR) && rule_value(entry) & 4)
RULE(ss_of_another_ring, !is_v86(entry) && !unrestricted(entry) &&
				 (rule_value(entry) & 3) != (selector(entry, SEG_CS) & 3))

/* ---- bases and limits ---- */

RULE(v86_base, is_v86(entry) && rule_value(entry) != selector(entry, of_base(entry)) << 4)
RULE(v86_limit, is_v86(entry) && rule_value(entry) != 0xffff)
RULE(v86_rights, is_v86(entry) && rule_value(entry) != 0xf3)
RULE(base_high,
     (of_base(entry) == SEG_CS || usable(entry, of_base(entry))) && rule_value(entry) >> 32)

/* ---- access rights ---- */

static bool
data_type(const void *entry)
{
	unsigned type = RIGHTS_TYPE(rule_value(entry));

	return judged(entry) && (!(type & 1) || (type & 8 && !(type & 2)));
}

RULE(is_system, judged(entry) && !(rule_value(entry) & RIGHTS_S))
RULE(not_system, judged(entry) && rule_value(entry) & RIGHTS_S)
RULE(absent, judged(entry) && !(rule_value(entry) & RIGHTS_P))
RULE(reserved, judged(entry) && rule_value(entry) & 0xfffe0f00)

/* The limit that a descriptor with this G can have. */
static bool
granularity(const void *entry)
{
	uint64_t limit = rule_field(entry, LIMIT(of_rights(entry)));
	bool g = rule_value(entry) & RIGHTS_G;

	return judged(entry) && (((limit & 0xfff) != 0xfff && g) || (limit >> 20 && !g));
}

RULE(data_dpl, judged(entry) && !unrestricted(entry) && RIGHTS_TYPE(rule_value(entry)) < 12 &&
		       RIGHTS_DPL(rule_value(entry)) < (selector(entry, of_rights(entry)) & 3))

static bool
tr_type(const void *entry)
{
	unsigned type = RIGHTS_TYPE(rule_value(entry));

	return type != 11 && (type != 3 || rule_long_guest(entry));
}

RULE(tr_unusable, rule_value(entry) & RIGHTS_UNUSABLE)
RULE(ldtr_type, usable(entry, SEG_LDTR) && RIGHTS_TYPE(rule_value(entry)) != 2)

/* ---- the table ---- */

#define SECTION "SDM 3C 27.3.1.2 \"Checks on Guest Segment Registers\""

#define AR(name)   FIELD("guest " #name " access rights", RIGHTS(SEG_##name))
#define SEL(name)  FIELD("guest " #name " selector", SELECTOR(SEG_##name))
#define ADDR(name) FIELD("guest " #name " base", BASE(SEG_##name))
#define SIZE(name) FIELD("guest " #name " limit", LIMIT(SEG_##name))

/* What virtual-8086 mode has. */
#define V86(name)                                                                        \
	{ ADDR(name), "in virtual-8086 mode 16 times the selector", SECTION, v86_base }, \
		{ SIZE(name), "in virtual-8086 mode ffff", SECTION, v86_limit },         \
	{                                                                                \
		AR(name), "in virtual-8086 mode f3", SECTION, v86_rights                 \
	}

/* What is asked of every register that can be used. */
#define EVERY(name)                                                                                  \
	{ AR(name), "P must be 1", SECTION, absent },                                                \
		{ AR(name), "bits 11:8 and 31:17 must be 0", SECTION, reserved },                    \
	{                                                                                            \
		AR(name),                                                                            \
			"G=1 only with a limit that ends in fff, and G=0 only with one below 1 MiB", \
			SECTION, granularity                                                         \
	}

#define DATA(name)                                                                         \
	{ AR(name), "a type that is accessed, and if code readable", SECTION, data_type }, \
		{ AR(name), "S must be 1", SECTION, is_system },                           \
		{ AR(name), "DPL no less than the selector's RPL", SECTION, data_dpl },    \
		EVERY(name)

const struct entry_rule vmx_segment_rules[] = {
	{ SEL(TR), "TI must be 0", SECTION, in_ldt },
	{ SEL(LDTR), "TI must be 0", SECTION, ldtr_in_ldt },
	{ SEL(SS), "RPL must be that of CS", SECTION, ss_of_another_ring },
	V86(CS),
	V86(SS),
	V86(DS),
	V86(ES),
	V86(FS),
	V86(GS),
	{ ADDR(TR), OWN(SECTION) },
	{ ADDR(FS), OWN(SECTION) },
	{ ADDR(GS), OWN(SECTION) },
	{ ADDR(LDTR), OWN(SECTION) },
	{ ADDR(CS), "bits 63:32 must be 0", SECTION, base_high },
	{ ADDR(SS), "bits 63:32 must be 0", SECTION, base_high },
	{ ADDR(DS), "bits 63:32 must be 0", SECTION, base_high },
	{ ADDR(ES), "bits 63:32 must be 0", SECTION, base_high },
	{ AR(CS), OWN(SECTION) },
	{ AR(CS), "S must be 1", SECTION, is_system },
	EVERY(CS),
	{ AR(SS), OWN(SECTION) },
	{ AR(SS), "S must be 1", SECTION, is_system },
	EVERY(SS),
	DATA(DS),
	DATA(ES),
	DATA(FS),
	DATA(GS),
	{ AR(TR), "a busy TSS: type 11, or 3 outside of IA-32e mode", SECTION, tr_type },
	{ AR(TR), "S must be 0", SECTION, not_system },
	{ AR(TR), "TR can't be unusable", SECTION, tr_unusable },
	EVERY(TR),
	{ AR(LDTR), "type 2", SECTION, ldtr_type },
	{ AR(LDTR), "S must be 0", SECTION, not_system },
	EVERY(LDTR),
};
const size_t vmx_segment_rule_count = sizeof(vmx_segment_rules) / sizeof(vmx_segment_rules[0]);
