/*
 * What an MMU mode's answer to a refused access means for the guest.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/tlb.h>
#include <vmm/vcpu.h>

/* What becomes of an access by what the MMU mode says of it, MMU_EMULATE aside. */
enum verdict
mmu_settle(struct vcpu *v, const struct exit *e, enum mmu_outcome outcome)
{
	switch (outcome) {
	case MMU_FILLED:
		exit_effect(v, EFFECT_FILL, e->gva | e->gpa, 0);
		if (e->gva)
			tlb_drop(v, gva(e->gva)); /* as the CPU does: SDM 3A 4.10.4.1 */
		return RESUME;
	case MMU_TRUE_FAULT:
		tlb_drop(v, gva(e->gva));
		return event_page_fault(v);
	case MMU_NO_MEMORY:
		return exit_stop(
			v, e, "lab2b.md#reclaim",
			"no room for more shadows of its page tables: shadow_reclaim() gave none up");
	case MMU_NO_FRAME:
		return exit_stop(v, e, "guide.md#nested",
				 "the machine has no frame left for its memory at %08lx", e->gpa);
	case MMU_BAD_TABLES:
		return exit_stop(v, e, "guide.md#nested",
				 "the nested tables are wrong for %08lx: %s", e->gpa,
				 v->domain->mmu->wrong(v->domain, gpa(e->gpa)));
	case MMU_TODO_FILL:
		return exit_stop(v, e, "lab2a.md#ex-2-2",
				 "a hidden fault at %08lx: exercise 2.2 is not done", e->gva);
	case MMU_TODO_NESTED:
		return exit_stop(v, e, "lab5a.md#ex-5-1", "exercise 5.1 is not done");
	default:
		return exit_stop(v, e, "lab2a.md#ex-2-3",
				 "a true fault at %08lx: exercise 2.3 is not done", e->gva);
	}
}
