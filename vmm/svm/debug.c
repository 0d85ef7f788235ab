/*
 * What a debugger needs of svm: breakpoints and steps.
 *
 * A breakpoint is int1, whose intercept stands before all that the guest's IDT says, in any ring.
 * QEMU 7.2 has no int1, but a #UD, which is caught, too; it has no exit for an int3 by the
 * intercept of #BP (handouts/emulators.md#intercepts).
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <kern/trap.h>
#include <vmm/domain.h>
#include <vmm/exits/access.h>
#include <vmm/svm/svm.h>
#include <vmm/x86/insn.h>

/* Both can follow themselves for ever, and no interrupt would come between (APM 2 8.5). */
#define EXCEPTIONS_CAUGHT (1u << VEC_DB | 1u << VEC_AC)

/* Each exception is an exit while it steps, for its frame would have the debugger's TF. */
void
svm_debug_controls(struct vcpu *v)
{
	struct vmcb *b = vmcb_of(v);
	uint32_t icebp = 1u << SVM_ICEBP % 32;

	b->exceptions = EXCEPTIONS_CAUGHT | (svm_of(v)->shadowed ? 1u << VEC_PF : 0);
	if (v->debugged)
		b->exceptions |= v->debug.step ? STEP_EXCEPTIONS : 1u << VEC_UD;
	b->intercepts[1] = (b->intercepts[1] & ~icebp) | (v->debugged ? icebp : 0);
}

void
svm_debug_entry(struct vcpu *v)
{
	memcpy(svm_of(v)->before, vmcb_of(v), sizeof(svm_of(v)->before));
}

/*
 * The exits that are there for a debugger alone. DR6 says already why a #DB comes (APM 2 15.12.2);
 * CR2 is not the guest's yet (15.12.15).
 */
void
svm_debug_exit(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = vmcb_of(v);
	uint32_t code = SVM_EXIT_CODE(b);
	struct insn i;

	if (code == SVM_EXIT_FIRST + SVM_ICEBP) {
		e->reason = EXIT_EXCEPTION;
		e->vector = VEC_DB;
		e->insn_op = INSN_INT1;
		e->insn_len = 1;
	} else if (code == SVM_EXIT_EXCEPTION + VEC_UD && access_insn(v, &i) && i.op == INSN_INT1)
		e->insn_op = INSN_INT1;
}

int
svm_injected(struct vcpu *v)
{
	const struct vmcb *b = vmcb_of(v);

	return b->eventinj & SVM_EVENT_VALID ? (int)(b->eventinj & 0xff) : -1;
}
