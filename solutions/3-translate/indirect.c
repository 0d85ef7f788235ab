/*
 * Branches whose target is known only when they run: jmp and call through a register or memory,
 * ret. Lab 3B, exercise 3.6.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/translate.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/*
 * The guest's target is at BT_AT_TARGET, registers and flags are the guest's. The entry of its low
 * 16 bits has two words: minus the guest's address, and where the translation is.
 */
void
bt_emit_lookup(struct bt_translation *t)
{
	/* EXERCISE 3.6a: Without touching a flag: save eax and ecx; add the entry's first word to the target, by lea; jecxz
	 * to the hit. A miss gives both registers back and calls out with BT_MISS. The hit moves the entry's second word
	 * to BT_AT_JUMP, gives them back, and jumps through it. An entry is at gs:[BT_AT_TABLE + 8 * index].
	 * until then: bt_emit_callout(t, BT_MISS);
	 */
	unsigned hit;

	bt_emit_save(t, RAX, BT_AT_SAVE0);
	bt_emit_save(t, RCX, BT_AT_SAVE1);
	bt_emit_load(t, RAX, BT_AT_TARGET);
	BT_EMIT(t, 0x0f, 0xb7, 0xc8);       /* movzx ecx, ax */
	BT_EMIT(t, 0x65, 0x8b, 0x0c, 0xcd); /* mov ecx, gs:[ecx * 8 + BT_AT_TABLE] */
	bt_emit32(t, BT_AT_TABLE);
	BT_EMIT(t, 0x8d, 0x0c, 0x08); /* lea ecx, [eax + ecx] */
	hit = bt_emit_short(t, 0xe3); /* jecxz */
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	bt_emit_callout(t, BT_MISS);
	bt_emit_here(t, hit);
	BT_EMIT(t, 0x0f, 0xb7, 0xc0);       /* movzx eax, ax */
	BT_EMIT(t, 0x65, 0x8b, 0x04, 0xc5); /* mov eax, gs:[eax * 8 + BT_AT_TABLE + 4] */
	bt_emit32(t, BT_AT_TABLE + 4);
	bt_emit_save(t, RAX, BT_AT_JUMP);
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	BT_EMIT(t, 0x65, 0xff, 0x25); /* jmp gs:[BT_AT_JUMP] */
	bt_emit32(t, BT_AT_JUMP);
	/* END EXERCISE 3.6a */
}

void
bt_emit_ret(struct bt_translation *t, const struct insn *i)
{
	bt_mark(t, BT_INSN);
	/* EXERCISE 3.6b: Save ecx at BT_AT_SAVE1 and pop into it (59), which faults as the ret would, and with the guest's ecx as it
	 * was; ret n then moves esp by lea. (SDM 2B "RET")
	 * until then: (void)i; t->maps--; bt_emit_callout(t, BT_CALLOUT); return;
	 */
	bt_emit_save(t, RCX, BT_AT_SAVE1);
	bt_emit8(t, 0x59);
	if (i->imm_size) {
		BT_EMIT(t, 0x8d, 0xa4, 0x24); /* lea esp, [esp + n] */
		bt_emit32(t, (uint32_t)i->imm & 0xffff);
	}
	/* END EXERCISE 3.6b */
	bt_emit_return_prediction(t);
	bt_emit_lookup(t);
}

/*
 * jmp and call of a register or memory: the operand is read by `mov eax, operand`, which has the
 * same ModR/M.
 */
void
bt_emit_indirect(struct bt_translation *t, const struct insn *i, const uint8_t *bytes)
{
	bt_mark(t, BT_INSN);
	/* EXERCISE 3.6c: Save eax, then the bytes of the instruction with opcode 8b at i->opcode_at and the reg field of the ModR/M
	 * behind it 0; keep what that read at BT_AT_TARGET, give eax back. A call now pushes its return address,
	 * `push imm32` (0x68): it may fault, too, and then nothing of the call has happened.
	 * until then: (void)bytes; t->maps--; bt_emit_callout(t, BT_CALLOUT); return;
	 */
	bt_emit_save(t, RAX, BT_AT_SAVE0);
	for (unsigned n = 0; n < i->len; n++)
		bt_emit8(t, n == i->opcode_at        ? 0x8b
			    : n == i->opcode_at + 1u ? bytes[n] & 0xc7
						     : bytes[n]);
	bt_emit_save(t, RAX, BT_AT_TARGET);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	if (i->op == INSN_CALL_IND) {
		bt_emit8(t, 0x68);
		bt_emit32(t, t->eip + t->guest_len + i->len);
	}
	/* END EXERCISE 3.6c */
	bt_emit_lookup(t);
}
