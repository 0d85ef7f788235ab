/*
 * The instruction that made an exit. A CPU without next rip leaves it to Zeno to find out how long
 * it is, and the same few instructions exit again and again. So each is decoded once, and kept with
 * all that it was found by: the registers, the entries of the guest's page tables, its bytes. These
 * are compared each time, for a guest may change any of them, and does so unseen. The nested tables
 * do not change behind the host's back: with tlb_flush() all is forgotten.
 */
#include <vmm/domain.h>
#include <vmm/mem/access.h>
#include <vmm/mem/p2m.h>
#include <vmm/svm/svm.h>

/* Where the CPU has fetched from; the groups of the state need not be there. */
static uint64_t
linear_rip(const struct vmcb *b)
{
	return b->efer & EFER_LMA && b->cs.attr & ATTR_L ? b->rip : (uint32_t)(b->cs.base + b->rip);
}

static inline bool
is_known(const struct svm_known *k, const struct vmcb *b, uint64_t linear)
{
	const struct nested_trail *t = &k->trail;

	if (k->linear != linear || k->cr3 != b->cr3 || k->cr0 != b->cr0 || k->cr4 != b->cr4 ||
	    k->efer != b->efer || k->cs_attr != b->cs.attr)
		return false;
	if (*t->at[0] != t->value[0] || *t->at[1] != t->value[1] ||
	    (t->length > 2 && (*t->at[2] != t->value[2] || *t->at[3] != t->value[3])))
		return false;
	return k->bytes[0] == k->from[0] && k->bytes[1] == k->from[1];
}

/* One whose bytes, more than it has, are in one page. Shadows have a TLB and are not the walk. */
static void
remember(struct vcpu *v, struct svm_known *k, uint64_t linear)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	size_t len = sizeof(k->bytes);
	gpa_t at;

	k->linear = SVM_UNKNOWN;
	if (svm_of(v)->shadowed || nested_trail(v, gva(linear), &at, &k->trail))
		return;
	k->from = gpa_ptr(v->domain, at, &len);
	if (!k->from || len < sizeof(k->bytes))
		return;
	for (unsigned i = k->trail.length; i < NESTED_LEVELS; i++) {
		k->trail.at[i] = k->from; /* compared, too: a loop would cost more */
		k->trail.value[i] = k->from[0];
	}
	k->bytes[0] = k->from[0];
	k->bytes[1] = k->from[1];
	k->cr0 = b->cr0;
	k->cr3 = b->cr3;
	k->cr4 = b->cr4;
	k->efer = b->efer;
	k->cs_attr = b->cs.attr;
	k->linear = linear;
}

static inline const struct insn *
found(struct exit *e, const struct insn *i)
{
	e->insn_op = i->op;
	e->insn_len = i->len;
	return i;
}

static COLD const struct insn *
look_for(struct vcpu *v, struct exit *e, struct svm_known *k, uint64_t linear)
{
	k->linear = SVM_UNKNOWN;
	if (!access_insn(v, &k->insn)) {
		e->reason = EXIT_OTHER;
		return NULL;
	}
	remember(v, k, linear);
	return found(e, &k->insn);
}

const struct insn *
svm_instruction(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	uint64_t linear = linear_rip(b);
	struct svm_known *k = &svm_of(v)->known[linear % SVM_KNOWN];

	return is_known(k, b, linear) ? found(e, &k->insn) : look_for(v, e, k, linear);
}

void
svm_forget_instructions(struct svm *s)
{
	for (unsigned i = 0; i < SVM_KNOWN; i++)
		s->known[i].linear = SVM_UNKNOWN;
}
