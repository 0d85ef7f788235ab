/*
 * What te does not do, each with one clear line: the guest ends, the host and its neighbours go on.
 */
#include <vmm/te/te.h>

static enum verdict
exit_syscall(struct vcpu *v, struct exit *e)
{
	return exit_stop(v, e, LAB_1A "#syscall",
			 "%s is off under te: it would enter ring 0 on the guest's stack",
			 insn_name(e->insn_op));
}
EXIT_HANDLER(SYSCALL, "te", exit_syscall);

static enum verdict
exit_other(struct vcpu *v, struct exit *e)
{
	return exit_stop(v, e, LAB_1A "#limits", "te does not emulate %s", insn_name(e->insn_op));
}
EXIT_HANDLER(OTHER, "te", exit_other);

/* invd, wbinvd: there is no cache to be flushed. invlpg: only with paging is there anything to forget. */
static enum verdict
exit_cache(struct vcpu *v, struct exit *e)
{
	if (e->insn_op == INSN_INVLPG && v->state.cr0 & CR0_PG) {
		gva_t at = gva(te_linear(v, te_insn(v)));

		v->domain->mmu->invlpg(v, at);
		if (te_page_moved(v, at))
			return exit_stop(v, e, LAB_1A "#limits",
					 "no memory for the shadow of its GDT");
	}
	if (e->insn_op == INSN_INVPCID)
		tlb_flush(v->domain);
	vcpu_advance(v, e); /* safe: that is all there is to do */
	return RESUME;
}
EXIT_HANDLER(CACHE, "te", exit_cache);

enum verdict
te_exit_entry_failed(struct vcpu *v, struct exit *e)
{
	if (e->raw == ~0ull)
		return exit_stop(v, e, LAB_1A "#ex-1-1",
				 "ring 1 was not entered: exercise 1.1 is not done");
	return exit_stop(
		v, e, LAB_1A "#entry-failed",
		"entering ring 1 failed with %s, error %x: is selector %04x a present descriptor of "
		"DPL 1 in the shadow tables, and RPL equal to the ring? (cs %04x, ss %04x)",
		vector_name(e->vector), e->error, e->error & ~7u,
		te_of(v)->real_sel[SEG_CS] | te_ring(v), te_of(v)->real_sel[SEG_SS] | te_ring(v));
}
EXIT_HANDLER(ENTRY_FAILED, "te", te_exit_entry_failed);
