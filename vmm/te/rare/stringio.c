/*
 * ins and outs: one iteration after another, at most REP_MAX in one exit, so that no guest can hold
 * the CPU with a long string.
 */
#include <vmm/te/te.h>

#define REP_MAX 64

static int
one(struct vcpu *v, unsigned size, struct te_access *access, struct emu_fault *f)
{
	const struct insn *i = te_insn(v);
	unsigned addr = i->addrsize;
	uint16_t port = v->state.gpr[RDX];
	uint32_t value = 0;
	int err;

	if (i->op == INSN_OUTS) {
		err = te_ops.read(access, i->mem_seg, gpr_read(&v->state, RSI, addr), &value, size,
				  f);
		if (!err)
			io_write(v->domain, port, size, value);
		return err;
	}
	/*
	 * The write is tried first with what is there: a port must not be read for a write that
	 * faults.
	 */
	err = te_ops.read_rmw(access, SEG_ES, gpr_read(&v->state, RDI, addr), &value, size, f);
	if (err)
		return err;
	value = io_read(v->domain, port, size);
	return te_ops.write(access, SEG_ES, gpr_read(&v->state, RDI, addr), &value, size, f);
}

enum verdict
te_string_io(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	bool out = i->op == INSN_OUTS;
	unsigned size = i->opcode & 1 ? (i->opsize == 2 ? 2 : 4) : 1;
	unsigned max = v->began & FLAG_TF ? 1 : REP_MAX; /* each iteration has its #DB */
	struct te_access access = { .v = v };
	struct emu_fault f;

	exit_effect(v, out ? EFFECT_OUT : EFFECT_IN, v->state.gpr[RDX] & 0xffff, 0);
	if (insn_string_done(&v->state, i)) {
		return vcpu_advance(v, e); /* safe: a count of zero does nothing */
	}
	for (unsigned n = 0; n < max && !v->state.pending_debug; n++) {
		if (one(v, size, &access, &f))
			return te_guest_fault(v, e, &access, &f);
		if (insn_string_step(&v->state, i, size, out, !out)) {
			vcpu_advance(v, e); /* safe: the last iteration is done */
			return v->domain->state == DOMAIN_ENDED ? STOP : RESUME;
		}
		if (v->domain->state == DOMAIN_ENDED)
			return STOP;
	}
	vcpu_step(v);
	return RESUME; /* rip stays: the rest is another exit */
}
