/*
 * The instruction that made an exit. A CPU without next rip leaves it to Zeno to find out how long
 * it is, and the same few instructions exit again and again. So each is decoded once, and kept with
 * all that it was found by: the registers, the entries of the guest's page tables, its bytes. These
 * are compared each time, for a guest may change any of them, and does so unseen. What it does not
 * change behind the host's back are the nested tables, CR4, and EFER but for LMA, which goes with
 * CR0: where these change (tlb_flush(), STATE_CR) all is forgotten. The usual way, an instruction
 * that is known, is in svm.h.
 */
#include <vmm/domain.h>
#include <vmm/exits/access.h>
#include <vmm/mem/p2m.h>
#include <vmm/svm/svm.h>

/* Where the CPU has fetched from. */
static gva_t
linear_rip(const struct vmcb *b)
{
	return gva(b->efer & EFER_LMA && b->cs.attr & ATTR_L ? b->rip
							     : (uint32_t)(b->cs.base + b->rip));
}

/*
 * One that lies with the word that it begins in one page, and is no longer. Shadows have a TLB and
 * are not the walk.
 */
static void
remember(struct vcpu *v, struct svm_known *k)
{
	const struct vmcb *b = vmcb_of(v);
	size_t len = sizeof(k->bytes);
	gpa_t at;

	if (svm_of(v)->shadowed || k->insn.len > sizeof(k->bytes) ||
	    nested_trail(v, linear_rip(b), &at, &k->trail))
		return;
	k->from = gpa_ptr(v->domain, at, &len);
	if (!k->from || len < sizeof(k->bytes))
		return;
	for (unsigned i = k->trail.length; i < NESTED_LEVELS; i++) {
		k->trail.at[i] = k->from; /* compared, too: a loop would cost more */
		k->trail.value[i] = *k->from;
	}
	k->bytes = *k->from;
	k->cr0 = b->cr0;
	k->cr3 = b->cr3;
	k->cs_attr = b->cs.attr;
	k->at = svm_known_at(b);
}

COLD const struct insn *
svm_look_for(struct vcpu *v, struct exit *e, struct svm_known *k)
{
	k->at = SVM_UNKNOWN;
	if (!access_decode(v, &k->insn)) {
		e->reason = EXIT_OTHER;
		return NULL;
	}
	remember(v, k);
	return svm_found(e, &k->insn);
}

COLD void
svm_look_whether(struct vcpu *v, struct exit *e, unsigned op)
{
	const struct insn *i = svm_instruction(v, e);

	if (i && i->op != op)
		e->reason = EXIT_OTHER;
}

const struct insn *
svm_insn(struct vcpu *v)
{
	struct exit e; /* what is said of it here nobody asks for */

	return svm_instruction(v, &e);
}

void
svm_forget_instructions(struct svm *s)
{
	for (unsigned i = 0; i < SVM_KNOWN; i++)
		s->known[i].at = SVM_UNKNOWN;
}
