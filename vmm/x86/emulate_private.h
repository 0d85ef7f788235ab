/*
 * What the emulator's files share. A handler does one class of instruction: it returns EMU_OK with
 * everything written, or EMU_FAULT with nothing written. So it writes memory first, which may
 * fail, then registers and flags, which can't.
 */
#pragma once

#include <inc/errno.h>
#include <vmm/x86/emulate.h>

struct emu {
	struct cpu_state *state;
	const struct insn *insn;
	const struct emu_ops *ops;
	void *ctx;
	struct emu_fault *fault;
	uint64_t next; /* rip after EMU_OK; branches change it */
};

typedef enum emu_result handler(struct emu *e);

/* emulate_alu.c */
handler emu_alu, emu_unary, emu_mul, emu_imul2, emu_div, emu_cmpxchg, emu_cmpxchg8b, emu_xadd;
handler emu_adx;
/* emulate_bits.c */
handler emu_shift, emu_double_shift, emu_bit_test, emu_bit_scan, emu_count, emu_crc32;
/* emulate_move.c */
handler emu_mov, emu_movsx, emu_movbe, emu_lea, emu_xchg, emu_bswap, emu_cmov, emu_setcc;
handler emu_cbw, emu_cwd, emu_flags, emu_bound;
/* emulate_bcd.c */
handler emu_daa, emu_aaa, emu_aam, emu_aad;
/* emulate_stack.c */
handler emu_insn_push, emu_insn_pop, emu_pusha, emu_popa, emu_enter, emu_leave;
handler emu_jmp, emu_jmp_ind, emu_jcc, emu_jcxz, emu_loop, emu_call, emu_ret;
/* emulate_string.c */
handler emu_string;

/* Flags of a - b - borrow, a + b + carry; the other flags of `flags` stay. */
uint64_t flags_add(uint64_t flags, uint64_t a, uint64_t b, unsigned carry, unsigned size);
uint64_t flags_sub(uint64_t flags, uint64_t a, uint64_t b, unsigned borrow, unsigned size);
uint64_t flags_szp(uint64_t flags, uint64_t result, unsigned size);

#define FLAGS_ARITHMETIC ((uint64_t)(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF))

static inline uint64_t
size_mask(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

static inline uint64_t
size_sign(unsigned size)
{
	return 1ull << (8 * size - 1);
}

static inline int64_t
size_extend(uint64_t value, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (int64_t)(value << shift) >> shift;
}

static inline uint64_t
set_flag(uint64_t flags, uint64_t flag, bool on)
{
	return on ? flags | flag : flags & ~flag;
}

static inline enum emu_result
raise_fault(struct emu *e, enum vector vector)
{
	*e->fault = (struct emu_fault){ .vector = vector };
	return EMU_FAULT;
}

static inline enum emu_result
raise_gp0(struct emu *e)
{
	*e->fault = (struct emu_fault){ .vector = VEC_GP, .has_error = true };
	return EMU_FAULT;
}

static inline int
load(struct emu *e, unsigned i, uint64_t *value)
{
	return insn_read_opnd(e->state, e->insn, i, e->ops, e->ctx, value, e->fault);
}

static inline int
store(struct emu *e, unsigned i, uint64_t value)
{
	return insn_write_opnd(e->state, e->insn, i, value, e->ops, e->ctx, e->fault);
}

/* Reads at an offset that the handler worked out; `rmw`: a write to the same place follows. */
static inline int
load_memory(struct emu *e, unsigned seg, uint64_t offset, uint64_t *value, unsigned size, bool rmw)
{
	*value = 0;
	if (rmw && e->ops->read_rmw)
		return e->ops->read_rmw(e->ctx, seg, offset, value, size, e->fault);
	return e->ops->read(e->ctx, seg, offset, value, size, e->fault);
}

static inline int
store_memory(struct emu *e, unsigned seg, uint64_t offset, uint64_t value, unsigned size)
{
	return e->ops->write(e->ctx, seg, offset, &value, size, e->fault);
}

/* The destination of a read-modify-write: store() to the same operand comes next. */
static inline int
load_rmw(struct emu *e, unsigned i, uint64_t *value)
{
	const struct operand *opnd = &e->insn->opnd[i];

	if (opnd->kind != OPND_MEM)
		return load(e, i, value);
	return load_memory(e, e->insn->mem_seg, insn_ea(e->state, e->insn), value, opnd->size,
			   true);
}
