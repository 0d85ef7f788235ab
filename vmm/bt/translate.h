/*
 * The translator of the engine bt: bytes of the guest's kernel in, bytes for the translation cache
 * and a map out.
 *
 * Pure C, no state: the engine, the host tests and the fuzzer share it. What it emits does not
 * depend on where it will lie: control leaves a block by stubs, which chaining patches later, and
 * all data of Zeno's own is reached through GS, which holds LOAN_SEL while translated code runs.
 *
 * Two rules keep faults precise. In each sequence the access that can fault for the guest comes
 * while all guest registers and flags are still the guest's; and what follows uses registers only
 * after it has saved them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kern/kern.h>
#include <vmm/x86/insn.h>

#define BT_VECTOR    0xe0 /* `int BT_VECTOR` is a call-out */
#define BT_CODE_MAX  2560 /* bytes of one translation */
#define BT_MAP_MAX   128
#define BT_INSNS_MAX 32
#define BT_GUEST_MAX 200 /* bytes: the guest's part of a map entry has 8 bits */
#define BT_STUB_SIZE 9

/* What translated code finds at GS: a page that it writes, then the table of indirect targets. */
#define BT_AT_IF       0  /* the guest's IF, in its place in EFLAGS */
#define BT_AT_IOPL     4  /* its IOPL, likewise */
#define BT_AT_PENDING  8  /* nonzero: an interrupt waits for IF */
#define BT_AT_SLOW     12 /* a popf of one of these flags is a call-out, and an iret */
#define BT_AT_SAVE0    16
#define BT_AT_SAVE1    20
#define BT_AT_TARGET   24               /* of an indirect branch: guest eip */
#define BT_AT_JUMP     28               /* and where its translation is */
#define BT_AT_SEL(seg) (32 + 4 * (seg)) /* the guest's selectors, by enum seg_reg */
#define BT_AT_MINUS_GS 56 /* minus the selector with which a load of GS changes nothing */
#define BT_AT_MINUS_CS 60 /* minus the selector that an iret may load CS with, likewise (iret.c) */
/* Of an iret to ring 3. */
#define BT_AT_HOST_IRET 64 /* nonzero: the host does it */
#define BT_AT_BACK      68 /* the flags that it took from its frame */
#define BT_AT_BACK_GS   72 /* what GS is loaded with */
#define BT_AT_BUDGET \
	76 /* by ret: how often its prediction may be wrong before the host is asked for another */
#define BT_BUDGETS    256u /* of them; rets share one */
#define BT_AT_TABLE   0x1000
#define BT_TABLE_BITS 16

/* What begins at an offset of a translation. */
enum bt_kind {
	BT_INSN,    /* a guest instruction: registers and flags are the guest's */
	BT_SHADOW,  /* the same, one behind a sti */
	BT_CALLOUT, /* `int`: the host does this guest instruction */
	BT_CHAIN,   /* a stub: the guest is at its target */
	BT_MISS,    /* `int`: the guest is at BT_AT_TARGET, which the table does not have */
	BT_POLL,    /* `int`: an interrupt waited for the end of a sti's shadow */
	BT_PREDICTION, /* `int`: the guest is at BT_AT_TARGET, which may be this ret's prediction from now on */
	BT_IRET, /* a part of an iret: registers and flags are the guest's, and GS may be */
};

/*
 * What bt_emit_return_prediction() emits, in bytes: the call-out of kind BT_PREDICTION is behind
 * it; in it are:
 */
#define BT_PREDICTION_SIZE   79
#define BT_PREDICTION_STUB   56 /* the stub that leads to the prediction */
#define BT_PREDICTION_BUDGET 24 /* the offset from GS of how many wrong ones are left */

struct bt_map {
	uint16_t at;   /* offset in the translation */
	uint8_t guest; /* offset in the guest's code */
	uint8_t kind;  /* enum bt_kind */
};

struct bt_translation {
	/* in */
	uint32_t eip;
	const uint8_t *bytes; /* the guest's, from eip on */
	size_t n;
	unsigned max;    /* instructions */
	bool stack32;    /* SS.B: the stack pointer is esp */
	bool host_loads; /* the CPU may not load segments itself: its GDT is not up to date */
	bool host_irets; /* nor do an iret */
	bool (*hot)(void *ctx, uint32_t eip); /* true: make this one a call-out; may be NULL */
	void *ctx;
	/* out */
	unsigned len, guest_len, insns, maps;
	uint8_t code[BT_CODE_MAX];
	struct bt_map map[BT_MAP_MAX];
};

/*
 * 0, or what decode() says of the first instruction, and nothing has been translated; -ENOSYS:
 * exercise 3.1 is not done.
 */
int bt_translate(struct bt_translation *t);

/* How an instruction is translated. */
enum bt_class { BT_IDENTITY, BT_INLINE, BT_CONTROL, BT_CALL_OUT };
enum bt_class bt_classify(const struct bt_translation *t, const struct insn *i, uint32_t eip);

/* flags.c, indirect.c, chain.c */
void bt_emit_cli(struct bt_translation *t);
void bt_emit_sti(struct bt_translation *t);
void bt_emit_pushf(struct bt_translation *t);
void bt_emit_popf(struct bt_translation *t);
void bt_emit_poll(struct bt_translation *t);
void bt_emit_ret(struct bt_translation *t, const struct insn *i);
void bt_emit_return_prediction(struct bt_translation *t); /* vmm/bt/return_prediction.c */
void bt_return_prediction(uint8_t code[BT_PREDICTION_SIZE], uint32_t target);
void bt_emit_indirect(struct bt_translation *t, const struct insn *i, const uint8_t *bytes);
void bt_emit_lookup(struct bt_translation *t);
bool bt_emit_iret(struct bt_translation *t, const struct insn *i); /* vmm/bt/iret.c */
/* vmm/bt/segments.c */
bool bt_is_segment(const struct bt_translation *t, const struct insn *i);
void bt_emit_segment(struct bt_translation *t, const struct insn *i, const uint8_t *bytes);
void bt_emit_chain(struct bt_translation *t, uint32_t target);
void bt_emit_direct(struct bt_translation *t, const struct insn *i);
/* The bytes of a stub that goes to `to`; both are addresses in the cache. */
void bt_stub_jump(uint8_t stub[5], uint32_t from, uint32_t to);

/* ---- bytes ---- */

static inline void
bt_emit8(struct bt_translation *t, uint8_t byte)
{
	t->code[t->len++] = byte;
}

static inline void
bt_emit32(struct bt_translation *t, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		bt_emit8(t, (uint8_t)(value >> 8 * i));
}

/* Says what begins here, for the instruction that is being translated. */
static inline void
bt_mark(struct bt_translation *t, enum bt_kind kind)
{
	t->map[t->maps++] = (struct bt_map){ .at = (uint16_t)t->len,
					     .guest = (uint8_t)t->guest_len,
					     .kind = (uint8_t)kind };
}

static inline void
bt_emit_callout(struct bt_translation *t, enum bt_kind kind)
{
	bt_mark(t, kind);
	bt_emit8(t, 0xcd); /* int imm8 */
	bt_emit8(t, BT_VECTOR);
}

/* mov gs:[at], reg, and the other way round; no flags change. */
static inline void
bt_emit_save(struct bt_translation *t, enum gpr reg, uint32_t at)
{
	bt_emit8(t, 0x65);
	bt_emit8(t, 0x89);
	bt_emit8(t, (uint8_t)(reg << 3 | 5));
	bt_emit32(t, at);
}

static inline void
bt_emit_load(struct bt_translation *t, enum gpr reg, uint32_t at)
{
	bt_emit8(t, 0x65);
	bt_emit8(t, 0x8b);
	bt_emit8(t, (uint8_t)(reg << 3 | 5));
	bt_emit32(t, at);
}

/*
 * A short forward jump whose distance is not known yet: returns where it stands, for
 * bt_emit_here().
 */
static inline unsigned
bt_emit_short(struct bt_translation *t, uint8_t opcode)
{
	bt_emit8(t, opcode);
	bt_emit8(t, 0);
	return t->len;
}

static inline void
bt_emit_here(struct bt_translation *t, unsigned from)
{
	t->code[from - 1] = (uint8_t)(t->len - from);
}

#define BT_EMIT(t, ...)                                          \
	do {                                                     \
		static const uint8_t bytes_[] = { __VA_ARGS__ }; \
		for (unsigned i_ = 0; i_ < sizeof(bytes_); i_++) \
			bt_emit8(t, bytes_[i_]);                 \
	} while (0)
