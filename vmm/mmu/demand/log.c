/*
 * The dirty log: which frames of its RAM a guest has written to since somebody asked.
 *
 * A frame that is logged is write-protected, as one that is tracked for another reason. The first
 * write ends that, and the frame is one that was written: so there is no list beside the p2m. What
 * Zeno writes for the guest counts, too (gpa_write() tells). Who copies a running guest's memory to
 * another machine asks again and again, until few are left.
 */
#include <inc/errno.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mem/ram.h>
#include <vmm/mmu/demand/demand.h>
#include <vmm/words/monitor.h>

#define LOGGED (1u << TRACK_LOG)

static void
written(struct domain *d, gpa_t a, size_t len)
{
	(void)len; /* within a frame */
	page_untrack(d, gpa_to_gfn(a), TRACK_LOG);
}

static const struct page_track_owner log_owner = { TRACK_LOG, written };
SET_ADD(page_track_owners, log_owner);

bool
nested_log_write(struct domain *d, gfn_t g)
{
	const struct p2m_entry *p = p2m_entry(d, g);

	if (!p || p->track != LOGGED)
		return false;
	page_untrack(d, g, TRACK_LOG);
	return true;
}

void
nested_log_new(struct domain *d, gfn_t g)
{
	if (d->logs_writes)
		p2m_entry(d, g)->track |= LOGGED; /* no entry maps it yet */
}

/* Every frame of RAM, from now on, or none. How many were written to since the last time. */
static uint64_t
restart(struct domain *d, bool on)
{
	uint64_t end = ram_end(d), count = 0;

	for (uint64_t g = 0; g < end; g++) {
		const struct p2m_entry *p = p2m_entry(d, gfn(g));

		if (g % RAM_BLOCK == 0)
			preempt_point();
		if (!p || p->type != P2M_RAM)
			continue;
		count += !(p->track & LOGGED);
		if (on)
			page_track(d, gfn(g), TRACK_LOG);
		else
			page_untrack(d, gfn(g), TRACK_LOG);
	}
	return count;
}

/* dirty on|off|count [ID] */
static int
dirty(int argc, char **argv)
{
	struct domain *d;
	uint64_t count;
	bool off;

	if (argc < 2)
		return -EINVAL;
	d = monitor_domain(argc - 1, argv + 1);
	if (!d)
		return MONITOR_SAID;
	if (!d->mmu || !d->mmu->touch) {
		printf("d%u: its MMU mode has no dirty log\n", d->id);
		return MONITOR_SAID;
	}
	off = !strcmp(argv[1], "off");
	if (!off && strcmp(argv[1], "on") && strcmp(argv[1], "count"))
		return -EINVAL;
	if (!d->logs_writes && strcmp(argv[1], "on")) {
		printf("d%u: its writes are not logged: `dirty on`\n", d->id);
		return MONITOR_SAID;
	}
	count = restart(d, !off);
	if (d->logs_writes)
		printf("d%u: %lu frames written\n", d->id, count);
	d->logs_writes = !off;
	return 0;
}
MONITOR_COMMAND(dirty, "dirty", "on|off|count [ID]",
		"log which frames a guest writes to; count says how many, and begins anew");
