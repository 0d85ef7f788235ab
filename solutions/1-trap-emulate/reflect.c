/*
 * Reflection: an exception or a software interrupt goes to the handler in the guest's own IDT, as
 * the guest's CPU would bring it there. Lab 1B, exercise 1.6.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/te/te.h>

#define GATE_TYPE(g)     (((g) >> 40) & 0x1f)
#define GATE_INTERRUPT   0x0e /* 32 bits; a trap gate is 0x0f, the 16-bit ones are 0x06 and 0x07 */
#define GATE_IS_TRAP(g)  ((g)&1ull << 40)
#define GATE_IS_32(g)    ((g)&1ull << 43)
#define GATE_SELECTOR(g) ((uint16_t)((g) >> 16))
#define GATE_OFFSET(g)   ((uint32_t)((g)&0xffff) | (uint32_t)((g) >> 32 & 0xffff0000))
#define ERROR_IDT        2u /* SDM 3A 6.13: the index is one of the IDT's */
#define ERROR_EXT        1u

/* EXERCISE 1.0: free region for helpers of your own. */
/* END EXERCISE 1.0 */

/* Fills in the fault that a delivery ends in, with an error code made of an index, and says so. */
static int
refuse(const struct te_event *event, enum vector vector, uint32_t error, struct emu_fault *fault)
{
	if (event->kind != EVENT_SOFTWARE)
		error |= ERROR_EXT;
	*fault = (struct emu_fault){ .vector = vector, .has_error = true, .error = error };
	return -EFAULT;
}

/* The gate of the event's vector: 0, or the fault that the CPU takes instead. */
static int
read_gate(struct vcpu *v, const struct te_event *event, uint64_t *gate, struct emu_fault *fault)
{
	uint32_t at = event->vector * 8u, error = at | ERROR_IDT;

	/* EXERCISE 1.6a: Read the eight bytes at v->state.idtr.base + at with gva_read(), if they lie within the IDT's
	 * limit (else, or if it fails, #GP), and check in this order: it is a 32-bit or 16-bit interrupt or trap gate, else #GP; for a software
	 * interrupt (event->kind is EVENT_SOFTWARE) its DPL is not below te_cpl(v), else #GP; it is present, else
	 * #NP. The error code is `error` in all cases: refuse(event, VEC_GP, error, fault). (SDM 3A 6.12.1, 6.12.1.1,
	 * 6.13; SDM 2A "INT n": operation, protected mode)
	 * until then:
	 * (void)v, (void)gate, (void)at;
	 * return refuse(event, VEC_GP, error, fault);
	 */
	unsigned type;

	if (at + 7 > v->state.idtr.limit || gva_read(v, gva(v->state.idtr.base + at), gate, 8))
		return refuse(event, VEC_GP, error, fault);
	type = GATE_TYPE(*gate) & ~9u; /* 16 or 32 bits, interrupt or trap */
	if (type != (GATE_INTERRUPT & ~9u))
		return refuse(event, VEC_GP, error, fault);
	if (event->kind == EVENT_SOFTWARE && desc_dpl(*gate) < te_cpl(v))
		return refuse(event, VEC_GP, error, fault);
	if (!(*gate & DESC_P))
		return refuse(event, VEC_NP, error, fault);
	return 0;
	/* END EXERCISE 1.6a */
}

/*
 * The stack of the inner ring, from the guest's TSS: loads SS and ESP of ring `cpl`. The old ones
 * are in *old_ss and *old_esp. (SDM 3A 6.12.1, 8.2.1 "32-bit TSS")
 */
static int
switch_stack(struct vcpu *v, const struct te_event *event, unsigned cpl, struct emu_fault *fault)
{
	const struct segment *tr = &v->state.tr;
	struct {
		uint32_t esp;
		uint16_t ss;
		uint16_t pad;
	} stack;
	uint32_t at = 4 + cpl * 8;
	uint64_t desc;

	if (!(tr->attr & ATTR_P) || at + 5 > tr->limit ||
	    gva_read(v, gva(tr->base + at), &stack, 6))
		return refuse(event, VEC_TS, tr->sel & ~3u, fault);
	if (te_check_selector(v, stack.ss, DESC_FOR_STACK, cpl, &desc, fault))
		return refuse(event, fault->vector == VEC_SS ? VEC_SS : VEC_TS, stack.ss & ~3u,
			      fault);
	te_set_segment(v, SEG_SS, stack.ss, desc);
	v->state.gpr[RSP] = stack.esp;
	return 0;
}

/* The handler's code segment: 0, or the fault. *cpl is the ring that it runs in. */
static int
check_handler(struct vcpu *v, const struct te_event *event, uint64_t gate, uint64_t *desc,
	      unsigned *cpl, struct emu_fault *fault)
{
	uint16_t sel = GATE_SELECTOR(gate);

	if (te_check_selector(v, sel, DESC_FOR_HANDLER, te_cpl(v), desc, fault))
		return refuse(event, fault->vector, sel & ~3u, fault);
	*cpl = *desc & DESC_EC ? te_cpl(v) : desc_dpl(*desc);
	return 0;
}

/*
 * One delivery. 0: v->state is at the handler's first instruction. -EFAULT: *fault is what the CPU
 * takes instead; v->state may be half changed, and the caller puts it back.
 */
int
te_deliver_once(struct vcpu *v, const struct te_event *event, struct te_access *access,
		struct emu_fault *fault)
{
	struct cpu_state *s = &v->state;
	const struct cpu_state old = *s;
	uint64_t gate, desc, frame[6];
	unsigned cpl, size, n = 0;
	int err;

	err = read_gate(v, event, &gate, fault);
	if (!err)
		err = check_handler(v, event, gate, &desc, &cpl, fault);
	if (err)
		return err;
	size = GATE_IS_32(gate) ? 4 : 2;
	/* EXERCISE 1.6b: Push what the CPU pushes, `size` bytes each, with te_push_frame(access, size, frame, n, fault),
	 * which pushes frame[0] first and gives 0 or -EFAULT: after a change of ring (cpl < te_cpl(v): first
	 * switch_stack()) the old SS and ESP, then EFLAGS, CS and event->rip, then event->error if event->has_error. Which
	 * EFLAGS, the CPU's or the guest's? Then the flags that the handler starts with: TF, NT, RF and VM off, IF off if
	 * the gate is an interrupt gate. (SDM 3A 6.12.1, figure 6-4; 6.12.1.3 "Flag Usage")
	 * until then: (void)old, (void)size, (void)n, (void)frame, (void)access, (void)switch_stack;
	 */
	if (cpl < te_cpl(v)) {
		err = switch_stack(v, event, cpl, fault);
		frame[n++] = old.seg[SEG_SS].sel;
		frame[n++] = old.gpr[RSP];
	}
	frame[n++] = old.rflags;
	frame[n++] = old.seg[SEG_CS].sel;
	frame[n++] = event->rip;
	if (event->has_error)
		frame[n++] = event->error;
	if (!err)
		err = te_push_frame(access, size, frame, n, fault);
	if (err)
		return err;
	s->rflags &= ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
	if (!GATE_IS_TRAP(gate))
		s->rflags &= ~(uint64_t)FLAG_IF;
	/* END EXERCISE 1.6b */
	te_set_segment(v, SEG_CS, (GATE_SELECTOR(gate) & ~3) | cpl, desc);
	s->rip = GATE_IS_32(gate) ? GATE_OFFSET(gate) : GATE_OFFSET(gate) & 0xffff;
	return 0;
}
