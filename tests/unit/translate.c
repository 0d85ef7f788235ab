/*
 * BUILD: solutions/3-translate/block.c solutions/3-translate/flags.c solutions/3-translate/chain.c
 * solutions/3-translate/indirect.c vmm/bt/iret.c vmm/bt/return_prediction.c vmm/bt/segments.c
 * vmm/x86/decode.c vmm/x86/decode_operand.c vmm/x86/decode_table.c
 */
/*
 * The translator: what is copied, what is called out for, what the sequences look like, and that
 * maps are sound for any bytes.
 */
#include <string.h>

#include "draw.h"
#include "tap.h"

#include <vmm/bt/translate.h>

static struct bt_translation t;
void
exercise_todo(const char *id, const char *where)
{
	bail_out("exercise %s is not done: %s", id, where);
}

static bool
all_hot(void *ctx, uint32_t eip)
{
	return eip == *(uint32_t *)ctx;
}

static int
translate(uint32_t eip, const uint8_t *bytes, size_t n)
{
	t = (struct bt_translation){
		.eip = eip, .bytes = bytes, .n = n, .max = BT_INSNS_MAX, .stack32 = true
	};
	return bt_translate(&t);
}

/* Translates these bytes at 0x1000 and compares with what is expected. */
#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })
static void
gives(const uint8_t *guest, size_t n, const uint8_t *ours, size_t len, const char *what)
{
	int err = translate(0x1000, guest, n);
	bool same = !err && t.len == len && !memcmp(t.code, ours, len);

	ok(same, "%s", what);
	for (unsigned i = 0; !same && i < t.len; i++)
		diag("%3u: %02x", i, t.code[i]);
}

#define INT 0xcd, BT_VECTOR
#define STUB(to) \
	INT, 0x90, 0x90, 0x90, (to)&0xff, (to) >> 8 & 0xff, (to) >> 16 & 0xff, (to) >> 24 & 0xff

static void
sequences(void)
{
	gives(BYTES(0x89, 0xd8, 0x01, 0x1e, 0xf4), BYTES(0x89, 0xd8, 0x01, 0x1e, INT),
	      "plain instructions are copied, hlt is a call-out");
	gives(BYTES(0xeb, 0x10), BYTES(STUB(0x1012)), "jmp is a stub");
	gives(BYTES(0xe8, 0x00, 0x10, 0x00, 0x00),
	      BYTES(0x68, 0x05, 0x10, 0x00, 0x00, STUB(0x2005)), "call pushes the guest's address");
	gives(BYTES(0x74, 0xfe), BYTES(0x0f, 0x84, 9, 0, 0, 0, STUB(0x1002), STUB(0x1000)),
	      "jz reaches over the other stub");
	gives(BYTES(0xe2, 0x10), BYTES(0xe2, 2, 0xeb, 9, STUB(0x1012), STUB(0x1002)),
	      "loop keeps its own branch");
	gives(BYTES(0x67, 0xe3, 0x10), BYTES(0x67, 0xe3, 2, 0xeb, 9, STUB(0x1013), STUB(0x1003)),
	      "jcxz keeps its address size");
	gives(BYTES(0xfa, 0xf4), BYTES(0x65, 0xc7, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, INT),
	      "cli writes the virtual IF");
	gives(BYTES(0xfb, 0xf4), BYTES(INT), "sti before what is not copied is a call-out");
	gives(BYTES(0x65, 0xa1, 0, 0, 0, 0), BYTES(INT), "GS is not the guest's");
	gives(BYTES(0x2e, 0xa1, 0, 0, 0, 0), BYTES(INT), "nor is CS");
	gives(BYTES(0x2e, 0x0f, 0x1f, 0x00, 0xf4), BYTES(0x2e, 0x0f, 0x1f, 0x00, INT),
	      "but a nop's operand is none");
	gives(BYTES(0x66, 0xc3), BYTES(INT), "a 16-bit ret is a call-out");
	gives(BYTES(0x0e, 0xf4), BYTES(0x65, 0xff, 0x35, BT_AT_SEL(SEG_CS), 0, 0, 0, INT),
	      "push cs pushes the guest's");
	gives(BYTES(0x8e, 0xd8, 0xf4),
	      BYTES(0x8e, 0xd8, 0x65, 0x8c, 0x1d, BT_AT_SEL(SEG_DS), 0, 0, 0, INT),
	      "mov ds is the CPU's, and noted");
	gives(BYTES(0x8e, 0xd0), BYTES(INT), "mov ss is a call-out");
	gives(BYTES(0x0f, 0x00, 0xc8), BYTES(INT), "str is a call-out");
	gives(BYTES(0xd9, 0xe8, 0xf4), BYTES(0xd9, 0xe8, INT), "x87 is copied");
}

static unsigned
count(enum bt_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t.maps; i++)
		n += t.map[i].kind == kind;
	return n;
}

static void
shadow(void)
{
	ok(!translate(0x1000, BYTES(0xfb, 0x90, 0xfa, 0xf4)) && count(BT_SHADOW) == 1 &&
		   count(BT_POLL) == 1,
	   "sti; nop: one instruction in the shadow, then a look at what waits");
	ok(t.map[1].kind == BT_SHADOW && t.map[1].guest == 1 && t.map[2].kind == BT_POLL &&
		   t.map[2].guest == 2,
	   "the call-out stands for the place behind it");
}

static void
ends(void)
{
	static uint8_t nops[400];
	uint32_t eip = 0x1002;

	memset(nops, 0x90, sizeof(nops));
	ok(!translate(0x1000, nops, sizeof(nops)) && t.guest_len == BT_INSNS_MAX &&
		   t.map[t.maps - 1].kind == BT_CHAIN,
	   "a block ends after %d instructions, with a stub", BT_INSNS_MAX);
	ok(!translate(0x1ffe, nops, sizeof(nops)) && t.guest_len == 2, "and at the end of a page");
	nops[1] = 0xb8;
	ok(!translate(0x1ffe, nops, sizeof(nops)) && t.guest_len == 1,
	   "before an instruction that crosses it");
	ok(!translate(0x1fff, nops + 1, sizeof(nops) - 1) && t.guest_len == 5 && t.insns == 1,
	   "which is a block of its own");
	nops[1] = 0x90;
	ok(!translate(0x1000, nops, 3) && t.guest_len == 3,
	   "and where no more bytes are to be had");
	ok(translate(0x1000, nops, 0) && translate(0x1000, BYTES(0xb8, 0)) < 0,
	   "without one whole instruction there is no block");
	t = (struct bt_translation){ .eip = 0x1000,
				     .bytes = nops,
				     .n = 100,
				     .max = BT_INSNS_MAX,
				     .hot = all_hot,
				     .ctx = &eip };
	ok(!bt_translate(&t) && t.guest_len == 3 && t.map[2].kind == BT_CALLOUT,
	   "a hot instruction is a call-out");
}

/* NULL, or what is wrong with the map. */
static const char *
broken_map(void)
{
	if (!t.maps || t.map[0].at)
		return "it does not begin at 0";
	if (t.maps > BT_MAP_MAX || t.len > BT_CODE_MAX || t.guest_len > 255)
		return "it is too long";
	for (unsigned i = 0; i < t.maps; i++) {
		const struct bt_map *m = &t.map[i];

		if (i && m->at <= m[-1].at)
			return "two entries are at one place";
		if (m->at >= t.len || m->guest > t.guest_len)
			return "an entry is beyond the end";
		if (m->kind >= BT_CALLOUT && m->kind != BT_IRET &&
		    (t.code[m->at] != 0xcd || t.code[m->at + 1] != BT_VECTOR))
			return "a call-out is none";
	}
	return NULL;
}

/* The last two instructions of an iret that the CPU does: each at a place of its own. */
static bool
ends_iret(unsigned at, enum insn_op op)
{
	for (unsigned n = 0; n < t.maps; n++)
		if (t.map[n].at == at && t.map[n].kind == BT_IRET)
			return op == INSN_IRET || (op == INSN_MOV_TO_SEG && t.code[at + 7] == 0xcf);
	return false;
}

/*
 * All of a translation decodes, and nothing in it may act on the machine: privileged, or a load of
 * CS, SS or GS, but for an iret that asks first.
 */
static const char *
forbidden(void)
{
	struct insn i;

	for (unsigned at = 0; at < t.len; at += i.len) {
		for (unsigned n = 0; n < t.maps; n++)
			if (t.map[n].at == at && t.map[n].kind == BT_CHAIN)
				at += BT_STUB_SIZE; /* it has an address in it */
		if (at >= t.len)
			return NULL;
		if (decode(&i, t.code + at, t.len - at, MODE32))
			return "it does not decode";
		if (ends_iret(at, i.op))
			continue;
		switch (i.op) {
		case INSN_IRET:
		case INSN_RETF:
		case INSN_JMP_FAR:
		case INSN_JMP_FAR_IND:
		case INSN_CALL_FAR:
		case INSN_CALL_FAR_IND:
		case INSN_IN:
		case INSN_OUT:
		case INSN_SGDT:
		case INSN_SMSW:
		case INSN_RET:
		case INSN_CALL:
		case INSN_CALL_IND:
			return insn_name(i.op);
		case INSN_INT:
			if ((i.imm & 0xff) != BT_VECTOR)
				return "int";
			break;
		case INSN_MOV_TO_SEG:
		case INSN_POP_SEG:
			if (i.opnd[0].reg == SEG_SS || i.opnd[0].reg == SEG_GS)
				return "a load of SS or GS";
			break;
		default:
			break;
		}
	}
	return NULL;
}

static void
random_bytes(void)
{
	uint8_t bytes[64];
	const char *wrong = NULL, *bad = NULL;
	unsigned done = 0, i;

	for (i = 0; i < 400000 && !wrong && !bad; i++) {
		for (unsigned n = 0; n < sizeof(bytes); n++)
			bytes[n] = (uint8_t)(drawn() >> 8);
		if (i & 1) /* one-byte opcodes of control and flags are rare otherwise */
			bytes[drawn() % 8] = (const uint8_t[]){
				0xfb, 0x9c, 0x9d, 0xff, 0xc3, 0xe2, 0x8e, 0x1f
			}[drawn() % 8];
		if (translate(drawn(), bytes, sizeof(bytes)))
			continue;
		done++;
		wrong = broken_map();
		bad = wrong ? NULL : forbidden();
	}
	ok(!wrong, "maps are sound for %u random blocks%s%s", done, wrong ? ": " : "",
	   wrong ? wrong : "");
	ok(!bad, "and nothing sensitive is copied%s%s", bad ? ": " : "", bad ? bad : "");
	for (i = 0; (wrong || bad) && i < t.len; i++)
		diag("%02x", t.code[i]);
}

static void
stub_jump(void)
{
	uint8_t jump[5];

	bt_stub_jump(jump, 0xffd00010, 0xffd00000);
	ok(jump[0] == 0xe9 && jump[1] == 0xeb && jump[2] == 0xff && jump[4] == 0xff,
	   "a chained stub jumps relative to its own end");
}

/* What bt_return_prediction() writes lies where bt_emit_return_prediction() has left room. */
static void
predict(void)
{
	uint8_t *code = t.code;
	unsigned hit, ask;

	ok(!translate(0x1000, BYTES(0xc3)) && count(BT_PREDICTION) == 1 && count(BT_CHAIN) == 1 &&
		   count(BT_MISS) == 1,
	   "a ret has a prediction, a stub for it, and a lookup");
	ok(!memcmp(code, (const uint8_t[]){ 0x65, 0x89, 0x0d, BT_AT_SAVE1, 0, 0, 0, 0x59, 0xeb },
		   9),
	   "it pops into ecx, which is saved, and asks at first");
	code += 8;
	hit = 8u + code[7];
	ask = 2u + code[1];
	ok(t.map[1].kind == BT_CHAIN && t.map[1].at == 8 + BT_PREDICTION_STUB &&
		   t.map[2].kind == BT_PREDICTION && t.map[2].at == 8 + BT_PREDICTION_SIZE,
	   "the stub and the call-out are where they are looked for");
	ok(hit + 7 == BT_PREDICTION_STUB && ask + 14 == BT_PREDICTION_SIZE &&
		   code[BT_PREDICTION_BUDGET] == BT_AT_BUDGET + 4 * 0x10 &&
		   code[BT_PREDICTION_BUDGET + 15] == BT_PREDICTION_SIZE - 7 - 40,
	   "jumps lead to where ecx is given back or kept, and a wrong prediction is counted");
	bt_return_prediction(code, 0x12345678);
	ok(!memcmp(code,
		   (const uint8_t[]){ 0x8d, 0x89, 0x88, 0xa9, 0xcb, 0xed, 0xe3, (uint8_t)(hit - 8),
				      0x8d, 0x89, 0x78, 0x56, 0x34, 0x12 },
		   14) &&
		   !memcmp(code + BT_PREDICTION_STUB + 5,
			   (const uint8_t[]){ 0x78, 0x56, 0x34, 0x12 }, 4),
	   "a prediction is taken away, looked at, and added again");
	translate(0x1000, BYTES(0xc2, 0x08, 0x00));
	ok(!memcmp(t.code + 7, (const uint8_t[]){ 0x59, 0x8d, 0xa4, 0x24, 8, 0, 0, 0, 0xeb }, 9),
	   "ret 8 drops eight bytes more");
}

static bool
yes(void *ctx, uint32_t eip)
{
	(void)ctx, (void)eip;
	return true;
}

/*
 * An iret that is done in the cache has one way out of its sequence to the host, which both its
 * questions lead to; and some have no other.
 */
static void
iret(void)
{
	const struct bt_map *m = t.map;
	unsigned refuse, behind;

	ok(!translate(0x1000, BYTES(0xcf)) && t.guest_len == 1 && count(BT_INSN) == 1 &&
		   count(BT_CALLOUT) == 1 && count(BT_IRET) == 5 && count(BT_MISS) == 1,
	   "an iret may be a call-out, a real one, or a lookup");
	ok(m[3].kind == BT_CALLOUT && m[4].kind == BT_IRET && m[5].kind == BT_IRET &&
		   m[5].at == m[4].at + 7 && t.code[m[5].at] == 0xcf,
	   "the load of GS and the iretd behind it are places of the guest's");
	ok(m[6].kind == BT_IRET && !memcmp(t.code + m[6].at, (const uint8_t[]){ 0x8b, 4, 0x24 }, 3),
	   "and so is the load of its eip");
	refuse = m[3].at - 14; /* where ecx and eax are given back */
	behind = m[6].at - 14;
	ok(t.code[behind - 2] == 0xeb && behind + (int8_t)t.code[behind - 1] == refuse,
	   "what is refused in ring 0 is refused there, too");
	gives(BYTES(0x66, 0xcf), BYTES(INT), "a 16-bit iret is a call-out");
	t = (struct bt_translation){ .eip = 0x1000, .max = 1, .stack32 = true, .host_irets = true };
	t.bytes = (const uint8_t[]){ 0xcf };
	t.n = 1;
	ok(!bt_translate(&t) && t.len == 2, "so is one that the host is to do");
	t.host_irets = false;
	t.stack32 = false;
	ok(!bt_translate(&t) && t.len == 2, "one on a 16-bit stack");
	t.stack32 = true;
	t.hot = yes;
	ok(!bt_translate(&t) && t.len == 2, "and one with a breakpoint on it");
}

int
main(void)
{
	sequences();
	iret();
	predict();
	shadow();
	ends();
	stub_jump();
	random_bytes();
	return done_testing();
}
