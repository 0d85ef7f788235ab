/*
 * Where a ret leads: mostly to where it led before. That is compared inline, and where it is right,
 * a ret is six instructions and a call two.
 *
 *           before the first time           from then on
 *       0:  jmp ask                         lea ecx, [ecx - prediction]     both change no flag
 *       6:  jecxz hit                       (the same)
 *       8:  lea ecx, [ecx + 0]              lea ecx, [ecx + prediction]
 *           mov gs:[BT_AT_TARGET], ecx
 *           one less at gs:[BT_AT_BUDGET ...], and if that is 0, to again
 *           mov ecx, gs:[BT_AT_SAVE1]
 *           jmp lookup
 *      hit: mov ecx, gs:[BT_AT_SAVE1]
 *      56:  a stub that leads nowhere       a stub that leads to the prediction
 *      ask: mov gs:[BT_AT_TARGET], ecx
 *    again: mov ecx, gs:[BT_AT_SAVE1]
 *      79:  int BT_VECTOR, of kind BT_PREDICTION
 *   lookup:
 *
 * A prediction that is often wrong is replaced, and each time it may be wrong twice as often before
 * it is again: a function with many callers has its prediction written a few times, and no more.
 *
 * Pure, as the rest of the translator (translate.h).
 */
#include <vmm/bt/translate.h>

static void
put32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

/*
 * ecx has the guest's target, and its own ecx is at BT_AT_SAVE1. What follows has the target at
 * BT_AT_TARGET instead.
 */
void
bt_emit_return_prediction(struct bt_translation *t)
{
	uint32_t eip = t->eip + t->guest_len,
		 budget = BT_AT_BUDGET + 4 * ((eip ^ eip >> 8) % BT_BUDGETS);
	unsigned ask, hit, again, lookup;

	ask = bt_emit_short(t, 0xeb);
	BT_EMIT(t, 0x90, 0x90, 0x90, 0x90);
	hit = bt_emit_short(t, 0xe3);
	BT_EMIT(t, 0x8d, 0x89, 0, 0, 0, 0); /* lea ecx, [ecx + disp32] */
	bt_emit_save(t, RCX, BT_AT_TARGET);
	bt_emit_load(t, RCX, budget);
	BT_EMIT(t, 0x8d, 0x49, 0xff); /* lea ecx, [ecx - 1] */
	bt_emit_save(t, RCX, budget);
	again = bt_emit_short(t, 0xe3);
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	lookup = bt_emit_short(t, 0xeb);
	bt_emit_here(t, hit);
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	bt_emit_chain(t, 0);
	bt_emit_here(t, ask);
	bt_emit_save(t, RCX, BT_AT_TARGET);
	bt_emit_here(t, again);
	bt_emit_load(t, RCX, BT_AT_SAVE1);
	bt_emit_callout(t, BT_PREDICTION);
	bt_emit_here(t, lookup);
}

/* Makes `target` the prediction; the stub's jump is the caller's. */
void
bt_return_prediction(uint8_t code[BT_PREDICTION_SIZE], uint32_t target)
{
	code[0] = 0x8d;
	code[1] = 0x89;
	put32(code + 2, -target);
	put32(code + 10, target);
	put32(code + BT_PREDICTION_STUB + 5, target);
}
