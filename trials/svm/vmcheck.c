/*
 * What `vmcheck` does on AMD-V (exercise 4s.7).
 *
 * The guest itself is left alone: this is a copy, with nested tables that map nothing. So a VMCB
 * that the CPU takes comes back at the guest's first access to memory.
 */
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <trials/rules/vmcheck.h>
#include <trials/svm/vmcheck.h>

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
	memcpy(b, vmcb_of(v), sizeof(*b));
	b->n_cr3 = mfn_to_hpa(no_memory).v;
	b->eventinj = 0;
	b->asid = 1; /* the vCPU's own comes with its first entry; no vCPU has this one */
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

static void
change(void *structure, uint64_t *seed)
{
	const struct svm_own_rule *rule = &svm_own_rules[vmcheck_pick(seed, SVM_OWN_RULES)];
	struct vmcb *b = structure;
	uint8_t *field = (uint8_t *)b + rule->at;

	if (vmcheck_pick(seed, 2)) { /* 64-bit code */
		b->efer |= EFER_LME | EFER_LMA;
		b->cr0 |= CR0_PG | CR0_PE;
		b->cr4 |= CR4_PAE;
		b->cs.attr = (b->cs.attr | ATTR_L) & (uint16_t)~ATTR_DB;
	}
	if (rule->at == offsetof(struct vmcb, eventinj))
		b->eventinj = SVM_EVENT_VALID | vmcheck_pick(seed, 0x1000);
	for (unsigned n = 1 + vmcheck_pick(seed, 3); n; n--)
		field[vmcheck_pick(seed, rule->bytes)] ^= (uint8_t)(1u << vmcheck_pick(seed, 8));
	printf("%s = %lx: ", rule->field, svm_field_value(b, rule->at, rule->bytes));
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

static const char *
cpu(struct vcpu *v, void *structure)
{
	return vmcheck_kills(structure)       ? "not asked"
	       : vmcheck_cpu_takes(structure) ? "takes it"
					      : "refuses it";
}

static void *
copy_of(struct vcpu *v)
{
	return vmcheck_copy(v);
}

static const char *
ask(const void *structure, unsigned rule)
{
	return svm_own_rules[rule].wrong(structure, &svm_cpu);
}

static const char *
field(unsigned rule)
{
	return svm_own_rules[rule].field;
}

static const char *
zeno(const void *structure)
{
	const struct entry_rule *r = svm_rule_broken(structure, &svm_cpu, NULL);

	return r ? r->field : NULL;
}

static const struct vmcheck svm_vmcheck = {
	.engine = "svm",
	.rules = SVM_OWN_RULES,
	.copy = copy_of,
	.change = change,
	.ask = ask,
	.field = field,
	.zeno = zeno,
	.cpu = cpu,
};
SET_ADD(vmchecks, svm_vmcheck);
