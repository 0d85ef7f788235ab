/*
 * The CPU's segment registers while the guest runs: which selectors they are loaded with, so that
 * their hidden parts equal the guest's, and what the guest itself has loaded since.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/te/te.h>

#define ALL_SEGMENTS ((1u << SEG_COUNT) - 1)

/*
 * Register i is loaded from elsewhere from now on: a slot that no register needs is no descriptor
 * to anybody.
 */
static inline void
leave_slot(struct te *te, int i)
{
	if ((te->real_sel[i] & ~7) == CACHED_SEL(i))
		*te_own_slot(te, CACHED_SEL(i)) = 0;
}

static void
resync(struct vcpu *v, int i)
{
	struct te *te = te_of(v);
	bool data = i != SEG_CS && i != SEG_SS; /* those two every entry loads */
	uint16_t sel = v->state.seg[i].sel, real = data ? sel : sel & ~3;

	if (te->real_desc[i] && (te->real_desc[i] != te_shadow_at(te, sel) ||
				 (data && (sel & 3u) > desc_dpl(te->real_desc[i])))) {
		uint64_t *slot = te_own_slot(te, CACHED_SEL(i));

		if (*slot != te->real_desc[i])
			te->reload = true;
		*slot = te->real_desc[i];
		real = CACHED_SEL(i);
	}
	if (real != te->real_sel[i]) {
		te->reload |= data;
		leave_slot(te, i);
	}
	te->real_sel[i] = real;
}

/*
 * A segment register keeps its hidden part when its descriptor changes in memory (SDM 3A 3.4.3),
 * but a vCPU that comes back to the CPU loads it anew. So a register whose descriptor is no longer
 * what the CPU holds is loaded from a slot of Zeno's own; and when the guest then loads the same
 * selector itself, the real selector shows it. Likewise conforming code, which any RPL may read:
 * its shadow does not.
 */
void
te_resync(struct vcpu *v)
{
	for (int i = 0; i < SEG_COUNT; i++)
		resync(v, i);
	te_of(v)->loaded = 0;
}

static COLD void
resync_these(struct vcpu *v, unsigned segments)
{
	for (; segments; segments &= segments - 1)
		resync(v, __builtin_ctz(segments));
}

/*
 * CS or SS: most often the guest's table has what was loaded, as it was when it was loaded last.
 * The others.
 */
static inline unsigned
resync_usual(struct vcpu *v, int i, unsigned loaded)
{
	struct te *te = te_of(v);
	uint16_t sel = v->state.seg[i].sel;

	if (!(loaded & 1u << i) || te->real_desc[i] != te_shadow_at(te, sel) ||
	    (te->real_sel[i] & ~7) == CACHED_SEL(i))
		return loaded;
	te->real_sel[i] = sel & ~3;
	return loaded & ~(1u << i);
}

/*
 * On the way from ring to ring: those that were loaded since. The entries of ring-3 code have come
 * or gone meanwhile, so all, if a data segment register holds code.
 */
void
te_resync_loaded(struct vcpu *v)
{
	const struct segment *s = v->state.seg;
	struct te *te = te_of(v);
	unsigned loaded = te->loaded;

	if ((s[SEG_ES].attr | s[SEG_DS].attr | s[SEG_FS].attr | s[SEG_GS].attr) & ATTR_CODE)
		loaded = ALL_SEGMENTS;
	loaded = resync_usual(v, SEG_CS, loaded);
	loaded = resync_usual(v, SEG_SS, loaded);
	te->loaded = 0;
	if (loaded)
		resync_these(v, loaded);
}

/* Segment register i now holds `real`, which the guest loaded without our help. */
void
te_taken_over(struct vcpu *v, int i, uint16_t real)
{
	struct te *te = te_of(v);
	unsigned cpl = (te->frame.cs & 3) == 3 ? 3 : 0;
	uint16_t sel = i == SEG_CS || i == SEG_SS ? (real & ~3) | cpl : real;
	int slot = (real & ~7) - CACHED_SEL(0);
	uint64_t guest;

	leave_slot(te, i);
	te->real_sel[i] = real;
	/*
	 * A slot that the guest read out of another register (push ds; pop es) stands for what that
	 * one holds.
	 */
	if (slot >= 0 && slot < 8 * SEG_COUNT && (te->real_sel[slot / 8] & ~7) == (real & ~7)) {
		v->state.seg[i] = v->state.seg[slot / 8];
		te->real_desc[i] = te->real_desc[slot / 8];
		return;
	}
	te->real_desc[i] = sel & ~3 ? te_shadow_at(te, sel) : 0;
	if (te_look_descriptor(v, sel, &guest)) {
		v->state.seg[i] = (struct segment){ .sel = sel };
		return;
	}
	v->state.seg[i] = desc_segment(guest | DESC_A, sel);
	if (i != SEG_CS && guest & DESC_CODE) /* or it would be gone on the way to ring 3 */
		te->real_desc[i] = te_register_shadow(v, i, guest);
}

COLD void
te_take_over(struct vcpu *v, uint16_t es, uint16_t ds, uint16_t fs, uint16_t gs, bool all)
{
	const struct ring_frame *f = &te_of(v)->frame;
	const uint16_t real[SEG_COUNT] = { es, f->cs & ~3, f->ss & ~3, ds, fs, gs };

	for (int i = 0; i < SEG_COUNT; i++)
		if (real[i] != te_of(v)->real_sel[i] && (all || (i != SEG_CS && i != SEG_SS)))
			te_taken_over(v, i, real[i]);
}

void
te_segments_in(struct vcpu *v)
{
	const struct ring_frame *f = &te_of(v)->frame;
	const uint16_t *was = te_of(v)->real_sel;
	uint16_t es, ds, fs, gs;

	__asm__ volatile("mov %%es, %0; mov %%ds, %1; mov %%fs, %2; mov %%gs, %3"
			 : "=r"(es), "=r"(ds), "=r"(fs), "=r"(gs));
	/* Most often the guest has loaded none since it was entered. */
	if ((es ^ was[SEG_ES]) | (ds ^ was[SEG_DS]) | (fs ^ was[SEG_FS]) | (gs ^ was[SEG_GS]) |
	    ((f->cs ^ was[SEG_CS]) & ~3ul) | ((f->ss ^ was[SEG_SS]) & ~3ul))
		te_take_over(v, es, ds, fs, gs, true);
}
