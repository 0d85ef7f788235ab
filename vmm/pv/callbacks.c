/*
 * Where a PV kernel wants to be called, beside its exceptions' handlers: an event, a segment that
 * can't be loaded (failsafe), its user's syscall (callback.h). And what it wants to be otherwise
 * (vm_assist).
 */
#include <inc/errno.h>
#include <vmm/pv/pv.h>

/* NULL: there is no such call here. */
static uint64_t *
callback_of(struct pv *pv, unsigned type)
{
	uint64_t *const where[] = {
		[XEN_CALLBACKTYPE_event] = &pv->event_callback,
		[XEN_CALLBACKTYPE_failsafe] = &pv->failsafe_callback,
		[XEN_CALLBACKTYPE_syscall] = &pv->syscall_callback,
		[XEN_CALLBACKTYPE_nmi] = &pv->nmi_callback,
	};

	return type < ARRAY_LEN(where) ? where[type] : NULL;
}

static int64_t
register_one(struct vcpu *v, uint64_t at)
{
	struct xen_callback_register r;
	struct pv *pv = pv_of(v);
	uint64_t *callback;

	if (pv_read(v, &r, at, sizeof(r)))
		return -EFAULT;
	callback = callback_of(pv, r.type);
	if (!callback)
		return -ENOSYS;
	if (!pv_is_canonical(r.address))
		return -EINVAL;
	*callback = r.address;
	if (r.type < sizeof(pv->callback_masks) * 8) {
		pv->callback_masks &= (uint8_t) ~(1u << r.type);
		pv->callback_masks |= (uint8_t)((r.flags & XEN_CALLBACKF_mask_events) << r.type);
	}
	return 0;
}

static int64_t
unregister_one(struct vcpu *v, uint64_t at)
{
	uint16_t type;

	if (pv_read(v, &type, at, sizeof(type)))
		return -EFAULT;
	if (type != XEN_CALLBACKTYPE_nmi)
		return callback_of(pv_of(v), type) ? -EINVAL : -ENOSYS;
	pv_of(v)->nmi_callback = 0;
	return 0;
}

int64_t
pv_call_callback_op(struct vcpu *v, struct pv_call *c)
{
	switch ((uint32_t)c->arg[0]) {
	case XEN_CALLBACKOP_register:
		return register_one(v, c->arg[1]);
	case XEN_CALLBACKOP_unregister:
		return unregister_one(v, c->arg[1]);
	default:
		return -ENOSYS;
	}
}

int64_t
pv_call_set_callbacks(struct vcpu *v, struct pv_call *c)
{
	struct pv *pv = pv_of(v);

	for (unsigned n = 0; n < 3; n++)
		if (!pv_is_canonical(c->arg[n]))
			return -EINVAL;
	pv->event_callback = c->arg[0];
	pv->failsafe_callback = c->arg[1];
	pv->syscall_callback = c->arg[2];
	pv->callback_masks = 0;
	return 0;
}

/* What Zeno does differently for a domain that asks so: a bit for each type. */
int64_t
pv_call_vm_assist(struct vcpu *v, struct pv_call *c)
{
	uint64_t type = c->arg[1], assists = pv_of(v)->assists;

	if (type > 63 || !(PV_ASSISTS >> type & 1))
		return -EINVAL;
	switch ((uint32_t)c->arg[0]) {
	case XEN_VMASST_CMD_enable:
		assists |= 1ul << type;
		break;
	case XEN_VMASST_CMD_disable:
		assists &= ~(1ul << type);
		break;
	default:
		return -ENOSYS;
	}
	for_each_vcpu(each, v->domain) pv_of(each)->assists = assists;
	return 0;
}
