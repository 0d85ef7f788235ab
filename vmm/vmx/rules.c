/*
 * The rules of VM entries, all tables one after the other.
 */
#include <vmm/vmx/rules_look.h>

const struct entry_rule *
vmx_rule(size_t n)
{
	const struct vmx_chapter chapters[] = {
		{ vmx_control_rules, vmx_control_rule_count },
		{ vmx_host_rules, vmx_host_rule_count },
		{ vmx_guest_rules, vmx_guest_rule_count },
		{ vmx_segment_rules, vmx_segment_rule_count },
	};

	for (size_t i = 0; i < sizeof(chapters) / sizeof(chapters[0]); i++) {
		if (n < chapters[i].count)
			return &chapters[i].rules[n];
		n -= chapters[i].count;
	}
	return NULL;
}

const char *
vmx_rule_words(struct vmx_attempt *e, const struct entry_rule *rule)
{
	e->at = rule->at;
	if (!rule->words)
		return vmx_own_wrong(e);
	return rule->broken(e) ? rule->words : NULL;
}

const struct entry_rule *
vmx_rule_broken(struct vmx_attempt *e, size_t *n)
{
	const struct entry_rule *rule;

	for (; (rule = vmx_rule(*n)); ++*n)
		if (vmx_rule_words(e, rule))
			return rule;
	return NULL;
}
