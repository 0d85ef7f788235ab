/*
 * The engine bt: what runs how.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <vmm/bt/bt.h>

#define OUR_TYPE (DESC_P | DESC_S | DESC_A | DESC_DPL(GUEST_KERNEL_RING) | DESC_DB)

/*
 * The code segment of translated code ends where the cache's code does; its GS begins at the shared
 * page and ends with the table. The guest's kernel could load either into a data segment register:
 * code can't be read by it, and the other is there only while Zeno loads GS.
 */
static void
set_descriptors(struct vcpu *v)
{
	uint64_t base = v->domain->window + BT_SHARED_AT;
	uint64_t data = OUR_TYPE | DESC_RW | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;

	*te_own_slot(te_of(v), BT_CS) =
		desc_with_limit(OUR_TYPE | DESC_CODE, bt_address(v, BT_CODE_SIZE) - 1);
	te_of(v)->loan = desc_with_limit(data, BT_AT_TABLE + BT_TABLE - 1);
}

static int
bt_init(struct vcpu *v)
{
	int err = te_init(v);

	if (err)
		return err;
	te_of(v)->bt = host_page();
	if (!bt_of(v))
		return -ENOMEM;
	bt_of(v)->refused_at = BT_NOWHERE;
	bt_of(v)->generation = 1; /* a place of which nothing is known has 0 */
	bt_of(v)->back = ~te_of(v)->descriptors;
	te_of(v)->shows_user_code = true;
	set_descriptors(v);
	return bt_window_init(v);
}

static void
bt_free(struct vcpu *v)
{
	if (bt_of(v)) {
		bt_window_free(v);
		host_page_put(bt_of(v));
	}
	te_free(v);
}

static void
bt_load(struct vcpu *v)
{
	te_load(v);
	bt_of(v)->gs_ours = false;
}

/* The engine contract. All addresses of translated code have changed. */
static void
bt_window_moved(struct vcpu *v)
{
	bt_table_empty(bt_of(v));
	bt_flush(v);
	set_descriptors(v);
	bt_of(v)->gs_ours = false;
	te_window_moved(v);
}

/*
 * What is 0 if a selector is added that is this one, and nothing was against it: `against` has 16
 * bits, and goes where no selector has any.
 */
static inline uint32_t
minus(uint32_t sel, uint32_t against)
{
	return -sel ^ against << 16;
}

/* The guest's IF and IOPL to where translated code has them, and whether an interrupt waits. */
static void
share(struct vcpu *v)
{
	const struct segment *seg = v->state.seg;
	const struct te *te = te_of(v);
	const struct bt *bt = te->bt;
	struct bt_shared *s = bt->shared;
	uint32_t flags = (uint32_t)v->state.rflags, pending = v->irq_pending;
	uint32_t cs = seg[SEG_CS].sel, gs = seg[SEG_GS].sel, real_gs = te->real_sel[SEG_GS];

	s->vif = flags & FLAG_IF;
	s->viopl = flags & FLAG_IOPL;
	s->pending = pending;
	s->slow = FLAG_TF | FLAG_NT | pending * FLAG_IF;
	s->sel[SEG_ES] = seg[SEG_ES].sel; /* no loop: this is on every entry's way */
	s->sel[SEG_CS] = cs;
	s->sel[SEG_SS] = seg[SEG_SS].sel;
	s->sel[SEG_DS] = seg[SEG_DS].sel;
	s->sel[SEG_FS] = seg[SEG_FS].sel;
	s->sel[SEG_GS] = gs;
	/* A GS whose descriptor has changed since it was loaded is loaded anew (SDM 3A 3.4.3). */
	s->minus_gs = minus(gs, real_gs ^ gs);
	/* Likewise CS by an iret, which with NT set is another instruction. */
	s->minus_cs = minus(cs, (te->real_sel[SEG_CS] ^ cs) | (flags & FLAG_NT));
	s->host_iret = pending | (bt->back ^ te->descriptors);
	s->back_gs = real_gs;
}

/* The instruction at rip ends within its segment, which te_fetch() does not ask. */
static bool
within_code(const struct vcpu *v, const struct exit *e)
{
	return v->state.rip + e->insn_len - 1 <= v->state.seg[SEG_CS].limit;
}

/*
 * While TF is set the sequences of Zeno's own would be stepped through; what they stand for the
 * host does.
 */
static bool
done_by_host(struct vcpu *v, struct exit *e)
{
	const struct bt_translation any = { .stack32 = true };
	enum bt_class class;

	*e = (struct exit){ 0 };
	if (!te_fetch(v, e) || !within_code(v, e))
		return false;
	class = bt_classify(&any, te_insn(v), 0);
	if (class == BT_IDENTITY || class == BT_CONTROL)
		return false;
	bt_callout(v, e, NULL);
	return true;
}

/* The same, where that is not known yet. */
static __attribute__((noinline)) uint32_t
look_for_entry(struct vcpu *v, struct exit *e)
{
	struct bt *bt = bt_of(v);
	uint32_t eip = (uint32_t)v->state.rip, at = bt_resume_at(v, eip);
	struct bt_next *from = bt->from;
	struct bt_block *b = bt->last_exit;

	if (!at) {
		b = bt_block_for(v, eip, e);
		if (!b)
			return 0;
		at = bt_address(v, b->at);
		b->entries++;
	}
	if (from && !b->flags)
		*from = (struct bt_next){ b, bt->generation, eip, at };
	return at;
}

/* All blocks belong to one code segment, one width of the stack, and one way to load segments. */
static inline bool
is_same_world(const struct vcpu *v)
{
	const struct te *te = v->engine_data;
	const struct segment *cs = &v->state.seg[SEG_CS];
	bool stack32 = v->state.seg[SEG_SS].attr & ATTR_DB;

	return te->bt->cs_base == cs->base && te->bt->cs_limit == cs->limit &&
	       te->bt->stack32 == stack32 && te->bt->gdt_lazy == te->gdt_lazy;
}

/* Where in the cache the guest goes on; 0: nowhere, and *e says why. */
static inline uint32_t
entry_for(struct vcpu *v, struct exit *e)
{
	const struct bt *bt = bt_of(v);
	uint32_t eip = (uint32_t)v->state.rip;
	const struct bt_next *next = bt->from;

	if (!is_same_world(v))
		bt_change_world(v);
	if (!next || next->generation != bt->generation || next->eip != eip || next->block->flags)
		return look_for_entry(v, e);
	next->block->entries += next->block->eip == eip;
	return next->at;
}

/*
 * Whether the host has done the instruction whose access was refused; a hidden fault is no reason
 * to call out. Nor is one of a repeated string instruction, which the CPU does fast where it may.
 */
static COLD void
count_refused(struct vcpu *v, struct bt *bt)
{
	if (!(te_insn(v)->prefixes & (PFX_REP | PFX_REPNE)) &&
	    (v->last->effect == EFFECT_READ || v->last->effect == EFFECT_WRITE))
		bt_count_fault(v, (uint32_t)bt->refused_at);
	bt->refused_at = BT_NOWHERE;
}

static void
run_kernel(struct vcpu *v, struct exit *e)
{
	struct te *te = te_of(v);
	struct bt *bt = te->bt;
	uint64_t entered_at = v->state.rip, failure;
	/* Something waits for the end of the next instruction: one, and no more. */
	bool step = (v->state.sti_shadow && v->irq_pending) || te_holds_trap(v);

	if (bt->refused_at != BT_NOWHERE)
		count_refused(v, bt);
	if (bt->breakpoint_writes != te->breakpoint_writes)
		bt_flush(v);
	bt->breakpoint_writes = te->breakpoint_writes;
	if (v->state.dr[7] & DR7_ANY && te_breakpoints_at(v, v->state.rip)) {
		bt_callout(v, e, NULL);
		return;
	}
	if (!bt_space_check(v)) {
		te_entry_failed(v, e, VEC_PF);
		return;
	}
	do {
		uint32_t at;

		if ((step || v->state.rflags & FLAG_TF) && done_by_host(v, e))
			return;
		at = entry_for(v, e);
		if (!at)
			return;
		share(v);
		te_to_frame(v, &te->frame);
		te->frame.rip = at;
		te->frame.cs = BT_CS | GUEST_KERNEL_RING;
		if (step)
			te->frame.rflags |= FLAG_TF;
		failure = bt_enter(v);
		if (failure) {
			bt_not_run(v, e, failure);
			return;
		}
		if ((te->frame.cs & 3) == 3) { /* its iret was no exit */
			bt_returned(v, e);
			return;
		}
	} while (!bt_left(v, e, entered_at, step));
}

/* 16-bit code is not translated: the host does it, instruction by instruction. */
static void
run_16_bit(struct vcpu *v, struct exit *e)
{
	*e = (struct exit){ 0 };
	if (te_fetch(v, e) && within_code(v, e))
		bt_callout(v, e, NULL);
	else
		bt_not_code(v, e);
}

/* The engine contract (vmm/engine.h). */
static void
bt_run(struct vcpu *v, struct exit *e)
{
	if (te_cpl(v) != 0 && bt_of(v)->back != te_of(v)->descriptors)
		bt_keep_back(v);
	if (te_cpl(v) != 0)
		bt_run_user(v, e);
	else if (v->state.seg[SEG_CS].attr & ATTR_DB)
		run_kernel(v, e);
	else
		run_16_bit(v, e);
}

static const struct engine bt_engine = {
	.name = "bt",
	.what = "binary translation of ring 0, ring 3 directly",
	.max_vcpus = 1,
	.ram_max = TE_RAM_MAX,
	.mmu_modes = te_mmu_modes,
	.base = "te",
	.init = bt_init,
	.free = bt_free,
	.load = bt_load,
	.run = bt_run,
	.inject = bt_inject,
	.operand = te_operand,
	.window_moved = bt_window_moved,
	.show = bt_show,
	.peek = bt_peek,
};
SET_ADD(engines, bt_engine);
