/*
 * The first guest: sixteen bytes of code, in a VMCB that is given here, and no other part of Zeno.
 * With `spin` it is one of two bytes, which never exits: the host's interrupts bring it back. With
 * `state` the VMCB's second half is not given: it comes from a vCPU's state, and goes back there.
 * With `controls` it is the first half: what ends the guest's run.
 *
 * It needs nothing of Lab 4s but what turns AMD-V on and what enters the guest, and the half of the
 * VMCB that is not given: see handouts/lab4sa.md.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <trials/first/memory.h>
#include <trials/svm/first.h>
#include <vmm/svm/svm.h>
#include <vmm/words/monitor.h>

#define CPUID_BYTES 2u
#define NPT_ALL     7u /* present, writable, the user's: to nested tables every guest is that */
#define FLAT_CODE   (ATTR_G | ATTR_DB | ATTR_P | ATTR_S | ATTR_CODE | ATTR_RW | ATTR_A)
#define FLAT_DATA   (FLAT_CODE & ~ATTR_CODE)

#define PAT_RESET 0x0007040600070406ul /* APM 2 7.8.2: after a reset */

/* Half of a VMCB: what ends the guest's run. */
static void
given_controls(struct vmcb *b)
{
	b->intercepts[0] = 1u << SVM_INTR | 1u << SVM_NMI | 1u << SVM_CPUID | 1u << SVM_SHUTDOWN;
	b->intercepts[1] = 1u << SVM_VMRUN % 32;
	b->vintr = VINTR_MASKING;
	b->np_enable = 1;
}

/* The other half: flat 32-bit protected mode without paging, as a boot loader would leave it. */
static void
given_state(struct vmcb *b)
{
	b->cs = (struct segment){ .sel = 8, .attr = FLAT_CODE, .limit = ~0u };
	b->ss = (struct segment){ .sel = 16, .attr = FLAT_DATA, .limit = ~0u };
	b->ds = b->es = b->fs = b->gs = b->ss;
	b->efer = EFER_SVME;
	b->cr0 = CR0_PE | CR0_ET;
	b->dr6 = DR6_RESET;
	b->dr7 = DR7_RESET;
	b->pat = PAT_RESET;
	b->rflags = 2;
	b->rip = FIRST_CODE_AT;
	b->rsp = FIRST_CODE_AT + PAGE_SIZE;
}

enum what { GIVEN, SPIN, STATE, CONTROLS };
static const char *const words[] = { [SPIN] = "spin", [STATE] = "state", [CONTROLS] = "controls" };

static struct vmcb *
make_vmcb(enum what what)
{
	struct vmcb *b = mfn_ptr(first_page[FIRST_CONTROL]);

	memset(b, 0, sizeof(*b));
	b->asid = 1; /* no vCPU has it */
	b->tlb_control = TLB_CONTROL_FLUSH_ALL;
	b->n_cr3 = mfn_to_hpa(first_page[FIRST_LEVEL4]).v;
	if (what == CONTROLS) {
		svm_make_maps();
		svm_set_controls(b);
	} else {
		given_controls(b);
	}
	if (what != STATE)
		given_state(b);
	return b;
}

struct vmcb *
svm_first_guest(const uint8_t *bytes, size_t count, hpa_t *at)
{
	if (!first_pages())
		return NULL;
	first_map(false, NPT_ALL, 0);
	memcpy(mfn_ptr(first_page[FIRST_CODE]), bytes, count);
	*at = mfn_to_hpa(first_page[FIRST_CONTROL]);
	return make_vmcb(GIVEN);
}

/* The same as a state, of a vCPU that is nobody's. */
static struct vcpu *
given_vcpu(struct vmcb *b)
{
	static struct svm svm;
	static struct vcpu vcpu;
	struct cpu_state *s = &vcpu.state;

	svm = (struct svm){ .vmcb = b, .vmcb_at = mfn_to_hpa(first_page[FIRST_CONTROL]) };
	vcpu = (struct vcpu){
		.engine_data = &svm, .control = b, .valid = STATE_ALL, .dirty = STATE_ALL
	};
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct segment){ .sel = 16, .attr = FLAT_DATA, .limit = ~0u };
	s->seg[SEG_CS] = (struct segment){ .sel = 8, .attr = FLAT_CODE, .limit = ~0u };
	s->cr0 = CR0_PE | CR0_ET;
	s->dr[6] = DR6_RESET;
	s->dr[7] = DR7_RESET;
	s->pat = PAT_RESET;
	s->rflags = 2;
	s->rip = FIRST_CODE_AT;
	s->gpr[RSP] = FIRST_CODE_AT + PAGE_SIZE;
	return &vcpu;
}

/* In words; false: there is no next round. */
static bool
print_exit(const struct vmcb *b, uint64_t round, bool quiet)
{
	uint32_t exitcode = SVM_EXIT_CODE(b);

	if (exitcode == SVM_EXIT_FIRST + SVM_CPUID) {
		if (!quiet)
			printf("exit %lu: cpuid at %lx\n", round, b->rip);
		return true;
	}
	if (exitcode == SVM_EXIT_NONE)
		printf("no exit: svm_enter() came back, and no guest has run\n");
	else if (exitcode == SVM_EXIT_INVALID)
		printf("no exit: the CPU refuses the VMCB\n");
	else if (exitcode == SVM_EXIT_FIRST + SVM_SHUTDOWN)
		printf("exit %lu: a triple fault\n", round);
	else
		printf("exit %lu: exit code %x at %lx\n", round, exitcode, b->rip);
	return false;
}

/* What the host's interrupts do to a guest that never exits; its own IF does not matter. */
static bool
one_turn(struct vmcb *b, uint64_t gpr[GPR_COUNT], uint64_t n)
{
	b->exitcode = SVM_EXIT_NONE;
	b->rflags = 2 | (n & 1 ? FLAG_IF : 0);
	svm_enter(gpr, mfn_to_hpa(first_page[FIRST_CONTROL]), svm_host_state());
	if (SVM_EXIT_CODE(b) != SVM_EXIT_FIRST + SVM_INTR)
		return print_exit(b, n, false);
	preempt_point();
	printf("exit %lu: an interrupt of the host's at %lx\n", n, b->rip);
	return true;
}

/* Up to the first exit that is no interrupt of the host's. */
static bool
one_round(struct vmcb *b, uint64_t gpr[GPR_COUNT], uint64_t n, bool quiet)
{
	do {
		b->exitcode = SVM_EXIT_NONE;
		svm_enter(gpr, mfn_to_hpa(first_page[FIRST_CONTROL]), svm_host_state());
		if (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_INTR)
			preempt_point();
	} while (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_INTR);
	if (!print_exit(b, n, quiet))
		return false;
	b->rip += CPUID_BYTES;
	return true;
}

/* In and out of the VMCB by way of the state. */
static bool
one_state(struct vcpu *v, uint64_t n)
{
	struct vmcb *b = vmcb_of(v);
	struct cpu_state *s = &v->state;

	do {
		b->exitcode = SVM_EXIT_NONE;
		svm_state_to_vmcb(v);
		svm_enter(s->gpr, svm_of(v)->vmcb_at, svm_host_state());
		svm_state_from_vmcb(v);
		if (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_INTR)
			preempt_point();
	} while (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_INTR);
	svm_fetch(v, STATE_CR | STATE_SEG);
	if (!print_exit(b, n, false))
		return false;
	printf("  the state says: rip %lx, rax %lx, cs %04x, cr0 %lx, efer %lx\n", s->rip,
	       s->gpr[RAX], s->seg[SEG_CS].sel, s->cr0, s->efer);
	s->rip += CPUID_BYTES;
	return true;
}

/* Up to an exit that is no interrupt of the host's, whatever it is; then the guest begins anew. */
static bool
one_exit(struct vmcb *b, uint64_t gpr[GPR_COUNT], uint64_t n)
{
	do {
		b->exitcode = SVM_EXIT_NONE;
		b->rip = FIRST_CODE_AT;
		svm_enter(gpr, mfn_to_hpa(first_page[FIRST_CONTROL]), svm_host_state());
		if (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_INTR)
			preempt_point();
	} while (SVM_EXIT_CODE(b) == SVM_EXIT_FIRST + SVM_INTR);
	print_exit(b, n, false);
	return SVM_EXIT_CODE(b) < SVM_EXIT_NONE;
}

static void
all_rounds(enum what what, uint64_t rounds)
{
	uint64_t gpr[GPR_COUNT] = { 0 };
	struct vmcb *b = make_vmcb(what);
	struct vcpu *v = given_vcpu(b);
	bool goes_on = true;

	first_map(what == SPIN, NPT_ALL, 0);
	for (uint64_t n = 1; n <= rounds && goes_on; n++)
		switch (what) {
		case SPIN:
			goes_on = one_turn(b, gpr, n);
			break;
		case STATE:
			goes_on = one_state(v, n);
			break;
		case CONTROLS:
			goes_on = one_exit(b, gpr, n);
			break;
		default:
			goes_on = one_round(b, gpr, n, n != 1 && n != rounds);
		}
}

static int
first(int argc, char **argv)
{
	uint64_t rounds = 1;
	const char *why = svm_probe();
	unsigned what = GIVEN;
	int err;

	if (argc > 1 && (parse_u64(argv[1], &rounds) || !rounds))
		return -EINVAL;
	for (unsigned i = GIVEN + 1; argc > 2 && i < ARRAY_LEN(words); i++)
		if (!strcmp(argv[2], words[i]))
			what = i;
	if (argc > 2 && what == GIVEN)
		return -EINVAL;
	if (why) {
		printf("svm: not here: %s\n", why);
		return MONITOR_SAID;
	}
	err = svm_turn_on();
	if (err)
		return err;
	printf("svm: %s, host save area at %lx\n",
	       rdmsr(MSR_EFER) & EFER_SVME ? "on" : "off (EFER.SVME is 0)", rdmsr(MSR_VM_HSAVE_PA));
	if (!(rdmsr(MSR_EFER) & EFER_SVME))
		return MONITOR_SAID;
	if (!first_pages())
		return -ENOMEM;
	all_rounds(what, rounds);
	return 0;
}
MONITOR_COMMAND(first, "first", "[ROUNDS [spin|state|controls]]",
		"run sixteen bytes of code on AMD-V, in a VMCB that is given, to their cpuid");
