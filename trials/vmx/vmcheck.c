/*
 * What `vmcheck` does on VT-x (exercise 4.7).
 */
#include <trials/rules/vmcheck.h>
#include <trials/vmx/copy.h>
#include <trials/vmx/modes.h>

static struct vmcs_image image;

static void *
copy(struct vcpu *v)
{
	const struct vmcs_image *good = vmcs_copy(v);

	if (!good)
		return NULL;
	image = *good;
	mode_flat(&image);
	*image_field(&image, ENTRY_EVENT_LENGTH) = 1;
	return &image;
}

/* One of those rows that are asked of exercise 4.7. */
static const struct entry_rule *
own_rule(unsigned number)
{
	const struct entry_rule *r;

	for (size_t n = 0; (r = vmx_rule(n)); n++)
		if (!r->words && !number--)
			break;
	return r;
}

static const char *
field(unsigned rule)
{
	return own_rule(rule)->field;
}

static const char *
ask(const void *structure, unsigned rule)
{
	struct vmx_attempt e = { .read = image_read, .vmcs = structure, .cpu = &vmx_cpu };

	return vmx_rule_words(&e, own_rule(rule));
}

static const char *
zeno(const void *structure)
{
	struct vmx_attempt e = { .read = image_read, .vmcs = structure, .cpu = &vmx_cpu };
	const struct entry_rule *r;

	for (size_t n = 0; (r = vmx_rule(n)); n++)
		if (r->words && vmx_rule_words(&e, r))
			return r->field;
	return NULL;
}

/* Bits of this field that are worth a try. */
static uint64_t
bits_of(uint32_t field)
{
	switch (field) {
	case ENTRY_EVENT:
		return 0x1fff;
	case GUEST_CR0:
		return CR0_PE | CR0_NE | CR0_WP | CR0_NW | CR0_CD | CR0_PG | 1ul << 40;
	case GUEST_CR4:
		return CR4_PSE | CR4_PAE | CR4_VMXE | CR4_PCIDE | CR4_SMEP | 1ul << 40;
	case GUEST_RFLAGS:
		return 0x7fffff;
	case SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_CS):
	case SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_SS):
		return 0xf | 3 << 5 | RIGHTS_L | RIGHTS_DB;
	}
	return ~0ul << 47; /* an address's: one of the host's must not be another legal one */
}

static void
change(void *structure, uint64_t *seed)
{
	static void (*const modes[])(struct vmcs_image * m) = { mode_flat, mode_paged, mode_long,
								mode_restricted, mode_ring3 };
	/* More often than others: the event, CR0, CR4, RFLAGS, the two with access rights. */
	static const uint8_t often[] = { 0, 9, 10, 16, 21, 22 };
	unsigned number = vmcheck_pick(seed, 4) ? often[vmcheck_pick(seed, ARRAY_LEN(often))]
						: vmcheck_pick(seed, VMX_OWN_RULES);
	const struct entry_rule *rule = own_rule(number);
	uint64_t *value = image_field(structure, rule->at), bits = bits_of(rule->at), bit;

	modes[vmcheck_pick(seed, ARRAY_LEN(modes))](structure);
	if (rule->at == ENTRY_EVENT)
		*value = VMX_EVENT_VALID | vmcheck_pick(seed, 0x1000);
	for (unsigned n = 1 + vmcheck_pick(seed, 3); n; n--) {
		do
			bit = 1ul << vmcheck_pick(seed, 64);
		while (!(bit & bits));
		*value ^= bit;
	}
	printf("%s = %lx: ", rule->field, *value);
}

static const char *
cpu(struct vcpu *v, void *structure)
{
	static char words[40];
	unsigned says;

	if (vmcs_copy_kills(structure) || vmcs_copy_stays_away(structure))
		return "not asked";
	says = vmcs_copy_enter(v, structure);
	if (!says)
		return "takes it";
	snprintf(words, sizeof(words), "refuses it (%s %u)",
		 says < 16 ? "VM-instruction error" : "exit reason", says);
	return words;
}

static const struct vmcheck vmx_vmcheck = {
	.engine = "vmx",
	.rules = VMX_OWN_RULES,
	.copy = copy,
	.change = change,
	.ask = ask,
	.field = field,
	.zeno = zeno,
	.cpu = cpu,
};
SET_ADD(vmchecks, vmx_vmcheck);
