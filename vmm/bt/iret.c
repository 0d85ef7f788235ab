/*
 * iret without an exit: to ring 3 by the CPU, to where it came from in ring 0 by translated code.
 *
 * The iret to ring 3 is a real one, from ring 1, by the frame on the guest's own stack. It reads
 * descriptors from the shadow tables, which have the guest's, and as IOPL is 0 there it leaves the
 * CPU's IF and IOPL alone (SDM 2A "IRET"). What came of it the host finds out at the next trap
 * (rings.c). Before the iret comes one question, and where it is answered by no the host does the
 * iret: whether
 *
 *   CS of the frame has RPL 3, for behind an iret to ring 1 the guest's own code would run there;
 *   VM and IOPL are 0 in the frame: in ring 1 the CPU does not take them (and QEMU takes VM);
 *   BT_AT_HOST_IRET is 0: no interrupt waits, and the host has seen the guest in ring 3 before.
 *
 * The frame's flags are kept at BT_AT_BACK. For as long as the iret may fault, the guest's IF is
 * what it was.
 *
 * An iret to the code segment that CS holds, BT_AT_MINUS_CS, is a popf and a ret, where the flags
 * have nothing of BT_AT_SLOW. RF is not kept: nobody sees it while there are no breakpoints.
 *
 * At each place of kind BT_IRET registers and flags are the guest's. Each word that may fault is
 * read at such a place; and if one does, or the iret itself, the host begins the whole iret anew,
 * and finds the fault that the guest's CPU would have found first. An interrupt finds the guest
 * before its iret or behind it: the last two instructions of a real one have a place each.
 *
 * Pure, as the rest of the translator (translate.h).
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/translate.h>

#define NOT_RPL_3 0xc0000000u /* RPL, inverted, where EFLAGS has nothing */
#define REFUSED   (NOT_RPL_3 | FLAG_VM | FLAG_IOPL)

static void
give_back(struct bt_translation *t)
{
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
}

/* The words that are asked about are there: a fault at either is the host's iret's. */
static void
touch(struct bt_translation *t)
{
	bt_emit_save(t, RAX, BT_AT_SAVE0);
	bt_mark(t, BT_IRET);
	BT_EMIT(t, 0x8b, 0x44, 0x24, 8); /* mov eax, [esp + 8] */
	bt_emit_save(t, RAX, BT_AT_BACK);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	bt_mark(t, BT_IRET);
	BT_EMIT(t, 0x8b, 0x44, 0x24, 4); /* mov eax, [esp + 4] */
}

/* eax has CS: a jump that is taken if it is what CS holds. */
static unsigned
ask_same(struct bt_translation *t)
{
	bt_emit_save(t, RCX, BT_AT_SAVE1);
	BT_EMIT(t, 0x0f, 0xb7, 0xc0); /* movzx eax, ax */
	bt_emit_load(t, RCX, BT_AT_MINUS_CS);
	BT_EMIT(t, 0x8d, 0x0c, 0x08); /* lea ecx, [eax + ecx] */
	return bt_emit_short(t, 0xe3);
}

/* The same, if nothing is refused on the way to ring 3. Flags are what they were. */
static unsigned
ask(struct bt_translation *t)
{
	BT_EMIT(t, 0x89, 0xc1);             /* mov ecx, eax */
	BT_EMIT(t, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
	BT_EMIT(t, 0xf7, 0xd1);             /* not ecx */
	BT_EMIT(t, 0xc1, 0xe1, 30);         /* shl ecx, 30 */
	BT_EMIT(t, 0x0b, 0x4c, 0x24, 8);    /* or ecx, [esp + 8] */
	BT_EMIT(t, 0x81, 0xe1);             /* and ecx, REFUSED */
	bt_emit32(t, REFUSED);
	BT_EMIT(t, 0x65, 0x0b, 0x0d); /* or ecx, gs:[BT_AT_HOST_IRET] */
	bt_emit32(t, BT_AT_HOST_IRET);
	BT_EMIT(t, 0x04, 0x7f, 0x9e);  /* add al, 0x7f; sahf */
	return bt_emit_short(t, 0xe3); /* jecxz */
}

static void
to_ring_3(struct bt_translation *t)
{
	give_back(t);
	bt_mark(t, BT_IRET);
	BT_EMIT(t, 0x65, 0x8e, 0x2d); /* mov gs, gs:[BT_AT_BACK_GS] */
	bt_emit32(t, BT_AT_BACK_GS);
	bt_mark(t, BT_IRET);
	bt_emit8(t, 0xcf); /* iretd */
}

/* eax has what BT_AT_BACK has: of these flags one. */
static void
keep_flag(struct bt_translation *t, uint32_t flag, uint32_t at)
{
	bt_emit_load(t, RAX, BT_AT_BACK);
	bt_emit8(t, 0x25); /* and eax, flag */
	bt_emit32(t, flag);
	bt_emit_save(t, RAX, at);
}

/* To the same ring; `refuse` is where the host is asked. */
static void
to_ring_0(struct bt_translation *t, unsigned refuse)
{
	unsigned go;

	BT_EMIT(t, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
	bt_emit_load(t, RCX, BT_AT_BACK);
	BT_EMIT(t, 0x65, 0x23, 0x0d); /* and ecx, gs:[BT_AT_SLOW] */
	bt_emit32(t, BT_AT_SLOW);
	BT_EMIT(t, 0x04, 0x7f, 0x9e); /* add al, 0x7f; sahf */
	go = bt_emit_short(t, 0xe3);  /* jecxz */
	bt_emit8(t, 0xeb);            /* jmp short */
	bt_emit8(t, (uint8_t)(refuse - (t->len + 1)));
	bt_emit_here(t, go);
	give_back(t);
	bt_mark(t, BT_IRET);
	BT_EMIT(t, 0x8b, 0x04, 0x24); /* mov eax, [esp] */
	bt_emit_save(t, RAX, BT_AT_TARGET);
	keep_flag(t, FLAG_IF, BT_AT_IF);
	keep_flag(t, FLAG_IOPL, BT_AT_IOPL);
	bt_emit_load(t, RAX, BT_AT_SAVE0);
	BT_EMIT(t, 0x8d, 0x64, 0x24, 8, 0x9d); /* lea esp, [esp + 8]; popfd */
	bt_emit_lookup(t);
}

/* False: this one is a call-out. */
bool
bt_emit_iret(struct bt_translation *t, const struct insn *i)
{
	unsigned same, go, refuse;

	if (i->opsize != 4 || !t->stack32 || t->host_irets ||
	    (t->hot && t->hot(t->ctx, t->eip + t->guest_len)))
		return false;
	bt_mark(t, BT_INSN); /* the guest begins here, and after an interrupt begins here again */
	touch(t);
	same = ask_same(t);
	go = ask(t);
	refuse = t->len;
	give_back(t);
	bt_emit_callout(t, BT_CALLOUT);
	bt_emit_here(t, go);
	to_ring_3(t);
	bt_emit_here(t, same);
	to_ring_0(t, refuse);
	return true;
}
