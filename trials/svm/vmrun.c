/*
 * Spoils the VMCB of the last guest, asks Zeno's rules and the CPU, and prints both verdicts.
 *
 * The guest itself is left alone: this is a copy, with nested tables that map nothing. So a VMCB
 * that the CPU takes comes back at the guest's first access to memory.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/monitor.h>
#include <vmm/svm/svm.h>
#include <trials/svm/spoil.h>

#define CASES_DEFAULT 200

static mfn_t copy, no_memory;
static bool has_frames;

/* A VMCB that the CPU took, with nothing in memory, and no event. */
static struct vmcb *
fresh_copy(struct vcpu *v)
{
	struct vmcb *b = mfn_ptr(copy);

	memcpy(b, svm_of(v)->vmcb, sizeof(*b));
	b->n_cr3 = mfn_to_hpa(no_memory).v;
	b->eventinj = 0;
	b->tlb_control = TLB_CONTROL_FLUSH_ALL;
	b->clean = 0;
	b->dr7 = DR7_RESET;
	return b;
}

static bool
cpu_takes(struct vmcb *b)
{
	uint64_t gpr[GPR_COUNT] = { 0 };

	b->exitcode = 0;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	svm_enter(gpr, mfn_to_hpa(copy), svm_host_state());
	return SVM_EXIT_CODE(b) != SVM_EXIT_INVALID;
}

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
	struct vmcb *b = fresh_copy(v);
	const struct entry_rule *r;
	const char *field;
	uint64_t value;

	if (number < svm_rule_count) {
		r = &svm_rules[number];
		spoil_rule(b, &svm_cpu, (unsigned)number, seed);
		field = r->field;
		value = svm_rule_value(b, r);
	} else {
		struct spoiled s = spoil_bits(b, seed);

		field = s.field;
		value = s.value;
	}
	printf("case %lu: %s = %lx: ", number, field, value);
	r = svm_rule_broken(b, &svm_cpu, NULL);
	if (r)
		printf("Zeno: %s: %s; ", r->field, r->words);
	else
		printf("Zeno: takes it; ");
	if (kills(b, emulator))
		printf("CPU: not asked\n");
	else
		printf("CPU: %s\n", cpu_takes(b) ? "takes it" : "refuses it");
}

/* They are kept from one trial to the next. */
static bool
get_frames(void)
{
	if (has_frames)
		return true;
	copy = frame_alloc(FRAME_HOST, OWNER_HOST);
	no_memory = frame_alloc(FRAME_HOST, OWNER_HOST);
	has_frames = mfn_ok(copy) && mfn_ok(no_memory);
	if (!has_frames && mfn_ok(copy))
		frame_put(copy);
	return has_frames;
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
	if (!get_frames())
		return -ENOMEM;
	for (unsigned i = 0; i < svm_rule_count; i++)
		printf("rule %u: %s: %s\n", i, svm_rules[i].field, svm_rules[i].words);
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

	if (argc < 3 || parse_u64(argv[2], &which) || which >= svm_rule_count ||
	    (argc > 3 && parse_u64(argv[3], &seed)))
		return -EINVAL;
	v = monitor_vcpu(argc, argv);
	if (!v)
		return MONITOR_SAID;
	svm_state_to_vmcb(v);
	spoil_rule(svm_of(v)->vmcb, &svm_cpu, (unsigned)which, &seed);
	svm_fetch(v, STATE_ALL);
	v->valid = v->dirty = STATE_ALL;
	return 0;
}
MONITOR_COMMAND(break_rule, "vmrun-break", "ID RULE [SEED]",
		"break a rule of VMRUN in a guest's VMCB; vmrun-trial lists the rules");
