/*
 * Registers by parts, effective addresses, operands, the stack: what the emulator's handlers
 * stand on, and what engines use to emulate sensitive instructions themselves.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <vmm/x86/emulate_private.h>

enum cpu_mode
cpu_mode_of(const struct cpu_state *state)
{
	uint16_t cs = state->seg[SEG_CS].attr;

	if (!(state->cr0 & CR0_PE) || (state->rflags & FLAG_VM))
		return MODE16;
	if ((state->efer & EFER_LMA) && (cs & ATTR_L))
		return MODE64;
	return cs & ATTR_DB ? MODE32 : MODE16;
}

unsigned
stack_size_of(const struct cpu_state *state)
{
	if (cpu_mode_of(state) == MODE64)
		return 8;
	return state->seg[SEG_SS].attr & ATTR_DB ? 4 : 2;
}

uint64_t
gpr_read(const struct cpu_state *state, unsigned reg, unsigned size)
{
	uint64_t value = state->gpr[reg];

	if (size >= 4)
		return size == 4 ? (uint32_t)value : value;
	return size == 1 ? (uint8_t)value : (uint16_t)value;
}

void
gpr_write(struct cpu_state *state, unsigned reg, unsigned size, uint64_t value)
{
	uint64_t *gpr = &state->gpr[reg];

	if (size >= 4)
		*gpr = size == 4 ? (uint32_t)value : value;
	else if (size == 1)
		__builtin_memcpy(gpr, &value, 1);
	else
		__builtin_memcpy(gpr, &value, 2);
}

uint64_t
insn_next_rip(const struct cpu_state *state, const struct insn *insn)
{
	return (state->rip + insn->len) & size_mask(insn->mode >= MODE64 ? 8 : 4);
}

uint64_t
insn_ea(const struct cpu_state *state, const struct insn *insn)
{
	uint64_t ea = insn->disp;

	if (insn->mem_base == BASE_RIP)
		ea += state->rip + insn->len;
	else if (insn->mem_base != REG_NONE)
		ea += state->gpr[insn->mem_base];
	if (insn->mem_index != REG_NONE)
		ea += state->gpr[insn->mem_index] * insn->mem_scale;
	if (insn->op == INSN_XLAT)
		ea += gpr_read(state, RAX, 1);
	return ea & size_mask(insn->addrsize);
}

int
insn_read_rm(const struct cpu_state *state, const struct insn *insn, unsigned size,
	     const struct emu_ops *ops, void *ctx, uint64_t *value, struct emu_fault *fault)
{
	*value = 0;
	if (insn->has_mem)
		return ops->read(ctx, insn->mem_seg, insn_ea(state, insn), value, size, fault);
	if (size == 1 && !insn->rex && insn->rm >= 4)
		*value = (state->gpr[insn->rm - 4] >> 8) & 0xff;
	else
		*value = gpr_read(state, insn->rm, size);
	return 0;
}

static void
write_high(struct cpu_state *state, unsigned reg, uint64_t value)
{
	state->gpr[reg] = (state->gpr[reg] & ~0xff00ull) | (value & 0xff) << 8;
}

int
insn_write_rm(struct cpu_state *state, const struct insn *insn, unsigned size, uint64_t value,
	      const struct emu_ops *ops, void *ctx, struct emu_fault *fault)
{
	if (insn->has_mem)
		return ops->write(ctx, insn->mem_seg, insn_ea(state, insn), &value, size, fault);
	if (size == 1 && !insn->rex && insn->rm >= 4)
		write_high(state, insn->rm - 4, value);
	else
		gpr_write(state, insn->rm, size, value);
	return 0;
}

int
insn_read_opnd(const struct cpu_state *state, const struct insn *insn, unsigned i,
	       const struct emu_ops *ops, void *ctx, uint64_t *value, struct emu_fault *fault)
{
	const struct operand *opnd = &insn->opnd[i];

	*value = 0;
	switch ((enum operand_kind)opnd->kind) {
	case OPND_REG:
		*value = gpr_read(state, opnd->reg, opnd->size);
		return 0;
	case OPND_HIGH:
		*value = (state->gpr[opnd->reg] >> 8) & 0xff;
		return 0;
	case OPND_MEM:
		return ops->read(ctx, insn->mem_seg, insn_ea(state, insn), value, opnd->size,
				 fault);
	case OPND_ES_DI:
		return ops->read(ctx, SEG_ES, gpr_read(state, RDI, insn->addrsize), value,
				 opnd->size, fault);
	case OPND_IMM:
		*value = insn->imm & size_mask(opnd->size);
		return 0;
	case OPND_IMM2:
		*value = insn->imm2;
		return 0;
	case OPND_REL:
		*value = (state->rip + insn->len + insn->imm) & size_mask(insn->opsize);
		return 0;
	case OPND_ONE:
		*value = 1;
		return 0;
	case OPND_SEG:
		*value = state->seg[opnd->reg].sel;
		return 0;
	case OPND_NONE:
	case OPND_CR:
	case OPND_DR:
		break;
	}
	return -EINVAL;
}

int
insn_write_opnd(struct cpu_state *state, const struct insn *insn, unsigned i, uint64_t value,
		const struct emu_ops *ops, void *ctx, struct emu_fault *fault)
{
	const struct operand *opnd = &insn->opnd[i];

	switch ((enum operand_kind)opnd->kind) {
	case OPND_REG:
		gpr_write(state, opnd->reg, opnd->size, value);
		return 0;
	case OPND_HIGH:
		write_high(state, opnd->reg, value);
		return 0;
	case OPND_MEM:
		return ops->write(ctx, insn->mem_seg, insn_ea(state, insn), &value, opnd->size,
				  fault);
	case OPND_ES_DI:
		return ops->write(ctx, SEG_ES, gpr_read(state, RDI, insn->addrsize), &value,
				  opnd->size, fault);
	default:
		return -EINVAL;
	}
}

static uint64_t
little_endian(const uint8_t *bytes, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

int
insn_read_far(const struct cpu_state *state, const struct insn *insn, const struct emu_ops *ops,
	      void *ctx, struct far_pointer *far, struct emu_fault *fault)
{
	uint8_t bytes[10];
	unsigned size = insn->opsize;
	int error;

	error = ops->read(ctx, insn->mem_seg, insn_ea(state, insn), bytes, size + 2, fault);
	if (error)
		return error;
	far->offset = little_endian(bytes, size);
	far->sel = little_endian(bytes + size, 2);
	return 0;
}

int
insn_read_table(const struct cpu_state *state, const struct insn *insn, const struct emu_ops *ops,
		void *ctx, struct table_reg *table, struct emu_fault *fault)
{
	uint8_t bytes[10];
	unsigned size = insn->mode >= MODE64 ? 8 : 4;
	int error;

	error = ops->read(ctx, insn->mem_seg, insn_ea(state, insn), bytes, size + 2, fault);
	if (error)
		return error;
	*table = (struct table_reg){
		.limit = little_endian(bytes, 2),
		.base = little_endian(bytes + 2, insn->opsize == 2 ? 3 : size),
	};
	return 0;
}

int
insn_write_table(const struct cpu_state *state, const struct insn *insn,
		 const struct table_reg *table, const struct emu_ops *ops, void *ctx,
		 struct emu_fault *fault)
{
	uint8_t bytes[10];
	unsigned size = insn->mode >= MODE64 ? 8 : 4;

	for (unsigned i = 0; i < 2; i++)
		bytes[i] = table->limit >> (8 * i);
	for (unsigned i = 0; i < size; i++)
		bytes[2 + i] = table->base >> (8 * i);
	return ops->write(ctx, insn->mem_seg, insn_ea(state, insn), bytes, size + 2, fault);
}

int
emu_push(struct cpu_state *state, unsigned size, uint64_t value, const struct emu_ops *ops,
	 void *ctx, struct emu_fault *fault)
{
	unsigned width = stack_size_of(state);
	uint64_t sp = (gpr_read(state, RSP, width) - size) & size_mask(width);
	int error = ops->write(ctx, SEG_SS, sp, &value, size, fault);

	if (!error)
		gpr_write(state, RSP, width, sp);
	return error;
}

int
emu_pop(struct cpu_state *state, unsigned size, uint64_t *value, const struct emu_ops *ops,
	void *ctx, struct emu_fault *fault)
{
	unsigned width = stack_size_of(state);
	uint64_t sp = gpr_read(state, RSP, width);
	int error;

	*value = 0;
	error = ops->read(ctx, SEG_SS, sp, value, size, fault);
	if (!error)
		gpr_write(state, RSP, width, sp + size);
	return error;
}

bool
condition_holds(uint64_t rflags, unsigned cc)
{
	bool sf_is_of = !(rflags & FLAG_SF) == !(rflags & FLAG_OF);
	bool holds = false;

	switch (cc >> 1) {
	case 0:
		holds = rflags & FLAG_OF;
		break;
	case 1:
		holds = rflags & FLAG_CF;
		break;
	case 2:
		holds = rflags & FLAG_ZF;
		break;
	case 3:
		holds = rflags & (FLAG_CF | FLAG_ZF);
		break;
	case 4:
		holds = rflags & FLAG_SF;
		break;
	case 5:
		holds = rflags & FLAG_PF;
		break;
	case 6:
		holds = !sf_is_of;
		break;
	case 7:
		holds = !sf_is_of || (rflags & FLAG_ZF);
		break;
	}
	return holds != (cc & 1);
}
