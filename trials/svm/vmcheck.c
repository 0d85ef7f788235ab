/*
 * `vmcheck`: the rules of exercise 4s.7 beside the CPU's verdict, on VMCBs that are changed by
 * chance.
 *
 * The guest itself is left alone: this is a copy, with nested tables that map nothing. So a VMCB
 * that the CPU takes comes back at the guest's first access to memory.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/monitor.h>
#include <trials/svm/vmcheck.h>

#define CASES_DEFAULT 20

static mfn_t copy, no_memory;
static bool has_frames;

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

struct vmcb *
vmcheck_copy(struct vcpu *v)
{
	struct vmcb *b;

	if (!get_frames())
		return NULL;
	b = mfn_ptr(copy);
	memcpy(b, svm_of(v)->vmcb, sizeof(*b));
	b->n_cr3 = mfn_to_hpa(no_memory).v;
	b->eventinj = 0;
	b->tlb_control = TLB_CONTROL_FLUSH_ALL;
	b->clean = 0;
	b->dr7 = DR7_RESET;
	return b;
}

bool
vmcheck_cpu_takes(struct vmcb *b)
{
	uint64_t gpr[GPR_COUNT] = { 0 };

	b->exitcode = 0;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	svm_enter(gpr, mfn_to_hpa(copy), svm_host_state());
	return SVM_EXIT_CODE(b) != SVM_EXIT_INVALID;
}

static unsigned
pick(uint64_t *seed, unsigned below)
{
	return (unsigned)(seeded_next(seed) >> 16) % below;
}

static void
vmcheck_change(struct vmcb *b, uint64_t *seed)
{
	const struct svm_own_rule *rule = &svm_own_rules[pick(seed, SVM_OWN_RULES)];
	uint8_t *field = (uint8_t *)b + rule->at;

	if (pick(seed, 2)) { /* 64-bit code */
		b->efer |= EFER_LME | EFER_LMA;
		b->cr0 |= CR0_PG | CR0_PE;
		b->cr4 |= CR4_PAE;
		b->cs.attr = (b->cs.attr | ATTR_L) & (uint16_t)~ATTR_DB;
	}
	if (rule->at == offsetof(struct vmcb, eventinj))
		b->eventinj = SVM_EVENT_VALID | pick(seed, 0x1000);
	for (unsigned n = 1 + pick(seed, 3); n; n--)
		field[pick(seed, rule->bytes)] ^= (uint8_t)(1u << pick(seed, 8));
	printf("%s = %lx: ", rule->field, svm_field_value(b, rule->at, rule->bytes));
}

/* The grader writes here what it likes, and looks at it again once the rules were asked. */
static NOINLINE void
vmcheck_look(struct vmcb *b, bool asked)
{
	__asm__ volatile("" : : "r"(b), "r"(asked) : "memory");
}

/* `words`: one for each of svm_own_rules. */
static NOINLINE void
vmcheck_verdict(const struct vmcb *b, const char *const *words, const char *cpu)
{
	bool any = false;

	for (unsigned i = 0; i < SVM_OWN_RULES; i++) {
		if (words[i])
			printf("%s%s: %s", any ? ", " : "you: ", svm_own_rules[i].field, words[i]);
		any |= words[i] != NULL;
	}
	printf("%s; CPU: %s\n", any ? "" : "you: take it", cpu);
	__asm__ volatile("" : : "r"(b) : "memory");
}

/*
 * QEMU 7.2 loses the host's CR0 at an exit with LME=1, PAE=0 and paging off (state.c); Bochs 2.7,
 * which has nRIP, dies of long mode without PE.
 */
static bool
vmcheck_kills(const struct vmcb *b)
{
	if (svm_has_nrip)
		return b->efer & (EFER_LME | EFER_LMA) && !(b->cr0 & CR0_PE);
	return b->efer & EFER_LME && !(b->cr4 & CR4_PAE) && !(b->cr0 & CR0_PG);
}

static int
vmcheck(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(0, NULL);
	uint64_t state, seed = 1, cases = CASES_DEFAULT;

	if (!v)
		return MONITOR_SAID;
	if ((argc > 1 && parse_u64(argv[1], &seed)) || (argc > 2 && parse_u64(argv[2], &cases)))
		return -EINVAL;
	state = seeded_start(seed);
	for (uint64_t n = 1; n <= cases; n++) {
		const char *words[SVM_OWN_RULES];
		struct vmcb *b = vmcheck_copy(v);

		if (!b)
			return -ENOMEM;
		printf("%lu: ", n);
		vmcheck_change(b, &state);
		vmcheck_look(b, false);
		for (unsigned i = 0; i < SVM_OWN_RULES; i++)
			words[i] = svm_own_rules[i].wrong(b, &svm_cpu);
		vmcheck_look(b, true);
		vmcheck_verdict(b, words,
				vmcheck_kills(b)       ? "not asked"
				: vmcheck_cpu_takes(b) ? "takes it"
						       : "refuses it");
	}
	return 0;
}
MONITOR_COMMAND(
	vmcheck, "vmcheck", "[SEED] [CASES]",
	"change copies of the last guest's VMCB by chance: your rules, and what the CPU says");
