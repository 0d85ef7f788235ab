/*
 * What comes to a guest's handler on the spot, and its way back, without an exit (spot.inc).
 * pv_frame() and pv_call_iret(), which are the lab's, know v->state alone: so what they need of it
 * is put there before, and what they have made of it goes to the CPU's own frame.
 */
#include <kern/cpu.h>
#include <kern/thread.h>
#include <vmm/exitlog.h>
#include <vmm/pv/shared.h>
#include <vmm/pv/spot.h>

void
pv_keep_spot(struct vcpu *v, const struct pv_spot *spot)
{
	struct cpu_state *s = &v->state;

	pv_keep_frame(s, &pv_of(v)->frame);
	s->gpr[RAX] = spot->call.number;
	s->gpr[RCX] = spot->rcx;
	s->gpr[R11] = spot->r11;
}

/*
 * To the CPU's frame, and whether iretq can go on from it. If not, or if the domain has ended, all
 * has been done, and what is left is the run loop's: as if an NMI had come, which leaves nothing to
 * do.
 */
static inline enum pv_way
give(const struct vcpu *v, struct pv *pv, struct pv_spot *spot, bool due)
{
	const struct cpu_state *s = &v->state;

	pv_give_frame(s, &pv->frame);
	spot->call.number = s->gpr[RAX];
	spot->rcx = s->gpr[RCX];
	spot->r11 = s->gpr[R11];
	if (s->seg[SEG_CS].sel == XEN_FLAT_CS64 && s->seg[SEG_SS].sel == XEN_FLAT_SS64 &&
	    pv_is_canonical(s->rip) && !due && !need_resched)
		return PV_IRETQ;
	pv->frame.vector = VEC_NMI;
	return PV_EXITS;
}

enum pv_way
pv_go_on(struct vcpu *v, struct pv_spot *spot)
{
	struct pv *pv = pv_of(v);
	uint64_t to = pv->event_callback;
	bool due = pv_upcall_is_due(pv);

	if (due && to && pv_is_guests(to, 1) && pv_frame(v, PV_EVENT, NULL, to, true))
		v->irq_pending = due = pv_upcall_is_due(pv);
	return give(v, pv, spot, due);
}

/* A #PF that its kernel shall have. What is not simple is an exit, as every other exception is. */
enum pv_way
pv_raise(struct pv_spot *spot)
{
	struct vcpu *v = pv_running;
	struct pv *pv = pv_of(v);
	const struct xen_trap_info *t = &pv->traps[VEC_PF];
	const struct event event = { .kind = EVENT_FAULT,
				     .vector = VEC_PF,
				     .has_error = true,
				     .error = (uint32_t)pv->frame.error };
	struct exit *e;

	if (v->held_up || pv_upcall_is_due(pv) || pv->frame.rflags & FLAG_VM || !t->address ||
	    !pv_is_guests(t->address, 1))
		return PV_EXITS;
	pv_keep_spot(v, spot);
	pv->info->cr2 = v->state.cr2 = read_cr2();
	if (!pv_frame(v, PV_EXCEPTION, &event, t->address, t->flags & XEN_TRAP_MASKS)) {
		write_cr2(v->state.cr2); /* Zeno's own may be there: it has tried to write */
		return PV_EXITS;
	}
	e = exit_place(v);
	exit_begin(e, EXIT_EXCEPTION, VEC_PF, event.error, pv->frame.rip);
	e->gva = v->state.cr2;
	exit_log(v, e);
	v->entries++;
	return give(v, pv, spot, false);
}
