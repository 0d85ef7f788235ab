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
enum verdict
te_exit_cache(struct vcpu *v, struct exit *e)
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
EXIT_HANDLER(CACHE, "te", te_exit_cache);

/* The iretq, or the load of a data segment before it, faulted in ring 0: why, the likely cause first. */
enum verdict
te_exit_entry_failed(struct vcpu *v, struct exit *e)
{
	const struct trap_frame *f = &te_of(v)->frame;
	const char *why = "selector not allowed: its shadow's DPL, or the RPL in CS, SS";

	if (e->raw == ~0ull)
		return exit_stop(v, e, LAB_1A "#ex-1-1",
				 "ring 1 was not entered: exercise 1.1 is not done");
	if (e->vector == VEC_PF)
		why = "the CPU wrote A into a read-only shadow; is DESC_A set?";
	else if (e->vector == VEC_NP || e->vector == VEC_SS)
		why = "no shadow is present for that selector";
	else if (e->vector == VEC_GP && !(e->error & ~7u))
		why = "a null selector, or an address beyond its segment";
	return exit_stop(v, e, LAB_1A "#entry-failed",
			 "entering ring 1 failed: %s (cs %04lx, ss %04lx)", why, f->cs, f->ss);
}
EXIT_HANDLER(ENTRY_FAILED, "te", te_exit_entry_failed);
