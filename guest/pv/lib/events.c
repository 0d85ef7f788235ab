/*
 * Events and time.
 */
#include <guest/pv/lib/events.h>

static uint8_t page[4096] __attribute__((aligned(4096)));
volatile struct xen_shared_info *const pv_shared = (void *)page;
volatile struct xen_vcpu_info *pv_vcpu = (void *)page;

int64_t
pv_event_op(enum xen_evtchnop op, void *arg)
{
	return pv_call(XEN_event_channel_op, op, (uint64_t)arg, 0, 0);
}

int64_t
pv_send(uint32_t port)
{
	struct xen_evtchn_send s = { port };

	return pv_event_op(XEN_EVTCHNOP_send, &s);
}

/*
 * A domain may lose the CPU between any two instructions, and another one send meanwhile: who looks
 * at the bits first, and takes the selector's away behind that, throws away what came between.
 */
int
pv_event_next_of(volatile struct xen_vcpu_info *info)
{
	uint64_t floors;

	info->upcall_pending = 0;
	while ((floors = __atomic_exchange_n(&info->pending_sel, 0, __ATOMIC_SEQ_CST)))
		for (; floors; floors &= floors - 1) {
			unsigned word = (unsigned)__builtin_ctzl(floors), bit;
			uint64_t ready = pv_shared->pending[word] & ~pv_shared->mask[word];

			if (!ready)
				continue;
			bit = (unsigned)__builtin_ctzl(ready);
			/* this word, and those behind it: for the next call */
			__atomic_fetch_or(&info->pending_sel, floors, __ATOMIC_SEQ_CST);
			__atomic_fetch_and(&pv_shared->pending[word], ~(1ul << bit),
					   __ATOMIC_SEQ_CST);
			return (int)(word * 64 + bit);
		}
	return -1;
}

uint64_t
pv_now(void)
{
	const volatile struct xen_vcpu_time_info *t = &pv_vcpu->time;
	uint32_t version, low, high;
	uint64_t ns, delta;

	do {
		version = t->version;
		__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
		delta = ((uint64_t)high << 32 | low) - t->tsc_timestamp;
		delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
		ns = t->system_time +
		     (uint64_t)((unsigned __int128)delta * t->tsc_to_system_mul >> 32);
		__asm__ volatile("" : : : "memory");
	} while (version & 1 || version != t->version);
	return ns;
}

struct xen_evtchn_status
pv_status(uint32_t port)
{
	struct xen_evtchn_status s = { .dom = XEN_DOMID_SELF, .port = port };

	pv_event_op(XEN_EVTCHNOP_status, &s);
	return s;
}

void
pv_unmask(void)
{
	pv_vcpu->upcall_mask = 0;
	pv_call(XEN_xen_version, XEN_XENVER_version, 0, 0, 0);
}

int64_t
pv_block(void)
{
	return pv_call(XEN_sched_op, XEN_SCHEDOP_block, 0, 0, 0);
}

int64_t
pv_poll(uint32_t port, uint64_t until)
{
	struct xen_sched_poll p = { (uint64_t)&port, port ? 1 : 0, until };

	return pv_call(XEN_sched_op, XEN_SCHEDOP_poll, (uint64_t)&p, 0, 0);
}

int64_t
pv_timer(uint64_t at)
{
	struct xen_vcpu_set_singleshot_timer set = { .timeout_abs_ns = at };

	return pv_call(XEN_vcpu_op, XEN_VCPUOP_set_singleshot_timer, 0, (uint64_t)&set, 0);
}
