/*
 * The engine te: entry and exit.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/paging.h>
#include <vmm/cpu_setup.h>
#include <vmm/mmu/flat.h>
#include <vmm/te/rare/rare.h>
#include <vmm/te/te.h>

/*
 * Bits of RFLAGS that no CPU sets, and those that every arithmetic instruction does (SDM 1 3.4.3).
 */
#define RFLAGS_ZERO   0xffffffffffc08028ul
#define RFLAGS_STATUS ((uint64_t)FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define STI_STALLS 16
#define IN_V86     (~1ull) /* for what ring_enter() says: the CPU came out of virtual-8086 mode */

_Static_assert(RAX == 0 && RBX == 3 && RBP == 5 && RDI == 7, "vmm/x86/state.inc says the same");

static bool paranoid; /* the host runs on a root without the guest's slot 0 */

int
te_init(struct vcpu *v)
{
	v->engine_data = host_page();
	if (!v->engine_data || !(te_of(v)->user_code = host_page()))
		return -ENOMEM;
	for (unsigned i = 0; i < TE_DECODED; i++)
		te_of(v)->decoded[i].key = TE_NOT_DECODED;
	if (mmu_flat_init_window(v))
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
	host_page_put(te_of(v)->user_code);
	host_page_put(v->engine_data);
	v->engine_data = NULL;
}

/*
 * Another vCPU ran before, or none. syscall and sysenter would be ring-0 entries on the guest's
 * stack (handouts/lab1a.md#syscall), so both are off while a guest runs in ring 1.
 */
void
te_load(struct vcpu *v)
{
	struct te *te = te_of(v);
	const struct cpu_setup setup = {
		.cr3 = mfn_to_hpa(v->root).v,
		.efer = rdmsr(MSR_EFER) & ~((uint64_t)EFER_SCE | EFER_SVME),
		.ldt_limit = v->state.ldtr.attr & ATTR_P ? 0xffff : 0,
		.rsp0 = (uint64_t)(&te->frame + 1),
		.ring_exit = ring_leave,
		.callout_dpl = te->bt ? GUEST_KERNEL_RING : 0, /* the gate of translated code */
	};

	cpu_setup_load(&setup);
	v->flush = false;
	te_load_cr4(v);
	trap_debug_stack(true);
	trap_debug_expected = trap_debug_late = false; /* svm has them otherwise */
	if (te->has_breakpoints)
		te_arm_breakpoints(v);
	te_resync(v);
	te->reload = true;
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
static inline void
load_cr0(struct vcpu *v)
{
	const uint64_t mask = CR0_TS | CR0_EM | CR0_MP | CR0_AM;
	uint64_t now = read_cr0();

	if ((now ^ v->state.cr0) & mask)
		write_cr0((now & ~mask) | (v->state.cr0 & mask));
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

void
te_entry_failed(struct vcpu *v, struct exit *e, uint64_t failure)
{
	exit_begin(e, EXIT_ENTRY_FAILED, (uint8_t)failure, ~failure ? failure >> 32 : 0,
		   v->state.rip);
	e->raw = failure;
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

/*
 * What seldom has to be loaded: the root, whose TLB is then empty, and data segments.
 * Rings 1 and 2 are not entered: a guest would have the rights of its ring 0 there.
 */
static APART uint64_t
prepare(struct vcpu *v)
{
	struct te *te = te_of(v);
	uint64_t failure = 0;

	if (te_in_middle_ring(v))
		return VEC_GP;
	if (paranoid || v->flush)
		write_cr3(mfn_to_hpa(v->root).v);
	v->flush = false;
	if (te->reload)
		failure = te_load_data_segments(te->real_sel);
	te->reload = false;
	if (failure && paranoid)
		write_cr3(mfn_to_hpa(host_root).v);
	return failure;
}

static COLD void
put_right(struct vcpu *v)
{
	if (paranoid)
		write_cr3(mfn_to_hpa(host_root).v);
	if (!trap_debug_late)
		return;
	ASSERT(!te_of(v)->late[0]); /* that stack has not run over */
	trap_debug_late = false;
	if (te_of(v)->frame.vector != VEC_DB)
		te_take_step(v);
}

/* Flags that no guest has set: see TRICKS.md for those of QEMU 7.2 after a cmpxchg8b. */
static COLD uint64_t
odd_flags(struct vcpu *v, struct te *te)
{
	if (te->frame.rflags & RFLAGS_ZERO)
		te->frame.rflags = (te->frame.rflags & RFLAGS_STATUS) |
				   (real_rflags(v->state.rflags) & ~RFLAGS_STATUS);
	return te->frame.rflags & FLAG_VM ? IN_V86 : 0;
}

/* The iretq into the guest has failed. */
static COLD uint64_t
not_entered(struct vcpu *v, uint64_t failure)
{
	put_right(v);
	return failure;
}

static INLINED uint64_t
enter(struct vcpu *v, struct te *te, bool loan)
{
	uint64_t failure;

	if (paranoid | v->flush | te->reload) {
		failure = prepare(v);
		if (failure)
			return failure;
	}
	if (loan) {
		*te_own_slot(te, LOAN_SEL) = te->loan;
		__asm__ volatile("mov %0, %%gs" : : "r"(LOAN_SEL | GUEST_KERNEL_RING) : "memory");
		*te_own_slot(te, LOAN_SEL) = 0;
	}
	load_cr0(v);
	failure =
		v->state.seg[SEG_SS].attr & ATTR_DB
			? ring_enter(&te->frame, v->state.gpr)
			: te_enter_narrow(&te->frame, v->state.gpr, te_narrow_stack(te->frame.rsp));
	if (failure)
		return not_entered(v, failure);
	v->entries++;
	if (paranoid | trap_debug_late)
		put_right(v);
	return te->frame.rflags & (RFLAGS_ZERO | FLAG_VM) ? odd_flags(v, te) : 0;
}

/* Into the outer ring with the registers of te->frame; with te->loan in GS if `loan`. */
uint64_t
te_enter(struct vcpu *v, bool loan)
{
	return enter(v, te_of(v), loan);
}

/*
 * The trap came from virtual-8086 mode (handouts/emulators.md#iret-vm). No state of the guest's is
 * made of that: it has what it had when it was entered, and the real segment registers are loaded
 * anew.
 */
static void
left_to_v86(struct vcpu *v, struct exit *e)
{
	const struct ring_frame *f = &te_of(v)->frame;

	te_of(v)->reload = true;
	exit_begin(e, EXIT_V86, (uint8_t)f->vector, (uint32_t)f->error, v->state.rip);
}

COLD void
te_not_run(struct vcpu *v, struct exit *e, uint64_t failure)
{
	if (failure == IN_V86)
		left_to_v86(v, e);
	else
		te_entry_failed(v, e, failure);
}

/*
 * To the next exit. `held`: a shadow ends behind the guest's next instruction, and a debug trap may
 * wait for that.
 */
static INLINED void
run(struct vcpu *v, struct exit *e, bool held)
{
	struct te *te = te_of(v);
	uint64_t failure, entered_at = v->state.rip;
	bool step = held && te_holds_trap(v);

	te_to_frame(v, &te->frame);
	if (step)
		te->frame.rflags |= FLAG_TF;
	failure = enter(v, te, false);
	if (failure) {
		te_not_run(v, e, failure);
		return;
	}
	if (step)
		te->frame.rflags &= ~(uint64_t)FLAG_TF;
	te_from_frame(v, &te->frame);
	te_segments_in(v);
	if (held)
		te_end_sti_shadow(v, entered_at);
	else
		te->sti_stalls = 0; /* the next shadow starts afresh */
	if (step && te->frame.vector == VEC_DB) {
		te_take_step(v);
		*e = (struct exit){ .rip = v->state.rip };
		debug_trap(v, e);
		return;
	}
	te_translate(v, e, &te->frame);
}

static APART void
run_held(struct vcpu *v, struct exit *e)
{
	run(v, e, true);
}

/* The engine contract (vmm/engine.h). */
void
te_run(struct vcpu *v, struct exit *e)
{
	if (v->state.sti_shadow | v->state.mov_ss_shadow)
		run_held(v, e);
	else
		run(v, e, false);
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
