/*
 * The block translator: from a guest instruction on, until control leaves. Lab 3A, exercise 3.1.
 *
 * Most instructions are copied. Those that would show the real machine or act on it become a
 * call-out or inline code, and those that depend on where they stand are rewritten.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/bt/translate.h>

/* EXERCISE 3.0: free region for helpers of your own. */
/* END EXERCISE 3.0 */

/*
 * Sensitive by name, but the same in ring 1 as in ring 0: unknown to this CPU model, or none of the
 * host's business.
 */
static bool
same_in_ring_1(unsigned op)
{
	switch (op) {
	case INSN_CPUID:
	case INSN_RDTSC:
	case INSN_RDTSCP:
	case INSN_RDPID:
	case INSN_ARPL:
	case INSN_VMCALL:
	case INSN_VMMCALL:
	case INSN_VMX:
	case INSN_SVM:
	case INSN_SGX:
	case INSN_GETSEC:
	case INSN_XGETBV:
	case INSN_XSETBV:
	case INSN_XSAVES:
	case INSN_XRSTORS:
	case INSN_RDPKRU:
	case INSN_WRPKRU:
	case INSN_FSGSBASE:
	case INSN_SWAPGS:
	case INSN_CLAC:
	case INSN_STAC:
	case INSN_RSM:
		return true;
	default:
		return false;
	}
}

/* CS and GS are Zeno's while translated code runs. A nop's or lea's operand is not accessed. */
static bool
uses_our_segments(const struct insn *i)
{
	return i->has_mem && i->op != INSN_NOP && i->op != INSN_LEA &&
	       (i->mem_seg == SEG_CS || i->mem_seg == SEG_GS);
}

static bool
is_flags(unsigned op)
{
	return op == INSN_CLI || op == INSN_STI || op == INSN_PUSHF || op == INSN_POPF;
}

/* How the instruction at `eip` is translated. */
enum bt_class
bt_classify(const struct bt_translation *t, const struct insn *i, uint32_t eip)
{
	/* EXERCISE 3.1a: BT_CALL_OUT is what t->hot() names (where there is a t->hot), and what reaches memory through CS or GS. Then,
	 * insn_is_branch() is BT_CONTROL, but a call-out with a 16-bit operand, and so is a ret without t->stack32.
	 * is_flags() is BT_INLINE, but a pushf or popf is a call-out with a 16-bit operand or without t->stack32.
	 * bt_is_segment() is BT_INLINE. Of all others, a sensitive one (insn_is_sensitive()) is a call-out, unless it is
	 * same_in_ring_1(); what is left is BT_IDENTITY. (The list is that of Lab 1B's audit)
	 * until then:
	 * (void)is_flags, (void)uses_our_segments, (void)same_in_ring_1;
	 * return BT_CALL_OUT;
	 */
	if ((t->hot && t->hot(t->ctx, eip)) || uses_our_segments(i))
		return BT_CALL_OUT;
	if (insn_is_branch(i->op))
		return i->opsize == 4 && (t->stack32 || i->op != INSN_RET) ? BT_CONTROL
									   : BT_CALL_OUT;
	if (is_flags(i->op)) {
		if (i->op == INSN_CLI || i->op == INSN_STI)
			return BT_INLINE;
		return i->opsize == 4 && t->stack32 ? BT_INLINE : BT_CALL_OUT;
	}
	if (bt_is_segment(t, i))
		return BT_INLINE;
	return insn_is_sensitive(i->op) && !same_in_ring_1(i->op) ? BT_CALL_OUT : BT_IDENTITY;
	/* END EXERCISE 3.1a */
}

/*
 * QEMU 7.2 computes cmpxchg8b's flags from what its translator has not stored yet, and leaves
 * rubbish in the flags register, TF and NT among it. At the end of a block of QEMU's own all is
 * stored: a jump to the next instruction.
 */
static void
settle_flags(struct bt_translation *t, const struct insn *i)
{
	if (i->op == INSN_CMPXCHG8B)
		BT_EMIT(t, 0xeb, 0x00);
}

static void
copy(struct bt_translation *t, const struct insn *i, enum bt_kind kind)
{
	bt_mark(t, kind);
	settle_flags(t, i);
	for (unsigned n = 0; n < i->len; n++)
		bt_emit8(t, t->bytes[t->guest_len + n]);
	t->guest_len += i->len;
	t->insns++;
}

/*
 * The instruction `ahead` bytes on, if it belongs to this block: not beyond the page that the block
 * begins in.
 */
static int
next(struct bt_translation *t, unsigned ahead, struct insn *i)
{
	unsigned from = t->guest_len + ahead;
	int err = decode(i, t->bytes + from, t->n - from, MODE32);

	if (!err && from && ((t->eip + from + i->len - 1) ^ t->eip) & ~0xfffu)
		return -1; /* a block of one instruction may cross */
	return err;
}

/* sti, inline, with what follows it: false if that is not simply copied. */
static bool
sti(struct bt_translation *t, const struct insn *i)
{
	struct insn after;

	if (t->insns + 2 > t->max || next(t, i->len, &after) ||
	    bt_classify(t, &after, t->eip + t->guest_len + i->len) != BT_IDENTITY)
		return false;
	bt_mark(t, BT_INSN);
	bt_emit_sti(t);
	t->guest_len += i->len;
	t->insns++;
	copy(t, &after, BT_SHADOW);
	bt_emit_poll(t);
	return true;
}

/* cli, sti, pushf, popf, and segment registers. True: the block goes on. */
static bool
inline_flags(struct bt_translation *t, const struct insn *i)
{
	if (i->op == INSN_STI) {
		if (sti(t, i))
			return true;
		bt_emit_callout(t, BT_CALLOUT);
		t->guest_len += i->len;
		return false;
	}
	bt_mark(t, BT_INSN);
	if (i->op == INSN_CLI)
		bt_emit_cli(t);
	else if (i->op == INSN_PUSHF)
		bt_emit_pushf(t);
	else if (i->op == INSN_POPF)
		bt_emit_popf(t);
	else
		bt_emit_segment(t, i, t->bytes + t->guest_len);
	t->guest_len += i->len;
	t->insns++;
	return true;
}

static void
control(struct bt_translation *t, const struct insn *i)
{
	const uint8_t *bytes = t->bytes + t->guest_len;

	if (i->op == INSN_JMP_IND || i->op == INSN_CALL_IND)
		bt_emit_indirect(t, i, bytes);
	else if (i->op == INSN_RET)
		bt_emit_ret(t, i);
	else
		bt_emit_direct(t, i);
	t->guest_len += i->len;
}

/* One instruction. True: the block goes on. */
static bool
one(struct bt_translation *t, const struct insn *i)
{
	switch (bt_classify(t, i, t->eip + t->guest_len)) {
	case BT_IDENTITY:
		copy(t, i, BT_INSN);
		return true;
	case BT_INLINE:
		return inline_flags(t, i);
	case BT_CONTROL:
		control(t, i);
		return false;
	default:
		if (i->op != INSN_IRET || !bt_emit_iret(t, i))
			bt_emit_callout(t, BT_CALLOUT);
		t->guest_len += i->len;
		return false;
	}
}

int
bt_translate(struct bt_translation *t)
{
	struct insn i;
	int err;

	t->len = t->guest_len = t->insns = t->maps = 0;
	/* EXERCISE 3.1b: Translate instruction by instruction: next(t, 0, &i) takes the one at t->guest_len apart, one(t, &i)
	 * translates it and says whether the block goes on. It also ends after t->max instructions, after
	 * BT_GUEST_MAX bytes, or where next() fails; a block that ends in none of its own instructions goes on with
	 * bt_emit_chain() to the address behind it. The first instruction's error is the block's.
	 * until then:
	 * (void)one, (void)err, (void)i;
	 * return -ENOSYS;
	 */
	err = next(t, 0, &i);
	if (err)
		return err;
	do {
		if (!one(t, &i))
			return 0;
	} while (t->insns < t->max && t->guest_len < BT_GUEST_MAX && !next(t, 0, &i));
	bt_emit_chain(t, t->eip + t->guest_len);
	return 0;
	/* END EXERCISE 3.1b */
}
