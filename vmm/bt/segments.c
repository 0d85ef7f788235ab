/*
 * Segment registers without an exit, where ring 1 can do what ring 0 would.
 *
 * Reading: the guest's selectors are at GS:BT_AT_SEL, for CS, SS and GS of the CPU are not the
 * guest's. Loading ES, DS, FS: the CPU does it from the shadow table, or faults, and the host is
 * asked; the selector is then noted. Loading GS: only if it is the selector that the guest's GS
 * holds already, as behind most exceptions; no flag changes.
 *
 * Pure, as the rest of the translator (translate.h).
 */
#include <vmm/bt/translate.h>

static bool
loads(const struct insn *i)
{
	return i->op == INSN_MOV_TO_SEG || i->op == INSN_POP_SEG;
}

static enum seg_reg
segment_of(const struct insn *i)
{
	return i->opnd[i->op == INSN_MOV_FROM_SEG].reg;
}

bool
bt_is_segment(const struct bt_translation *t, const struct insn *i)
{
	enum seg_reg seg = segment_of(i);

	if (loads(i) && t->host_loads)
		return false;
	switch (i->op) {
	case INSN_PUSH_SEG:
		return i->opsize == 4;
	case INSN_MOV_FROM_SEG:
		return i->mod == 3 && (i->opsize == 4 || i->opsize == 2);
	case INSN_POP_SEG:
		return i->opsize == 4 && t->stack32 && seg != SEG_SS;
	case INSN_MOV_TO_SEG:
		return seg != SEG_SS && seg != SEG_CS && !(i->prefixes & PFX_OSIZE);
	default:
		return false;
	}
}

/* mov gs:[its place], seg */
static void
note(struct bt_translation *t, enum seg_reg seg)
{
	BT_EMIT(t, 0x65, 0x8c);
	bt_emit8(t, (uint8_t)(seg << 3 | 5));
	bt_emit32(t, BT_AT_SEL(seg));
}

/* movzx ecx, what is loaded: the operand has the ModR/M of the mov, or is on top of the stack. */
static void
read_selector(struct bt_translation *t, const struct insn *i, const uint8_t *bytes)
{
	if (i->op == INSN_POP_SEG) {
		BT_EMIT(t, 0x0f, 0xb7, 0x0c, 0x24);
		return;
	}
	for (unsigned n = 0; n < i->len; n++) {
		if (n == i->opcode_at)
			BT_EMIT(t, 0x0f, 0xb7);
		else
			bt_emit8(t,
				 n == i->opcode_at + 1u ? (bytes[n] & 0xc7) | RCX << 3 : bytes[n]);
	}
}

/* A load of GS: in vain, or the host's. */
static void
load_gs(struct bt_translation *t, const struct insn *i, const uint8_t *bytes)
{
	unsigned same;

	bt_emit_save(t, RAX, BT_AT_SAVE0);
	bt_emit_save(t, RCX, BT_AT_SAVE1);
	read_selector(t, i, bytes);
	bt_emit_load(t, RAX, BT_AT_MINUS_GS);
	BT_EMIT(t, 0x8d, 0x0c, 0x08); /* lea ecx, [eax + ecx] */
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	same = bt_emit_short(t, 0xe3); /* jecxz */
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	bt_emit_callout(t, BT_CALLOUT);
	bt_emit_here(t, same);
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	if (i->op == INSN_POP_SEG)
		BT_EMIT(t, 0x8d, 0x64, 0x24, 0x04); /* lea esp, [esp + 4] */
}

void
bt_emit_segment(struct bt_translation *t, const struct insn *i, const uint8_t *bytes)
{
	enum seg_reg seg = segment_of(i);

	if (loads(i) && seg == SEG_GS) {
		load_gs(t, i, bytes);
	} else if (loads(i)) {
		for (unsigned n = 0; n < i->len; n++)
			bt_emit8(t, bytes[n]);
		note(t, seg);
	} else if (i->op == INSN_PUSH_SEG) {
		BT_EMIT(t, 0x65, 0xff, 0x35); /* push dword gs:[...] */
		bt_emit32(t, BT_AT_SEL(seg));
	} else {
		if (i->opsize == 2)
			bt_emit8(t, 0x66);
		bt_emit_load(t, i->opnd[0].reg, BT_AT_SEL(seg));
	}
}
