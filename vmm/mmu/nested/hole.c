/*
 * The hole between 640 KiB and 1 MiB, where a PC has video memory and ROMs and Zeno's guests have
 * nothing: a kernel that looks there for tables reads all of it, a byte or four at a time. One
 * frame of ones stands behind all its pages, read-only, so that the CPU reads by itself what nobody
 * drives.
 *
 * A write still comes to Zeno, which drops it. Pages that a device has registers in stay away.
 */
#include <kern/map.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>
#include <vmm/mmu/nested/nested.h>

#define HOLE_FIRST 0xa0u /* gfn */
#define HOLE_END   0x100u

/* In the image, beside nothing else: any guest may read all of it. */
static const uint8_t ones[PAGE_SIZE]
	__attribute__((aligned(PAGE_SIZE))) = { [0 ... PAGE_SIZE - 1] = 0xff };

/* A device has registers in this page. */
static bool
is_mmio(const struct domain *d, gfn_t g)
{
	const struct mmio_range *r = d->platform ? d->platform->mmio : NULL;

	for (; r && r->size; r++)
		if (r->base < (g.v + 1) << PAGE_SHIFT && r->base + r->size > g.v << PAGE_SHIFT)
			return true;
	return false;
}

int
nested_hole(struct domain *d)
{
	mfn_t m = mfn(((uint64_t)ones - KB) >> PAGE_SHIFT);
	int err = 0;

	for (uint64_t g = HOLE_FIRST; g < HOLE_END && !err; g++)
		if (!ram_is(d, gfn(g)) && !is_mmio(d, gfn(g)))
			err = p2m_set(d, gfn(g), m, P2M_ONES);
	return err;
}
