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
	 */
	exercise_todo("3.6", "handouts/lab3b.md#ex-3-6");
	bt_emit_callout(t, BT_MISS);
	/* END EXERCISE 3.6a */
}

void
bt_emit_ret(struct bt_translation *t, const struct insn *i)
{
	bt_mark(t, BT_INSN);
	/* EXERCISE 3.6b: Save ecx at BT_AT_SAVE1 and pop into it (59), which faults as the ret would, and with the guest's ecx as it
	 * was; ret n then moves esp by lea. (SDM 2B "RET")
	 */
	exercise_todo("3.6", "handouts/lab3b.md#ex-3-6");
	(void)i;
	t->maps--;
	bt_emit_callout(t, BT_CALLOUT);
	return;
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
	 */
	exercise_todo("3.6", "handouts/lab3b.md#ex-3-6");
	(void)bytes;
	t->maps--;
	bt_emit_callout(t, BT_CALLOUT);
	return;
	/* END EXERCISE 3.6c */
	bt_emit_lookup(t);
}
