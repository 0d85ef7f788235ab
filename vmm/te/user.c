/*
 * The guest's ring 3: what it may do itself, and the descriptors that only it may have.
 *
 * Ring-3 code descriptors are not present in the shadow tables while the guest's kernel runs, for
 * an iret or retf to ring 3 would not trap; they are, while its user code runs.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/te/te.h>

/*
 * Whether the I/O permission bit map of the guest's TSS allows all of `size` ports (SDM 1 19.5.2).
 */
static bool
bitmap_allows(struct vcpu *v, uint16_t port, unsigned size)
{
	const struct segment *tr = &v->state.tr;
	uint16_t at, bits;

	if (!(tr->attr & ATTR_P) || tr->limit < 103 || gva_read(v, gva(tr->base + 102), &at, 2))
		return false;
	if (at + port / 8u + 1 > tr->limit || gva_read(v, gva(tr->base + at + port / 8), &bits, 2))
		return false;
	return !(bits >> (port & 7) & ((1u << size) - 1));
}

static bool
io_allowed(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->opcode & 1 ? (i->opsize == 2 ? 2 : 4) : 1;
	bool immediate = (i->op == INSN_IN && i->opnd[1].kind == OPND_IMM) ||
			 (i->op == INSN_OUT && i->opnd[0].kind == OPND_IMM);
	uint16_t port = immediate ? i->imm & 0xff : v->state.gpr[RDX];

	return bitmap_allows(v, port, size);
}

/* Whether the guest's CPU, at its CPL, would do this and not raise #GP(0). */
bool
te_allowed(struct vcpu *v, const struct exit *e)
{
	unsigned iopl = (v->state.rflags & FLAG_IOPL) >> 12;

	if (te_cpl(v) == 0)
		return true;
	switch (e->reason) {
	case EXIT_CLI:
	case EXIT_STI:
		return te_cpl(v) <= iopl;
	case EXIT_IO:
		return te_cpl(v) <= iopl || io_allowed(v, te_insn(v));
	default:
		return TE_ANY_RING >> e->reason & 1;
	}
}

static inline void
drop_inner(struct vcpu *v, enum seg_reg seg, unsigned cpl)
{
	struct segment *s = &v->state.seg[seg];
	const uint16_t conforming = ATTR_CODE | ATTR_EC;

	if (!(s->attr & ATTR_P) || ATTR_DPL(s->attr) >= cpl || (s->attr & conforming) == conforming)
		return;
	*s = (struct segment){ 0 };
	te_of(v)->real_desc[seg] = 0;
	te_of(v)->loaded |= 1u << seg;
}

/*
 * On the way to an outer ring the CPU takes away segments that it may not have (SDM 2A "IRET",
 * RETURN-TO-OUTER).
 */
void
te_drop_inner_segments(struct vcpu *v)
{
	unsigned cpl = te_cpl(v);

	drop_inner(v, SEG_ES, cpl);
	drop_inner(v, SEG_DS, cpl);
	drop_inner(v, SEG_FS, cpl);
	drop_inner(v, SEG_GS, cpl);
}
