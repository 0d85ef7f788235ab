/*
 * Hypercalls: which there are.
 */
#include <inc/errno.h>
#include <vmm/exitlog.h>
#include <vmm/pv/shared.h>
#include <vmm/pv/spot.h>

typedef int64_t call_fn(struct vcpu *v, struct pv_call *c);

SET_DECLARE(hypercalls);

/* What nobody has said of a number is a call that is not there. */
static call_fn *calls[XEN_HYPERCALL_COUNT] = {
#define CALL(name) [XEN_##name] = pv_call_##name,
	PV_CALLS(CALL)
#undef CALL
};

static const char *const names[XEN_HYPERCALL_COUNT] = {
#define CALL(number, name, arguments) [number] = #name,
	XEN_HYPERCALLS(CALL)
#undef CALL
};

/* One line for each number: a guest may ask a million times. Numbers that are none share a bit. */
COLD int64_t
pv_call_unknown(struct vcpu *v, uint64_t number)
{
	uint64_t *said = &pv_of(v->domain->vcpu)->said,
		 bit = 1ul << (number < XEN_HYPERCALL_COUNT ? number : 0);
	const char *name = number < XEN_HYPERCALL_COUNT ? names[number] : NULL;

	if (!(*said & bit) && !v->domain->silent)
		printf("d%u %s: hypercall %lu (%s): Zeno has none such: -ENOSYS\n", v->domain->id,
		       v->domain->name, number, name ? name : "unknown");
	*said |= bit;
	return -ENOSYS;
}

static COLD int64_t
absent(struct vcpu *v, struct pv_call *c)
{
	return pv_call_unknown(v, c->number);
}

static void
fill(void)
{
	set_foreach (const struct pv_hypercall *, h, hypercalls)
		calls[h->number] = h->call;
	for (unsigned n = 0; n < XEN_HYPERCALL_COUNT; n++)
		if (!calls[n])
			calls[n] = absent;
}
INITCALL(40, fill);

int64_t
pv_call(struct vcpu *v, struct pv_call *c)
{
	return c->number < XEN_HYPERCALL_COUNT ? calls[c->number](v, c)
					       : pv_call_unknown(v, c->number);
}

/* ---- on the spot ---- */

/*
 * Those that need nothing of the guest's state but their arguments, and leave nothing to be done
 * before it goes on but an event of its own: no verdict, no turn of another's. And iret.
 */
#define BIT(name) (1ul << XEN_##name)
#define AT_ONCE                                                                                 \
	(BIT(mmu_update) | BIT(stack_switch) | BIT(fpu_taskswitch) | BIT(set_debugreg) |        \
	 BIT(get_debugreg) | BIT(update_descriptor) | BIT(memory_op) | BIT(update_va_mapping) | \
	 BIT(xen_version) | BIT(vm_assist) | BIT(set_segment_base) | BIT(mmuext_op) |           \
	 BIT(event_channel_op) | BIT(grant_table_op) | BIT(iret))
/* With these the next instruction is not simply what comes next, or sysret is to load none such. */
#define UNUSUAL ((uint64_t)FLAG_TF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_VIF | FLAG_VIP)

/* Its kernel's, nobody looks on or wants to be heard first, and it goes on behind it. */
static bool
is_usual(const struct vcpu *v, const struct pv *pv, uint64_t number)
{
	const struct ring_frame *f = &pv->frame;

	return number < XEN_HYPERCALL_COUNT && AT_ONCE >> number & 1 && !pv->user && !v->held_up &&
	       !pv_upcall_is_due(pv) && (f->rflags & (UNUSUAL | FLAG_IF)) == FLAG_IF &&
	       pv_is_canonical(f->rip);
}

static enum pv_way
iret_at_once(struct vcpu *v, struct pv_spot *spot)
{
	pv_keep_spot(v, spot);
	v->state.rip -= PV_INSN; /* on the instruction, as behind an exit */
	pv_call_iret(v, &spot->call);
	return pv_go_on(v, spot);
}

/*
 * Called by the way in itself: the guest's other registers are still in the CPU, so that most of
 * what an exit takes is not done. It leaves a record like any exit. One that is not finished goes
 * on by the same instruction, at once; but if a call has let another thread in, it is an exit.
 */
enum pv_way
pv_answer(struct pv_spot *spot)
{
	struct vcpu *v = pv_running;
	struct pv *pv = pv_of(v);
	struct pv_call *c = &spot->call;
	struct exit *e = exit_place(v);
	int64_t result;

	if (!is_usual(v, pv, c->number))
		return PV_EXITS;
	exit_begin(e, EXIT_HYPERCALL, NO_TRAP, 0, pv->frame.rip - PV_INSN);
	exit_log(v, e);
	v->entries++;
	c->begins = RESUME;
	c->budget = PV_BATCH;
	if (c->number == XEN_iret)
		return iret_at_once(v, spot);
	result = calls[c->number](v, c);
	ASSERT(c->verdict == RESUME);
	if (c->again)
		pv->frame.rip -= PV_INSN;
	else
		c->number = (uint64_t)result;
	pv_flush(v); /* before anything is written by what its tables say */
	if (!pv_upcall_is_due(pv) && !need_resched)
		return PV_SYSRET;
	pv_keep_spot(v, spot);
	return pv_go_on(v, spot);
}
