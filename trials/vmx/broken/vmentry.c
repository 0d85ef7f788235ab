/*
 * Spoils copies of the last guest's VMCS, asks Zeno's rules and the CPU, and prints both verdicts.
 * This folder is not handed out: what breaks a rule tells the rule (exercise 4.7).
 */
#include <inc/errno.h>
#include <trials/vmx/broken/spoil.h>
#include <trials/vmx/copy.h>
#include <vmm/domain.h>
#include <vmm/words/monitor.h>

#define CASES_DEFAULT 200

static struct vmcs_image image;

/* The way that this case is meant to break is broken, as far as the rules say. */
static bool
is_broken(struct vmx_attempt *e, size_t number)
{
	struct spoil_way way = vmcs_spoil_way(number);
	const char *words = vmx_rule_words(e, vmx_rule(way.row));

	return words && !strcmp(words, way.words);
}

static void
one_case(struct vcpu *v, const struct vmcs_image *good, size_t number, uint64_t *seed)
{
	struct vmx_attempt e = { .read = image_read, .vmcs = &image, .cpu = &vmx_cpu };
	bool meant = number < vmcs_spoil_count;
	const struct entry_rule *r;
	struct spoiled s;
	size_t first = 0;
	unsigned says;

	image = *good;
	if (meant) {
		r = vmx_rule(vmcs_spoil_way(number).row);
		vmcs_spoil_rule(&image, &vmx_cpu, number, seed);
		s = (struct spoiled){ r->field, r->at };
	} else {
		s = vmcs_spoil_bits(&image, seed);
	}
	printf("case %lu: %s = %lx: ", number, s.name, image_read(&image, s.field));
	r = vmx_rule_broken(&e, &first);
	if (r)
		printf("Zeno: %s: %s: %s; ", r->section, r->field, vmx_rule_words(&e, r));
	else
		printf("Zeno: takes it; ");
	if (vmcs_copy_kills(&image) || (!r && vmcs_copy_stays_away(&image)) ||
	    (meant && !is_broken(&e, number))) {
		printf("CPU: not asked\n");
		return;
	}
	says = vmcs_copy_enter(v, &image);
	if (says)
		printf("CPU: refuses it (%u)\n", says);
	else
		printf("CPU: takes it\n");
}

static int
trial(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(0, NULL);
	uint64_t seed = 1, cases = CASES_DEFAULT;
	const struct vmcs_image *good;

	if (!v)
		return MONITOR_SAID;
	if ((argc > 1 && parse_u64(argv[1], &seed)) || (argc > 2 && parse_u64(argv[2], &cases)))
		return -EINVAL;
	good = vmcs_copy(v);
	if (!good)
		return -ENOMEM;
	for (size_t i = 0; i < vmcs_spoil_count; i++) {
		struct spoil_way way = vmcs_spoil_way(i);
		const struct entry_rule *r = vmx_rule(way.row);

		printf("rule %lu: %s: %s: %s\n", i, r->section, r->field, way.words);
	}
	for (uint64_t n = 0; n < cases; n++)
		one_case(v, good, n, &seed);
	return 0;
}
MONITOR_COMMAND(trial, "vmentry-trial", "[SEED] [CASES]",
		"spoil copies of the last guest's VMCS, and compare Zeno's rules with the CPU");

/* As if Zeno itself had written it: the guest's next entry breaks a rule. */
static int
break_rule(int argc, char **argv)
{
	uint64_t which, seed = 1;
	struct vcpu *v;

	if (argc < 3 || parse_u64(argv[2], &which) || which >= vmcs_spoil_count ||
	    (argc > 3 && parse_u64(argv[3], &seed)))
		return -EINVAL;
	v = monitor_vcpu(argc, argv);
	if (!v)
		return MONITOR_SAID;
	image = *vmcs_read_image(v);
	vmcs_spoil_rule(&image, &vmx_cpu, which, &seed);
	vmcs_write_image(&image);
	return 0;
}
MONITOR_COMMAND(break_rule, "vmentry-break", "ID RULE [SEED]",
		"break a rule of VM entries in a guest's VMCS; vmentry-trial lists the rules");
