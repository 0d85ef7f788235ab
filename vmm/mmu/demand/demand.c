/*
 * The MMU mode "nested": where its frames come from, and what the rest of Zeno calls.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <vmm/audit.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mem/ram.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/demand/demand.h>
#include <vmm/vcpu.h>
#include <vmm/words/monitor.h>

/* The loader comes before the tables: they are empty, and what it needs is touched. */
static int
none_yet(struct vcpu *v)
{
	return 0;
}

/* The loader comes before the tables. */
static int
nothing_yet(struct domain *d, const struct ram_range *map)
{
	return 0;
}

/* All of these are RAM, and have no frame yet. */
static bool
all_new(struct domain *d, uint64_t first, uint64_t count)
{
	for (uint64_t g = first; g < first + count; g++) {
		const struct p2m_entry *p = p2m_entry(d, gfn(g));

		if ((p && p->type != P2M_NONE) || !ram_is(d, gfn(g)))
			return false;
		if (g % PREEMPT_WORK == PREEMPT_WORK - 1)
			preempt_point();
	}
	return true;
}

/* The frames of [g, g + count), which are one behind the other from m on. 0 or -ENOMEM. */
static int
give(struct domain *d, uint64_t g, mfn_t m, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		if (i % PREEMPT_WORK == PREEMPT_WORK - 1)
			preempt_point();
		if (!p2m_set(d, gfn(g + i), mfn(m.v + i), P2M_RAM)) {
			d->touched++;
			nested_log_new(d, gfn(g + i));
			continue;
		}
		for (; i < count; i++)
			frame_put(mfn(m.v + i));
		return -ENOMEM;
	}
	return 0;
}

static int
touch(struct domain *d, gfn_t g)
{
	mfn_t m = MFN_NONE;
	uint64_t count = d->page_frames, first = g.v & ~(count - 1);

	if (!all_new(d, g.v, 1))
		return -EFAULT;
	while (count > 1 && (!all_new(d, first, count) || !mfn_ok(m = nested_block(d, count)))) {
		count /= RAM_BLOCK;
		first = g.v & ~(count - 1);
	}
	if (count == 1)
		m = frame_alloc(FRAME_GUEST, d->id);
	return mfn_ok(m) ? give(d, first, m, count) : -ENOMEM;
}

static APART int
touch_ram(struct domain *d, gfn_t g)
{
	int err = touch(d, g);

	if (err == -ENOMEM && domain_forget(d))
		err = touch(d, g);
	if (err == -ENOMEM)
		domain_starves(d);
	return err;
}

int
demand_touch(struct domain *d, gfn_t g)
{
	return ram_is(d, g) ? touch_ram(d, g) : -EFAULT; /* mostly a device's */
}

unsigned
demand_level(struct domain *d, gfn_t g)
{
	unsigned largest = d->nested_format->largest;
	int empty;

	(void)page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &empty); /* no table is below that */
	if ((unsigned)empty < largest)
		largest = (unsigned)empty;
	return nested_row(d, g, largest);
}

#define ENTRIES    512u
#define ALLOWS_ALL 7ul /* a table: P, W, U of NPT's; R, W, X of EPT's */

bool
nested_split(pte_t *entry, unsigned level)
{
	mfn_t f = frame_alloc(FRAME_HOST, OWNER_HOST);
	pte_t *table, first = level > 2 ? *entry : *entry & ~PTE_PS;

	if (!mfn_ok(f))
		return false;
	table = mfn_ptr(f);
	for (uint64_t i = 0; i < ENTRIES; i++)
		table[i] = first + (i << (PAGE_SHIFT + 9 * (level - 2)));
	*entry = mfn_to_hpa(f).v | ALLOWS_ALL;
	return true;
}

/* Frames may be tracked before the first vCPU has tables: the loader's are. */
static void
protect(struct domain *d, gfn_t g)
{
	if (mfn_ok(d->vcpu->root))
		demand_protect(d, g);
}

static void
unprotect(struct domain *d, gfn_t g)
{
	if (mfn_ok(d->vcpu->root))
		demand_unprotect(d, g);
}

/*
 * The machine's memory is out. Of the guests that take theirs on demand the one that has most ends,
 * and this one tries again when it has. False: it is this one.
 */
static bool
another_gives_way(struct domain *d)
{
	struct domain *most = d;

	if (domain_forget(d))
		return true;
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		struct domain *other = domain_find(id);

		if (other && other->touched > most->touched)
			most = other;
	}
	if (most != d)
		domain_stop(most, "the machine has no frame left, and it has %lu of them",
			    most->touched);
	return most != d;
}

static enum mmu_outcome
violated(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	enum mmu_outcome outcome;

	audit_now_and_then(v);
	outcome = demand_fault(v, e, fault);
	if (outcome != MMU_NO_FRAME || !another_gives_way(v->domain))
		return outcome;
	v->domain->starved = false;
	need_resched = true;
	return MMU_FILLED;
}

static int
gone(struct domain *d, gfn_t g)
{
	int level;
	pte_t *entry = page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &level);

	if (entry && level > 1)
		entry = demand_entry(d, g, 1);
	else if (!entry)
		return 0; /* no table is there, or none that has an entry for it */
	if (!entry)
		return -ENOMEM;
	*entry = 0;
	for_each_vcpu(v, d) memset(v->mmu_data, 0, sizeof(struct nested_own)); /* walks by it */
	d->nested_less = true;
	tlb_flush_all(d);
	return 0;
}

static const struct mmu_mode demand_mode = {
	.name = "nested",
	.nested_init = none_yet,
	.give_ram = nothing_yet,
	.touch = demand_touch,
	.gone = gone,
	.load = nested_load,
	.free = nested_free,
	.invlpg = nested_invlpg,
	.nx = nested_nothing,
	.protect = protect,
	.unprotect = unprotect,
	.window = nested_nothing,
	.in_use = nested_in_use,
	.translate = nested_walk,
	.show = nested_show,
	.fault = violated,
	.wrong = nested_wrong,
};
SET_ADD(mmu_modes, demand_mode);

static const char *
kind_of(const struct exit *e)
{
	if (e->access & ACCESS_FETCH)
		return "a fetch";
	return e->access & ACCESS_WRITE ? "a write" : "a read";
}

/* A violation in words. */
void
demand_words(const struct exit *e, char *buf, size_t size)
{
	size_t used = (size_t)snprintf(buf, size, "%s at guest-physical %lx", kind_of(e), e->gpa);

	if (e->nested.has_linear && used < size)
		used += (size_t)snprintf(buf + used, size - used, ", linear %lx", e->nested.linear);
	if (e->nested.by_walk && used < size)
		used += (size_t)snprintf(buf + used, size - used,
					 ", by the CPU in the guest's page tables");
	if (used < size)
		snprintf(buf + used, size - used, ": %s",
			 e->nested.is_bad      ? "an entry on the way is wrong"
			 : e->nested.was_there ? "the entry does not allow it"
					       : "no entry maps it");
}

/* violations [ID] */
static int
violations(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);
	const struct demand *own = d ? demand_of(d) : NULL;
	char line[160];

	if (!d)
		return MONITOR_SAID;
	if (d->mmu != &demand_mode || !own) {
		printf("d%u: its memory is not given by violation\n", d->id);
		return MONITOR_SAID;
	}
	printf("d%u: %lu frames touched of %lu, %lu violations\n", d->id, d->touched,
	       d->ram >> PAGE_SHIFT, own->violations);
	if (!own->violations)
		return 0;
	demand_words(&own->last, line, sizeof(line));
	printf("  the last one: %s\n", line);
	return 0;
}
MONITOR_COMMAND(violations, "violations", "[ID]",
		"how much of a guest's memory it has touched, and the last violation in words");
