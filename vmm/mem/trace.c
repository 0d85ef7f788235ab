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

static const struct trace_owner *owners[TRACE_WHYS];

static void
trace_init(void)
{
	set_foreach (const struct trace_owner *, o, trace_owners)
		owners[o->why] = o;
}
INITCALL(40, trace_init);

/* [a, a + len) lies in one frame and has just been written; `e` is its entry. Owners may end their traces meanwhile. */
void
trace_tell(struct domain *d, const struct p2m_entry *e, gpa_t a, size_t len)
{
	for (unsigned why = 0; why < TRACE_WHYS; why++)
		if (e->trace & (1u << why))
			owners[why]->written(d, a, len);
}

void
trace_written(struct domain *d, gpa_t a, size_t len)
{
	const struct p2m_entry *e = p2m_entry(d, gpa_to_gfn(a));

	if (e && e->trace)
		trace_tell(d, e, a, len);
}
