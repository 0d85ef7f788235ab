/*
 * A domain's RAM: which guest frames are RAM.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>

#define LOW_HOLE_FIRST 0xa0u /* gfn: 640 KiB, where a PC has video memory and ROMs */
#define LOW_HOLE_END   0x100u
#define TEXT_FIRST     0xb8u /* but for the text of a display: memory like any */
#define TEXT_END       0xc0u
#define RAM_LOW_END    0xc0000u  /* 3 GiB */
#define RAM_HIGH       0x100000u /* 4 GiB */

bool
ram_is(const struct domain *d, gfn_t g)
{
	if (g.v >= LOW_HOLE_END && g.v < RAM_HIGH) /* nearly all that is asked for */
		return g.v < d->map[2].to;
	for (unsigned i = 0; i < RAM_RANGES; i++)
		if (g.v - d->map[i].from < d->map[i].to - d->map[i].from)
			return true;
	return false;
}

uint64_t
ram_end(const struct domain *d)
{
	return d->map[3].to > d->map[3].from ? d->map[3].to : d->map[2].to;
}

int
ram_give_range(struct domain *d, const struct ram_range *r,
	       void (*begin)(struct frame *f, uint64_t gfn))
{
	for (uint64_t g = r->from; g < r->to; g++) {
		mfn_t m;

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		m = frame_alloc(FRAME_GUEST, d->id);
		if (!mfn_ok(m))
			return -ENOMEM;
		if (begin)
			begin(frame_of(m), g);
		if (p2m_set(d, gfn(g), m, P2M_RAM)) {
			frame_put(m);
			return -ENOMEM;
		}
	}
	return 0;
}

/*
 * A PC's memory map: RAM below the hole of video memory and ROMs, a display's text in it, above it
 * up to where devices have their registers, and the rest beyond 4 GiB.
 */
int
ram_give(struct domain *d)
{
	uint64_t end = d->ram >> PAGE_SHIFT, low = end < RAM_LOW_END ? end : RAM_LOW_END;
	int err = 0;

	d->map[0] = (struct ram_range){ 0, LOW_HOLE_FIRST };
	d->map[1] = (struct ram_range){ TEXT_FIRST, TEXT_END };
	d->map[2] = (struct ram_range){ LOW_HOLE_END, low };
	d->map[3] = (struct ram_range){ RAM_HIGH, RAM_HIGH + end - low };
	if (d->mmu && d->mmu->give_ram)
		return d->mmu->give_ram(d, d->map);
	for (unsigned i = 0; i < RAM_RANGES && !err; i++)
		err = ram_give_range(d, &d->map[i], NULL);
	return err;
}
