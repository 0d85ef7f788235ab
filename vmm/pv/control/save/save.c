/*
 * Putting away and bringing back: save.h.
 */
#include <inc/errno.h>
#include <inc/xen_vcpu.h>
#include <kern/thread.h>
#include <vmm/control/pause/pause.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/control/save/save.h>
#include <vmm/pv/events/events.h>

#define WORDS (PAGE_SIZE / sizeof(uint64_t)) /* of one answer */
#define LONG  1024u                          /* an answer's copies, in entries of a walk */

void
pv_save_look(const struct domain *d, struct zeno_look *l)
{
	const struct xen_shared_info *s = pv_domain_of(d)->shared;

	l->shared = ptr_mfn(s).v;
	l->p2m_cr3 = s->p2m_cr3;
	l->p2m_vaddr = s->p2m_vaddr;
}

/* ---- it suspends ---- */

/*
 * It is to be put away, and stands still until it has been, or dom0 lets it go. What it finds then
 * says that nobody has: in what was put away tell_context() says otherwise.
 */
static int64_t
suspend(struct vcpu *v, struct pv_call *c)
{
	struct domain *by = pv_dom0();

	if ((uint32_t)c->arg[0] != XEN_SCHEDOP_shutdown || !by || !pv_events_of(v->domain)->made)
		return -ENOSYS;
	if (c->inner)
		return -EINVAL; /* the calls behind it would come first */
	pv_domain_of(v->domain)->suspended = (uint8_t)(v->number + 1);
	domain_pause(v->domain, PAUSED_ITSELF);
	need_resched = true;
	pv_virq_raise(&pv_events_of(by)->ports, 0, XEN_VIRQ_DOM_EXC);
	return 1;
}

static const struct pv_part save_part = { .sched_op = suspend };
PV_PART(save_part);

bool
pv_save_destroy(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);

	if (d->state == DOMAIN_ENDED || !(d->paused & PAUSED_ITSELF))
		return false;
	pd->shutdown = XEN_SHUTDOWN_suspend + 1;
	domain_off(d, "was put away");
	return true;
}

/* ---- frames ---- */

/* A walk of its types comes to its end first, so that a table is one as a whole. */
static bool
is_settled(struct vcpu *of, struct pv_call *c)
{
	struct pv_types *t = pv_of(of)->types;

	c->again = pv_type_busy(t) && !pv_type_settle(t, &c->budget);
	return !c->again;
}

static uint64_t
word_of(struct domain *d, uint64_t pfn)
{
	const struct p2m_entry *e = p2m_entry(d, gfn(pfn));
	const struct frame *f = e && e->type == P2M_RAM ? &frames[e->mfn] : NULL;

	if (!f)
		return ZENO_FRAME_NONE;
	return e->mfn | (uint64_t)f->page_type << 52 | (f->pinned ? ZENO_FRAME_PINNED : 0);
}

/* How many there are; -EINVAL: none from there on. */
static int64_t
tell_frames(struct vcpu *v, struct pv_call *c, struct domain *d)
{
	uint64_t first = c->arg[2], all = d->ram >> PAGE_SHIFT, n;
	static uint64_t words[WORDS];

	pv_charge(&c->budget, LONG);
	if (first >= all)
		return -EINVAL;
	if (!is_settled(d->vcpu, c))
		return -EAGAIN;
	for (n = 0; n < WORDS && first + n < all; n++)
		words[n] = word_of(d, first + n);
	return pv_write(v, c->arg[3], words, n * sizeof(words[0])) ? -EFAULT : (int64_t)n;
}

/* ---- what a vCPU goes on with ---- */

static void
give_registers(const struct cpu_state *s, struct xen_user_regs *r)
{
	*r = (struct xen_user_regs){
		.rax = s->gpr[RAX],
		.rbx = s->gpr[RBX],
		.rcx = s->gpr[RCX],
		.rdx = s->gpr[RDX],
		.rsi = s->gpr[RSI],
		.rdi = s->gpr[RDI],
		.rbp = s->gpr[RBP],
		.rsp = s->gpr[RSP],
		.r8 = s->gpr[R8],
		.r9 = s->gpr[R9],
		.r10 = s->gpr[R10],
		.r11 = s->gpr[R11],
		.r12 = s->gpr[R12],
		.r13 = s->gpr[R13],
		.r14 = s->gpr[R14],
		.r15 = s->gpr[R15],
		.rip = s->rip,
		.rflags = s->rflags,
		.cs = s->seg[SEG_CS].sel,
		.ss = s->seg[SEG_SS].sel,
		.ds = s->seg[SEG_DS].sel,
		.es = s->seg[SEG_ES].sel,
		.fs = s->seg[SEG_FS].sel,
		.gs = s->seg[SEG_GS].sel,
	};
}

static void
give_tables(struct pv *pv, struct xen_guest_context *g)
{
	for (unsigned n = 0; n < ARRAY_LEN(g->gdt_frames) && n < GDT_GUEST_PAGES; n++)
		if (mfn_ok(pv->gdt_frames[n])) {
			g->gdt_frames[n] = pv->gdt_frames[n].v;
			g->gdt_entries = (n + 1) * (PAGE_SIZE / sizeof(uint64_t));
		}
	g->ldt_base = pv->ldt_entries ? pv->ldt_at : 0;
	g->ldt_entries = pv->ldt_entries;
	if (mfn_ok(pv->kernel_root))
		g->ctrlreg[3] = pv->kernel_root.v << PAGE_SHIFT;
	if (mfn_ok(pv->user_root))
		g->ctrlreg[1] = pv->user_root.v << PAGE_SHIFT;
}

/* The context has no place for a callback of its own: where it has one, its handler is there. */
static void
give_handlers(const struct pv *pv, struct xen_guest_context *g)
{
	memcpy(g->traps, pv->traps, sizeof(g->traps));
	if (pv->nmi_callback)
		g->traps[VEC_NMI] = (struct xen_trap_info){ .vector = VEC_NMI,
							    .flags = XEN_TRAP_MASKS,
							    .cs = XEN_FLAT_CS64,
							    .address = pv->nmi_callback };
}

/* As start.c takes it. */
static void
give(struct vcpu *of, struct xen_guest_context *g)
{
	const struct cpu_state *s = &of->state;
	struct pv *pv = pv_of(of);
	bool user = pv->user;

	memset(g, 0, sizeof(*g));
	memcpy(g->fpu, of->thread.fpu, sizeof(g->fpu));
	give_registers(s, &g->regs);
	if (pv_domain_of(of->domain)->suspended == of->number + 1)
		g->regs.rax = 0;
	g->regs.rflags = (s->rflags & ~(uint64_t)FLAG_IOPL) | (uint64_t)pv->iopl << 12;
	give_handlers(pv, g);
	give_tables(pv, g);
	g->kernel_ss = XEN_FLAT_SS64;
	g->kernel_sp = pv->kernel_sp;
	g->ctrlreg[0] = s->cr0;
	memcpy(g->debugreg, s->dr, sizeof(g->debugreg));
	g->event_callback = pv->event_callback;
	g->failsafe_callback = pv->failsafe_callback;
	g->syscall_callback = pv->syscall_callback;
	g->vm_assist = pv->assists;
	g->fs_base = s->seg[SEG_FS].base;
	g->gs_base_kernel = user ? s->kernel_gs_base : s->seg[SEG_GS].base;
	g->gs_base_user = user ? s->seg[SEG_GS].base : s->kernel_gs_base;
	g->flags = XEN_VGCF_I387_VALID | (user ? 0 : XEN_VGCF_IN_KERNEL);
	if (pv->callback_masks >> XEN_CALLBACKTYPE_failsafe & 1)
		g->flags |= XEN_VGCF_FAILSAFE_DISABLES_EVENTS;
	if (pv->callback_masks >> XEN_CALLBACKTYPE_syscall & 1)
		g->flags |= XEN_VGCF_SYSCALL_DISABLES_EVENTS;
	if (pv_vcpu_is_up(of))
		g->flags |= XEN_VGCF_ONLINE;
}

/* All of it stands still then; one that has never begun has nothing, and is -ENOENT. */
static int64_t
tell_context(struct vcpu *v, struct pv_call *c, struct vcpu *of)
{
	static struct xen_guest_context g; /* too large for a stack, and nobody else is here */

	pv_charge(&c->budget, LONG);
	if (!(of->domain->paused & PAUSED_ITSELF))
		return -EBUSY;
	if (!pv_of(of)->initialised)
		return -ENOENT;
	give(of, &g);
	return pv_write(v, c->arg[3], &g, sizeof(g)) ? -EFAULT : 0;
}

/* ---- it comes back ---- */

static int64_t
pin(struct pv_call *c, struct domain *d)
{
	const struct p2m_entry *e = p2m_entry(d, gfn(c->arg[2]));
	struct pv_types *t = pv_of(d->vcpu)->types;
	struct frame *f = e && e->type == P2M_RAM ? &frames[e->mfn] : NULL;
	int err;

	if (!f || c->arg[2] >= d->ram >> PAGE_SHIFT || c->arg[3] < PV_L1 || c->arg[3] > PV_L4)
		return -EINVAL;
	if (!is_settled(d->vcpu, c))
		return -EAGAIN;
	if (f->pinned)
		return -EINVAL;
	err = pv_type_get(t, mfn(e->mfn), (enum pv_page_type)c->arg[3], &c->budget);
	c->again = err == -EAGAIN;
	if (!err)
		f->pinned = true;
	if (!c->again)
		pv_type_forget(t);
	pv_types_told(d->vcpu);
	return err;
}

static int64_t
begin(struct vcpu *v, struct pv_call *c, struct vcpu *of)
{
	struct pv_call call = *c;
	int64_t err;

	call.arg[2] = c->arg[3];
	err = pv_vcpu_initialise(v, of, &call);
	c->budget = call.budget;
	c->again = call.again;
	return err;
}

/* ---- the calls ---- */

int64_t
pv_save_op(struct vcpu *v, struct pv_call *c, struct domain *d)
{
	uint32_t op = (uint32_t)c->arg[0];
	struct vcpu *of = d->vcpu;

	if (op == ZENO_FRAMES)
		return tell_frames(v, c, d);
	if (d->state == DOMAIN_ENDED)
		return op <= ZENO_BEGIN ? -ENODATA : -ENOSYS;
	if (op != ZENO_PIN && op != ZENO_CONTEXT && op != ZENO_BEGIN)
		return -ENOSYS;
	if (op != ZENO_CONTEXT && !pv_domain_of(d)->returns)
		return -EEXIST;
	if (op == ZENO_PIN)
		return pv_of(d->vcpu)->initialised ? -EEXIST : pin(c, d);
	while (of && of->number != c->arg[2])
		of = of->next;
	if (!of)
		return -ENOENT;
	return op == ZENO_CONTEXT ? tell_context(v, c, of) : begin(v, c, of);
}
