/*
 * The instruction decoder: prefixes, opcode map, ModR/M, displacement, immediates, in the order of
 * the bytes (SDM 2A chapter 2 "Instruction Format"). What an opcode is stands in
 * vmm/x86/decode_table.c.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023; APM = AMD APM 24594 rev 3.34 (volume 3).
 */
#include <vmm/x86/insn.h>

#include <inc/errno.h>
#include <vmm/x86/decode_cursor.h>
#include <vmm/x86/decode_table.h>

/* The four segment overrides es cs ss ds mean nothing in 64-bit mode (SDM 2A 2.2.1.3). */
static void
override_segment(struct insn *insn, enum seg_reg seg)
{
	if (!long_mode(insn) || seg >= SEG_FS)
		insn->seg_override = seg;
}

/* Takes one legacy prefix; says whether the byte was one. */
static bool
legacy_prefix(struct insn *insn, uint8_t byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		override_segment(insn, (byte >> 3) & 3);
		return true;
	case 0x64:
	case 0x65:
		override_segment(insn, byte & 7);
		return true;
	case 0x66:
		insn->prefixes |= PFX_OSIZE;
		return true;
	case 0x67:
		insn->prefixes |= PFX_ASIZE;
		return true;
	case 0xf0:
		insn->prefixes |= PFX_LOCK;
		return true;
	case 0xf2:
		insn->prefixes = (insn->prefixes & ~PFX_REP) | PFX_REPNE;
		return true;
	case 0xf3:
		insn->prefixes = (insn->prefixes & ~PFX_REPNE) | PFX_REP;
		return true;
	}
	return false;
}

/*
 * All prefixes; returns the byte after them. A REX that is not the last one is ignored (SDM
 * 2A 2.2.1 "REX Prefixes").
 */
static uint8_t
take_prefixes(struct insn *insn, struct cursor *c)
{
	uint8_t byte;

	for (;;) {
		byte = next(c);
		if (c->error)
			return 0;
		if (long_mode(insn) && (byte & 0xf0) == 0x40) {
			insn->rex = byte;
		} else if (legacy_prefix(insn, byte)) {
			insn->rex = 0;
		} else {
			break;
		}
	}
	if (insn->rex)
		insn->prefixes |= PFX_REX;
	return byte;
}

static void
set_sizes(struct insn *insn)
{
	bool osize = insn->prefixes & PFX_OSIZE, asize = insn->prefixes & PFX_ASIZE;

	switch ((enum cpu_mode)insn->mode) {
	case MODE16:
		insn->opsize = osize ? 4 : 2;
		insn->addrsize = asize ? 4 : 2;
		break;
	case MODE32:
		insn->opsize = osize ? 2 : 4;
		insn->addrsize = asize ? 2 : 4;
		break;
	case MODE64:
	case MODE64_AMD:
		insn->opsize = insn->rex & REX_W ? 8 : osize ? 2 : 4;
		insn->addrsize = asize ? 4 : 8;
		break;
	}
}

/* Attributes that change the operand size in 64-bit mode (SDM 1 3.6.1, 2D appendix A's d64 and
 * f64). */
static void
adjust_opsize(struct insn *insn, unsigned attr)
{
	bool small = (insn->prefixes & PFX_OSIZE) && !(insn->rex & REX_W);

	if (!long_mode(insn))
		return;
	if (attr & O64)
		insn->opsize = 8;
	else if (attr & F64)
		insn->opsize = small && insn->mode == MODE64_AMD ? 2 : 8;
	else if (attr & D64)
		insn->opsize = small ? 2 : 8;
}

static const struct opcode vector = { .op = INSN_OTHER, .attr = PFX, .form = { E } };
static const struct opcode vector_imm = { .op = INSN_OTHER, .form = { E, Ib } };

/* The opcode's entry before prefixes and ModR/M have their say. */
static const struct opcode *
look_up(const struct insn *insn)
{
	switch (insn->map) {
	case MAP_1BYTE:
		return &map_1byte[insn->opcode];
	case MAP_0F:
		return &map_0f[insn->opcode];
	case MAP_0F38:
		return insn->opcode >= 0xf0 ? &map_0f38_high[insn->opcode & 15] : &vector;
	default:
		return &vector_imm; /* 0f 3a, 3DNow! */
	}
}

static const struct opcode *
look_up_prefixed(const struct insn *insn, const struct opcode *entry)
{
	static const uint8_t by_rank[] = { PFX_REP | PFX_REPNE, PFX_OSIZE };

	for (unsigned rank = 0; rank < 2; rank++) {
		unsigned wanted = insn->prefixes & by_rank[rank];

		for (unsigned i = 0; wanted && i < prefixed_count; i++) {
			if (prefixed[i].map == insn->map && prefixed[i].opcode == insn->opcode &&
			    prefixed[i].prefix == wanted)
				return &prefixed[i].entry;
		}
	}
	return entry;
}

/* 90 is nop, or pause, unless REX.B makes it xchg r8 (SDM 2B "XCHG"). */
static const struct opcode nop = { .op = INSN_NOP };
static const struct opcode movsxd = { .op = INSN_MOVSX, .form = { Gv, Ez } };

static const struct opcode *
look_up_irregular(const struct insn *insn, const struct opcode *entry)
{
	if (insn->map != MAP_1BYTE)
		return entry;
	if (insn->opcode == 0x90 && !(insn->rex & REX_B))
		return &nop;
	if (insn->opcode == 0x63 && long_mode(insn))
		return &movsxd;
	return entry;
}

static bool
needs_modrm(const struct opcode *entry)
{
	if (entry->attr & GRP)
		return true;
	for (unsigned i = 0; i < INSN_OPERANDS && entry->form[i]; i++) {
		if (method_of(entry->form[i]) >= METHOD_E)
			return true;
	}
	return false;
}

static bool
ignores_mod(const struct opcode *entry)
{
	return method_of(entry->form[0]) == METHOD_R || method_of(entry->form[1]) == METHOD_R;
}

/* A group's member, with its opcode's attributes, and its opcode's operands if it has none. */
static struct opcode
group_member(const struct insn *insn, const struct opcode *entry)
{
	const struct group_table *group = &group_tables[entry->op];
	struct opcode member;

	if (insn->mod != 3)
		member = group->mem[(insn->modrm >> 3) & 7];
	else if (group->reg_mask == 7)
		member = group->reg[(insn->modrm >> 3) & 7];
	else
		member = group->reg[insn->modrm & 0x3f];
	member.attr |= entry->attr & ~GRP;
	if (!member.form[0]) {
		for (unsigned i = 0; i < INSN_OPERANDS; i++)
			member.form[i] = entry->form[i];
	}
	return member;
}

/* Lock needs one of a few instructions, and memory as its destination (SDM 2A "LOCK"). */
static bool
lock_is_legal(const struct insn *insn, unsigned attr)
{
	if (!(insn->prefixes & PFX_LOCK))
		return true;
	return (attr & LOCK) && insn->opnd[0].kind == OPND_MEM;
}

/* From the entry on: mode checks, sizes, operands. */
static int
finish(struct insn *insn, struct cursor *c, const struct opcode *entry)
{
	insn->op = entry->op;
	if (insn->op == INSN_NONE)
		return -EINVAL;
	if (long_mode(insn) ? entry->attr & NO64 : entry->attr & ONLY64)
		return -EINVAL;
	adjust_opsize(insn, entry->attr);
	for (unsigned i = 0; i < INSN_OPERANDS && entry->form[i]; i++) {
		if (take_operand(insn, c, &insn->opnd[i], entry->form[i]))
			return -EINVAL;
	}
	if (entry->attr & CC)
		insn->cc = insn->opcode & 15;
	if (insn->op == INSN_CMPXCHG8B)
		insn->opnd[0].size = insn->rex & REX_W ? 16 : 8;
	return lock_is_legal(insn, entry->attr) ? 0 : -EINVAL;
}

/*
 * The escape bytes 0f, 0f 38, 0f 3a, 0f 0f; leaves map and opcode. VEX, EVEX and XOP are none: no
 * guest has them, since CR4.OSXSAVE stays 0 (SDM 2A 2.3.3, APM 3 1.2.7), so their first bytes are
 * the old opcodes, whose forms are #UD then.
 */
static void
take_opcode(struct insn *insn, struct cursor *c, uint8_t byte)
{
	insn->map = MAP_1BYTE;
	if (byte == 0x0f) {
		byte = next(c);
		insn->map = MAP_0F;
		if (byte == 0x38 || byte == 0x3a) {
			insn->map = byte == 0x38 ? MAP_0F38 : MAP_0F3A;
			byte = next(c);
		} else if (byte == 0x0f) {
			insn->map = MAP_3DNOW;
		}
	}
	insn->opcode_at = c->at ? c->at - 1 : 0;
	insn->opcode = byte;
}

static int
decode_opcode(struct insn *insn, struct cursor *c, uint8_t byte)
{
	const struct opcode *entry;
	struct opcode member;

	take_opcode(insn, c, byte);
	entry = look_up_irregular(insn, look_up(insn));
	if (entry->attr & PFX)
		entry = look_up_prefixed(insn, entry);
	if (needs_modrm(entry))
		take_modrm(insn, c, ignores_mod(entry));
	if (entry->attr & GRP) {
		member = group_member(insn, entry);
		entry = &member;
	}
	return finish(insn, c, entry);
}

int
decode(struct insn *out, const uint8_t *bytes, size_t n, enum cpu_mode mode)
{
	struct cursor c = { .bytes = bytes, .n = n };
	uint8_t byte;
	int error;

	__builtin_memset(out, 0,
			 sizeof(*out)); /* padding too: two results can be compared as bytes */
	out->mode = mode;
	out->seg_override = SEG_NONE;
	out->mem_base = REG_NONE;
	out->mem_index = REG_NONE;
	out->mem_scale = 1;
	byte = take_prefixes(out, &c);
	set_sizes(out);
	error = decode_opcode(out, &c, byte);
	out->len = c.at;
	/* A byte that is missing comes before what was made of the zero in its place. */
	return c.error ? c.error : error;
}

const char *
insn_name(unsigned op)
{
	static const char *const names[INSN_OP_COUNT] = {
#define X(name, mnemonic) [INSN_##name] = mnemonic,
		INSN_SENSITIVE_LIST(X) INSN_GENERAL_LIST(X)
#undef X
			[INSN_OTHER] = "an x87 or vector instruction",
	};

	return op < INSN_OP_COUNT && names[op] ? names[op] : "?";
}
