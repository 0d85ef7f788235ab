/*
 * From what the VMCB says of an exit to words that all engines share.
 */
#include <kern/trap.h>
#include <vmm/dispatch.h>
#include <vmm/event.h>
#include <vmm/mem/access.h>
#include <vmm/svm/svm.h>
#include <vmm/x86/insn.h>

/* By intercept; EXIT_NONE: an instruction that this guest's CPU has not. */
static const uint8_t reasons[64] = {
	[SVM_INTR] = EXIT_IRQ,        [SVM_NMI] = EXIT_IRQ,
	[SVM_INIT] = EXIT_INIT,       [SVM_VINTR] = EXIT_WINDOW_IRQ,
	[SVM_CPUID] = EXIT_CPUID,     [SVM_IRET] = EXIT_WINDOW_NMI,
	[SVM_INVD] = EXIT_CACHE,      [SVM_PAUSE] = EXIT_PAUSE,
	[SVM_HLT] = EXIT_HLT,         [SVM_IOIO] = EXIT_IO,
	[SVM_MSR] = EXIT_MSR,         [SVM_TASK_SWITCH] = EXIT_TASK,
	[SVM_SHUTDOWN] = EXIT_TRIPLE, [SVM_VMMCALL] = EXIT_HYPERCALL,
	[SVM_WBINVD] = EXIT_CACHE,    [SVM_XSETBV] = EXIT_XSETBV,
};

/*
 * The instruction that made the exit, fetched and decoded once more; false: it is not there. The
 * guest may have taken its page away while the CPU's TLB still had it, or put another instruction
 * there, so whoever uses more of it than its length asks for `op`.
 */
static bool
find_instruction(struct vcpu *v, struct exit *e, struct insn *i)
{
	if (access_insn(v, i)) {
		e->insn_op = i->op;
		e->insn_len = i->len;
		return true;
	}
	e->reason = EXIT_OTHER;
	return false;
}

static void
is_io(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	uint64_t info = b->exitinfo1;
	struct insn i;

	e->reason = EXIT_IO;
	e->insn_len = (uint8_t)(b->exitinfo2 - b->rip);
	e->io.port = IOIO_PORT(info);
	e->io.size = IOIO_SIZE(info);
	e->io.in = info & IOIO_IN;
	e->insn_op = e->io.in ? INSN_IN : INSN_OUT;
	if (!(info & IOIO_STRING))
		return;
	/* QEMU 7.2 leaves the address size out; the segment is there with DecodeAssists alone. */
	if (!find_instruction(v, e, &i))
		return;
	if (i.op != (e->io.in ? INSN_INS : INSN_OUTS)) {
		e->reason = EXIT_OTHER;
		return;
	}
	e->io.string = true;
	e->io.rep = !!(info & IOIO_REP);
	e->io.addr_size = i.addrsize;
	e->io.seg = e->io.in ? SEG_ES : i.mem_seg;
}

static void
is_register(struct vcpu *v, struct exit *e, enum exit_reason reason, unsigned number, bool write)
{
	struct exit_reg *reg = reason == EXIT_CR ? &e->cr : &e->dr;
	enum insn_op to = reason == EXIT_CR ? INSN_MOV_TO_CR : INSN_MOV_TO_DR;
	enum insn_op from = reason == EXIT_CR ? INSN_MOV_FROM_CR : INSN_MOV_FROM_DR;
	struct emu_fault fault;
	uint64_t value = 0;
	struct insn i;

	e->reason = reason;
	if (!find_instruction(v, e, &i))
		return;
	reg->number = (uint8_t)number;
	if (write && reason == EXIT_CR && !number && i.op == INSN_CLTS) {
		reg->access = REG_CLTS;
		return;
	}
	if (write && reason == EXIT_CR && !number && i.op == INSN_LMSW) {
		reg->access = REG_LMSW;
		if (insn_read_rm(&v->state, &i, 2, &access_ops, v, &value, &fault))
			e->reason = EXIT_OTHER; /* its operand's page has gone meanwhile */
		reg->value = (uint16_t)value;
		return;
	}
	if (!write && reason == EXIT_CR && !number && i.op == INSN_SMSW) {
		reg->access = REG_SMSW;
		return;
	}
	if (i.op != (write ? to : from)) {
		e->reason = EXIT_OTHER;
		return;
	}
	reg->access = write ? REG_WRITE : REG_READ;
	reg->gpr = i.opnd[write ? 1 : 0].reg;
}

static void
is_nested_fault(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = svm_of(v)->vmcb;

	e->reason = EXIT_MMU;
	e->gpa = b->exitinfo2;
	e->error = (uint32_t)b->exitinfo1;
	e->access = access_of_error(e->error) & (ACCESS_WRITE | ACCESS_FETCH);
}

static void
is_instruction(struct vcpu *v, struct exit *e, unsigned which)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	struct insn i;

	e->reason = reasons[which];
	if (e->reason == EXIT_NONE) {
		e->reason = EXIT_EXCEPTION;
		e->vector = VEC_UD;
		return;
	}
	switch (e->reason) {
	case EXIT_IRQ: /* still pending; which one it is the host's IDT will see */
		e->vector = 0;
		return;
	case EXIT_INIT:
	case EXIT_WINDOW_IRQ:
	case EXIT_TASK:
	case EXIT_TRIPLE:
		return;
	case EXIT_IO:
		is_io(v, e);
		return;
	case EXIT_MSR:
		e->msr.number = (uint32_t)v->state.gpr[RCX];
		e->msr.write = b->exitinfo1 & 1;
		break;
	default:
		break;
	}
	if (svm_has_nrip)
		e->insn_len = (uint8_t)(b->nrip - b->rip);
	else
		find_instruction(v, e, &i);
}

void
svm_translate(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	uint32_t code = SVM_EXIT_CODE(b);

	exit_begin(e, EXIT_OTHER, NO_TRAP, 0, b->rip);
	e->raw = code;
	if (code >= SVM_EXIT_FIRST && code < SVM_EXIT_FIRST + sizeof(reasons))
		is_instruction(v, e, (unsigned)(code - SVM_EXIT_FIRST));
	else if (code == SVM_EXIT_NPF)
		is_nested_fault(v, e);
	else if (code == SVM_EXIT_INVALID)
		e->reason = EXIT_ENTRY_FAILED;
	else if (code < SVM_EXIT_DR_READ)
		is_register(v, e, EXIT_CR, code & 15, code >= SVM_EXIT_CR_WRITE);
	else if (code < SVM_EXIT_EXCEPTION)
		is_register(v, e, EXIT_DR, code & 15, code >= SVM_EXIT_DR_WRITE);
}
