/*
 * What is made of the guest's descriptors, by value; a part of te.h.
 */
#pragma once

/*
 * Where segments are cut. A window that had to move lies in the middle of the guest's addresses,
 * where no limit can keep one from reading it: page rights alone keep it from being written.
 */
static inline uint64_t
te_cut_at(const struct domain *d)
{
	return d->window == WINDOW_DEFAULT ? d->window : 1ul << 32;
}

/* What is made of a descriptor of the guest's while its CPL is `cpl`, anew. */
const struct te_shadow *te_make_shadow(struct vcpu *v, struct te_shadow *into, uint64_t desc,
				       unsigned cpl);

/*
 * In ring 3 its code is cut as data is, has DPL 3, and does not conform. A kernel has four segments
 * or five, and each system call loads two of them, so what was made of them is kept.
 */
static inline const struct te_shadow *
te_made_of(struct vcpu *v, uint64_t desc, unsigned cpl)
{
	struct te_shadow *known =
		&te_of(v)->shadows[cpl == 3][desc_dpl(desc) << 1 | !!(desc & DESC_CODE)];

	return known->desc == desc ? known : te_make_shadow(v, known, desc, cpl);
}

static inline uint64_t
te_shadow_for(struct vcpu *v, uint64_t desc, unsigned cpl)
{
	return te_made_of(v, desc, cpl)->shadow;
}

/*
 * Loads CS or SS and nothing else: the caller has checked, and calls te_cpl_changed() when all is
 * loaded.
 */
static inline void
te_set_segment(struct vcpu *v, enum seg_reg seg, uint16_t sel, uint64_t desc)
{
	struct te *te = te_of(v);
	const struct te_shadow *made = te_made_of(v, desc, sel & 3);

	v->state.seg[seg] = made->hidden;
	v->state.seg[seg].sel = sel;
	te->real_desc[seg] = made->shadow;
	te->loaded |= 1u << seg;
}
