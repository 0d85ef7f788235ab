/*
 * Hypercalls: which there are.
 */
#include <inc/errno.h>
#include <vmm/exitlog.h>
#include <vmm/pv/spot.h>

SET_DECLARE(hypercalls);

/* What nobody has said of a number is a call that is not there. */
pv_call_fn *pv_calls[XEN_HYPERCALL_COUNT] = {
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
		pv_calls[h->number] = h->call;
	for (unsigned n = 0; n < XEN_HYPERCALL_COUNT; n++) {
		if (pv_calls[n])
			continue;
		pv_calls[n] = absent;
		pv_at_once |= 1ul << n;
	}
}
INITCALL(40, fill);

int64_t
pv_call(struct vcpu *v, struct pv_call *c)
{
	return c->number < XEN_HYPERCALL_COUNT ? pv_calls[c->number](v, c)
					       : pv_call_unknown(v, c->number);
}
