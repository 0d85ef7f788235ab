/*
 * vCPUs of a domain beside its first one: each waits until another one has said what it begins with
 * (vcpu.h), and has let it go. All of them have the one CPU of the host's in turn: so while one is
 * here, no other one runs, and what has been looked at stays as it is.
 *
 * One that is down is to the core a CPU that waits for its start-up IPI: it has no turns.
 */
#include <inc/errno.h>
#include <inc/xen_vcpu.h>
#include <kern/fpu.h>
#include <vmm/exitlog.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/events/events.h>

#define RPL           3u
#define LONG          1024u   /* a context's checks and copies, in entries of a walk */
#define MXCSR         24u     /* its place in fxsave's area: SDM 1 table 10-2 */
#define MXCSR_DEFINED 0xffbfu /* without DAZ, which not each CPU has; others fault in fxrstor */

/* ---- what it says ---- */

/* As Xen has it: of an address no more than that the CPU can have it. */
static bool
addresses_are_good(const struct xen_guest_context *g)
{
	const uint64_t all[] = { g->regs.rip,       g->regs.rsp,          g->kernel_sp,
				 g->event_callback, g->failsafe_callback, g->syscall_callback,
				 g->fs_base,        g->gs_base_kernel,    g->gs_base_user };

	for (unsigned n = 0; n < ARRAY_LEN(all); n++)
		if (!pv_is_canonical(all[n]))
			return false;
	for (unsigned n = 0; n < ARRAY_LEN(g->traps); n++)
		if (!pv_is_canonical(g->traps[n].address))
			return false;
	return true;
}

/* One that begins as its user has that one's root, too. */
static bool
is_good(const struct xen_guest_context *g)
{
	return addresses_are_good(g) && (g->flags & XEN_VGCF_IN_KERNEL || g->ctrlreg[1]);
}

/* ---- what it takes ---- */

/*
 * A root that nobody takes from it any more: of a call that comes to its end later, or fails behind
 * this, too; the next one may name another. 0, -EINVAL; -EAGAIN: a walk is on its way.
 */
static int
take_root(struct pv_types *t, mfn_t *root, uint64_t cr3, unsigned *budget)
{
	mfn_t m = cr3 ? mfn(XEN_CR3_FRAME(cr3)) : MFN_NONE;
	int err = 0;

	if (root->v == m.v)
		return 0;
	if (pv_type_busy(t) && !pv_type_settle(t, budget))
		return -EAGAIN;
	if (mfn_ok(*root)) {
		pv_type_put(t, *root);
		*root = MFN_NONE;
		if (!pv_type_settle(t, budget))
			return -EAGAIN;
	}
	if (cr3)
		err = pv_type_get(t, m, PV_L4, budget);
	if (!err)
		*root = m;
	return err;
}

/* Of the caller's budget: 0, -EINVAL, -ENOMEM, -EFAULT: no LDT there; -EAGAIN. */
static int
take_memory(struct vcpu *of, const struct xen_guest_context *g, unsigned *budget)
{
	struct pv *pv = pv_of(of);
	int err = -EINVAL;

	if (g->gdt_entries <= UINT32_MAX && g->ctrlreg[3])
		err = pv_set_gdt(of, g->gdt_frames, (unsigned)g->gdt_entries);
	if (!err)
		err = take_root(pv->types, &pv->kernel_root, g->ctrlreg[3], budget);
	if (!err)
		err = take_root(pv->types, &pv->user_root, g->ctrlreg[1], budget);
	if (!err)
		err = pv_set_ldt(of, g->ldt_base, g->ldt_entries, budget);
	return err;
}

static void
take_fpu(struct vcpu *of, const struct xen_guest_context *g)
{
	uint32_t mxcsr;

	if (!(g->flags & XEN_VGCF_I387_VALID))
		return;
	memcpy(of->thread.fpu, g->fpu, sizeof(of->thread.fpu));
	memcpy(&mxcsr, &of->thread.fpu[MXCSR], sizeof(mxcsr));
	mxcsr &= MXCSR_DEFINED;
	memcpy(&of->thread.fpu[MXCSR], &mxcsr, sizeof(mxcsr));
}

/* Whether its selectors are any, the CPU says at its first entry. All code is ring 3. */
static void
take_registers(struct cpu_state *s, const struct xen_guest_context *g)
{
	const struct xen_user_regs *r = &g->regs;
	const uint64_t gpr[GPR_COUNT] = {
		[RAX] = r->rax, [RBX] = r->rbx, [RCX] = r->rcx, [RDX] = r->rdx,
		[RSI] = r->rsi, [RDI] = r->rdi, [RBP] = r->rbp, [RSP] = r->rsp,
		[R8] = r->r8,   [R9] = r->r9,   [R10] = r->r10, [R11] = r->r11,
		[R12] = r->r12, [R13] = r->r13, [R14] = r->r14, [R15] = r->r15,
	};
	bool user = !(g->flags & XEN_VGCF_IN_KERNEL);

	memcpy(s->gpr, gpr, sizeof(gpr));
	s->rip = r->rip;
	s->rflags = r->rflags | FLAG_ONE;
	s->cr0 |= g->ctrlreg[0] & CR0_TS;
	s->seg[SEG_CS].sel = r->cs | RPL;
	s->seg[SEG_SS].sel = r->ss | RPL;
	s->seg[SEG_DS].sel = r->ds;
	s->seg[SEG_ES].sel = r->es;
	s->seg[SEG_FS].sel = r->fs;
	s->seg[SEG_GS].sel = r->gs;
	s->seg[SEG_FS].base = g->fs_base;
	s->seg[SEG_GS].base = user ? g->gs_base_user : g->gs_base_kernel;
	s->kernel_gs_base = user ? g->gs_base_kernel : g->gs_base_user;
}

static void
take_callbacks(struct pv *pv, const struct xen_guest_context *g)
{
	memcpy(pv->traps, g->traps, sizeof(g->traps));
	pv->event_callback = g->event_callback;
	pv->failsafe_callback = g->failsafe_callback;
	pv->syscall_callback = g->syscall_callback;
	pv->callback_masks = 0;
	if (g->flags & XEN_VGCF_FAILSAFE_DISABLES_EVENTS)
		pv->callback_masks |= 1u << XEN_CALLBACKTYPE_failsafe;
	if (g->flags & XEN_VGCF_SYSCALL_DISABLES_EVENTS)
		pv->callback_masks |= 1u << XEN_CALLBACKTYPE_syscall;
	pv->kernel_sp = g->kernel_sp;
	pv->iopl = (uint8_t)((g->regs.rflags & FLAG_IOPL) >> 12);
}

/* All is there, and nothing fails any more. */
static void
begin(struct vcpu *of, const struct xen_guest_context *g)
{
	struct pv *pv = pv_of(of);

	pv_flat_registers(&of->state);
	of->state.activity = ACTIVITY_WAITS_FOR_SIPI;
	take_registers(&of->state, g);
	take_callbacks(pv, g);
	take_fpu(of, g);
	for (unsigned n = 0; n < ARRAY_LEN(g->debugreg); n++)
		pv_write_dr(of, n, g->debugreg[n]); /* one that it may not have it has not */
	pv->user = !(g->flags & XEN_VGCF_IN_KERNEL);
	of->root = pv->user ? pv->user_root : pv->kernel_root;
	of->state.cr3 = mfn_to_hpa(pv->kernel_root).v;
	pv->initialised = true;
	if (!of->number) /* whose assists are the domain's */
		for_each_vcpu(each, of->domain) pv_of(each)->assists = g->vm_assist & PV_ASSISTS;
}

/* -EFAULT, -EEXIST: it has been; -EINVAL, -ENOMEM; a walk's preemption: the same call once more. */
int64_t
pv_vcpu_initialise(struct vcpu *v, struct vcpu *of, struct pv_call *c)
{
	static struct xen_guest_context g; /* too large for a stack, and nobody else is here */
	int err;

	pv_charge(&c->budget, LONG);
	if (pv_read(v, &g, c->arg[2], sizeof(g)))
		return -EFAULT;
	if (pv_of(of)->initialised)
		return -EEXIST;
	if (!is_good(&g))
		return -EINVAL;
	err = take_memory(of, &g, &c->budget);
	c->again = err == -EAGAIN;
	if (!c->again)
		pv_type_forget(pv_of(of)->types);
	pv_types_told(of);
	if (err)
		return err;
	begin(of, &g);
	return g.flags & XEN_VGCF_ONLINE ? pv_vcpu_up(of) : 0;
}

/* ---- up and down ---- */

int64_t
pv_vcpu_up(struct vcpu *of)
{
	if (!pv_of(of)->initialised)
		return -EINVAL;
	if (pv_vcpu_is_up(of))
		return 0;
	of->state.activity = ACTIVITY_RUNS;
	pv_rests(of, XEN_RUNSTATE_runnable);
	thread_wake(&of->thread);
	return 0;
}

static bool
is_last_up(const struct vcpu *v)
{
	for_each_vcpu(other, v->domain) if (other != v && pv_vcpu_is_up(other)) return false;
	return true;
}

/*
 * One that goes down itself comes back from the call when it is let go again. Without any that is
 * up the domain is off.
 */
int64_t
pv_vcpu_down(struct vcpu *v, struct vcpu *of, struct pv_call *c)
{
	if (is_last_up(of)) {
		pv_domain_of(v->domain)->shutdown = XEN_SHUTDOWN_poweroff + 1;
		domain_off(v->domain, "powered off");
		c->verdict = STOP;
		return 0;
	}
	if (c->inner && v == of)
		return -EINVAL; /* the calls behind it would come when it is up again */
	if (!pv_vcpu_is_up(of))
		return 0;
	of->state.activity = ACTIVITY_WAITS_FOR_SIPI;
	pv_rests(of, XEN_RUNSTATE_offline);
	if (v == of)
		c->verdict = BLOCK;
	return 0;
}
