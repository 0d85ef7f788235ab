/*
 * Spoils copies of the last guest's VMCB, asks Zeno's rules and the CPU, and prints both verdicts.
 * This folder is not handed out: what breaks a rule tells the rule (exercise 4s.7).
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <trials/svm/broken/spoil.h>
#include <trials/svm/vmcheck.h>
#include <vmm/domain.h>
#include <vmm/words/monitor.h>

#define CASES_DEFAULT 200

/*
 * Bochs 2.7 does not check that long mode goes with PE=1: it dies a moment later. QEMU 7.2 loses
 * the host's CR0 at an exit with LME=1, PAE=0 and paging off (state.c of Lab 4s).
 */
static bool
kills(const struct vmcb *b, const char *emulator)
{
	if (!strcmp(emulator, "qemu"))
		return b->efer & EFER_LME && !(b->cr4 & CR4_PAE) && !(b->cr0 & CR0_PG);
	return !strcmp(emulator, "bochs") && b->efer & (EFER_LME | EFER_LMA) && !(b->cr0 & CR0_PE);
}

static void
one_case(struct vcpu *v, uint64_t number, uint64_t *seed, const char *emulator)
{
	struct vmcb *b = vmcheck_copy(v);
	struct svm_broken first;
	struct spoiled s;

	if (number < spoil_count) {
		s.field = spoil_ways[number].field;
		s.value = spoil_rule(b, &svm_cpu, (unsigned)number, seed);
	} else {
		s = spoil_bits(b, seed);
	}
	printf("case %lu: %s = %lx: ", number, s.field, s.value);
	first = svm_broken(b, &svm_cpu, 0);
	if (first.field)
		printf("Zeno: %s: %s; ", first.field, first.words);
	else
		printf("Zeno: takes it; ");
	if (kills(b, emulator))
		printf("CPU: not asked\n");
	else
		printf("CPU: %s\n", vmcheck_cpu_takes(b) ? "takes it" : "refuses it");
}

static int
trial(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(0, NULL);
	uint64_t seed = 1, cases = CASES_DEFAULT;

	if (!v)
		return MONITOR_SAID;
	if ((argc > 1 && parse_u64(argv[1], &seed)) || (argc > 2 && parse_u64(argv[2], &cases)))
		return -EINVAL;
	if (!vmcheck_copy(v))
		return -ENOMEM;
	for (unsigned i = 0; i < spoil_count; i++)
		printf("rule %u: %s: %s\n", i, spoil_ways[i].field, spoil_ways[i].words);
	for (uint64_t n = 0; n < cases; n++)
		one_case(v, n, &seed, argc > 3 ? argv[3] : "");
	return 0;
}
MONITOR_COMMAND(trial, "vmrun-trial", "[SEED] [CASES] [qemu|bochs]",
		"spoil copies of the last guest's VMCB, and compare Zeno's rules with the CPU");

/*
 * As if a handler of this guest's had written it: the state, and what only the VMCB has, break a
 * rule at its next entry.
 */
static int
break_rule(int argc, char **argv)
{
	uint64_t which, seed = 1;
	struct vcpu *v;

	if (argc < 3 || parse_u64(argv[2], &which) || which >= spoil_count ||
	    (argc > 3 && parse_u64(argv[3], &seed)))
		return -EINVAL;
	v = monitor_vcpu(argc, argv);
	if (!v)
		return MONITOR_SAID;
	svm_state_to_vmcb(v);
	spoil_rule(vmcb_of(v), &svm_cpu, (unsigned)which, &seed);
	svm_fetch(v, STATE_ALL);
	v->valid = v->dirty = STATE_ALL;
	return 0;
}
MONITOR_COMMAND(break_rule, "vmrun-break", "ID RULE [SEED]",
		"break a rule of VMRUN in a guest's VMCB; vmrun-trial lists the rules");
