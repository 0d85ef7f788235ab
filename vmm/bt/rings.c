/*
 * Ways between rings that were gone before.
 *
 * An event comes to its handler, and iret goes back, through a dozen checks of what the guest keeps
 * in memory: the gate, the descriptors of code and stack, the TSS. A kernel writes these once. So
 * Zeno keeps what the checks (Lab 1B's) have made of them together with the values themselves. The
 * next time the values are read again, and if all are what they were, so is what follows from them.
 * If one is not, or its page is not in the host's TLB, the checks are made as ever.
 *
 * The values are read before the checks are made, for the frame that a delivery pushes may hit one
 * of them.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>
#include <vmm/mem/tlb.h>

#define GATE_SELECTOR(g) ((uint16_t)((g) >> 16))
#define GATE_OFFSET(g)   ((uint32_t)((g)&0xffff) | (uint32_t)((g) >> 32 & 0xffff0000))
#define GATE_IS_TRAP(g)  ((g)&1ull << 40)
#define GATE_IS_32(g)    ((g)&1ull << 43)
#define TSS_RING_0       4u  /* its ESP0, and SS0 behind it (SDM 3A 8.2.1) */
#define WAYS             16u /* in, from either ring, by vector */
#define WAYS_BACK        4u  /* by selector */
/*
 * What iret takes from the frame when CPL is 0 (SDM 2A "IRET"). With VM in the frame, and NT in
 * the flags, it is another instruction.
 */
#define IRET_TAKES                                                                                 \
	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_OF | \
	 FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID)

/* What a way was made from. */
struct way_from {
	uint64_t gate;         /* 0: an iret */
	uint64_t code, stack;  /* descriptors; a way that stays in its ring has no stack */
	uint16_t cs, ss;       /* selectors */
	uint8_t cpl, software; /* where it begins; whether the gate's DPL counts */
	uint8_t pad[2];
};

struct bt_way {
	struct way_from from;
	struct segment cs, ss; /* and what it was made into; cs.attr 0: no way */
	uint64_t real_cs, real_ss;
	struct bt_next next; /* the handler's block */
};
_Static_assert(sizeof(struct bt_way) * (2 * WAYS + WAYS_BACK) <= PAGE_SIZE, "one frame");

static inline struct bt_way *
way_in(struct bt *bt, unsigned cpl, unsigned vector)
{
	return &bt->ways[(cpl ? WAYS : 0) + vector % WAYS];
}

static inline struct bt_way *
way_back(struct bt *bt, uint16_t cs)
{
	return &bt->ways[2 * WAYS + (cs >> 3) % WAYS_BACK];
}

/* Where n bytes lie that the guest's kernel may read; NULL: the host's TLB does not know. */
static inline const uint8_t *
at_hand(struct vcpu *v, uint64_t linear, size_t n)
{
	gva_t a = gva((uint32_t)linear);
	const struct tlb_entry *e = within_page(a, n) ? tlb_hit(v, a, 0) : NULL;

	return e ? e->page + (a.v & PAGE_MASK) : NULL;
}

/* The guest's GDT, where it lies on one page; NULL. */
static inline const uint8_t *
gdt_at_hand(struct vcpu *v)
{
	return at_hand(v, v->state.gdtr.base, v->state.gdtr.limit + 1u);
}

/* A selector of the LDT, say, has its checks made. */
static inline bool
look_up(const struct vcpu *v, const uint8_t *gdt, uint16_t sel, uint64_t *desc)
{
	unsigned at = sel & ~7u;

	if (sel & 4 || at + 7 > v->state.gdtr.limit)
		return false;
	__builtin_memcpy(desc, gdt + at, 8);
	return true;
}

static inline bool
is_same(const struct way_from *a, const struct way_from *b)
{
	return a->gate == b->gate && a->code == b->code && a->stack == b->stack && a->cs == b->cs &&
	       a->ss == b->ss && a->cpl == b->cpl && a->software == b->software;
}

/* A debugger's breakpoint on data, and a GDT that is looked at on the way, are for the checks. */
static inline bool
is_plain(struct vcpu *v)
{
	return !(v->state.dr[7] & DR7_ANY) && !te_of(v)->gdt_lazy;
}

/*
 * n bytes of a stack, from offset `low` on: a usual one (vmm/te/memory.c), on one page that nobody
 * watches. NULL: it is not, or not at hand.
 */
static inline uint8_t *
stack_at_hand(struct vcpu *v, const struct segment *ss, uint64_t low, size_t n, bool write)
{
	const uint16_t rights = ATTR_P | ATTR_S | ATTR_RW;
	gva_t a = gva((uint32_t)(ss->base + low));
	const struct tlb_entry *e;

	if ((ss->attr & (rights | ATTR_CODE | ATTR_EC | ATTR_DB)) != (rights | ATTR_DB) ||
	    low + n - 1 > ss->limit || a.v + n > v->domain->window || !within_page(a, n))
		return NULL;
	e = tlb_hit(v, a, write ? ACCESS_WRITE : 0);
	return e && !(write && e->frame->track) ? e->page + (a.v & PAGE_MASK) : NULL;
}

/*
 * Loads CS or SS with what a way leads to. Where the shadow table has its descriptor it is loaded
 * from there; else te_resync_loaded() sees to it.
 */
static inline void
load(struct vcpu *v, enum seg_reg seg, const struct segment *hidden, uint64_t real)
{
	struct te *te = te_of(v);
	uint16_t sel = hidden->sel & ~3;

	v->state.seg[seg] = *hidden;
	te->real_desc[seg] = real;
	if (te_shadow_at(te, sel) == real && (te->real_sel[seg] & ~7) != CACHED_SEL(seg))
		te->real_sel[seg] = sel;
	else
		te->loaded |= 1u << seg;
}

/* Behind a change of rings: te_cpl_changed(), for segments that load() has loaded. */
static inline void
resync(struct vcpu *v)
{
	const struct segment *s = v->state.seg;

	if (te_of(v)->loaded |
	    ((s[SEG_ES].attr | s[SEG_DS].attr | s[SEG_FS].attr | s[SEG_GS].attr) & ATTR_CODE))
		te_resync_loaded(v);
}

/* What the way of an event is made from now, and the stack that it begins with. */
static bool
look_in(struct vcpu *v, const struct event *event, struct way_from *now, uint32_t *esp)
{
	const struct cpu_state *s = &v->state;
	uint32_t at = event->vector * 8u;
	const uint8_t *p = at + 7 <= s->idtr.limit ? at_hand(v, s->idtr.base + at, 8) : NULL;
	const uint8_t *gdt = gdt_at_hand(v);

	if (!p || !gdt || !is_plain(v))
		return false;
	__builtin_memcpy(&now->gate, p, 8);
	now->cs = GATE_SELECTOR(now->gate) & ~3;
	now->ss = s->seg[SEG_SS].sel;
	now->stack = 0;
	now->cpl = (uint8_t)te_cpl(v);
	now->software = event->kind == EVENT_SOFTWARE;
	*esp = (uint32_t)s->gpr[RSP];
	if (!GATE_IS_32(now->gate) || !look_up(v, gdt, now->cs, &now->code))
		return false;
	if (now->cpl == 0)
		return true;
	if (!(s->tr.attr & ATTR_P) || TSS_RING_0 + 5 > s->tr.limit)
		return false;
	p = at_hand(v, s->tr.base + TSS_RING_0, 6);
	if (!p)
		return false;
	__builtin_memcpy(esp, p, 4);
	__builtin_memcpy(&now->ss, p + 4, 2);
	return look_up(v, gdt, now->ss, &now->stack);
}

/* Words that the CPU pushes (SDM 3A figure 6-4). */
static inline unsigned
frame_words(const struct event *event, unsigned cpl)
{
	return 3u + (cpl ? 2 : 0) + !!event->has_error;
}

static void
push_frame(const struct vcpu *v, const struct event *event, unsigned cpl, uint32_t *to)
{
	const struct cpu_state *s = &v->state;
	bool software = event->kind == EVENT_SOFTWARE;

	if (event->has_error)
		*to++ = event->error;
	*to++ = (uint32_t)(s->rip + event->insn_len);
	*to++ = s->seg[SEG_CS].sel;
	*to++ = (uint32_t)(s->rflags & ~(uint64_t)(software ? FLAG_RF : 0));
	if (!cpl)
		return;
	*to++ = (uint32_t)s->gpr[RSP];
	*to++ = s->seg[SEG_SS].sel;
}

/* To the handler; false: the stack is not at hand, and nothing has happened. */
static bool
go_in(struct vcpu *v, const struct event *event, struct bt_way *way, uint32_t esp)
{
	struct cpu_state *s = &v->state;
	unsigned cpl = way->from.cpl;
	size_t size = 4 * frame_words(event, cpl);
	const struct segment *ss = cpl ? &way->ss : &s->seg[SEG_SS];
	uint64_t low = (uint64_t)esp - size, off = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
	uint8_t *stack = stack_at_hand(v, ss, low, size, true);

	if (!stack)
		return false;
	push_frame(v, event, cpl, (uint32_t *)stack);
	s->gpr[RSP] = low;
	s->rflags &= ~(GATE_IS_TRAP(way->from.gate) ? off : off | FLAG_IF);
	s->rip = GATE_OFFSET(way->from.gate);
	bt_of(v)->from = &way->next;
	if (cpl) {
		load(v, SEG_SS, &way->ss, way->real_ss);
	}
	load(v, SEG_CS, &way->cs, way->real_cs);
	resync(v);
	/* A handler begins without a step, and a fault's instruction has not come to its traps. */
	s->pending_debug &= event->kind == EVENT_SOFTWARE ? DR6_HITS : 0;
	s->sti_shadow = s->mov_ss_shadow = false;
	if (v->last)
		exit_effect(v, EFFECT_DELIVER, event->vector, s->rip);
	return true;
}

static void
note(struct vcpu *v, struct bt_way *way, const struct way_from *from)
{
	*way = (struct bt_way){ .from = *from,
				.cs = v->state.seg[SEG_CS],
				.ss = v->state.seg[SEG_SS],
				.real_cs = te_of(v)->real_desc[SEG_CS],
				.real_ss = te_of(v)->real_desc[SEG_SS] };
}

/*
 * Whether the checks have led this event through its own gate, and not a fault on its way through
 * another one: such a fault has another vector, or an error code that the event had not.
 */
static bool
has_come(const struct vcpu *v, const struct event *event, const struct way_from *from, uint32_t esp)
{
	return v->last && v->last->effect == EFFECT_DELIVER && v->last->a == event->vector &&
	       te_cpl((struct vcpu *)v) == 0 && v->state.seg[SEG_CS].sel == from->cs &&
	       v->state.gpr[RSP] == (uint64_t)esp - 4 * frame_words(event, from->cpl);
}

/* The engine contract (vmm/engine.h). */
enum injection
bt_inject(struct vcpu *v, const struct event *event)
{
	const struct event one = *event;
	struct bt_way *way = way_in(bt_of(v), te_cpl(v), event->vector);
	struct way_from now;
	uint32_t esp;
	bool seen = look_in(v, event, &now, &esp);
	enum injection done;

	if (seen && way->cs.attr && is_same(&way->from, &now) && go_in(v, event, way, esp))
		return INJECTED;
	done = te_inject(v, event);
	if (seen && done == INJECTED && has_come(v, &one, &now, esp))
		note(v, way, &now);
	return done;
}

/* What the way of an iret is made from now. NULL: it is not of the usual kind; else its frame. */
static const uint32_t *
look_back(struct vcpu *v, struct way_from *now)
{
	const struct segment *ss = &v->state.seg[SEG_SS];
	uint64_t esp = v->state.gpr[RSP];
	const uint8_t *p = stack_at_hand(v, ss, esp, 12, false);
	const uint32_t *frame = (const uint32_t *)p;
	const uint8_t *gdt = gdt_at_hand(v);

	if (!p || !gdt || te_insn(v)->opsize != 4 || v->state.rflags & FLAG_NT ||
	    frame[2] & FLAG_VM || te_cpl(v) != 0 || !is_plain(v))
		return NULL;
	*now = (struct way_from){ .cs = (uint16_t)frame[1] };
	if (!look_up(v, gdt, now->cs, &now->code))
		return NULL;
	if (!(now->cs & 3))
		return frame;
	if (!stack_at_hand(v, ss, esp, 20, false))
		return NULL;
	now->ss = (uint16_t)frame[4];
	return look_up(v, gdt, now->ss, &now->stack) ? frame : NULL;
}

static void
go_back(struct vcpu *v, const struct bt_way *way, const uint32_t *frame)
{
	struct cpu_state *s = &v->state;

	vcpu_done(v); /* before RF comes from the frame */
	s->rflags = (s->rflags & ~(uint64_t)IRET_TAKES) | (frame[2] & IRET_TAKES) | FLAG_ONE;
	s->rip = frame[0];
	if (way->from.cs & 3) {
		s->gpr[RSP] = frame[3];
		load(v, SEG_SS, &way->ss, way->real_ss);
	} else {
		s->gpr[RSP] = (uint32_t)(s->gpr[RSP] + 12);
	}
	load(v, SEG_CS, &way->cs, way->real_cs);
	if (way->from.cs & 3)
		te_drop_inner_segments(v);
	resync(v);
	exit_effect(v, EFFECT_IRET, way->cs.sel, s->rip);
}

/* A way to ring 3 lets translated code go there, and says where it was last. */
static void
keep_back(struct bt *bt, const struct bt_way *way)
{
	if ((way->from.cs & 3) == 3)
		bt->back = way;
	else if (bt->back == way) /* there is another one in its place */
		bt->back = NULL;
}

void
bt_forget_ways(struct bt *bt)
{
	memset(bt->ways, 0, PAGE_SIZE);
	bt->back = NULL;
}

static enum verdict
exit_iret(struct vcpu *v, struct exit *e)
{
	struct way_from now;
	const uint32_t *frame = look_back(v, &now);
	struct bt_way *way = frame ? way_back(bt_of(v), now.cs) : NULL;
	enum verdict verdict;

	if (way && way->cs.attr && is_same(&way->from, &now)) {
		go_back(v, way, frame);
		keep_back(bt_of(v), way);
		return RESUME;
	}
	verdict = bt_of(v)->checked_iret(v, e);
	if (way && verdict == RESUME) {
		note(v, way, &now);
		keep_back(bt_of(v), way);
	}
	return verdict;
}
EXIT_HANDLER(IRET, "bt", exit_iret);

/* What an iret in the cache has changed beside CS and SS. */
static void
went_back(struct vcpu *v)
{
	struct te *te = te_of(v);

	te->bt->gs_ours = false;
	te->bt->from = NULL;
	te->sti_stalls = 0;
	te_from_frame(v, &te->frame);
	v->state.rflags &= ~(uint64_t)(FLAG_IF | FLAG_IOPL);
	v->state.rflags |= te->bt->shared->back & FLAG_IF;
	v->state.sti_shadow = v->state.mov_ss_shadow = false;
}

/*
 * Translated code has gone back to ring 3 (iret.c), and there was a trap. The guest's GDT is what
 * it was at the iret: a write to it is a trap, too.
 */
void
bt_returned(struct vcpu *v, struct exit *e)
{
	const struct ring_frame *f = &te_of(v)->frame;
	struct way_from now = { .cs = (uint16_t)f->cs, .ss = (uint16_t)f->ss };
	struct bt_way *way = way_back(bt_of(v), now.cs);
	const uint8_t *gdt = gdt_at_hand(v);
	bool seen =
		gdt && look_up(v, gdt, now.cs, &now.code) && look_up(v, gdt, now.ss, &now.stack);

	went_back(v);
	if (seen && way->cs.attr && is_same(&way->from, &now)) {
		load(v, SEG_SS, &way->ss, way->real_ss);
		load(v, SEG_CS, &way->cs, way->real_cs);
	} else {
		te_taken_over(v, SEG_SS, now.ss & ~3);
		te_taken_over(v, SEG_CS, now.cs & ~3);
		if (seen) {
			note(v, way, &now);
			keep_back(bt_of(v), way);
		}
	}
	te_segments_in(v);
	resync(v);
	te_translate(v, e, f);
}

/*
 * bt_enter() has failed. Only ring 3 gets into virtual-8086 mode (handouts/emulators.md#iret-vm).
 * Where it was then nobody knows any more; that it was in ring 3 is known, and the last way there.
 */
void
bt_not_run(struct vcpu *v, struct exit *e, uint64_t failure)
{
	const struct bt_way *way = bt_of(v)->back;

	if (te_of(v)->frame.rflags & FLAG_VM && way) {
		went_back(v);
		load(v, SEG_SS, &way->ss, way->real_ss);
		load(v, SEG_CS, &way->cs, way->real_cs);
		resync(v);
	}
	te_not_run(v, e, failure);
}
