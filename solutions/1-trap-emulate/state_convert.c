/*
 * What the guest sees (struct cpu_state, one truth), and what the CPU holds in its place while the
 * guest runs in ring 1 (struct ring_frame). The other general registers are the same in both, and
 * ring_enter() and ring_leave() move them. Lab 1A, exercises 1.1 and 1.4.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/te/te.h>

/*
 * The flags that a guest owns entirely: arithmetic, TF, DF, NT, RF, AC, ID. IF and IOPL are
 * virtual.
 */
#define GUEST_OWNS                                                                                 \
	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_DF | FLAG_OF | FLAG_NT | \
	 FLAG_RF | FLAG_AC | FLAG_ID)

/* EXERCISE 1.0: free region for helpers of your own. */
/* END EXERCISE 1.0 */

/*
 * RFLAGS for the CPU while the guest runs. The host must get its timer whatever the guest does with
 * its IF, and no in or out may run in ring 1.
 */
uint64_t
real_rflags(uint64_t guest)
{
	/* EXERCISE 1.1b: Take from `guest` the flags in GUEST_OWNS. What must IF and IOPL be while ring 1 runs
	 * (SDM 1 3.4.3 "System Flags and IOPL Field"), and what is bit 1?
	 * until then: return FLAG_ONE;
	 */
	return (guest & GUEST_OWNS) | FLAG_IF | FLAG_ONE;
	/* END EXERCISE 1.1b */
}

/* After an exit: `real` is what the CPU pushed, `before` the guest's flags when it was entered. */
uint64_t
guest_rflags(uint64_t real, uint64_t before)
{
	/* EXERCISE 1.4a: The guest's IF and IOPL are not the CPU's: where are they? Everything in GUEST_OWNS
	 * comes from the CPU. (SDM 1 3.4.3)
	 * until then: return real;
	 */
	return (real & GUEST_OWNS) | (before & (FLAG_IF | FLAG_IOPL)) | FLAG_ONE;
	/* END EXERCISE 1.4a */
}

/* Before an entry: fills the frame, which ring_enter() hands to iretq. */
void
te_to_frame(struct vcpu *v, struct ring_frame *f)
{
	const struct cpu_state *s = &v->state;

	/* EXERCISE 1.1c: Fill rip, rsp, rflags, cs and ss of *f. The selectors to load are te_of(v)->real_sel[SEG_CS]
	 * and [SEG_SS], without RPL. Which RPL does the iretq need, so that the guest lands in ring te_ring(v)?
	 * (SDM 3A 6.14.3; SDM 3A 5.5 "Privilege levels")
	 * until then: (void)s, (void)f;
	 */
	f->rsp = s->gpr[RSP];
	f->rip = s->rip;
	f->rflags = real_rflags(s->rflags);
	f->cs = te_of(v)->real_sel[SEG_CS] | te_ring(v);
	f->ss = te_of(v)->real_sel[SEG_SS] | te_ring(v);
	/* END EXERCISE 1.1c */
}

/* After an exit: the frame, which the trap has filled, back into the guest's state. */
void
te_from_frame(struct vcpu *v, const struct ring_frame *f)
{
	struct cpu_state *s = &v->state;

	s->gpr[RSP] = (uint32_t)f->rsp;
	s->rip = (uint32_t)f->rip;
	s->rflags = guest_rflags(f->rflags, s->rflags);
}
