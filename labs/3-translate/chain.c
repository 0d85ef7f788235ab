/*
 * Direct branches, and the stubs by which control leaves a block. Lab 3B, exercise 3.5.
 *
 * A stub first is a call-out with the guest's target behind it. When the target has been translated
 * it becomes a jump, and the host is out of the way.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/translate.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/* int, room for the five bytes of a jump, and the target. */
void
bt_emit_chain(struct bt_translation *t, uint32_t target)
{
	bt_emit_callout(t, BT_CHAIN);
	BT_EMIT(t, 0x90, 0x90, 0x90);
	bt_emit32(t, target);
}

void
bt_stub_jump(uint8_t stub[5], uint32_t from, uint32_t to)
{
	/* EXERCISE 3.5a: jmp rel32 (0xe9): relative to what? (SDM 2A "JMP") */
	exercise_todo("3.5", "handouts/lab3b.md#ex-3-5");
	stub[0] = 0xcd;
	stub[1] = BT_VECTOR;
	stub[2] = stub[3] = stub[4] = 0x90;
	(void)from, (void)to;
	/* END EXERCISE 3.5a */
}

/* jmp, jcc, jecxz, loop, call with the distance in the instruction. */
void
bt_emit_direct(struct bt_translation *t, const struct insn *i)
{
	uint32_t after = t->eip + t->guest_len + i->len, target = after + (uint32_t)i->imm;

	bt_mark(t, BT_INSN);
	/* EXERCISE 3.5b: jmp is a stub; call pushes `after` (0x68), then a stub. A conditional one has two. A jcc
	 * jumps over the stub for `after` to the one for `target` by 0f 80+cc rel32, where rel32 is BT_STUB_SIZE. jecxz and
	 * loop jump over a short jump (eb) of two bytes to the stub for `target`, and that jump leads over it to the
	 * one for `after`; or, like a jcc, over the stub for `after`: BT_STUB_SIZE fits into a rel8. Keep jecxz's and loop's opcode (i->opcode), and
	 * their address size: a prefix 67 makes it cx. (SDM 2A "Jcc", "LOOP/LOOPcc")
	 */
	exercise_todo("3.5", "handouts/lab3b.md#ex-3-5");
	(void)target, (void)after;
	t->maps--;
	bt_emit_callout(t, BT_CALLOUT);
	/* END EXERCISE 3.5b */
}
