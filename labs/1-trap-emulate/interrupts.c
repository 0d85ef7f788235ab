/*
 * Interrupts into the guest, and its way back from a handler. Lab 1B, exercise 1.7.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/te/te.h>

/*
 * What iret changes when CPL is 0; IOPL and IF are the privileged ones (SDM 2A "IRET", operation).
 */
#define IRET_CHANGES                                                                               \
	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_OF | \
	 FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID)

/* EXERCISE 1.0: free region for helpers of your own. */
/* END EXERCISE 1.0 */

/*
 * The engine contract (vmm/engine.h): brings an interrupt, which the guest's 8259 has given up, to
 * its handler.
 */
enum verdict
te_interrupt(struct vcpu *v, uint8_t vector)
{
	struct exit e = { .vector = NO_TRAP, .rip = v->state.rip };

	/* EXERCISE 1.7a: te_deliver() an event of kind EVENT_INTERRUPT. Where does its handler return to?
	 * (SDM 3A 6.8.1, 6.12.1)
	 */
	exercise_todo("1.7", "handouts/lab1b.md#ex-1-7");
	return exit_stop(v, &e, LAB_1B "#ex-1-7", "an interrupt came: exercise 1.7 is not done");
	/* END EXERCISE 1.7a */
}

/* hlt with the guest's IF at 1: it sleeps until its 8259 has an interrupt for it (SDM 2A "HLT"). */
enum verdict
te_wait(struct vcpu *v, struct exit *e)
{
	/* EXERCISE 1.7b: The handler returns to the instruction after the hlt. BLOCK says that there is nothing to do until
	 * thread_wake(); kern/sched/thread.c asks the vCPU now and then.
	 */
	exercise_todo("1.7", "handouts/lab1b.md#ex-1-7");
	return exit_stop(v, e, LAB_1B "#interrupts", "it waits for an interrupt, and exercise 1.7 injects them");
	/* END EXERCISE 1.7b */
}

/* What iret pops; ESP and SS on a return to an outer ring alone. */
enum { EIP, CS, EFLAGS, ESP, SS, FRAME_WORDS };

/*
 * iret: 0, -EFAULT with *fault filled in and v->state to be put back, or -ENOSYS: it is not written
 * yet.
 */
static int
iret(struct vcpu *v, const struct insn *i, struct te_access *access, struct emu_fault *fault)
{
	struct cpu_state *s = &v->state;
	uint64_t f[FRAME_WORDS] = { 0 };
	uint64_t code = 0, stack = 0;
	unsigned size = i->opsize, rpl, from = te_cpl(v);
	int err = 0;

	/* EXERCISE 1.7c: Pop EIP, CS and EFLAGS, `size` bytes each, with te_pop_frame(access, size, f, 3, fault);
	 * te_check_selector() for DESC_FOR_RETURN; if the RPL of CS is above te_cpl(v), pop ESP and SS, too, and check SS
	 * for DESC_FOR_STACK in the ring that it goes to. Then load: CS and
	 * SS by te_set_segment(), ESP, EIP; of EFLAGS what IRET_CHANGES says, but IOPL only if CPL was 0, IF only if CPL was
	 * at most IOPL, and with a 16-bit operand only the lower half. On the way to an outer ring call
	 * te_drop_inner_segments() at the end. The manual's check of EIP against the limit of CS is left to the CPU, which
	 * makes it at the next instruction. (SDM 2A "IRET/IRETD")
	 */
	exercise_todo("1.7", "handouts/lab1b.md#ex-1-7");
	(void)s, (void)f, (void)code, (void)stack, (void)size, (void)rpl, (void)from, (void)err, (void)access, (void)fault;
	return -ENOSYS;
	/* END EXERCISE 1.7c */
}

static enum verdict
exit_iret(struct vcpu *v, struct exit *e)
{
	struct te_access access = { .v = v };
	struct emu_fault fault;
	struct te_saved before;
	int err;

	if (v->state.rflags & FLAG_NT)
		return te_nested_iret(v, e);
	te_save(v, &before);
	vcpu_done(v); /* before RF comes from the frame */
	err = iret(v, te_insn(v), &access, &fault);
	if (err == -ENOSYS)
		return exit_stop(v, e, LAB_1B "#ex-1-7",
				 "iret is not emulated: exercise 1.7 is not done");
	if (err) {
		te_restore(v, &before);
		return te_guest_fault(v, e, &access, &fault);
	}
	te_cpl_changed(v);
	exit_effect(v, EFFECT_IRET, v->state.seg[SEG_CS].sel, v->state.rip);
	return RESUME;
}
EXIT_HANDLER(IRET, "te", exit_iret);
