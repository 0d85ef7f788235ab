/*
 * The engine svm: entry and exit, and what belongs to each vCPU.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/trap.h>
#include <vmm/cpu_setup.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/exitlog.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/flat.h>
#include <vmm/mmu/nested/nested.h>
#include <vmm/svm/svm.h>

#define SVM_RAM_MAX (2ul << 30) /* below the hole that devices have */
#define SHADOW_KEPT 4
#define CR4_GUEST                                                                                 \
	((uint64_t)CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | \
	 CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_SMEP | CR4_SMAP)

static struct tags asids;

/* The next entry finds nothing that the last ones have left. */
static void
forget_translations(struct svm *s)
{
	if (tag_take(&asids, &s->asid))
		s->vmcb->tlb_control = TLB_CONTROL_FLUSH_ALL;
	s->vmcb->asid = s->asid.number;
}

/*
 * TR is not busy: with a 16-bit TSS no CPU turns long mode on (SDM 3A 10.8.5), and QEMU 7.2 ends
 * itself when a guest comes back from ring 3 by a busy one, which nothing but a reset leaves there.
 */
static void
reset(struct vcpu *v)
{
	v->state.tr = (struct segment){ .attr = ATTR_P | 0x9, .limit = 0xffff };
	vmcb_of(v)->eventinj = 0;
}

static int
init(struct vcpu *v)
{
	struct svm *s = host_page();
	void *vmcb = host_page();
	int err;

	if (!s || !vmcb) {
		host_page_put(s);
		host_page_put(vmcb);
		return -ENOMEM;
	}
	v->engine_data = s;
	v->control = s->vmcb = vmcb;
	s->vmcb_at = mfn_to_hpa(ptr_mfn(vmcb));
	v->state.pat = 0x0007040600070406; /* APM 2 7.8.2: after a reset */
	reset(v);
	err = svm_turn_on();
	if (err)
		return err;
	s->host_state = svm_host_state();
	svm_make_maps();
	svm_set_controls(s->vmcb);
	asids.count = svm_cpu.asids;
	nested_npt.largest = svm_cpu.has_giant_pages ? 3 : 2;
	v->flush = true; /* its first entry takes an ASID */
	if (!v->domain->mmu->nested_init)
		return svm_shadow_init(v);
	if (nested_init(v, &nested_npt))
		return -ENOMEM;
	s->vmcb->n_cr3 = mfn_to_hpa(v->root).v;
	return 0;
}

static void
free_vcpu(struct vcpu *v)
{
	struct svm *s = svm_of(v);

	if (s->shadowed)
		mmu_flat_free(v);
	host_page_put(s->vmcb);
	host_page_put(s);
	v->engine_data = NULL;
}

/*
 * The host stays on its own root while this vCPU runs: the guest's memory is in the nested tables
 * alone. Nothing of an engine that runs guests in outer rings may be left.
 */
static void
load(struct vcpu *v)
{
	const struct cpu_setup setup = {
		.cr3 = mfn_to_hpa(host_root).v,
		.efer = (rdmsr(MSR_EFER) & ~(uint64_t)EFER_SCE) | EFER_SVME,
		.tsc_aux = svm_of(v)->tsc_aux,
		.rsp0 = 0,
		.ring_exit = nobody_exits,
	};

	cpu_setup_load(&setup);
	svm_debug_controls(v);
	/*
	 * A #DB of the guest's may come behind VMRUN, in ring 0: see enter_armed(); and Bochs' step
	 * of an instruction that exits (handouts/emulators.md#small). It goes nowhere. No stack of
	 * #DB's own takes it, for TR is the guest's up to the VMLOAD.
	 */
	trap_debug_stack(false);
	trap_debug_expected = true;
	if (!tag_holds(&asids, &svm_of(v)->asid))
		v->flush = true;
	v->special = true; /* the CPU's own CR2 may be another guest's */
}

/* TSC_AUX goes with the vCPU: rdtscp is no exit, and QEMU 7.2 would say rdtsc of one. */
static void
keep_msrs(struct vcpu *v)
{
	struct svm *s = svm_of(v);

	s->tsc_aux = (uint32_t)v->state.tsc_aux;
	s->apic_base = v->state.apic_base;
	s->xcr0 = v->state.xcr0;
	cpu_setup_tsc_aux(s->tsc_aux);
}

/* A write to CR8 exits; what a read finds is V_TPR (APM 2 15.21.1). */
static void
keep_cr8(struct vcpu *v)
{
	struct svm *s = svm_of(v);

	s->cr8 = v->state.cr8;
	s->vmcb->vintr = (s->vmcb->vintr & ~(uint64_t)VINTR_TPR) | s->cr8;
}

static void
fetch(struct vcpu *v, unsigned groups)
{
	const struct svm *s = svm_of(v);

	svm_fetch(v, groups);
	if (groups & STATE_CR)
		v->state.cr8 = s->cr8;
	if (!(groups & STATE_MSR))
		return;
	v->state.tsc_aux = s->tsc_aux;
	v->state.apic_base = s->apic_base;
	v->state.xcr0 = s->xcr0;
}

static void
write_dr7(uint64_t value)
{
	__asm__ volatile("mov %0, %%dr7" : : "r"(value));
}

static inline void
enter(struct vcpu *v)
{
	const struct svm *s = svm_of(v);

	svm_enter(v->state.gpr, s->vmcb_at, s->host_state);
}

/*
 * QEMU 7.2 arms no breakpoint when VMRUN loads DR7, and dies when one that it never armed goes: the
 * host arms the guest's itself (handouts/emulators.md#intercepts). None of these watches the host.
 * One that was met before an exit of the same instruction's comes behind it, in ring 0: it goes
 * nowhere, since that instruction runs again, or its exit is the #DB.
 */
static void
enter_armed(struct vcpu *v)
{
	write_dr7(vmcb_of(v)->dr7);
	enter(v);
	write_dr7(DR7_RESET);
}

/*
 * The CPU refused. Nothing of the guest ran, so its state is what it was; but QEMU 7.2 has written
 * the host's over what it had not looked at yet. What went into the VMCB last goes there again, for
 * the rules; the other groups of the state are lost there, to whoever looks at the guest.
 */
static COLD void
refused(struct vcpu *v, struct exit *e, unsigned groups)
{
	exit_begin(e, EXIT_ENTRY_FAILED, NO_TRAP, 0, v->state.rip);
	e->raw = vmcb_of(v)->exitcode;
	asids.next = 0; /* it may not have forgotten what it was told to: the next to ask flushes */
	v->dirty = (uint8_t)groups;
	v->valid |= (uint8_t)groups;
	svm_state_to_vmcb(v);
}

/*
 * Bochs 2.7 does not load CR2 at VMRUN: the CPU has what was there last, and it may be another
 * guest's (handouts/emulators.md#intercepts). Between two entries of one vCPU nothing changes it
 * but who says so.
 */
static void
load_cr2(const struct vmcb *b)
{
	__asm__ volatile("mov %0, %%cr2" : : "r"(b->cr2));
}

static void
enter_special(struct vcpu *v, unsigned written)
{
	struct svm *s = svm_of(v);
	struct vmcb *b = vmcb_of(v);
	uint64_t event = b->eventinj;

	if (written & STATE_MSR)
		keep_msrs(v);
	if (written & STATE_CR)
		keep_cr8(v);
	if (v->flush)
		forget_translations(s);
	if (!s->shadowed && (v->flush || written & STATE_CR))
		svm_forget_instructions(s);
	v->flush = false;
	if (v->debugged)
		svm_debug_entry(v);
	if (s->shadowed)
		svm_shadow_enter(v);
	load_cr2(b);
	if (!v->entries)
		b->exitcode = svm_rule_broken(b, &svm_cpu, NULL) ? SVM_EXIT_INVALID : SVM_EXIT_NONE;
	if (v->entries || b->exitcode == SVM_EXIT_NONE) {
		if (b->dr7 & DR7_ANY)
			enter_armed(v);
		else
			enter(v);
	}
	if (SVM_EXIT_CODE(b) == SVM_EXIT_INVALID)
		b->eventinj = event; /* for the rules: QEMU 7.2 has cleared it */
	if (s->shadowed)
		svm_shadow_leave(v);
}

static void
translate_special(struct vcpu *v, struct exit *e)
{
	if (svm_of(v)->shadowed && svm_shadow_translate(v, e))
		return;
	svm_translate(v, e);
	if (v->debugged)
		svm_debug_exit(v, e);
}

/* Something is being delivered, or interrupts are held back. */
static inline bool
is_in_between(const struct vmcb *b)
{
	return (b->exitintinfo & SVM_EVENT_VALID) | b->interrupt_shadow;
}

/*
 * None of the guest's instructions ran behind a delivery that did not come to its end: the run loop
 * serves the host. And the next entry is to know of it.
 */
static COLD void
take_back(struct vcpu *v)
{
	if (!(vmcb_of(v)->exitintinfo & SVM_EVENT_VALID))
		v->entries++;
	svm_take_back(v);
	v->special = true;
}

/*
 * QEMU 7.2 does not load the interrupt shadow, so it does not tell of it at an exit that comes
 * before the guest's first instruction: by an interrupt of the host's, or by that one's fetch. Not
 * for ever: a guest stays at `sti; jmp $`.
 */
static bool
keeps_shadow(const struct vmcb *b, uint64_t rip, unsigned kept)
{
	return b->rip == rip && kept < SHADOW_KEPT;
}

/*
 * With anything to think of: shadows, armed breakpoints, a debugger, an event, a flush, which the
 * first entry has, too, or a group of the state that a handler has changed.
 */
static APART void
run_special(struct vcpu *v, struct exit *e)
{
	struct svm *s = svm_of(v);
	struct vmcb *b = vmcb_of(v);
	unsigned written = v->dirty;
	bool had_shadow;

	svm_state_to_vmcb(v);
	svm_sti_shadow_to_vmcb(v);
	had_shadow = b->interrupt_shadow;
	if (had_shadow) /* QEMU 7.2 does not load it: the window would open in it */
		b->vintr &= ~VINTR_IRQ;
	enter_special(v, written);
	if (SVM_EXIT_CODE(b) >= SVM_EXIT_NONE) {
		refused(v, e, written);
		return;
	}
	s->shadow_kept = had_shadow && keeps_shadow(b, v->state.rip, s->shadow_kept)
				 ? s->shadow_kept + 1
				 : 0;
	b->interrupt_shadow |= s->shadow_kept > 0;
	b->tlb_control = 0;
	v->special = s->shadowed || b->dr7 & DR7_ANY;
	tlb_forget(v); /* the guest moves its page tables unseen */
	v->tlb_used = false;
	svm_state_from_vmcb(v);
	if (is_in_between(b)) {
		take_back(v);
	} else {
		v->entries++;
		svm_take_back(v);
	}
	translate_special(v, e);
}

static void
run(struct vcpu *v, struct exit *e)
{
	if (v->work) {
		run_special(v, e);
		return;
	}
	svm_registers_to_vmcb(v);
	enter(v);
	if (__builtin_expect(SVM_EXIT_CODE(vmcb_of(v)) >= SVM_EXIT_NONE, 0)) {
		refused(v, e, 0);
		return;
	}
	svm_state_from_vmcb(v);
	if (__builtin_expect(is_in_between(vmcb_of(v)), 0))
		take_back(v);
	else
		v->entries++;
	svm_translate(v, e);
}

static const char *const modes[] = { "nested", "flat", "shadow", NULL };

static const struct engine svm_engine = {
	.name = "svm",
	.what = "AMD-V with nested paging",
	.cr4_guest = CR4_GUEST,
	.long_mode = true,
	.max_vcpus = 4,
	.ram_max = SVM_RAM_MAX,
	.mmu_modes = modes,
	.probe = svm_probe,
	.init = init,
	.free = free_vcpu,
	.load = load,
	.run = run,
	.fetch = fetch,
	.reset = reset,
	.insn = svm_insn,
	.inject = svm_inject,
	.window = svm_window,
	.breakpoint = 0xf1,
	.injected = svm_injected,
};
SET_ADD(engines, svm_engine);

/* What is broken, with the manual's words for where; the guest's last line has the first. */
static enum verdict
exit_entry_failed(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = vmcb_of(v);
	struct svm_broken first, r;
	unsigned broken;

	if (e->raw == SVM_EXIT_NONE)
		return exit_stop(v, e, "lab4sa.md#ex-4s-2",
				 "svm_enter() came back, and no guest has run");
	first = svm_broken(b, &svm_cpu, 0);
	for (broken = 0; (r = svm_broken(b, &svm_cpu, broken)).field; broken++)
		if (broken < RULES_SHOWN)
			printf("d%u %s: VMRUN: %s = %lx: %s (%s)\n", v->domain->id, v->domain->name,
			       r.field, r.value, r.words, r.section);
	if (broken > RULES_SHOWN)
		printf("d%u %s: VMRUN: and %u more\n", v->domain->id, v->domain->name,
		       broken - RULES_SHOWN);
	if (!first.field && exercise_missing("4s.7"))
		return exit_stop(v, e, "guide.md#svm",
				 "the CPU refuses the VMCB (VMEXIT_INVALID), for no rule that "
				 "Zeno knows, and yours are not written (exercise 4s.7)");
	if (!first.field && v->entries)
		return exit_stop(
			v, e, "emulators.md#small",
			"it has made of CR0, CR3 or CS by itself what no CPU takes, QEMU's "
			"not at the next entry (VMEXIT_INVALID)");
	if (!first.field)
		return exit_stop(
			v, e, "guide.md#svm",
			"the CPU refuses the VMCB (VMEXIT_INVALID), for no rule that Zeno knows");
	return exit_stop(v, e, "guide.md#svm", "the CPU refuses the VMCB: %s = %lx: %s",
			 first.field, first.value, first.words);
}
EXIT_HANDLER(ENTRY_FAILED, "svm", exit_entry_failed);

/* What made the exit is not in the guest's memory any more. */
static enum verdict
exit_other(struct vcpu *v, struct exit *e)
{
	return exit_stop(v, e, "guide.md#svm",
			 "an instruction that must exit is no longer where the CPU has fetched it");
}
EXIT_HANDLER(OTHER, "svm", exit_other);
