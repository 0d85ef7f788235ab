/*
 * What te does not do: a kernel ends with one clear line, a program gets a fault; the host and its
 * neighbours go on.
 */
#include <kern/cpu.h>
#include <vmm/te/rare/rare.h>

/*
 * What the guest's CPU says to them, since it has EFER.SCE and SYSENTER_CS at 0 for ever: #UD and
 * #GP(0) (SDM 2B "SYSCALL", "SYSENTER").
 */
static enum verdict
exit_syscall(struct vcpu *v, struct exit *e)
{
	bool fast = e->insn_op == INSN_SYSENTER || e->insn_op == INSN_SYSEXIT;

	return event_fault(v, fast ? VEC_GP : VEC_UD, 0);
}
EXIT_HANDLER(SYSCALL, "te", exit_syscall);

/* rdpmc, monitor, mwait, xsetbv, rsm: no CPU model of a guest has them, or only in another mode. */
static enum verdict
exit_other(struct vcpu *v, struct exit *e)
{
	return event_fault(v, VEC_UD, 0);
}
EXIT_HANDLER(OTHER, "te", exit_other);

/* With CR4.TSD: outside of ring 0 it is refused, and the guest's ring 0 is ring 1. */
static enum verdict
exit_rdtsc(struct vcpu *v, struct exit *e)
{
	uint64_t now = rdtsc();

	gpr_write(&v->state, RAX, 4, now & 0xffffffff);
	gpr_write(&v->state, RDX, 4, now >> 32);
	return vcpu_advance(v, e); /* safe: that is all that it does */
}
EXIT_HANDLER(RDTSC, "te", exit_rdtsc);

/*
 * invd, wbinvd: there is no cache to be flushed. invlpg: only with paging is there anything to
 * forget.
 */
enum verdict
te_exit_cache(struct vcpu *v, struct exit *e)
{
	if (e->insn_op == INSN_INVLPG && v->state.cr0 & CR0_PG) {
		e->gva = te_linear(v, te_insn(v));
		v->domain->mmu->invlpg(v, gva(e->gva));
		if (te_page_moved(v, gva(e->gva)))
			return exit_stop(v, e, LAB_1A "#limits",
					 "no memory for the shadow of its GDT");
	}
	if (e->insn_op == INSN_INVPCID)
		tlb_flush(v);
	return vcpu_advance(v, e); /* safe: that is all there is to do */
}
EXIT_HANDLER(CACHE, "te", te_exit_cache);

/*
 * The iretq checks EIP against the limit of CS, the guest's or the one that Zeno cut, and the fault
 * is the host's then. On the bare machine it is the guest's, at the instruction that it went to.
 * STOP: it was not that.
 */
static enum verdict
fetch_beyond(struct vcpu *v, struct exit *e)
{
	const struct segment *cs = &v->state.seg[SEG_CS];
	uint32_t linear = (uint32_t)(cs->base + v->state.rip);
	gpa_t at;

	if (e->vector != VEC_GP || e->error)
		return STOP;
	if (v->state.rip > cs->limit)
		return event_fault(v, VEC_GP, 0);
	if (!in_window(v->domain, linear, 1))
		return STOP;
	if (gva_to_gpa(v, gva(linear), ACCESS_FETCH | (te_cpl(v) == 3 ? ACCESS_USER : 0), &at) &&
	    v->page_fault.pending)
		return event_page_fault(v);
	return exit_limit(v, e, VEC_GP, 0, LAB_1A "#window",
			  "it reached for the VMM window at %08x", linear);
}

/*
 * An iret, or a handler's gate, may load CS or SS with what is right for the guest's CPU and has no
 * shadow: a segment that lies in the VMM window, or grows down into it. STOP: it was not that.
 */
static enum verdict
loaded_without_shadow(struct vcpu *v, struct exit *e)
{
	const struct te *te = te_of(v);

	for (int i = SEG_CS; i <= SEG_SS; i++) {
		const struct segment *s = &v->state.seg[i];
		bool down = (s->attr & (ATTR_CODE | ATTR_EC)) == ATTR_EC;

		if (s->attr & ATTR_P && !te->real_desc[i] &&
		    (down || s->base >= te_cut_at(v->domain)))
			return te_no_shadow(v, e, s->sel, (uint32_t)s->base, s->limit);
	}
	return STOP;
}

/*
 * The iretq, or the load of a data segment before it, faulted in ring 0: why, the likely cause
 * first.
 */
enum verdict
te_exit_entry_failed(struct vcpu *v, struct exit *e)
{
	const struct ring_frame *f = &te_of(v)->frame;
	const char *why = "selector not allowed: its shadow's DPL, or the RPL in CS, SS";

	if (e->raw == ~0ull)
		return exit_stop(v, e, LAB_1A "#ex-1-1",
				 "ring 1 was not entered: exercise 1.1 is not done");
	if (te_in_middle_ring(v))
		return te_no_ring(v, e, v->state.seg[SEG_CS].sel, te_cpl(v));
	if (loaded_without_shadow(v, e) == FAULTED)
		return FAULTED;
	if (v->domain->state != DOMAIN_ENDED && fetch_beyond(v, e) == FAULTED)
		return FAULTED;
	if (v->domain->state == DOMAIN_ENDED)
		return STOP;
	if (e->vector == VEC_PF)
		why = "the CPU wrote A into a read-only shadow; is DESC_A set?";
	else if (e->vector == VEC_NP || e->vector == VEC_SS)
		why = "no shadow is present for that selector";
	else if (e->vector == VEC_GP && !(e->error & ~7u))
		why = "a null selector, or an address beyond its segment";
	return exit_limit(v, e, VEC_GP, v->state.seg[SEG_CS].sel & ~3u, LAB_1A "#entry-failed",
			  "entering ring 1 failed: %s (cs %04lx, ss %04lx)", why, f->cs, f->ss);
}
EXIT_HANDLER(ENTRY_FAILED, "te", te_exit_entry_failed);
