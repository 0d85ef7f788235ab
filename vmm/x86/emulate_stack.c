/*
 * The stack, and branches within a segment.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023: volume 2, each instruction's "Operation"
 * section.
 */
#include <vmm/x86/emulate_private.h>

static int
push(struct emu *e, unsigned size, uint64_t value)
{
	return emu_push(e->state, size, value, e->ops, e->ctx, e->fault);
}

static int
pop(struct emu *e, unsigned size, uint64_t *value)
{
	return emu_pop(e->state, size, value, e->ops, e->ctx, e->fault);
}

enum emu_result
emu_insn_push(struct emu *e)
{
	uint64_t value;

	if (load(e, 0, &value) || push(e, e->insn->opsize, value))
		return EMU_FAULT;
	return EMU_OK;
}

/* An address with rSP in it is computed after the increment (SDM 2B "POP"). */
enum emu_result
emu_insn_pop(struct emu *e)
{
	uint64_t value, rsp = e->state->gpr[RSP];

	if (pop(e, e->insn->opsize, &value))
		return EMU_FAULT;
	if (store(e, 0, value)) {
		e->state->gpr[RSP] = rsp;
		return EMU_FAULT;
	}
	return EMU_OK;
}

/* A fault on the way leaves words below the stack pointer, as a CPU does. */
enum emu_result
emu_pusha(struct emu *e)
{
	uint64_t rsp = e->state->gpr[RSP];

	for (unsigned reg = RAX; reg <= RDI; reg++) {
		uint64_t value = reg == RSP ? rsp : e->state->gpr[reg];

		if (push(e, e->insn->opsize, value)) {
			e->state->gpr[RSP] = rsp;
			return EMU_FAULT;
		}
	}
	return EMU_OK;
}

enum emu_result
emu_popa(struct emu *e)
{
	uint64_t rsp = e->state->gpr[RSP], values[8];

	for (unsigned i = 0; i < 8; i++) {
		if (pop(e, e->insn->opsize, &values[i])) {
			e->state->gpr[RSP] = rsp;
			return EMU_FAULT;
		}
	}
	for (unsigned i = 0; i < 8; i++) {
		if (RDI - i != RSP)
			gpr_write(e->state, RDI - i, e->insn->opsize, values[i]);
	}
	return EMU_OK;
}

/* The pushes of enter's display: the outer frames' pointers, then this one's. */
static int
push_display(struct emu *e, unsigned level, uint64_t frame)
{
	unsigned size = e->insn->opsize, width = stack_size_of(e->state);
	uint64_t bp = gpr_read(e->state, RBP, width), value;

	for (unsigned i = 1; i < level; i++) {
		bp = (bp - size) & size_mask(width);
		if (load_memory(e, SEG_SS, bp, &value, size, false) || push(e, size, value))
			return -EFAULT;
	}
	return level ? push(e, size, frame) : 0;
}

/* The last check is the CPU's: the new stack pointer must be writable (SDM 2A "ENTER"). */
enum emu_result
emu_enter(struct emu *e)
{
	unsigned size = e->insn->opsize, width = stack_size_of(e->state);
	uint64_t rsp = e->state->gpr[RSP], frame, last, sp;

	if (push(e, size, e->state->gpr[RBP]))
		return EMU_FAULT;
	frame = gpr_read(e->state, RSP, width);
	if (push_display(e, e->insn->imm2 & 31, frame))
		goto fault;
	sp = (gpr_read(e->state, RSP, width) - e->insn->imm) & size_mask(width);
	if (load_memory(e, SEG_SS, sp, &last, size, true))
		goto fault;
	gpr_write(e->state, RSP, width, sp);
	gpr_write(e->state, RBP, size, frame);
	return EMU_OK;
fault:
	e->state->gpr[RSP] = rsp;
	return EMU_FAULT;
}

enum emu_result
emu_leave(struct emu *e)
{
	unsigned size = e->insn->opsize, width = stack_size_of(e->state);
	uint64_t bp = gpr_read(e->state, RBP, width), value;

	if (load_memory(e, SEG_SS, bp, &value, size, false))
		return EMU_FAULT;
	gpr_write(e->state, RSP, width, bp + size);
	gpr_write(e->state, RBP, size, value);
	return EMU_OK;
}

static bool
canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/*
 * Sends rip to a target, cut to the operand size. Beyond the code segment's limit, or not
 * canonical, it is #GP(0) on the branch itself (SDM 2A "CALL", 2A "Jcc").
 */
static int
branch(struct emu *e, uint64_t target)
{
	target &= size_mask(e->insn->opsize);
	if (e->insn->mode >= MODE64 ? !canonical(target) : target > e->state->seg[SEG_CS].limit) {
		raise_gp0(e);
		return -EFAULT;
	}
	e->next = target;
	return 0;
}

enum emu_result
emu_jmp(struct emu *e)
{
	return branch(e, e->next + e->insn->imm) ? EMU_FAULT : EMU_OK;
}

enum emu_result
emu_jmp_ind(struct emu *e)
{
	uint64_t target;

	return load(e, 0, &target) || branch(e, target) ? EMU_FAULT : EMU_OK;
}

enum emu_result
emu_jcc(struct emu *e)
{
	return condition_holds(e->state->rflags, e->insn->cc) ? emu_jmp(e) : EMU_OK;
}

enum emu_result
emu_jcxz(struct emu *e)
{
	return gpr_read(e->state, RCX, e->insn->addrsize) ? EMU_OK : emu_jmp(e);
}

enum emu_result
emu_loop(struct emu *e)
{
	unsigned size = e->insn->addrsize, op = e->insn->op;
	uint64_t count = (gpr_read(e->state, RCX, size) - 1) & size_mask(size);
	bool zero = e->state->rflags & FLAG_ZF;
	bool taken = count && (op == INSN_LOOP || (op == INSN_LOOPE) == zero);

	if (taken && branch(e, e->next + e->insn->imm))
		return EMU_FAULT;
	gpr_write(e->state, RCX, size, count);
	return EMU_OK;
}

/* call and call [rm]. The target is checked first, so that a failed call has pushed nothing. */
enum emu_result
emu_call(struct emu *e)
{
	uint64_t after = e->next, target = after + e->insn->imm;

	if (e->insn->op == INSN_CALL_IND && load(e, 0, &target))
		return EMU_FAULT;
	if (branch(e, target) || push(e, e->insn->opsize, after))
		return EMU_FAULT;
	return EMU_OK;
}

enum emu_result
emu_ret(struct emu *e)
{
	unsigned width = stack_size_of(e->state);
	uint64_t rsp = e->state->gpr[RSP], target;

	if (pop(e, e->insn->opsize, &target))
		return EMU_FAULT;
	if (branch(e, target)) {
		e->state->gpr[RSP] = rsp;
		return EMU_FAULT;
	}
	gpr_write(e->state, RSP, width, e->state->gpr[RSP] + e->insn->imm);
	return EMU_OK;
}
