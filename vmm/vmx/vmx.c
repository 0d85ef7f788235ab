/*
 * The engine vmx: entry and exit, and what belongs to each vCPU.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
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
#include <vmm/vmx/vmx.h>

#define VMX_RAM_MAX       (2ul << 30)                   /* below the hole that devices have */
#define EXCEPTIONS_CAUGHT (1u << VEC_DB | 1u << VEC_AC) /* both can follow themselves for ever */

static struct vmx *current; /* whose VMCS the CPU has; no other one is active */

/*
 * The CPU may keep a VMCS's data to itself until VMCLEAR (SDM 3C 25.11.1), so whoever gives way
 * takes all of its state along, and VMCLEAR before another one comes, or before the frame goes.
 */
static void
give_way(void)
{
	if (!current)
		return;
	vcpu_need(current->vcpu, STATE_ALL);
	vmx_vmclear(current->vmcs_at.v);
	current->launched = false;
	current = NULL;
}

/* What the next engine's load() has done: nothing of VT-x is left, so VMX instructions are #UD. */
static void
leave(void)
{
	give_way();
	vmx_turn_off();
}

/* As after a reset, but with a 16-bit TSS no CPU turns long mode on (SDM 3A 10.8.5). */
static void
reset_task(struct vcpu *v)
{
	v->state.tr = (struct segment){ .attr = ATTR_P | 0xb, .limit = 0xffff };
}

static int
init(struct vcpu *v)
{
	uint32_t *vmcs = host_page();
	struct vmx *x = host_page();
	int err;

	if (!x || !vmcs) {
		host_page_put(x);
		host_page_put(vmcs);
		return -ENOMEM;
	}
	v->engine_data = x;
	x->vcpu = v;
	x->vmcs_at = mfn_to_hpa(ptr_mfn(vmcs));
	*vmcs = vmx_revision();            /* SDM 3C 25.2 "Format of the VMCS Region" */
	v->state.pat = 0x0007040600070406; /* SDM 3A 12.12.4: after a reset */
	reset_task(v);
	x->exceptions = EXCEPTIONS_CAUGHT;
	x->cr0_owned = VMX_CR0_OWNED;
	x->cr4_owned = ~engine_cr4(v->engine, v->domain->mmu) | CR4_DE; /* limit_ports() */
	err = vmx_prepare();
	if (err)
		return err;
	v->flush = true; /* its first entry takes a VPID */
	if (!v->domain->mmu->nested_init)
		return vmx_shadow_init(v);
	vmx_ept_features();
	vmx_ask_vpids();
	return nested_init(v, &nested_ept) ? -ENOMEM : 0;
}

static void
free_vcpu(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);

	if (current == x)
		give_way();
	if (x->shadowed)
		mmu_flat_free(v);
	frame_put(hpa_to_mfn(x->vmcs_at));
	host_page_put(x);
	v->engine_data = NULL;
}

/* No value would do for "not known": each is one that a guest may have. */
void
vmx_write_known(struct vmx *x)
{
	static const enum vmcs_field known[] = { GUEST_RIP, GUEST_RSP, GUEST_RFLAGS,
						 GUEST_INTERRUPTIBILITY, GUEST_PENDING_DEBUG };

	for (unsigned i = 0; i < ARRAY_LEN(known); i++)
		vmcs_write(known[i], 0);
	x->rip = x->rsp = x->rflags = x->interruptibility = x->pending_debug = 0;
}

/* Constant fields are written once, and the guest's state whole. */
static void
become_current(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);

	if (current == x)
		return;
	v->special = true; /* it is not launched */
	give_way();
	if (!x->filled)
		vmx_vmclear(x->vmcs_at.v);
	vmx_vmptrld(x->vmcs_at.v);
	current = x;
	vmx_set_host_state();
	if (x->filled)
		return;
	vmx_make_maps();
	vmx_set_controls(v);
	vmx_write_known(x);
	x->filled = true;
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
		.efer = rdmsr(MSR_EFER) & ~(uint64_t)EFER_SCE,
		.rsp0 = 0,
		.ring_exit = nobody_exits,
		.leave = leave,
	};

	cpu_setup_load(&setup);
	vmx_turn_on();
	become_current(v);
	vmx_debug_controls(v);
	v->flush |= vmx_needs_vpid(vmx_of(v));
}

/* Before its first turn there is nothing to be forgotten. */
static void
reset(struct vcpu *v)
{
	reset_task(v);
	if (!vmx_of(v)->filled)
		return;
	load(v);
	vmcs_write(ENTRY_EVENT, 0);
}

static uint64_t
read_current(const void *vmcs, uint32_t field)
{
	return vmcs_peek((enum vmcs_field)field);
}

/* Before the first entry: those of exercise 4.7 are asked of what the CPU has refused alone. */
static bool
breaks_a_rule(void)
{
	struct vmx_attempt entry = { .read = read_current, .cpu = &vmx_cpu };
	const struct entry_rule *r;

	for (size_t n = 0; (r = vmx_rule(n)); n++)
		if (r->words && vmx_rule_words(&entry, r))
			return true;
	return false;
}

/*
 * Nothing of the guest ran, and its state is what it was: no field has come from the VMCS. The raw
 * code is the exit reason, and without bit 31 there was no exit.
 */
static COLD bool
refused(struct vcpu *v, struct exit *e, uint32_t reason, uint32_t error)
{
	exit_begin(e, EXIT_ENTRY_FAILED, NO_TRAP, error, v->state.rip);
	e->raw = reason;
	return false;
}

static COLD bool
not_entered(struct vcpu *v, struct exit *e, enum vmx_entry entry)
{
	return entry == REFUSED_VMCS ? refused(v, e, 0, (uint32_t)vmcs_read(INSTRUCTION_ERROR))
				     : refused(v, e, VMX_NO_ENTRY, 0);
}

/* What an entry needs now and then. False: it would be refused, and *e says so. */
static APART bool
prepare(struct vcpu *v, struct exit *e)
{
	if (v->flush && !vmx_of(v)->shadowed)
		vmx_forget_translations(v);
	v->flush = false;
	if (vmx_of(v)->shadowed)
		vmx_shadow_enter(v);
	if (!v->entries && breaks_a_rule())
		return refused(v, e, 0, 0);
	if (v->debugged)
		vmx_show_entry(vmx_of(v));
	return true;
}

/* False: the CPU has refused, and *e says so. */
static INLINED bool
entered(struct vcpu *v, struct exit *e)
{
	enum vmx_entry entry = vmx_enter_and_back(vmx_of(v), v->state.gpr);
	uint32_t raw;

	if (__builtin_expect(entry != ENTERED, 0))
		return not_entered(v, e, entry);
	raw = (uint32_t)vmcs_read(EXIT_REASON);
	vmx_of(v)->raw = raw;
	return __builtin_expect(raw & VMX_ENTRY_FAILED, 0) ? refused(v, e, raw, 0) : true;
}

/*
 * Something is being delivered, or interrupts are held back, or a step's #DB may wait: SDM 3C
 * 28.3.4. That of a breakpoint is for who has armed one: run_special().
 */
static inline bool
is_in_between(const struct vcpu *v)
{
	return (vmcs_read(VECTORING_EVENT) & VMX_EVENT_VALID) | vmcs_read(GUEST_INTERRUPTIBILITY) |
	       (v->state.rflags & FLAG_TF);
}

/*
 * None of the guest's instructions ran behind a delivery that did not come to its end: the run loop
 * serves the host. And the next entry is to know of it.
 */
static COLD void
take_back(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);

	x->vectoring = (uint32_t)vmcs_read(VECTORING_EVENT);
	if (!(x->vectoring & VMX_EVENT_VALID))
		v->entries++;
	vmx_held_from_vmcs(v);
	vmx_take_back(v);
	v->special = true;
}

/*
 * With anything to think of: shadows, armed breakpoints, a debugger, an event, a window, a flush,
 * which the first entry has, too, or a group of the state that a handler has changed.
 */
static APART void
run_special(struct vcpu *v, struct exit *e)
{
	struct vmx *x = vmx_of(v);

	vmx_state_to_vmcs(v);
	vmx_held_to_vmcs(v);
	if ((v->flush | x->shadowed | v->debugged) && !prepare(v, e))
		return;
	if (!entered(v, e))
		return;
	x->launched = true;
	tlb_forget(v); /* the guest moves its page tables unseen */
	v->tlb_used = false;
	vmx_state_from_vmcs(v);
	take_back(v);
	v->special = x->shadowed || x->dr[7] & DR7_ANY || x->interruptibility || x->pending_debug;
	vmx_translate(v, e);
}

/*
 * The host's interrupts are served at one in so many exits, too. Most make one of their own; but of
 * a guest with IF=0 Bochs' CPU makes none, and one that exits before the preemption timer does
 * would keep them out for ever (handouts/emulators.md).
 */
#define SERVED_EVERY 64

static void
run(struct vcpu *v, struct exit *e)
{
	if (v->work) {
		run_special(v, e);
		return;
	}
	vmx_registers_to_vmcs(v);
	if (!entered(v, e))
		return;
	vmx_state_from_vmcs(v);
	if (__builtin_expect(is_in_between(v), 0))
		take_back(v);
	else
		v->entries++;
	vmx_translate(v, e);
	if (!(v->entries % SERVED_EVERY))
		preempt_point();
}

static const char *
probe(void)
{
	const char *why = vmx_probe();

	return why ? why : vmx_lacks_exit();
}

static const char *const modes[] = { "nested", "flat", "shadow", NULL };

static const struct engine vmx_engine = {
	.name = "vmx",
	.what = "VT-x with nested paging",
	.cr4_guest = VMX_CR4_GUEST,
	.long_mode = true,
	.pae_registers = true,
	.max_vcpus = 4,
	.ram_max = VMX_RAM_MAX,
	.mmu_modes = modes,
	.probe = probe,
	.init = init,
	.free = free_vcpu,
	.load = load,
	.run = run,
	.fetch = vmx_fetch,
	.reset = reset,
	.inject = vmx_inject,
	.window = vmx_window,
	.breakpoint = 0xf1,
	.injected = vmx_injected,
};
SET_ADD(engines, vmx_engine);

/* What the CPU said of it: SDM 3C 27.8, 31.4 "VM Instruction Error Numbers". */
static const char *
cpu_words(const struct exit *e)
{
	static char words[60];

	if (e->raw & VMX_ENTRY_FAILED)
		snprintf(words, sizeof(words), "exit reason %u", VMX_REASON_BASIC(e->raw));
	else if (e->error)
		snprintf(words, sizeof(words), "VM-instruction error %u", e->error);
	else
		return "before its first launch";
	return words;
}

/* What is broken, with the manual's words for where; the guest's last line has the first. */
static enum verdict
exit_entry_failed(struct vcpu *v, struct exit *e)
{
	struct vmx_attempt entry = { .read = read_current, .cpu = &vmx_cpu };
	const struct entry_rule *first = NULL, *r;
	unsigned broken = 0;

	if (e->raw == VMX_NO_ENTRY)
		return exit_stop(v, e, "lab4a.md#ex-4-2",
				 "vmx_enter() came back, and no guest has run");
	if (vmx_of(v)->shadowed && !(v->state.cr0 & CR0_PE))
		return exit_stop(v, e, "guide.md#vmx",
				 "without nested paging VT-x has no real mode (mmu=nested has)");
	for (size_t n = 0; (r = vmx_rule_broken(&entry, &n)); n++) {
		first = first ? first : r;
		if (++broken > RULES_SHOWN)
			continue;
		printf("d%u %s: VM entry: %s = %lx: %s (%s)\n", v->domain->id, v->domain->name,
		       r->field, vmcs_peek((enum vmcs_field)r->at), vmx_rule_words(&entry, r),
		       r->section);
	}
	if (broken > RULES_SHOWN)
		printf("d%u %s: VM entry: and %u more\n", v->domain->id, v->domain->name,
		       broken - RULES_SHOWN);
	if (!first)
		return exit_stop(v, e, "guide.md#vmx",
				 "the VMCS is refused (%s), for no rule that Zeno knows%s",
				 cpu_words(e),
				 exercise_missing("4.7") ? ", and yours are not written (exercise "
							   "4.7)"
							 : "");
	return exit_stop(v, e, "guide.md#vmx", "the VMCS is refused (%s): %s = %lx: %s",
			 cpu_words(e), first->field, vmcs_peek((enum vmcs_field)first->at),
			 vmx_rule_words(&entry, first));
}
EXIT_HANDLER(ENTRY_FAILED, "vmx", exit_entry_failed);
