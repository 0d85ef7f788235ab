/*
 * Arithmetic and logic, multiplication, division, and the exchanges that do arithmetic.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023: volume 2, each instruction's "Operation"
 * section.
 */
#include <vmm/x86/emulate_private.h>

static bool
even_parity(uint8_t byte)
{
	byte ^= byte >> 4;
	return !((0x6996 >> (byte & 15)) & 1);
}

uint64_t
flags_szp(uint64_t flags, uint64_t result, unsigned size)
{
	flags = set_flag(flags, FLAG_ZF, !(result & size_mask(size)));
	flags = set_flag(flags, FLAG_SF, result & size_sign(size));
	return set_flag(flags, FLAG_PF, even_parity(result));
}

uint64_t
flags_add(uint64_t flags, uint64_t a, uint64_t b, unsigned carry, unsigned size)
{
	uint64_t mask = size_mask(size), r = (a + b + carry) & mask;

	a &= mask;
	b &= mask;
	flags = flags_szp(flags, r, size);
	flags = set_flag(flags, FLAG_CF, r < a || (carry && r == a));
	flags = set_flag(flags, FLAG_AF, (a ^ b ^ r) & 0x10);
	return set_flag(flags, FLAG_OF, (a ^ r) & (b ^ r) & size_sign(size));
}

uint64_t
flags_sub(uint64_t flags, uint64_t a, uint64_t b, unsigned borrow, unsigned size)
{
	uint64_t mask = size_mask(size), r = (a - b - borrow) & mask;

	a &= mask;
	b &= mask;
	flags = flags_szp(flags, r, size);
	flags = set_flag(flags, FLAG_CF, a < b || (borrow && a == b));
	flags = set_flag(flags, FLAG_AF, (a ^ b ^ r) & 0x10);
	return set_flag(flags, FLAG_OF, (a ^ b) & (a ^ r) & size_sign(size));
}

static uint64_t
flags_logic(uint64_t flags, uint64_t result, unsigned size)
{
	return flags_szp(flags & ~FLAGS_ARITHMETIC, result, size);
}

/* The result of one of the nine two-operand instructions; *flags is updated. */
static uint64_t
compute(unsigned op, uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{
	unsigned carry = (op == INSN_ADC || op == INSN_SBB) && (*flags & FLAG_CF);
	uint64_t r;

	switch (op) {
	case INSN_ADD:
	case INSN_ADC:
		*flags = flags_add(*flags, a, b, carry, size);
		return a + b + carry;
	case INSN_SUB:
	case INSN_SBB:
	case INSN_CMP:
		*flags = flags_sub(*flags, a, b, carry, size);
		return a - b - carry;
	case INSN_OR:
		r = a | b;
		break;
	case INSN_XOR:
		r = a ^ b;
		break;
	default: /* and, test */
		r = a & b;
		break;
	}
	*flags = flags_logic(*flags, r, size);
	return r;
}

enum emu_result
emu_alu(struct emu *e)
{
	unsigned op = e->insn->op, size = e->insn->opnd[0].size;
	bool writes = op != INSN_CMP && op != INSN_TEST;
	uint64_t a, b, r, flags = e->state->rflags;

	if (load(e, 1, &b) || (writes ? load_rmw(e, 0, &a) : load(e, 0, &a)))
		return EMU_FAULT;
	r = compute(op, a, b, size, &flags);
	if (writes && store(e, 0, r))
		return EMU_FAULT;
	e->state->rflags = flags;
	return EMU_OK;
}

/* inc and dec leave CF, not leaves all. */
enum emu_result
emu_unary(struct emu *e)
{
	unsigned size = e->insn->opnd[0].size;
	uint64_t a, r, flags = e->state->rflags, cf = flags & FLAG_CF;

	if (load_rmw(e, 0, &a))
		return EMU_FAULT;
	switch (e->insn->op) {
	case INSN_INC:
		r = a + 1;
		flags = (flags_add(flags, a, 1, 0, size) & ~(uint64_t)FLAG_CF) | cf;
		break;
	case INSN_DEC:
		r = a - 1;
		flags = (flags_sub(flags, a, 1, 0, size) & ~(uint64_t)FLAG_CF) | cf;
		break;
	case INSN_NEG:
		r = -a;
		flags = flags_sub(flags, 0, a, 0, size);
		break;
	default: /* not */
		r = ~a;
		break;
	}
	if (store(e, 0, r))
		return EMU_FAULT;
	e->state->rflags = flags;
	return EMU_OK;
}

/* rDX:rAX, or ax for bytes. */
static void
write_double(struct cpu_state *state, unsigned size, uint64_t low, uint64_t high)
{
	if (size == 1) {
		gpr_write(state, RAX, 2, (low & 0xff) | (high & 0xff) << 8);
		return;
	}
	gpr_write(state, RAX, size, low);
	gpr_write(state, RDX, size, high);
}

enum emu_result
emu_mul(struct emu *e)
{
	bool is_signed = e->insn->op == INSN_IMUL, overflow;
	unsigned size = e->insn->opnd[0].size, bits = 8 * size;
	uint64_t a = gpr_read(e->state, RAX, size), b, low, high;
	unsigned __int128 r;

	if (load(e, 0, &b))
		return EMU_FAULT;
	if (is_signed)
		r = (__int128)size_extend(a, size) * size_extend(b, size);
	else
		r = (unsigned __int128)a * b;
	low = (uint64_t)r & size_mask(size);
	high = (uint64_t)(r >> bits) & size_mask(size);
	if (is_signed)
		overflow = high != ((uint64_t)(size_extend(low, size) >> 63) & size_mask(size));
	else
		overflow = high != 0;
	write_double(e->state, size, low, high);
	e->state->rflags = set_flag(e->state->rflags, FLAG_CF | FLAG_OF, overflow);
	return EMU_OK;
}

enum emu_result
emu_imul2(struct emu *e)
{
	unsigned size = e->insn->opnd[0].size;
	uint64_t a, b;
	__int128 r;

	if (load(e, 1, &a) || load(e, 2, &b))
		return EMU_FAULT;
	r = (__int128)size_extend(a, size) * size_extend(b, size);
	store(e, 0, (uint64_t)r); /* a register: can't fault */
	e->state->rflags = set_flag(e->state->rflags, FLAG_CF | FLAG_OF,
				    r != (__int128)size_extend((uint64_t)r, size));
	return EMU_OK;
}

/* 128 by 64 bits, bit by bit: the kernel has no libgcc. The caller knows that high < divisor. */
static uint64_t
divide(uint64_t high, uint64_t low, uint64_t divisor, uint64_t *remainder)
{
	for (unsigned i = 0; i < 64; i++) {
		bool carry = high >> 63;

		high = high << 1 | low >> 63;
		low <<= 1;
		if (carry || high >= divisor) {
			high -= divisor;
			low |= 1;
		}
	}
	*remainder = high;
	return low;
}

struct division {
	uint64_t high, low, divisor;
	uint64_t quotient, remainder;
};

/* false: the quotient does not fit (or the divisor is 0), which is #DE (SDM 2A "DIV", "IDIV"). */
static bool
divide_unsigned(struct division *d, unsigned size)
{
	uint64_t high = d->high, low = d->low;

	if (d->high >= d->divisor)
		return false;
	if (size < 8) {
		low |= high << (8 * size);
		high = 0;
	}
	d->quotient = divide(high, low, d->divisor, &d->remainder);
	return true;
}

static bool
divide_signed(struct division *d, unsigned size)
{
	uint64_t mask = size_mask(size), sign = size_sign(size);
	bool negative = d->high & sign, negative_divisor = d->divisor & sign;
	bool negative_quotient = negative != negative_divisor;

	if (negative) {
		d->low = -d->low & mask;
		d->high = (~d->high + (d->low == 0)) & mask;
	}
	if (negative_divisor)
		d->divisor = -d->divisor & mask;
	if (!divide_unsigned(d, size))
		return false;
	if (d->quotient > (negative_quotient ? sign : sign - 1))
		return false;
	if (negative_quotient)
		d->quotient = -d->quotient;
	if (negative)
		d->remainder = -d->remainder;
	return true;
}

enum emu_result
emu_div(struct emu *e)
{
	unsigned size = e->insn->opnd[0].size;
	struct division d;
	bool fits;

	if (load(e, 0, &d.divisor))
		return EMU_FAULT;
	d.low = gpr_read(e->state, RAX, size);
	d.high = gpr_read(e->state, size == 1 ? RAX : RDX, size);
	if (size == 1)
		d.high = (e->state->gpr[RAX] >> 8) & 0xff;
	fits = e->insn->op == INSN_DIV ? divide_unsigned(&d, size) : divide_signed(&d, size);
	if (!fits)
		return raise_fault(e, VEC_DE);
	write_double(e->state, size, d.quotient, d.remainder);
	return EMU_OK;
}

/*
 * If the comparison fails, memory gets its old value back: it is written in any case (SDM 2A
 * "CMPXCHG"). A register is left alone, so that its bits 63:32 stay: the SDM does not say so,
 * CPUs do it.
 */
enum emu_result
emu_cmpxchg(struct emu *e)
{
	unsigned size = e->insn->opnd[0].size;
	uint64_t old, new, rax = gpr_read(e->state, RAX, size);
	bool equal;

	if (load_rmw(e, 0, &old) || load(e, 1, &new))
		return EMU_FAULT;
	equal = old == rax;
	if ((equal || e->insn->opnd[0].kind == OPND_MEM) && store(e, 0, equal ? new : old))
		return EMU_FAULT;
	if (!equal)
		gpr_write(e->state, RAX, size, old);
	e->state->rflags = flags_sub(e->state->rflags, rax, old, 0, size);
	return EMU_OK;
}

/* cmpxchg8b and cmpxchg16b; the alignment of the latter is for ops to check (#GP). */
enum emu_result
emu_cmpxchg8b(struct emu *e)
{
	unsigned half = e->insn->opnd[0].size / 2, seg = e->insn->mem_seg;
	uint64_t ea = insn_ea(e->state, e->insn), low, high;
	struct cpu_state *state = e->state;
	uint8_t bytes[16];
	bool equal;

	if ((e->ops->read_rmw ? e->ops->read_rmw : e->ops->read)(e->ctx, seg, ea, bytes, 2 * half,
								 e->fault))
		return EMU_FAULT;
	low = high = 0;
	__builtin_memcpy(&low, bytes, half);
	__builtin_memcpy(&high, bytes + half, half);
	equal = low == gpr_read(state, RAX, half) && high == gpr_read(state, RDX, half);
	if (equal) {
		__builtin_memcpy(bytes, &state->gpr[RBX], half);
		__builtin_memcpy(bytes + half, &state->gpr[RCX], half);
	}
	if (e->ops->write(e->ctx, seg, ea, bytes, 2 * half, e->fault))
		return EMU_FAULT;
	if (!equal) {
		gpr_write(state, RAX, half, low);
		gpr_write(state, RDX, half, high);
	}
	state->rflags = set_flag(state->rflags, FLAG_ZF, equal);
	return EMU_OK;
}

/* With one register as both operands the sum stays: it is written last (SDM 2C "XADD"). */
enum emu_result
emu_xadd(struct emu *e)
{
	unsigned size = e->insn->opnd[0].size;
	uint64_t a, b;

	if (load_rmw(e, 0, &a) || load(e, 1, &b))
		return EMU_FAULT;
	if (e->insn->opnd[0].kind == OPND_MEM && store(e, 0, a + b))
		return EMU_FAULT;
	store(e, 1, a);
	if (e->insn->opnd[0].kind != OPND_MEM)
		store(e, 0, a + b);
	e->state->rflags = flags_add(e->state->rflags, a, b, 0, size);
	return EMU_OK;
}

/* adcx: carries through CF alone; adox: through OF alone. */
enum emu_result
emu_adx(struct emu *e)
{
	uint64_t flag = e->insn->op == INSN_ADCX ? FLAG_CF : FLAG_OF;
	unsigned carry = (e->state->rflags & flag) != 0, size = e->insn->opnd[0].size;
	uint64_t a, b, added;

	if (load(e, 0, &a) || load(e, 1, &b))
		return EMU_FAULT;
	added = flags_add(0, a, b, carry, size);
	store(e, 0, a + b + carry);
	e->state->rflags = set_flag(e->state->rflags, flag, added & FLAG_CF);
	return EMU_OK;
}
