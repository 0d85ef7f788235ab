/*
 * The host's own TLB: its misses, and its end (vmm/mem/tlb.h).
 */
#include <kern/map.h>
#include <vmm/mem/tlb.h>

const struct tlb_entry *
tlb_fill(struct vcpu *v, gva_t a, unsigned how)
{
	struct tlb_entry *e = tlb_at(v, a);
	const struct p2m_entry *frame;
	size_t one = 1;
	uint8_t *page;
	gpa_t at;

	if (!(v->state.efer & EFER_LMA))
		a.v = (uint32_t)a.v;
	if (gva_to_gpa(v, a, how, &at)) {
		tlb_drop(v, a);
		return NULL;
	}
	if (!gpa_ptr(v->domain, at, &one))
		return NULL;
	frame = p2m_entry(v->domain, gpa_to_gfn(at));
	page = mfn_ptr(mfn(frame->mfn));
	if ((e->tag & ~PAGE_MASK) != tlb_tag(&v->tlb, a) || e->page != page) {
		v->tlb.code += !!(e->tag & TLB_FETCHES);
		e->tag = tlb_tag(&v->tlb, a);
	}
	e->page = page;
	e->frame = frame;
	e->gfn = (uint32_t)gpa_to_gfn(at).v;
	v->tlb_used = true;
	e->tag |= 1ull << (how & (ACCESS_WRITE | ACCESS_USER | ACCESS_FETCH));
	return e;
}

void
tlb_flush(struct vcpu *v)
{
	v->flush = true;
	tlb_forget(v);
}

void
tlb_flush_all(struct domain *d)
{
	for_each_vcpu(v, d) tlb_flush(v);
}
