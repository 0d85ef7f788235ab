/*
 * page_track(gfn, why): be told of every write that a guest makes to one of its frames.
 *
 * The frame is write-protected in whatever MMU mode runs; the write faults, is emulated
 * (gpa_write), and the owner of each reason is called after it. By frame and not by linear address,
 * since a guest may reach one frame through several.
 */
#include <inc/errno.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>

SET_DECLARE(page_track_owners);

/* Errors: -EFAULT, the frame is no RAM. Tracking twice for one reason is once. */
int
page_track(struct domain *d, gfn_t g, enum page_track_why why)
{
	struct p2m_entry *e = p2m_entry(d, g);

	if (!e || e->type != P2M_RAM)
		return -EFAULT;
	if (!e->track) {
		if (d->flat_mode)
			d->flat_mode->protect(d, g);
		if (d->mmu)
			d->mmu->protect(d, g);
	}
	e->track |= 1u << why;
	return 0;
}

void
page_untrack(struct domain *d, gfn_t g, enum page_track_why why)
{
	struct p2m_entry *e = p2m_entry(d, g);

	if (!e || !(e->track & (1u << why)))
		return;
	e->track &= ~(1u << why);
	if (!e->track && d->flat_mode)
		d->flat_mode->unprotect(d, g);
	if (!e->track && d->mmu && d->mmu->unprotect)
		d->mmu->unprotect(d, g);
}

static const struct page_track_owner *owners[TRACK_WHYS];

static void
page_track_init(void)
{
	set_foreach (const struct page_track_owner *, o, page_track_owners)
		owners[o->why] = o;
}
INITCALL(40, page_track_init);

/* The owner of the lowest reason, if there is any. */
static inline void
tell(struct domain *d, unsigned whys, gpa_t a, size_t len)
{
	if (whys)
		owners[__builtin_ctz(whys)]->written(d, a, len);
}

static COLD void
tell_all(struct domain *d, const struct p2m_entry *e, gpa_t a, size_t len)
{
	for (unsigned whys = e->track; whys; whys &= whys - 1)
		tell(d, e->track & whys & -whys, a, len);
}

/*
 * [a, a + len) lies in one frame and has just been written; `e` is its entry. Owners may end their
 * tracks meanwhile.
 */
void
page_track_tell(struct domain *d, const struct p2m_entry *e, gpa_t a, size_t len)
{
	unsigned whys = e->track;

	if (!(whys & (whys - 1)))
		tell(d, whys, a, len);
	else
		tell_all(d, e, a, len);
}

void
page_track_written(struct domain *d, gpa_t a, size_t len)
{
	const struct p2m_entry *e = p2m_entry(d, gpa_to_gfn(a));

	if (e && e->track)
		page_track_tell(d, e, a, len);
}
