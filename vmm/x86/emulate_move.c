/*
 * Moves, conversions, conditions, flags, bound.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023: volume 2, each instruction's "Operation"
 * section.
 */
#include <vmm/x86/emulate_private.h>

/* mov, movzx, xlat: what is read, zero-extended, is what is written. */
enum emu_result
emu_mov(struct emu *e)
{
	uint64_t value;

	return load(e, 1, &value) || store(e, 0, value) ? EMU_FAULT : EMU_OK;
}

enum emu_result
emu_movsx(struct emu *e)
{
	uint64_t value;

	if (load(e, 1, &value))
		return EMU_FAULT;
	store(e, 0, size_extend(value, e->insn->opnd[1].size));
	return EMU_OK;
}

static uint64_t
swap_bytes(uint64_t value, unsigned size)
{
	return __builtin_bswap64(value) >> (64 - 8 * size);
}

enum emu_result
emu_movbe(struct emu *e)
{
	uint64_t value;

	if (load(e, 1, &value) || store(e, 0, swap_bytes(value, e->insn->opnd[0].size)))
		return EMU_FAULT;
	return EMU_OK;
}

/* Undefined for 16 bits (SDM 2A "BSWAP"); CPUs clear the word. */
enum emu_result
emu_bswap(struct emu *e)
{
	unsigned size = e->insn->opnd[0].size;
	uint64_t value;

	load(e, 0, &value);
	store(e, 0, size == 2 ? 0 : swap_bytes(value, size));
	return EMU_OK;
}

enum emu_result
emu_lea(struct emu *e)
{
	store(e, 0, insn_ea(e->state, e->insn));
	return EMU_OK;
}

enum emu_result
emu_xchg(struct emu *e)
{
	uint64_t a, b;

	if (load_rmw(e, 0, &a) || load(e, 1, &b) || store(e, 0, b))
		return EMU_FAULT;
	store(e, 1, a);
	return EMU_OK;
}

/*
 * The source is read, and may fault, and a 32-bit destination is cleared above, whatever cc says.
 */
enum emu_result
emu_cmov(struct emu *e)
{
	uint64_t new, old;

	if (load(e, 1, &new) || load(e, 0, &old))
		return EMU_FAULT;
	store(e, 0, condition_holds(e->state->rflags, e->insn->cc) ? new : old);
	return EMU_OK;
}

enum emu_result
emu_setcc(struct emu *e)
{
	return store(e, 0, condition_holds(e->state->rflags, e->insn->cc)) ? EMU_FAULT : EMU_OK;
}

enum emu_result
emu_cbw(struct emu *e)
{
	unsigned size = e->insn->opsize;

	gpr_write(e->state, RAX, size, size_extend(e->state->gpr[RAX], size / 2));
	return EMU_OK;
}

enum emu_result
emu_cwd(struct emu *e)
{
	unsigned size = e->insn->opsize;

	gpr_write(e->state, RDX, size, size_extend(e->state->gpr[RAX], size) >> 63);
	return EMU_OK;
}

#define FLAGS_AH ((uint64_t)(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF))

enum emu_result
emu_flags(struct emu *e)
{
	uint64_t *flags = &e->state->rflags, *rax = &e->state->gpr[RAX];

	switch (e->insn->op) {
	case INSN_CLC:
		*flags &= ~(uint64_t)FLAG_CF;
		break;
	case INSN_STC:
		*flags |= FLAG_CF;
		break;
	case INSN_CMC:
		*flags ^= FLAG_CF;
		break;
	case INSN_CLD:
		*flags &= ~(uint64_t)FLAG_DF;
		break;
	case INSN_STD:
		*flags |= FLAG_DF;
		break;
	case INSN_SAHF:
		*flags = (*flags & ~FLAGS_AH) | ((*rax >> 8) & FLAGS_AH) | FLAG_ONE;
		break;
	case INSN_LAHF:
		*rax = (*rax & ~0xff00ull) | ((*flags & FLAGS_AH) | FLAG_ONE) << 8;
		break;
	case INSN_SALC:
		gpr_write(e->state, RAX, 1, *flags & FLAG_CF ? 0xff : 0);
		break;
	}
	return EMU_OK;
}

/* The two bounds lie one after the other (SDM 2A "BOUND"). */
enum emu_result
emu_bound(struct emu *e)
{
	unsigned size = e->insn->opsize, seg = e->insn->mem_seg;
	uint64_t ea = insn_ea(e->state, e->insn), low, high, upper_at;
	int64_t index = size_extend(gpr_read(e->state, e->insn->reg, size), size);

	upper_at = (ea + size) & size_mask(e->insn->addrsize);
	if (load_memory(e, seg, ea, &low, size, false) ||
	    load_memory(e, seg, upper_at, &high, size, false))
		return EMU_FAULT;
	if (index < size_extend(low, size) || index > size_extend(high, size))
		return raise_fault(e, VEC_BR);
	return EMU_OK;
}
