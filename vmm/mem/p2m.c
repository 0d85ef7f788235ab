/*
 * The p2m: which machine frame, if any, stands behind each guest frame.
 *
 * Three levels of one frame each: 512 pointers to 512 pointers to leaves of 512 entries, which
 * covers 512 GiB of guest-physical memory. Nothing assumes that a guest's memory is contiguous,
 * there or in the machine.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>

/* Returns 0 or -ENOMEM; the table is the domain's until p2m_free(). */
int
p2m_init(struct domain *d)
{
	d->p2m = host_page();
	return d->p2m ? 0 : -ENOMEM;
}

static void
leaf_free(struct p2m_entry *leaf)
{
	for (unsigned i = P2M_LEAF_ENTRIES; i-- > 0;)
		if (leaf[i].type == P2M_RAM) {
			m2p_set(mfn(leaf[i].mfn), M2P_INVALID);
			frame_put(mfn(leaf[i].mfn));
		}
	host_page_put(leaf);
}

/*
 * Gives back the table and the domain's reference to every RAM frame in it, from the top down: what
 * is freed last is taken first, so frames in a row are so for the next domain.
 */
void
p2m_free(struct domain *d)
{
	if (!d->p2m)
		return;
	for (unsigned i = P2M_POINTERS; i-- > 0;) {
		for (unsigned j = P2M_POINTERS; d->p2m[i] && j-- > 0;)
			if (d->p2m[i][j]) {
				leaf_free(d->p2m[i][j]);
				preempt_point();
			}
		host_page_put(d->p2m[i]);
	}
	host_page_put(d->p2m);
	d->p2m = NULL;
}

/* Takes over the caller's reference to m. Errors: -ENOMEM, -EINVAL (guest frame beyond 512 GiB). */
int
p2m_set(struct domain *d, gfn_t g, mfn_t m, enum p2m_type type)
{
	uint64_t leaf = g.v / P2M_LEAF_ENTRIES, i = leaf / P2M_POINTERS, j = leaf % P2M_POINTERS;

	if (i >= P2M_POINTERS)
		return -EINVAL;
	if (!d->p2m[i] && !(d->p2m[i] = host_page()))
		return -ENOMEM;
	if (!d->p2m[i][j] && !(d->p2m[i][j] = host_page()))
		return -ENOMEM;
	d->p2m[i][j][g.v % P2M_LEAF_ENTRIES] = (struct p2m_entry){ .mfn = m.v, .type = type };
	if (type == P2M_RAM)
		m2p_set(m, g.v);
	return 0;
}

void *
gpa_frame(struct domain *d, gpa_t a, size_t *len, bool write)
{
	struct p2m_entry *e = p2m_entry(d, gpa_to_gfn(a));
	size_t left = PAGE_SIZE - (a.v & PAGE_MASK);

	if (!e || (e->type != P2M_RAM && (write || e->type != P2M_ONES))) {
		if (!d->mmu || !d->mmu->touch || d->mmu->touch(d, gpa_to_gfn(a)))
			return NULL;
		e = p2m_entry(d, gpa_to_gfn(a));
	}
	if (*len > left)
		*len = left;
	return (uint8_t *)mfn_ptr(mfn(e->mfn)) + (a.v & PAGE_MASK);
}

void *
gpa_ptr(struct domain *d, gpa_t a, size_t *len)
{
	return gpa_frame(d, a, len, true);
}

int
gpa_read(struct domain *d, gpa_t a, void *buf, size_t len)
{
	while (len) {
		size_t n = len;
		const void *p = gpa_frame(d, a, &n, false);

		if (!p)
			return -EFAULT;
		memcpy(buf, p, n);
		buf = (uint8_t *)buf + n;
		a.v += n;
		len -= n;
	}
	return 0;
}

/* Writes nothing at all when a part of the range is no RAM. */
int
gpa_write(struct domain *d, gpa_t a, const void *buf, size_t len)
{
	if (len == 0)
		return 0;
	for (uint64_t g = a.v >> PAGE_SHIFT; g <= (a.v + len - 1) >> PAGE_SHIFT; g++) {
		size_t n = 1;

		if (!gpa_ptr(d, gfn_to_gpa(gfn(g)), &n))
			return -EFAULT;
	}
	for (size_t done = 0; done < len;) {
		size_t n = len - done;
		void *p = gpa_ptr(d, gpa(a.v + done), &n); /* cuts n */

		memcpy(p, (const uint8_t *)buf + done, n);
		page_track_written(d, gpa(a.v + done), n);
		done += n;
	}
	return 0;
}
