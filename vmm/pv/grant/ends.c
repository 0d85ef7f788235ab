/*
 * A domain ends that has mapped what others grant, or whose frames others have mapped.
 */
#include <kern/kern.h>
#include <kern/thread.h>
#include <vmm/pv/grant/grant.h>

void
pv_grants_unmap_all(struct pv_grants *by)
{
	for (uint32_t n = 0; n < by->handles; n++) {
		if (n % PREEMPT_WORK == 0)
			preempt_point();
		if (pv_handle(by, n))
			pv_handle_end(by, n);
	}
}

/* It is the host's as long as somebody uses it, and its domain's no more. */
static unsigned
orphan(uint16_t owner, mfn_t m)
{
	struct frame *f = &frames[m.v];

	if (f->owner != owner)
		return 0; /* it is one already */
	f->owner = OWNER_HOST;
	f->refs--;
	pv_orphans++;
	return 1;
}

unsigned
pv_grants_orphan(struct pv_grants *of)
{
	unsigned count = 0;

	for (unsigned id = 1; id < PV_GRANT_OWNERS; id++) {
		struct pv_grants *by = pv_grants_of[id];

		for (uint32_t n = 0; by && n < by->handles; n++) {
			struct pv_handle *h = pv_handle(by, n);

			if (n % PREEMPT_WORK == 0)
				preempt_point();
			if (!h || h->owner != of->owner)
				continue;
			h->owner = PV_GONE_OWNER;
			count += orphan(of->owner, mfn(h->mfn));
		}
	}
	return count;
}
