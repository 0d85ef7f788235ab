/*
 * The engine te: entry, exit, and what a trap from ring 1 means.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/paging.h>
#include <vmm/cpu_setup.h>
#include <vmm/mmu/flat.h>
#include <vmm/te/te.h>

/*
 * Bits of RFLAGS that no CPU sets, and those that every arithmetic instruction does (SDM 1 3.4.3).
 */
#define RFLAGS_ZERO   0xffffffffffc08028ul
#define RFLAGS_STATUS ((uint64_t)FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define STI_STALLS 16

_Static_assert(RAX == 0 && RBX == 3 && RBP == 5 && RDI == 7, "vmm/x86/state.inc says the same");

static bool paranoid; /* the host runs on a root without the guest's slot 0 */

int
te_init(struct vcpu *v)
{
	mfn_t f = frame_alloc(FRAME_HOST, OWNER_HOST);

	if (!mfn_ok(f))
		return -ENOMEM;
	v->engine_data = mfn_ptr(f);
	for (unsigned i = 0; i < TE_DECODED; i++)
		te_of(v)->decoded[i].key = TE_NOT_DECODED;
	if (mmu_flat_init(v))
		return -ENOMEM;
	v->state.pat = 0x0007040600070406; /* SDM 3A 11.12.4: after a reset */
	paranoid = !strcmp(cmdline_get("paranoid", "0"), "1");
	return te_tables_init(v);
}

void
te_free(struct vcpu *v)
{
	te_tables_free(v);
	mmu_flat_free(v);
	frame_put(ptr_mfn(v->engine_data));
	v->engine_data = NULL;
}

/*
 * Another vCPU ran before, or none. syscall and sysenter would be ring-0 entries on the guest's
 * stack (handouts/lab1a.md#syscall), so both are off while a guest runs in ring 1.
 */
void
te_load_as(struct vcpu *v, unsigned callout_dpl)
{
	struct te *te = te_of(v);
	const struct cpu_setup setup = {
		.cr3 = mfn_to_hpa(v->root).v,
		.efer = rdmsr(MSR_EFER) & ~(uint64_t)EFER_SCE,
		.ldt_limit = v->state.ldtr.attr & ATTR_P ? 0xffff : 0,
		.rsp0 = (uint64_t)(&te->frame + 1),
		.ring_exit = ring_leave,
		.callout_dpl = (uint8_t)callout_dpl,
	};

	cpu_setup_load(&setup);
	v->flush = false;
	te_load_cr4(v);
	trap_debug_stack(true);
	if (te->has_breakpoints)
		te_arm_breakpoints(v);
	te_resync(v);
	te->reload = true;
}

static void
te_load(struct vcpu *v)
{
	te_load_as(v, 0);
}

/* What the CPU's DR6 says of a #DB becomes the guest's; the next one finds it clear. */
void
te_take_dr6(struct vcpu *v)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0; mov %1, %%dr6" : "=&r"(dr6) : "r"(DR6_RESET));
	v->state.pending_debug |= dr6 & (DR6_BS | DR6_HITS);
	if (dr6 & DR6_HITS) /* or QEMU 7.2 reports it again with the next single step */
		te_arm_breakpoints(v);
}

/* The same behind a step that Zeno takes, which is no affair of the guest's. */
void
te_take_step(struct vcpu *v)
{
	te_take_dr6(v);
	v->state.pending_debug &= ~DR6_BS;
}

/*
 * The guest's TS and EM must trap its FPU instructions; the host has none of its own. AM acts in
 * ring 3 alone (SDM 3A 6.15 "#AC").
 */
static void
load_cr0(struct vcpu *v)
{
	const uint64_t mask = CR0_TS | CR0_EM | CR0_MP | CR0_AM;
	uint64_t now = read_cr0();
	uint64_t want = (now & ~mask) | (v->state.cr0 & mask);

	if (now != want)
		write_cr0(want);
}

/* rdtsc traps only outside of ring 0, and there is no SSE in the host. */
void
te_load_cr4(struct vcpu *v)
{
	const uint64_t mask = CR4_TSD | CR4_OSFXSR | CR4_OSXMMEXCPT;
	uint64_t now = read_cr4();
	uint64_t want = (now & ~mask) | (v->state.cr4 & mask);

	if (now != want)
		write_cr4(want);
}

/*
 * What an instruction that faulted with #GP, #UD, #NP or #SS asked for. 0 = EXIT_NONE: nothing
 * special.
 */
static const uint8_t reason_of[INSN_OP_COUNT] = {
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

/* EXIT_NONE: a trap at this instruction says nothing special. */
enum exit_reason
te_reason(unsigned op)
{
	return reason_of[op];
}

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
	switch (e->insn_op) {
	case INSN_JMP:
	case INSN_JCC:
	case INSN_JCXZ:
	case INSN_LOOP:
	case INSN_LOOPE:
	case INSN_LOOPNE:
	case INSN_CALL:
	case INSN_JMP_IND:
	case INSN_CALL_IND:
	case INSN_RET:
		return desc_limit(te_of(v)->real_desc[SEG_CS]) < v->state.seg[SEG_CS].limit;
	default:
		return false;
	}
}

/* A sensitive instruction: emulated, unless the guest's own CPL forbids it. */
static void
classify(struct vcpu *v, struct exit *e)
{
	e->reason = reason_of[e->insn_op];
	if (te_cpl(v) == 0 || te_allowed(v, e))
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

/* #GP, #UD, #NP, #SS: an instruction that was refused. */
static __attribute__((noinline)) void
refused(struct vcpu *v, struct exit *e)
{
	if (!te_fetch(v, e)) {
		/* Ring 1 may not, but nor is there such a thing. */
		if (e->raw == VEC_GP && !e->error && te_cpl(v) == 0 && te_undefined(v))
			e->vector = VEC_UD;
		return;
	}
	if (te_umip && e->raw == VEC_GP && !e->error && te_umip_refuses(te_insn(v))) {
		e->reason = EXIT_UMIP;
		e->gva = te_insn(v)->has_mem ? te_linear(v, te_insn(v)) : 0;
	} else if (reason_of[e->insn_op])
		classify(v, e);
	else if (e->raw != VEC_UD && !e->error && (hit_cut_limit(v, e) || branched_beyond(v, e)))
		e->reason = EXIT_MMU;
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
	if (f->vector == VEC_PF)
		page_fault(v, e);
	else if (f->vector == VEC_GP || f->vector == VEC_UD || f->vector == VEC_NP ||
		 f->vector == VEC_SS)
		refused(v, e);
	else
		other_trap(v, e, f);
}

void
te_entry_failed(struct vcpu *v, struct exit *e, uint64_t failure)
{
	*e = (struct exit){ .reason = EXIT_ENTRY_FAILED,
			    .vector = failure,
			    .raw = failure,
			    .error = ~failure ? failure >> 32 : 0,
			    .rip = v->state.rip };
}

/*
 * The shadow of a sti ends when the next instruction has run: when rip has moved. One that jumps to
 * itself never moves it, and must get its interrupt, too: it has run after STI_STALLS exits, ticks
 * of the host, at one rip. Not after the first: while something holds the machine (a debugger, a
 * busy computer) ticks pile up, and several may be taken in a row before the guest's next
 * instruction. The price is that `sti; jmp $` gets its interrupt as many ticks late.
 */
void
te_end_sti_shadow(struct vcpu *v, uint64_t entered_at)
{
	struct te *te = te_of(v);

	if (!v->state.sti_shadow || v->state.rip != entered_at || ++te->sti_stalls == STI_STALLS) {
		v->state.sti_shadow = v->state.mov_ss_shadow = false;
		te->sti_stalls = 0; /* the next shadow starts afresh */
	}
}

static inline uint64_t
enter(struct vcpu *v, const uint16_t sel[SEG_COUNT])
{
	struct te *te = te_of(v);
	uint64_t failure = 0, flags = te->frame.rflags;

	if (paranoid || v->flush)
		write_cr3(mfn_to_hpa(v->root).v);
	v->flush = false;
	if (te->reload) {
		*te_own_slot(te, LOAN_SEL) = te->loan;
		failure = te_load_data_segments(sel);
		*te_own_slot(te, LOAN_SEL) = 0;
	}
	te->reload = false;
	if (!failure) {
		load_cr0(v);
		failure = v->state.seg[SEG_SS].attr & ATTR_DB
				  ? ring_enter(&te->frame, v->state.gpr)
				  : te_enter_narrow(&te->frame, v->state.gpr,
						    te_narrow_stack(te->frame.rsp));
	}
	v->entries += !failure;
	if (paranoid)
		write_cr3(mfn_to_hpa(host_root).v);
	if (trap_debug_late) {
		trap_debug_late = false;
		if (te->frame.vector != VEC_DB)
			te_take_step(v);
	}
	if (te->frame.rflags & RFLAGS_ZERO) /* QEMU 7.2 after a cmpxchg8b: see TRICKS.md */
		te->frame.rflags = (te->frame.rflags & RFLAGS_STATUS) | (flags & ~RFLAGS_STATUS);
	return failure;
}

/*
 * Into the outer ring with the registers of te->frame and, where they changed, the selectors `sel`.
 */
uint64_t
te_enter(struct vcpu *v, const uint16_t sel[SEG_COUNT])
{
	return enter(v, sel);
}

/*
 * The trap came from virtual-8086 mode (handouts/emulators.md#iret-vm). No state of the guest's is
 * made of that: it has what it had when it was entered, and the real segment registers are loaded
 * anew.
 */
static COLD void
left_to_v86(struct vcpu *v, struct exit *e)
{
	const struct ring_frame *f = &te_of(v)->frame;

	te_of(v)->reload = true;
	*e = (struct exit){ .reason = EXIT_V86,
			    .vector = f->vector,
			    .raw = f->vector,
			    .error = f->error,
			    .rip = v->state.rip };
}

/* The engine contract (vmm/engine.h). */
void
te_run(struct vcpu *v, struct exit *e)
{
	struct te *te = te_of(v);
	uint64_t failure, entered_at = v->state.rip;
	bool step = te_holds_trap(v);

	te_to_frame(v, &te->frame);
	if (step)
		te->frame.rflags |= FLAG_TF;
	failure = enter(v, te->real_sel);
	if (failure) {
		te_entry_failed(v, e, failure);
		return;
	}
	if (te->frame.rflags & FLAG_VM) {
		left_to_v86(v, e);
		return;
	}
	if (step)
		te->frame.rflags &= ~(uint64_t)FLAG_TF;
	te_from_frame(v, &te->frame);
	te_segments_in(v);
	te_end_sti_shadow(v, entered_at);
	if (step && te->frame.vector == VEC_DB) {
		te_take_step(v);
		*e = (struct exit){ .rip = v->state.rip };
		debug_trap(v, e);
		return;
	}
	te_translate(v, e, &te->frame);
}

const char *const te_mmu_modes[] = { "shadow", NULL };

static const struct engine te_engine = {
	.name = "te",
	.what = "trap and emulate in ring 1",
	.max_vcpus = 1,
	.ram_max = TE_RAM_MAX,
	.mmu_modes = te_mmu_modes,
	.init = te_init,
	.free = te_free,
	.load = te_load,
	.run = te_run,
	.inject = te_inject,
	.operand = te_operand,
	.window_moved = te_window_moved,
};
SET_ADD(engines, te_engine);
