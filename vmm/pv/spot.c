/*
 * What needs no exit (spot.inc): calls, what comes to a guest's handler, and its way back.
 * pv_frame() and pv_call_iret(), which are the lab's, know v->state alone: so what they need of it
 * is put there before, and what they have made of it goes to the CPU's own frame.
 */
#include <kern/cpu.h>
#include <kern/thread.h>
#include <vmm/exitlog.h>
#include <vmm/pv/shared.h>
#include <vmm/pv/spot.h>

/* All but rax: no frame has it, and iret brings one. */
static inline void
keep(struct cpu_state *s, const struct ring_frame *f, const struct pv_spot *spot)
{
	pv_keep_frame(s, f);
	s->gpr[RCX] = spot->rcx;
	s->gpr[R11] = spot->r11;
}

/*
 * To the CPU's frame, and whether iretq can go on from it. If not, or if the domain has ended, all
 * has been done, and what is left is the run loop's: as if an NMI had come, which leaves nothing to
 * do.
 */
static inline enum pv_way
give(const struct cpu_state *s, struct pv *pv, bool due)
{
	struct ring_frame *f = &pv->frame;

	pv_give_frame(s, f);
	if (f->cs == XEN_FLAT_CS64 && f->ss == XEN_FLAT_SS64 && pv_is_canonical(f->rip) &&
	    !(due | need_resched))
		return PV_IRETQ;
	f->vector = VEC_NMI;
	return PV_EXITS;
}

static inline enum pv_way
go_on(struct vcpu *v, struct pv *pv, bool due)
{
	uint64_t to = pv->event_callback;

	if (due && to && pv_is_guests(to, 1) && pv_frame(v, PV_EVENT, NULL, to, true))
		v->irq_pending = due = false;
	return give(&v->state, pv, due);
}

static inline void
record(struct vcpu *v, struct exit *e)
{
	exit_log(v, e);
	v->entries++;
}

/* ---- calls ---- */

/*
 * Those that need nothing of the guest's state but their arguments, and leave nothing to be done
 * before it goes on but an event of its own: no verdict, no turn of another's. And iret, and those
 * that are not there (hypercalls.c).
 */
#define BIT(name) (1ul << XEN_##name)
uint64_t pv_at_once = BIT(mmu_update) | BIT(stack_switch) | BIT(fpu_taskswitch) |
		      BIT(set_debugreg) | BIT(get_debugreg) | BIT(update_descriptor) |
		      BIT(memory_op) | BIT(update_va_mapping) | BIT(xen_version) | BIT(vm_assist) |
		      BIT(set_segment_base) | BIT(mmuext_op) | BIT(event_channel_op) |
		      BIT(grant_table_op) | BIT(iret);
/* With these the next instruction is not simply what comes next, or sysret is to load none such. */
#define UNUSUAL ((uint64_t)FLAG_TF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_VIF | FLAG_VIP)

/* Its kernel's, nobody looks on or wants to be heard first, and it goes on behind it. */
static bool
is_usual(const struct vcpu *v, const struct pv *pv, uint64_t number)
{
	const struct ring_frame *f = &pv->frame;

	return number < XEN_HYPERCALL_COUNT && pv_at_once >> number & 1 && !pv->user &&
	       !v->held_up && (f->rflags & (UNUSUAL | FLAG_IF)) == FLAG_IF &&
	       f->rip != PV_LOW_END; /* behind a syscall: all else is canonical */
}

static enum pv_way
iret_at_once(struct vcpu *v, struct pv *pv, struct pv_spot *spot)
{
	struct cpu_state *s = &v->state;

	keep(s, &pv->frame, spot);
	s->rip -= PV_INSN; /* on the instruction, as behind an exit */
	pv_call_iret(v, &spot->call);
	if (spot->call.verdict == RESUME) {
		spot->call.number = s->gpr[RAX];
		spot->rcx = s->gpr[RCX];
		spot->r11 = s->gpr[R11];
	}
	return go_on(v, pv, pv_upcall_is_due(pv));
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
	uint64_t number = c->number;
	int64_t result;
	bool due;

	if (!is_usual(v, pv, number))
		return PV_EXITS;
	exit_begin(e, EXIT_HYPERCALL, NO_TRAP, 0, pv->frame.rip - PV_INSN);
	record(v, e);
	c->begins = RESUME;
	c->budget = PV_BATCH;
	if (number == XEN_iret)
		return iret_at_once(v, pv, spot);
	result = pv_calls[number](v, c);
	if (__builtin_expect(c->begins != RESUME, 0)) {
		ASSERT(c->verdict == RESUME && c->again);
		pv->frame.rip -= PV_INSN;
	} else {
		c->number = (uint64_t)result;
	}
	pv_flush(v); /* before anything is written by what its tables say */
	due = pv_upcall_is_due(pv);
	if (!due && !need_resched)
		return PV_SYSRET;
	keep(&v->state, &pv->frame, spot);
	return go_on(v, pv, due);
}

/* ---- faults ---- */

static INLINED enum pv_way
raise(struct vcpu *v, struct pv *pv, struct pv_spot *spot, uint8_t vector)
{
	const struct xen_trap_info *t = &pv->traps[vector];
	const struct event event = { .kind = EVENT_FAULT,
				     .vector = vector,
				     .has_error = vector == VEC_PF,
				     .error = (uint32_t)pv->frame.error };
	struct exit *e;

	if (v->held_up || pv->frame.rflags & FLAG_VM || !t->address || !pv_is_guests(t->address, 1))
		return PV_EXITS;
	keep(&v->state, &pv->frame, spot);
	if (vector == VEC_PF)
		pv->info->cr2 = v->state.cr2 = read_cr2();
	else if (pv_is_forced(v))
		return PV_EXITS;
	if (!pv_frame(v, PV_EXCEPTION, &event, t->address, t->flags & XEN_TRAP_MASKS)) {
		write_cr2(v->state.cr2); /* Zeno's own may be there: it has tried to write */
		return PV_EXITS;
	}
	e = exit_place(v);
	exit_begin(e, EXIT_EXCEPTION, vector, event.error, pv->frame.rip);
	if (vector == VEC_PF)
		e->gva = v->state.cr2;
	record(v, e);
	return go_on(v, pv, pv_upcall_is_due(pv));
}

/* A #PF or #UD that its kernel shall have. What is not simple is an exit, as all others are. */
enum pv_way
pv_raise(struct pv_spot *spot)
{
	struct vcpu *v = pv_running;
	struct pv *pv = pv_of(v);

	return pv->frame.vector == VEC_PF ? raise(v, pv, spot, VEC_PF) : raise(v, pv, spot, VEC_UD);
}
