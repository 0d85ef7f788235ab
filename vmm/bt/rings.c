/*
 * Ways between rings that were gone before.
 *
 * An event comes to its handler through a dozen checks of what the guest keeps in memory: the gate,
 * the descriptors of code and stack, the TSS. A kernel writes these once. So Zeno keeps what the
 * checks (Lab 1B's) have made of them together with the values themselves. The next time gate and
 * TSS are read again, and if they have what they had, so is what follows from it. Descriptors lie
 * in tracked tables: te counts their changes, and a way holds until the next one.
 *
 * The values are read before the checks are made, for the frame that a delivery pushes may hit one
 * of them. Where one of their pages is not in the host's TLB, the checks are made as ever.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>

#define GATE_SELECTOR(g) ((uint16_t)((g) >> 16))
#define GATE_OFFSET(g)   ((uint32_t)((g)&0xffff) | (uint32_t)((g) >> 32 & 0xffff0000))
#define GATE_IS_TRAP(g)  ((g)&1ull << 40)
#define TSS_RING_0       4u  /* its ESP0, and SS0 behind it (SDM 3A 8.2.1) */
#define WAYS             16u /* from either ring, by vector */

/* What a way was made from. */
struct way_from {
	uint64_t gate;
	unsigned descriptors;  /* te's count of their changes */
	uint16_t ss, software; /* SS0, from ring 3; whether the gate's DPL counts */
};
_Static_assert(sizeof(struct way_from) == 16, "compared as two words");

/* The way to ring 3 has the selectors of its segments, and no gate. */
struct bt_way {
	struct way_from from;
	struct segment cs, ss; /* and what it was made into; cs.attr 0: no way */
	uint64_t real_cs, real_ss;
	uint32_t handler, flags_off; /* of the gate: where it leads, and what is off there */
	struct bt_next next;         /* the handler's block */
};
_Static_assert(sizeof(struct bt_way) * (2 * WAYS + 1) <= PAGE_SIZE, "one frame");

static inline struct bt_way *
way_in(struct bt *bt, unsigned cpl, unsigned vector)
{
	return &bt->ways[(cpl ? WAYS : 0) + vector % WAYS];
}

static inline struct bt_way *
way_back(struct bt *bt)
{
	return &bt->ways[2 * WAYS];
}

/* Where n bytes lie that the guest's kernel may read; NULL: the host's TLB does not know. */
static inline const uint8_t *
at_hand(struct vcpu *v, uint64_t linear, size_t n)
{
	gva_t a = gva((uint32_t)linear);
	const struct tlb_entry *e = within_page(a, n) ? tlb_hit(v, a, 0) : NULL;

	return e ? e->page + (a.v & PAGE_MASK) : NULL;
}

static inline bool
is_same(const struct way_from *a, const struct way_from *b)
{
	return !__builtin_memcmp(a, b, sizeof(*a));
}

/* A debugger's breakpoint on data, and a GDT that is looked at on the way, are for the checks. */
static inline bool
is_plain(struct vcpu *v)
{
	return !(v->state.dr[7] & DR7_ANY) && !te_of(v)->gdt_lazy;
}

/*
 * n bytes of a stack, from offset `low` on, to be written: a usual one (vmm/te/memory.c), on one
 * page that nobody watches. NULL: it is not, or not at hand.
 */
static inline uint8_t *
stack_at_hand(struct vcpu *v, const struct segment *ss, uint64_t low, size_t n)
{
	const uint16_t rights = ATTR_P | ATTR_S | ATTR_RW;
	gva_t a = gva((uint32_t)(ss->base + low));
	const struct tlb_entry *e;

	if ((ss->attr & (rights | ATTR_CODE | ATTR_EC | ATTR_DB)) != (rights | ATTR_DB) ||
	    low + n - 1 > ss->limit || a.v + n > v->domain->window || !within_page(a, n))
		return NULL;
	e = tlb_hit(v, a, ACCESS_WRITE);
	return e && !e->frame->track ? e->page + (a.v & PAGE_MASK) : NULL;
}

/* Loads CS or SS with what a way leads to, which is in the shadow table. */
static inline void
load(struct vcpu *v, struct te *te, enum seg_reg seg, const struct segment *hidden, uint64_t real)
{
	v->state.seg[seg] = *hidden;
	te->real_desc[seg] = real;
	if ((te->real_sel[seg] & ~7) == CACHED_SEL(seg))
		te->loaded |= 1u << seg; /* te_resync_loaded() gives its slot back */
	else
		te->real_sel[seg] = hidden->sel & ~3;
}

/* Behind a change of rings: te_cpl_changed(), for segments that load() has loaded. */
static inline void
resync(struct vcpu *v, const struct te *te)
{
	const struct segment *s = v->state.seg;

	if (te->loaded |
	    ((s[SEG_ES].attr | s[SEG_DS].attr | s[SEG_FS].attr | s[SEG_GS].attr) & ATTR_CODE))
		te_resync_loaded(v);
}

/* What the way of an event is made from now, and the stack that it begins with. */
static INLINED bool
look_in(struct vcpu *v, const struct event *event, struct way_from *now, uint32_t *esp)
{
	const struct cpu_state *s = &v->state;
	uint32_t at = event->vector * 8u;
	const uint8_t *p = at + 7 <= s->idtr.limit ? at_hand(v, s->idtr.base + at, 8) : NULL;

	if (!p || !is_plain(v))
		return false;
	__builtin_memcpy(&now->gate, p, 8);
	now->descriptors = te_of(v)->descriptors;
	now->ss = 0;
	now->software = event->kind == EVENT_SOFTWARE;
	*esp = (uint32_t)s->gpr[RSP];
	if (te_cpl(v) == 0)
		return true;
	if (!(s->tr.attr & ATTR_P) || TSS_RING_0 + 5 > s->tr.limit)
		return false;
	p = at_hand(v, s->tr.base + TSS_RING_0, 6);
	if (!p)
		return false;
	__builtin_memcpy(esp, p, 4);
	__builtin_memcpy(&now->ss, p + 4, 2);
	return true;
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
	struct te *te = te_of(v);
	unsigned cpl = te_cpl(v);
	size_t size = 4 * frame_words(event, cpl);
	const struct segment *ss = cpl ? &way->ss : &s->seg[SEG_SS];
	uint64_t low = (uint64_t)esp - size;
	uint8_t *stack = stack_at_hand(v, ss, low, size);

	if (!stack)
		return false;
	push_frame(v, event, cpl, (uint32_t *)stack);
	s->gpr[RSP] = low;
	s->rflags &= ~(uint64_t)way->flags_off;
	s->rip = way->handler;
	te->bt->from = &way->next;
	if (cpl)
		load(v, te, SEG_SS, &way->ss, way->real_ss);
	load(v, te, SEG_CS, &way->cs, way->real_cs);
	resync(v, te);
	/* A handler begins without a step, and a fault's instruction has not come to its traps. */
	s->pending_debug &= event->kind == EVENT_SOFTWARE ? DR6_HITS : 0;
	s->sti_shadow = s->mov_ss_shadow = false;
	exit_effect(v, EFFECT_DELIVER, event->vector, s->rip);
	return true;
}

/* From now on te counts changes of these two descriptors. */
static void
count_changes(struct te *te, uint16_t cs, uint16_t ss)
{
	te->counted |= TE_COUNTED(cs) | TE_COUNTED(ss);
}

static bool
is_shown(const struct vcpu *v, enum seg_reg seg)
{
	const struct te *te = te_of((struct vcpu *)v);

	return te_shadow_at(te, v->state.seg[seg].sel) == te->real_desc[seg];
}

/* A way to where the guest is now, if the CPU can load its segments from the shadow tables. */
static void
note(struct vcpu *v, struct bt_way *way, const struct way_from *from)
{
	uint32_t off = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;

	*way = (struct bt_way){ 0 };
	if (is_shown(v, SEG_CS) && is_shown(v, SEG_SS))
		*way = (struct bt_way){ .from = *from,
					.handler = GATE_OFFSET(from->gate),
					.flags_off = GATE_IS_TRAP(from->gate) ? off : off | FLAG_IF,
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
has_come(const struct vcpu *v, const struct event *event, const struct way_from *from, unsigned cpl,
	 uint32_t esp)
{
	return v->last->effect == EFFECT_DELIVER && v->last->a == event->vector && te_cpl(v) == 0 &&
	       v->state.seg[SEG_CS].sel == (GATE_SELECTOR(from->gate) & ~3) &&
	       v->state.gpr[RSP] == (uint64_t)esp - 4 * frame_words(event, cpl);
}

/* Through all the checks; and if that is a way, it is known from now on. */
static APART enum injection
by_checks(struct vcpu *v, const struct event *event)
{
	const struct event one = *event;
	unsigned cpl = te_cpl(v);
	struct way_from now;
	enum injection done;
	uint32_t esp;

	if (!look_in(v, event, &now, &esp))
		return te_inject(v, event);
	count_changes(te_of(v), GATE_SELECTOR(now.gate), now.ss);
	done = te_inject(v, event);
	if (done == INJECTED && has_come(v, &one, &now, cpl, esp))
		note(v, way_in(bt_of(v), cpl, one.vector), &now);
	return done;
}

/* The engine contract (vmm/engine.h). */
enum injection
bt_inject(struct vcpu *v, const struct event *event)
{
	struct bt_way *way = way_in(bt_of(v), te_cpl(v), event->vector);
	struct way_from now;
	uint32_t esp;

	if (way->cs.attr && look_in(v, event, &now, &esp) && is_same(&way->from, &now) &&
	    go_in(v, event, way, esp))
		return INJECTED;
	return by_checks(v, event);
}

/*
 * The host sees the guest in ring 3: translated code may go there itself, until a descriptor
 * changes.
 */
void
bt_keep_back(struct vcpu *v)
{
	const struct te *te = te_of(v);
	struct bt_way *way = way_back(bt_of(v));

	count_changes(te_of(v), v->state.seg[SEG_CS].sel, v->state.seg[SEG_SS].sel);
	note(v, way, &(struct way_from){ .descriptors = te->descriptors });
	bt_of(v)->back = way->cs.attr ? te->descriptors : ~te->descriptors;
}

/* What an iret in the cache has changed beside CS and SS. */
static inline void
went_back(struct vcpu *v, struct te *te)
{
	struct bt *bt = te->bt;
	uint32_t flags = bt->shared->back & FLAG_IF;

	bt->gs_ours = false;
	bt->from = NULL;
	te->sti_stalls = 0;
	te_from_frame(v, &te->frame);
	v->state.rflags = (v->state.rflags & ~(uint64_t)(FLAG_IF | FLAG_IOPL)) | flags;
	v->state.sti_shadow = v->state.mov_ss_shadow = false;
}

/* Translated code has gone back to ring 3 (iret.c), and there was a trap. */
void
bt_returned(struct vcpu *v, struct exit *e)
{
	struct te *te = te_of(v);
	const struct ring_frame *f = &te->frame;
	const struct bt_way *way = way_back(te->bt);
	bool known = te->bt->back == te->descriptors && way->cs.sel == (uint16_t)f->cs &&
		     way->ss.sel == (uint16_t)f->ss;

	went_back(v, te);
	if (known) {
		load(v, te, SEG_SS, &way->ss, way->real_ss);
		load(v, te, SEG_CS, &way->cs, way->real_cs);
	} else {
		te_taken_over(v, SEG_SS, f->ss & ~3);
		te_taken_over(v, SEG_CS, f->cs & ~3);
		bt_keep_back(v);
	}
	te_segments_in(v);
	resync(v, te);
	te_translate(v, e, f);
}

/*
 * bt_enter() has failed. Only ring 3 gets into virtual-8086 mode (handouts/emulators.md#iret-vm).
 * Where it was then nobody knows any more; that it was in ring 3 is known, and the last way there.
 */
void
bt_not_run(struct vcpu *v, struct exit *e, uint64_t failure)
{
	struct te *te = te_of(v);
	const struct bt_way *way = way_back(te->bt);

	if (te->frame.rflags & FLAG_VM && te->bt->back == te->descriptors) {
		went_back(v, te);
		load(v, te, SEG_SS, &way->ss, way->real_ss);
		load(v, te, SEG_CS, &way->cs, way->real_cs);
		resync(v, te);
	}
	te_not_run(v, e, failure);
}
