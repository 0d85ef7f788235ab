/*
 * trace(gfn, why): be told of every write that a guest makes to one of its frames.
 *
 * The frame is write-protected in whatever MMU mode runs; the write faults, is emulated (gpa_write), and
 * the owner of each reason is called after it. By frame and not by linear address, since a guest may reach
 * one frame through several.
 */
#include <inc/errno.h>
#include <vmm/domain.h>

SET_DECLARE(trace_owners);
SET_DECLARE(mmu_modes);

/* Errors: -EFAULT, the frame is no RAM. Tracing twice for one reason is one trace. */
int
trace(struct domain *d, gfn_t g, enum trace_why why)
{
	struct p2m_entry *e = p2m_entry(d, g);

	if (!e || e->type != P2M_RAM)
		return -EFAULT;
	if (!e->trace) {
		mmu_flat_protect(d, g, true);
		if (d->mmu)
			d->mmu->protect(d, g);
	}
	e->trace |= 1u << why;
	return 0;
}

void
untrace(struct domain *d, gfn_t g, enum trace_why why)
{
	struct p2m_entry *e = p2m_entry(d, g);

	if (!e || !(e->trace & (1u << why)))
		return;
	e->trace &= ~(1u << why);
	if (!e->trace)
		mmu_flat_protect(d, g, false); /* in other modes the next write finds out */
}

const struct mmu_mode *
mmu_paging_mode(void)
{
	set_foreach (const struct mmu_mode *, mode, mmu_modes)
		return mode;
	return NULL;
}

/* [a, a + len) lies in one frame and has just been written. */
void
trace_written(struct domain *d, gpa_t a, size_t len)
{
	struct p2m_entry *e = p2m_entry(d, gpa_to_gfn(a));

	if (!e || !e->trace)
		return;
	set_foreach (const struct trace_owner *, o, trace_owners)
		if (e->trace & (1u << o->why))
			o->written(d, a, len);
}
