/*
 * The option mmu=shadow: without nested tables. The guest believes that it walks its own page
 * tables, or none, and the CPU walks Zeno's: the flat map while its paging is off, Lab 2's shadows
 * while it is on.
 *
 * Those tables have entries of 8 bytes, so the CPU runs a guest of 32 bits in PAE paging, and one
 * in long mode with four levels. What the guest has in CR0, CR3, CR4 and EFER is put away while it
 * runs, and is in the VMCB again behind the exit, where the rest of the engine looks for it.
 *
 * Limits: all translations are flushed at each entry. No SMEP, no SMAP. A guest of 32 bits that
 * switches tasks loads a CR3 of its own choice, and reaches with it for what it likes: the CPU asks
 * first (SVM_TASK_SWITCH), QEMU 7.2 does not. Zeno sees it at the next exit, and ends the guest
 * (handouts/emulators.md#small).
 */
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mmu/flat.h>
#include <vmm/mmu/hardware.h>
#include <vmm/svm/svm.h>

#define CR_BIT(n)  ((uint16_t)(1u << (n)))
#define PAGE_FAULT (SVM_EVENT_VALID | SVM_EVENT_HAS_ERROR | SVM_EVENT_EXCEPTION << 8 | VEC_PF)

/*
 * 0 or -ENOMEM; mmu_flat_free() takes a half-made one, too. Whatever exercise 4s.4 lets run under
 * nested tables: what finds other tables than Zeno's, or reads them in another format, exits.
 */
int
svm_shadow_init(struct vcpu *v)
{
	struct vmcb *b = vmcb_of(v);

	b->np_enable = 0;
	b->cr_reads |= CR_BIT(0) | CR_BIT(3) | CR_BIT(4);
	b->cr_writes |= CR_BIT(3) | CR_BIT(4);
	b->intercepts[SVM_TASK_SWITCH / 32] |= 1u << SVM_TASK_SWITCH % 32;
	b->exceptions |= 1u << VEC_PF;
	svm_of(v)->shadowed = true;
	return mmu_flat_init(v);
}

/* Before VMRUN: the guest's registers are put away. */
void
svm_shadow_enter(struct vcpu *v)
{
	struct svm *s = svm_of(v);
	struct vmcb *b = vmcb_of(v);
	bool is_long = b->efer & EFER_LMA;

	s->own = (struct svm_own){ b->cr0, b->cr3, b->cr4, b->efer };
	b->cr0 |= CR0_PG | CR0_WP;
	b->cr3 = mmu_hardware_cr3(v, is_long);
	b->cr4 |= CR4_PAE;
	b->efer |= EFER_NXE;
	if (!is_long)
		b->efer &= ~(uint64_t)EFER_LME;
	b->cr_writes |= CR_BIT(0);
	b->tlb_control = TLB_CONTROL_FLUSH_ALL;
	s->entered = (struct svm_entered){ b->rip, b->cr3, b->eventinj };
}

/*
 * Bochs 2.7 says in EXITINTINFO that it was delivering the very #PF that made the exit. A #PF comes
 * to the guest by injection alone, so what was being delivered is what Zeno injected, if the guest
 * had not run on; or an int n, which is executed once more.
 */
static void
correct_event(const struct svm *s, struct vmcb *b)
{
	if ((b->exitintinfo & 0xffffffff) == PAGE_FAULT)
		b->exitintinfo = b->rip == s->entered.rip ? s->entered.event : 0;
}

/* Behind an exit: every move to one of them exits, so they are what they were. */
void
svm_shadow_leave(struct vcpu *v)
{
	struct svm *s = svm_of(v);
	const struct svm_own *own = &s->own;
	struct vmcb *b = vmcb_of(v);

	s->switched_task = b->cr3 != s->entered.cr3;
	b->cr0 = own->cr0;
	b->cr3 = own->cr3;
	b->cr4 = own->cr4;
	b->efer = own->efer;
	correct_event(s, b);
}

/* EXITINFO2 of an intercepted #PF has the address, and CR2 stays the guest's (APM 2 15.12.15). */
bool
svm_shadow_translate(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = vmcb_of(v);

	if (svm_of(v)->switched_task) {
		exit_begin(e, EXIT_TASK, NO_TRAP, 0, b->rip);
		e->raw = SVM_EXIT_CODE(b);
		return true;
	}
	if (SVM_EXIT_CODE(b) != SVM_EXIT_EXCEPTION + VEC_PF)
		return false;
	exit_begin(e, EXIT_MMU, VEC_PF, (uint32_t)b->exitinfo1, b->rip);
	e->raw = SVM_EXIT_CODE(b);
	e->gva = b->exitinfo2;
	e->access = access_of_error(e->error);
	return true;
}
