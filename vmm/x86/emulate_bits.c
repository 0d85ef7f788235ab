/*
 * Shifts, rotates, single bits, bit counts.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023: volume 2, each instruction's "Operation"
 * section.
 */
#include <vmm/x86/emulate_private.h>

struct shift {
	uint64_t value; /* in: the operand; out: the result */
	unsigned count, bits;
	bool carry; /* in and out: CF */
};

static bool
bit(uint64_t value, unsigned n)
{
	return n < 64 && ((value >> n) & 1);
}

static void
rotate(struct shift *s, bool left)
{
	uint64_t v = s->value, mask = size_mask(s->bits / 8);
	unsigned n = s->count % s->bits;

	if (!left)
		n = (s->bits - n) % s->bits;
	if (n)
		v = (v << n | v >> (s->bits - n)) & mask;
	s->value = v;
	s->carry = left ? v & 1 : bit(v, s->bits - 1);
}

/* Through the carry, bit by bit: bits + 1 of them turn around. */
static void
rotate_through_carry(struct shift *s, bool left)
{
	for (unsigned n = s->count % (s->bits + 1); n; n--) {
		bool out = left ? bit(s->value, s->bits - 1) : s->value & 1;

		if (left)
			s->value = (s->value << 1 | s->carry) & size_mask(s->bits / 8);
		else
			s->value = s->value >> 1 | (uint64_t)s->carry << (s->bits - 1);
		s->carry = out;
	}
}

static void
shift(struct shift *s, unsigned op)
{
	unsigned size = s->bits / 8, n = s->count;
	uint64_t v = s->value;
	int64_t extended = size_extend(v, size);

	switch (op) {
	case INSN_SHL:
		s->value = n < 64 ? (v << n) & size_mask(size) : 0;
		s->carry = n <= s->bits && bit(v, s->bits - n);
		break;
	case INSN_SHR:
		s->value = v >> n;
		s->carry = bit(v, n - 1);
		break;
	default: /* sar */
		s->value = (uint64_t)(extended >> n) & size_mask(size);
		s->carry = (extended >> (n - 1)) & 1;
		break;
	}
}

/*
 * OF is defined for a count of 1 only, and can then be told from the result: to the left it is
 * whether the top bit changed, to the right whether the two top bits differ; sar always clears
 * it.
 */
static bool
shift_overflow(const struct shift *s, unsigned op)
{
	bool top = bit(s->value, s->bits - 1), below = bit(s->value, s->bits - 2);

	switch (op) {
	case INSN_ROL:
	case INSN_RCL:
	case INSN_SHL:
		return top != s->carry;
	case INSN_SAR:
		return false;
	default:
		return top != below;
	}
}

static void
run_shift(struct shift *s, unsigned op)
{
	switch (op) {
	case INSN_ROL:
	case INSN_ROR:
		rotate(s, op == INSN_ROL);
		break;
	case INSN_RCL:
	case INSN_RCR:
		rotate_through_carry(s, op == INSN_RCL);
		break;
	default:
		shift(s, op);
		break;
	}
}

/*
 * The count has five bits, six for 64-bit operands. A count of 0 writes the operand but no flag,
 * and so do rcl, rcr if the bits come round to where they were.
 */
enum emu_result
emu_shift(struct emu *e)
{
	unsigned op = e->insn->op, size = e->insn->opnd[0].size;
	bool through = op == INSN_RCL || op == INSN_RCR;
	uint64_t count, flags = e->state->rflags;
	struct shift s = { .bits = 8 * size, .carry = flags & FLAG_CF };

	if (load(e, 1, &count) || load_rmw(e, 0, &s.value))
		return EMU_FAULT;
	s.count = count & (size == 8 ? 63 : 31);
	if (s.count && !(through && s.count % (s.bits + 1) == 0)) {
		run_shift(&s, op);
		flags = set_flag(flags, FLAG_CF, s.carry);
		flags = set_flag(flags, FLAG_OF, shift_overflow(&s, op));
		if (op == INSN_SHL || op == INSN_SHR || op == INSN_SAR)
			flags = flags_szp(flags & ~(uint64_t)FLAG_AF, s.value, size);
	}
	if (store(e, 0, s.value))
		return EMU_FAULT;
	e->state->rflags = flags;
	return EMU_OK;
}

/* 1 <= n < bits, or for 16 bits up to 31: there destination:source:destination is what moves. */
static void
double_shift(struct shift *s, uint64_t source, bool left)
{
	unsigned n = s->count, bits = s->bits;
	uint64_t v = s->value;

	if (bits == 16) {
		uint64_t three = v << 32 | source << 16 | v;

		s->value = (left ? three << n >> 32 : three >> n) & 0xffff;
		s->carry = bit(three, left ? 48 - n : n - 1);
		return;
	}
	s->value = left ? v << n | source >> (bits - n) : v >> n | source << (bits - n);
	s->value &= size_mask(bits / 8);
	s->carry = bit(v, left ? bits - n : n - 1);
}

enum emu_result
emu_double_shift(struct emu *e)
{
	unsigned size = e->insn->opnd[0].size;
	uint64_t old, source, count, flags = e->state->rflags;
	struct shift s = { .bits = 8 * size };

	if (load(e, 1, &source) || load(e, 2, &count) || load_rmw(e, 0, &old))
		return EMU_FAULT;
	s.value = old;
	s.count = count & (size == 8 ? 63 : 31);
	if (s.count) {
		double_shift(&s, source, e->insn->op == INSN_SHLD);
		flags = flags_szp(flags & ~(uint64_t)FLAG_AF, s.value, size);
		flags = set_flag(flags, FLAG_CF, s.carry);
		flags = set_flag(flags, FLAG_OF, (s.value ^ old) & size_sign(size));
	}
	if (store(e, 0, s.value))
		return EMU_FAULT;
	e->state->rflags = flags;
	return EMU_OK;
}

static uint64_t
change_bit(unsigned op, uint64_t value, uint64_t mask)
{
	switch (op) {
	case INSN_BTS:
		return value | mask;
	case INSN_BTR:
		return value & ~mask;
	case INSN_BTC:
		return value ^ mask;
	default:
		return value;
	}
}

/*
 * A bit number in a register reaches beyond a memory operand, in both directions (SDM 2A 3.1.1.9
 * "Operation Section": Bit(BitBase, BitOffset)); an immediate one, or one for a register operand,
 * wraps.
 */
enum emu_result
emu_bit_test(struct emu *e)
{
	const struct insn *insn = e->insn;
	unsigned op = insn->op, size = insn->opnd[0].size, bits = 8 * size;
	bool in_memory = insn->opnd[0].kind == OPND_MEM, writes = op != INSN_BT;
	uint64_t number, value, changed, offset = 0;

	if (load(e, 1, &number))
		return EMU_FAULT;
	if (in_memory) {
		offset = insn_ea(e->state, insn);
		if (insn->opnd[1].kind == OPND_REG) {
			int64_t words = size_extend(number, size) >> (size == 8   ? 6
								      : size == 4 ? 5
										  : 4);

			offset = (offset + (uint64_t)words * size) & size_mask(insn->addrsize);
		}
		if (load_memory(e, insn->mem_seg, offset, &value, size, writes))
			return EMU_FAULT;
	} else {
		load(e, 0, &value);
	}
	changed = change_bit(op, value, 1ull << (number % bits));
	if (writes && in_memory && store_memory(e, insn->mem_seg, offset, changed, size))
		return EMU_FAULT;
	if (writes && !in_memory)
		store(e, 0, changed);
	e->state->rflags = set_flag(e->state->rflags, FLAG_CF, bit(value, number % bits));
	return EMU_OK;
}

static unsigned
lowest_bit(uint64_t value, unsigned bits)
{
	unsigned n = 0;

	while (n < bits && !bit(value, n))
		n++;
	return n;
}

/* Zeros above the highest one. */
static unsigned
leading_zeros(uint64_t value, unsigned bits)
{
	unsigned n = 0;

	while (n < bits && !bit(value, bits - 1 - n))
		n++;
	return n;
}

enum emu_result
emu_bit_scan(struct emu *e)
{
	unsigned bits = 8 * e->insn->opnd[1].size;
	uint64_t value;

	if (load(e, 1, &value))
		return EMU_FAULT;
	if (value && e->insn->op == INSN_BSF)
		store(e, 0, lowest_bit(value, bits));
	else if (value)
		store(e, 0, bits - 1 - leading_zeros(value, bits));
	e->state->rflags = set_flag(e->state->rflags, FLAG_ZF, !value);
	return EMU_OK;
}

/*
 * popcnt clears all flags but ZF; tzcnt and lzcnt have CF for an operand of zero, ZF for the
 * result.
 */
enum emu_result
emu_count(struct emu *e)
{
	unsigned op = e->insn->op, bits = 8 * e->insn->opnd[1].size, n = 0;
	uint64_t value, flags = e->state->rflags;

	if (load(e, 1, &value))
		return EMU_FAULT;
	if (op == INSN_POPCNT) {
		for (uint64_t left = value; left; left &= left - 1)
			n++;
		flags = set_flag(flags & ~FLAGS_ARITHMETIC, FLAG_ZF, !value);
	} else {
		n = op == INSN_TZCNT ? lowest_bit(value, bits) : leading_zeros(value, bits);
		flags = set_flag(flags, FLAG_CF, !value);
		flags = set_flag(flags, FLAG_ZF, !n);
	}
	store(e, 0, n);
	e->state->rflags = flags;
	return EMU_OK;
}

/* CRC32C, the polynomial 11edc6f41h with its bits reversed (SDM 2A "CRC32"). */
enum emu_result
emu_crc32(struct emu *e)
{
	uint64_t crc, value;

	if (load(e, 0, &crc) || load(e, 1, &value))
		return EMU_FAULT;
	crc &= 0xffffffff;
	for (unsigned i = 0; i < 8u * e->insn->opnd[1].size; i++) {
		bool low = (crc ^ (value >> i)) & 1;

		crc = crc >> 1 ^ (low ? 0x82f63b78 : 0);
	}
	store(e, 0, crc);
	return EMU_OK;
}
