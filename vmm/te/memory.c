/*
 * The emulator's view of guest memory: by segment and offset, under the guest's own limits and rights.
 */
#include <inc/errno.h>
#include <vmm/te/te.h>

/* SDM 3A 5.3 "Limit checking" and 5.5; #SS for the stack segment, #GP for the others. */
static bool
within_segment(const struct segment *s, uint64_t offset, size_t size, bool write)
{
	uint64_t last = offset + size - 1;

	if (!(s->attr & ATTR_P) || !(s->attr & ATTR_S))
		return false;
	if (s->attr & ATTR_CODE)
		return !write && (s->attr & ATTR_RW) && last <= s->limit;
	if (write && !(s->attr & ATTR_RW))
		return false;
	if (s->attr & ATTR_EC)
		return offset > s->limit && last <= (s->attr & ATTR_DB ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

static int
check(struct te_access *a, enum seg_reg seg, uint64_t offset, size_t size, bool write,
      struct emu_fault *fault)
{
	const struct segment *s = &a->v->state.seg[seg];

	if (!within_segment(s, offset, size, write)) {
		*fault = (struct emu_fault){ .vector = seg == SEG_SS ? VEC_SS : VEC_GP,
					     .has_error = true };
		return -EFAULT;
	}
	if (in_window(a->v->domain, (uint32_t)(s->base + offset), size)) {
		a->hit_window = true;
		*fault = (struct emu_fault){ .vector = VEC_GP, .has_error = true };
		return -EFAULT;
	}
	return 0;
}

/* Where the guest has no memory a PC's bus floats: reads give ones, writes are lost. */
static int
op_read(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	struct emu_fault *fault)
{
	struct te_access *a = ctx;

	if (check(a, seg, offset, size, false, fault))
		return -EFAULT;
	if (gva_read(a->v, gva((uint32_t)(a->v->state.seg[seg].base + offset)), buf, size))
		memset(buf, 0xff, size);
	return 0;
}

static int
op_read_rmw(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	    struct emu_fault *fault)
{
	struct te_access *a = ctx;

	if (check(a, seg, offset, size, true, fault))
		return -EFAULT;
	return op_read(ctx, seg, offset, buf, size, fault);
}

static int
op_write(void *ctx, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
	 struct emu_fault *fault)
{
	struct te_access *a = ctx;

	if (check(a, seg, offset, size, true, fault))
		return -EFAULT;
	gva_write(a->v, gva((uint32_t)(a->v->state.seg[seg].base + offset)), buf, size);
	return 0;
}

const struct emu_ops te_ops = { .read = op_read, .write = op_write, .read_rmw = op_read_rmw };

uint64_t
te_linear(struct vcpu *v, const struct insn *insn)
{
	return (uint32_t)(v->state.seg[insn->mem_seg].base + insn_ea(&v->state, insn));
}

/* The guest's own fault, met while the host did an instruction for it. FAULTED, or the guest is stopped. */
enum verdict
te_guest_fault(struct vcpu *v, struct exit *e, const struct te_access *access,
	       const struct emu_fault *fault)
{
	if (access->hit_window)
		return exit_stop(v, e, LAB_1A "#window", "it reached for the VMM window at %08lx",
				 v->domain->window);
	e->vector = fault->vector;
	e->error = fault->error;
	e->reason = EXIT_EXCEPTION;
	return exit_dispatch(v, e) == RESUME ? FAULTED : STOP;
}

enum verdict
te_emulate(struct vcpu *v, struct exit *e)
{
	struct te_access access = { .v = v };
	struct emu_fault fault;

	switch (emulate(&v->state, te_insn(v), &te_ops, &access, &fault)) {
	case EMU_OK:
	case EMU_AGAIN:
		exit_effect(v, e->access == ACCESS_WRITE ? EFFECT_WRITE : EFFECT_READ,
			    te_insn(v)->opnd[0].size, e->gva);
		return RESUME;
	case EMU_FAULT:
		return te_guest_fault(v, e, &access, &fault);
	case EMU_SENSITIVE:
		return te_emulate_sensitive(v, e, &access);
	default:
		return exit_stop(v, e, LAB_1A "#limits",
				 "Zeno cannot emulate %s on memory at %08lx", insn_name(e->insn_op),
				 e->gva);
	}
}

/* A memory access that paging or a cut limit refused. */
static enum verdict
exit_mmu(struct vcpu *v, struct exit *e)
{
	size_t one = 1;

	if (in_window(v->domain, e->gva, 1))
		return exit_stop(v, e, LAB_1A "#window", "it reached for the VMM window at %08lx",
				 e->gva);
	if (e->access == ACCESS_FETCH && !gpa_ptr(v->domain, gpa(e->gva), &one))
		return exit_stop(v, e, LAB_1A "#no-memory",
				 "it jumped to %08lx, where it has no memory", e->gva);
	if (!e->insn_len)
		return exit_stop(v, e, LAB_1A "#no-memory",
				 "memory at %08lx, and the instruction cannot be decoded", e->gva);
	return te_emulate(v, e);
}
EXIT_HANDLER(MMU, "te", exit_mmu);
