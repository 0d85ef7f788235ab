/*
 * Types are walked without end, and in the middle of a walk an event comes, whose handler asks for
 * walks, entries and roots, too.
 */
#include <guest/pv/siege/siege.h>

#define READ   (PTE_P | PTE_U)
#define L1S    48u /* tables that take longer than one exit may */
#define PERIOD 1000000ul

typedef uint64_t table_t[512] __attribute__((aligned(4096)));

static table_t l1[L1S], l2[2], l3, page;
static unsigned events, lives, turns;

static uint64_t
mfn(const table_t *t)
{
	return pv_page(t);
}

static void
protect(table_t *t)
{
	pv_map(t, mfn(t) << 12 | READ);
}

static void
build(void)
{
	for (unsigned n = 0; n < L1S; n++) {
		for (unsigned i = 0; i < 512; i++)
			l1[n][i] = mfn(&page) << 12 | READ | (n % 2 ? PTE_W : 0);
		l2[0][n] = l2[1][L1S - n] = mfn(&l1[n]) << 12 | READ | PTE_W;
	}
	l3[0] = mfn(&l2[0]) << 12 | READ | PTE_W;
	l3[1] = mfn(&l2[1]) << 12 | READ | PTE_W;
	for (unsigned n = 0; n < L1S; n++)
		protect(&l1[n]);
	protect(&l2[0]);
	protect(&l2[1]);
	protect(&l3);
}

/* Of those that are walked, or lead there. */
static table_t *
one(void)
{
	switch (any(8)) {
	case 0:
		return &l3;
	case 1:
	case 2:
		return &l2[any(2)];
	case 3:
		return &page;
	default:
		return &l1[any(L1S)];
	}
}

static void
change(void)
{
	uint64_t entry = any(4) ? mfn(one()) << 12 | READ | (any(2) ? PTE_W : 0) : 0;

	switch (any(7)) {
	case 0:
		pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE + (unsigned)any(4), mfn(one()));
		break;
	case 1:
		pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, mfn(one()));
		break;
	case 2:
		pv_update((mfn(&l2[any(2)]) << 12) + any(L1S + 2) * 8, entry);
		break;
	case 3:
		pv_update((mfn(&l3) << 12) + any(3) * 8, entry);
		break;
	case 4:
		pv_map(one(), entry);
		break;
	case 5:
		pv_mmuext(XEN_MMUEXT_NEW_USER_BASEPTR, any(2) ? mfn(one()) : 0);
		break;
	default:
		pv_update((mfn(&l1[any(L1S)]) << 12) + any(512) * 8, entry);
	}
}

uint64_t
walked(void)
{
	return mfn(one());
}

void
others_turn(void)
{
	turns++;
	if (any(3))
		change();
	else
		to_another();
}

static void
event(struct pv_frame *f)
{
	if (f->vector != PV_EVENT) {
		caught(f);
		return;
	}
	while (pv_event_next() >= 0)
		;
	events++;
	for (uint64_t n = any(9); n; n--)
		change();
	if (!lives || events < lives)
		return;
	if (turns)
		pv_printf("%u turns of others beside it\n", turns);
	pv_exit(0);
}

/* As a whole again, for what has been changed may have made it none. */
static void
anew(void)
{
	for (unsigned n = 0; n < L1S; n++)
		pv_update((mfn(&l2[0]) << 12) + n * 8, mfn(&l1[n]) << 12 | READ | PTE_W);
	pv_update(mfn(&l3) << 12, mfn(&l2[0]) << 12 | READ | PTE_W);
}

void
walk(void)
{
	struct xen_vcpu_set_periodic_timer period = { PERIOD };
	struct xen_evtchn_bind_virq timer = { .virq = XEN_VIRQ_TIMER };
	struct xen_mmuext_op ops[3] = { { .cmd = XEN_MMUEXT_UNPIN_TABLE },
					{ .cmd = XEN_MMUEXT_PIN_L3_TABLE },
					{ .cmd = XEN_MMUEXT_UNPIN_TABLE } };
	struct xen_multicall_entry many[2];
	bool several;

	begin();
	several = has_word("several");
	lives = pv_number("die=");
	build();
	pv_printf("I walk\n");
	ops[0].arg1 = ops[1].arg1 = ops[2].arg1 = mfn(&l3);
	for (unsigned n = 0; n < 2; n++)
		many[n] = (struct xen_multicall_entry){
			.op = XEN_mmuext_op, .args = { (uint64_t)&ops[n], 2, 0, XEN_DOMID_SELF }
		};
	pv_handler = event;
	pv_event_op(XEN_EVTCHNOP_bind_virq, &timer);
	pv_call(XEN_vcpu_op, XEN_VCPUOP_set_periodic_timer, 0, (uint64_t)&period, 0);
	if (several)
		others_begin();
	for (unsigned round = 0;; round++) {
		if (several && any(4) == 0)
			to_another();
		pv_call(XEN_mmuext_op, (uint64_t)ops, 3, 0, XEN_DOMID_SELF);
		if (round % 8 == 0)
			anew();
		pv_call(XEN_multicall, (uint64_t)many, 2, 0, 0);
	}
}
