/*
 * Four vCPUs that start, stop and call each other at any moment, with anything.
 */
#include <guest/pv/cpus/cpus.h>

#define ROUNDS 3000u

static volatile unsigned turns[CPUS];

/* A context with some of its words wrong, or none. */
static struct xen_guest_context *
any_context(unsigned n)
{
	struct xen_guest_context *g = context_for(n, storm_entry);

	if (draw(2))
		return g;
	for (unsigned k = 0; k < 3; k++)
		((uint64_t *)g)[64 + draw(sizeof(*g) / 8 - 64)] =
			draw(2) ? draw(~0ul) : draw(1ul << 20);
	g->regs.rip = (uint64_t)storm_entry; /* it may fault there, and none is to end all */
	g->regs.rsp = (uint64_t)stacks[n] + STACK;
	g->regs.cs = XEN_FLAT_CS64;
	g->regs.ss = XEN_FLAT_SS64;
	g->regs.rflags &= ~0x100ul;
	g->debugreg[7] = 0;
	g->flags |= XEN_VGCF_IN_KERNEL;
	return g;
}

static void
any_call(unsigned me)
{
	static const uint8_t ops[] = { 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14 };
	struct xen_vcpu_set_periodic_timer period = { MS };
	uint64_t other = draw(CPUS), words[8];
	unsigned op = ops[draw(sizeof(ops))];
	const void *arg = words;

	if (op == XEN_VCPUOP_down && other == 0)
		return; /* the first one counts the rounds */
	if (op == XEN_VCPUOP_initialise)
		arg = any_context((unsigned)other);
	if (op == XEN_VCPUOP_set_periodic_timer)
		arg = &period;
	words[0] = draw(2) ? 0 : (uint64_t)stacks[me]; /* where its areas are, its timer is due */
	words[1] = 0;
	vcpu_op(op, other, arg);
}

static void
anything(unsigned me)
{
	const uint64_t all = draw(16);
	struct xen_mmuext_op op = { .cmd = (uint32_t)(XEN_MMUEXT_TLB_FLUSH_LOCAL + draw(6)),
				    .arg1 = (uint64_t)stacks,
				    .arg2 = (uint64_t)&all };

	turns[me]++;
	switch (draw(6)) {
	case 0:
		pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF);
		break;
	case 1:
		pv_send((uint32_t)draw(16));
		break;
	case 2:
		if (me)
			pv_poll(0, pv_now() + draw(MS));
		break;
	case 3:
		give_up_turn();
		break;
	default:
		any_call(me);
	}
}

void
storm_main(void)
{
	unsigned me = who(__builtin_frame_address(0));

	infos[me]->upcall_mask = 0;
	for (;;)
		anything(me);
}

void
storm(void)
{
	for (unsigned n = 1; n < CPUS; n++) {
		struct xen_evtchn_bind_ipi i = { .vcpu = n };
		struct xen_evtchn_bind_virq v = { .vcpu = n, .virq = XEN_VIRQ_TIMER };

		pv_event_op(XEN_EVTCHNOP_bind_ipi, &i);
		pv_event_op(XEN_EVTCHNOP_bind_virq, &v);
		pv_printf("vCPU %u: %ld\n", n, vcpu_op(XEN_VCPUOP_is_up, n, NULL));
	}
	for (unsigned n = 0; n < ROUNDS || !turns[1] || !turns[2] || !turns[3]; n++)
		anything(0);
	pv_printf("all have called; the end\n");
	pv_exit(0);
}
