/*
 * What a CPU checks before it enters a guest, as tables of rules: VMRUN and VMLAUNCH say no more
 * than that something is wrong, and a rule says what.
 *
 * An engine has a table of them, in the manual's order, and a structure of its own that they look
 * at: the control block and what this CPU has.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry_rule {
	const char *field; /* the manual's name; of two fields, whose value tells more */
	uint32_t at; /* where the engine finds it: the VMCB's offset, or the VMCS's encoding */
	uint32_t bytes;
	const char *words;   /* what must hold */
	const char *section; /* of the manual, with its title */
	bool (*broken)(const void *entry);
};

#define RULES_SHOWN 3u /* of those that an entry breaks: one mistake often breaks many */

/* The first one behind `from` (NULL: from the start) that is broken; NULL: none is. */
static inline const struct entry_rule *
entry_rule_broken(const struct entry_rule *rules, size_t count, const struct entry_rule *from,
		  const void *entry)
{
	for (const struct entry_rule *r = from ? from + 1 : rules; r < rules + count; r++)
		if (r->broken(entry))
			return r;
	return NULL;
}
