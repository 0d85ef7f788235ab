/*
 * What a trap from ring 1 or 3 means: the vector and the instruction there become a reason that all
 * engines share.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <vmm/te/te.h>

/*
 * What an instruction that faulted with #GP, #UD, #NP or #SS asked for. 0 = EXIT_NONE: nothing
 * special.
 */
const uint8_t te_reason_of[INSN_OP_COUNT] = {
	[INSN_CLI] = EXIT_CLI,
	[INSN_STI] = EXIT_STI,
	[INSN_HLT] = EXIT_HLT,
	[INSN_IN] = EXIT_IO,
	[INSN_OUT] = EXIT_IO,
	[INSN_INS] = EXIT_IO,
	[INSN_OUTS] = EXIT_IO,
	[INSN_MOV_FROM_CR] = EXIT_CR,
	[INSN_MOV_TO_CR] = EXIT_CR,
	[INSN_CLTS] = EXIT_CR,
	[INSN_LMSW] = EXIT_CR,
	[INSN_SMSW] = EXIT_CR,
	[INSN_MOV_FROM_DR] = EXIT_DR,
	[INSN_MOV_TO_DR] = EXIT_DR,
	[INSN_LGDT] = EXIT_LGDT,
	[INSN_LIDT] = EXIT_LIDT,
	[INSN_LLDT] = EXIT_LLDT,
	[INSN_LTR] = EXIT_LTR,
	[INSN_MOV_TO_SEG] = EXIT_SEGMENT,
	[INSN_POP_SEG] = EXIT_SEGMENT,
	[INSN_LDS] = EXIT_SEGMENT,
	[INSN_LES] = EXIT_SEGMENT,
	[INSN_LFS] = EXIT_SEGMENT,
	[INSN_LGS] = EXIT_SEGMENT,
	[INSN_LSS] = EXIT_SEGMENT,
	[INSN_JMP_FAR] = EXIT_FAR,
	[INSN_JMP_FAR_IND] = EXIT_FAR,
	[INSN_CALL_FAR] = EXIT_FAR,
	[INSN_CALL_FAR_IND] = EXIT_FAR,
	[INSN_RETF] = EXIT_FAR,
	[INSN_IRET] = EXIT_IRET,
	[INSN_INT] = EXIT_INT,
	[INSN_RDMSR] = EXIT_MSR,
	[INSN_WRMSR] = EXIT_MSR,
	[INSN_INVLPG] = EXIT_CACHE,
	[INSN_INVPCID] = EXIT_CACHE,
	[INSN_INVD] = EXIT_CACHE,
	[INSN_WBINVD] = EXIT_CACHE,
	[INSN_SYSCALL] = EXIT_SYSCALL,
	[INSN_SYSRET] = EXIT_SYSCALL,
	[INSN_SYSENTER] = EXIT_SYSCALL,
	[INSN_SYSEXIT] = EXIT_SYSCALL,
	[INSN_RDTSC] = EXIT_RDTSC,
	[INSN_RDPMC] = EXIT_OTHER,
	[INSN_MONITOR] = EXIT_OTHER,
	[INSN_MWAIT] = EXIT_OTHER,
	[INSN_XSETBV] = EXIT_OTHER,
	[INSN_RSM] = EXIT_OTHER,
};

static bool
is_stack_op(unsigned op)
{
	return op == INSN_PUSH || op == INSN_POP || op == INSN_CALL || op == INSN_CALL_IND ||
	       op == INSN_RET || op == INSN_PUSHA || op == INSN_POPA || op == INSN_PUSHF ||
	       op == INSN_POPF || op == INSN_ENTER || op == INSN_LEAVE || op == INSN_PUSH_SEG;
}

/*
 * A plain instruction that faulted on a segment limit: was it the shadow's limit, which Zeno cut,
 * and not the guest's own? Then it is a memory access for the MMU to judge, or one to be done for
 * the guest: a segment whose addresses wrap is cut, too, and what lies before its base is beyond
 * that limit.
 */
static bool
hit_cut_limit(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	enum seg_reg seg = i->has_mem ? i->mem_seg : SEG_SS;
	uint64_t base = v->state.seg[seg].base, window = te_cut_at(v->domain), offset;

	if (i->has_mem)
		offset = (uint32_t)insn_ea(&v->state, i);
	else if (is_stack_op(i->op))
		offset = (uint32_t)v->state.gpr[RSP] - 4u;
	else
		return false;
	e->gva = (uint32_t)(base + offset);
	e->access = ACCESS_WRITE;
	return in_window(v->domain, e->gva, 8) || base + offset + 8 > window - PAGE_SIZE;
}

/*
 * A near branch that the limit of CS stopped, which Zeno cut. It is done for the guest; what that
 * fetches is for the next entry to say.
 */
static bool
branched_beyond(struct vcpu *v, const struct exit *e)
{
	return insn_is_branch(e->insn_op) &&
	       desc_limit(te_of(v)->real_desc[SEG_CS]) < v->state.seg[SEG_CS].limit;
}

/* A sensitive instruction of the guest's ring 3. */
static COLD void
classify(struct vcpu *v, struct exit *e)
{
	if (te_allowed(v, e))
		return;
	e->reason = EXIT_EXCEPTION;
	e->vector = e->vector == VEC_UD ? VEC_UD : VEC_GP; /* monitor, say, is #UD to ring 3 */
	e->error = 0;
}

/*
 * int3, into, int1 and `int 3` have brought rip behind them, for they are traps. Back to where they
 * are: what the guest's own gates make of them may be a fault. Prefixes are not looked for.
 */
static void
back_to_trap(struct vcpu *v, struct exit *e, uint8_t opcode, enum insn_op op)
{
	uint64_t behind = v->state.rip;
	uint8_t last = 0;

	gva_read_as(v, gva((uint32_t)(v->state.seg[SEG_CS].base + behind - 1)),
		    ACCESS_PROBE | ACCESS_FETCH, &last, 1);
	v->state.rip = (uint32_t)(behind - (last == opcode ? 1 : 2));
	e->rip = v->state.rip;
	if (te_fetch(v, e) && (e->insn_op == op || e->insn_op == INSN_INT) &&
	    e->rip + e->insn_len == behind)
		return;
	e->rip = v->state.rip = behind; /* it is not there any more */
	e->insn_len = 0;
}

/* A sensitive one is emulated, unless the guest's own CPL forbids it. */
static inline void
sensitive(struct vcpu *v, struct exit *e)
{
	e->reason = te_reason(e->insn_op);
	if (te_cpl(v) && !(TE_ANY_RING >> e->reason & 1))
		classify(v, e);
}

/* Caught by UMIP, or not sensitive, or no instruction. */
static COLD void
refused_slow(struct vcpu *v, struct exit *e)
{
	bool gp = e->raw == VEC_GP && !e->error;

	if (!te_fetch(v, e)) {
		/* Ring 1 may not, but nor is there such a thing. */
		if (gp && te_cpl(v) == 0 && te_undefined(v))
			e->vector = VEC_UD;
	} else if (te_umip && gp && te_umip_refuses(te_insn(v))) {
		e->reason = EXIT_UMIP;
		e->gva = te_insn(v)->has_mem ? te_linear(v, te_insn(v)) : 0;
	} else if (te_reason(e->insn_op)) {
		sensitive(v, e);
	} else if (e->raw != VEC_UD && !e->error &&
		   (hit_cut_limit(v, e) || branched_beyond(v, e))) {
		e->reason = EXIT_MMU;
	}
}

/* #GP, #UD, #NP, #SS: an instruction that was refused. */
static inline void
refused(struct vcpu *v, struct exit *e)
{
	if (!te_umip && te_fetch_known(v, e) && te_reason(e->insn_op))
		sensitive(v, e);
	else
		refused_slow(v, e);
}

static void
page_fault(struct vcpu *v, struct exit *e)
{
	e->reason = EXIT_MMU;
	e->gva = read_cr2();
	e->access = access_of_error(e->error);
	if (!(e->access & ACCESS_FETCH))
		te_fetch(v, e);
}

/* What has no instruction to be looked at. */
static COLD void
other_trap(struct vcpu *v, struct exit *e, const struct ring_frame *f)
{
	switch (f->vector) {
	case VEC_DB: /* DR6 is the CPU's until it is read */
		te_take_dr6(v);
		if (!v->state.pending_debug)
			back_to_trap(v, e, 0xf1, INSN_INT1);
		debug_trap(v, e);
		return;
	case VEC_BP:
		back_to_trap(v, e, 0xcc, INSN_INT3);
		return;
	case VEC_OF:
		back_to_trap(v, e, 0xce, INSN_INTO);
		return;
	case VEC_DF:
	case VEC_MC:
		panic("%s from ring %lu: the host's own tables or the machine are broken",
		      vector_name(f->vector), f->cs & 3);
	case VEC_NMI:
		e->reason = EXIT_IRQ;
		return;
	default:
		if (f->vector >= IRQ_BASE)
			e->reason = EXIT_IRQ;
	}
}

/* Vector to neutral exit. The raw vector and error code stay in *e. */
void
te_translate(struct vcpu *v, struct exit *e, const struct ring_frame *f)
{
	exit_begin(e, EXIT_EXCEPTION, (uint8_t)f->vector, (uint32_t)f->error, v->state.rip);
	switch (f->vector) {
	case VEC_GP:
	case VEC_UD:
	case VEC_NP:
	case VEC_SS:
		refused(v, e);
		break;
	case VEC_PF:
		page_fault(v, e);
		break;
	default:
		other_trap(v, e, f);
	}
}
