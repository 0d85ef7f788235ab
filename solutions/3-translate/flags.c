/*
 * The guest's virtual flags, inline: cli, sti, pushf, popf without an exit. Lab 3A, exercise 3.4.
 *
 * The CPU's IF is 1 and its IOPL 0 while translated code runs; the guest's own are at GS:BT_AT_IF
 * and BT_AT_IOPL. What stands for an instruction may change no flag that the instruction does not
 * change: mov, lea and jecxz change none. Nor a register: what is needed is saved first.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/translate.h>

#define OUR_IF ((int32_t)FLAG_IF) /* what a real pushf adds to the guest's flags */

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/* mov dword gs:[at], value */
static void
store(struct bt_translation *t, uint32_t at, uint32_t value)
{
	BT_EMIT(t, 0x65, 0xc7, 0x05);
	bt_emit32(t, at);
	bt_emit32(t, value);
}

void
bt_emit_cli(struct bt_translation *t)
{
	/* EXERCISE 3.4a: store() the new IF.
	 * until then: bt_emit_callout(t, BT_CALLOUT);
	 */
	store(t, BT_AT_IF, 0);
	/* END EXERCISE 3.4a */
}

void
bt_emit_sti(struct bt_translation *t)
{
	store(t, BT_AT_IF, FLAG_IF);
}

/* Behind the instruction in a sti's shadow: if an interrupt waits, out. (SDM 2B "STI") */
void
bt_emit_poll(struct bt_translation *t)
{
	/* EXERCISE 3.4b: Save ecx at BT_AT_SAVE0, load BT_AT_PENDING into it; jecxz (0xe3, bt_emit_short()) over
	 * the call-out of kind BT_POLL, before which ecx is the guest's again, as it is after the jump.
	 * until then: bt_emit_callout(t, BT_POLL);
	 */
	unsigned none;

	bt_emit_save(t, RCX, BT_AT_SAVE0);
	bt_emit_load(t, RCX, BT_AT_PENDING);
	none = bt_emit_short(t, 0xe3);
	bt_emit_load(t, RCX, BT_AT_SAVE0);
	bt_emit_callout(t, BT_POLL);
	bt_emit_here(t, none);
	bt_emit_load(t, RCX, BT_AT_SAVE0);
	/* END EXERCISE 3.4b */
}

/* The real pushf comes first: it faults, if it does, with all registers as they were. */
void
bt_emit_pushf(struct bt_translation *t)
{
	/* EXERCISE 3.4c: pushfd (0x9c); then put the guest's IF and IOPL into the image at [esp] in place of the CPU's 1 and 0, with
	 * eax and ecx saved at BT_AT_SAVE0 and BT_AT_SAVE1: image = real - OUR_IF + IF + IOPL, by lea.
	 * (SDM 2B "PUSHF/PUSHFD")
	 * until then: bt_emit_callout(t, BT_CALLOUT);
	 */
	bt_emit8(t, 0x9c);
	bt_emit_save(t, RAX, BT_AT_SAVE0);
	bt_emit_save(t, RCX, BT_AT_SAVE1);
	BT_EMIT(t, 0x8b, 0x04, 0x24); /* mov eax, [esp] */
	bt_emit_load(t, RCX, BT_AT_IF);
	BT_EMIT(t, 0x8d, 0x84, 0x08); /* lea eax, [eax + ecx - OUR_IF] */
	bt_emit32(t, (uint32_t)-OUR_IF);
	bt_emit_load(t, RCX, BT_AT_IOPL);
	BT_EMIT(t, 0x8d, 0x04, 0x08); /* lea eax, [eax + ecx] */
	BT_EMIT(t, 0x89, 0x04, 0x24); /* mov [esp], eax */
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	/* END EXERCISE 3.4c */
}

/* A popf may clobber the flags before it loads them. */
void
bt_emit_popf(struct bt_translation *t)
{
	/* EXERCISE 3.4d: Read the image into eax, which is saved: that is the access that may fault. If it has one of the
	 * flags at BT_AT_SLOW (TF, NT; IF, if an interrupt waits) the host does the popf, with eax as it was. Else keep IF and IOPL
	 * of the image at BT_AT_IF and BT_AT_IOPL, give eax back, and popfd (0x9d) for the rest: in ring 1 with IOPL 0
	 * it leaves both alone. (SDM 2B "POPF/POPFD/POPFQ", table 4-16)
	 * until then: bt_emit_callout(t, BT_CALLOUT);
	 */
	unsigned slow, done;

	bt_emit_save(t, RAX, BT_AT_SAVE0);
	BT_EMIT(t, 0x8b, 0x04, 0x24); /* mov eax, [esp] */
	BT_EMIT(t, 0x65, 0x85, 0x05); /* test gs:[BT_AT_SLOW], eax */
	bt_emit32(t, BT_AT_SLOW);
	slow = bt_emit_short(t, 0x75); /* jnz */
	bt_emit8(t, 0x25);             /* and eax, IF */
	bt_emit32(t, FLAG_IF);
	bt_emit_save(t, RAX, BT_AT_IF);
	BT_EMIT(t, 0x8b, 0x04, 0x24);
	bt_emit8(t, 0x25); /* and eax, IOPL */
	bt_emit32(t, FLAG_IOPL);
	bt_emit_save(t, RAX, BT_AT_IOPL);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	bt_emit8(t, 0x9d);
	done = bt_emit_short(t, 0xeb);
	bt_emit_here(t, slow);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	bt_emit_callout(t, BT_CALLOUT);
	bt_emit_here(t, done);
	/* END EXERCISE 3.4d */
}
