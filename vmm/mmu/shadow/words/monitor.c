/*
 * Shadow paging to look at: a walk through both tables side by side, and what the shadows cost.
 */
#include <kern/map.h>
#include <vmm/mmu/shadow/shadow.h>
#include <vmm/words/monitor.h>

#define WALK_LINES 6u /* what it is, levels 4 to 1, and where it ends */

/* "P W U A D" of an entry, as far as they are set. */
static const char *
flags(uint64_t entry, char buf[16])
{
	static const struct {
		uint64_t bit;
		char name;
	} bits[] = { { PTE_P, 'P' }, { PTE_W, 'W' }, { PTE_U, 'U' },
		     { PTE_A, 'A' }, { PTE_D, 'D' }, { PTE_PS, 'S' } };
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
		buf[n++] = entry & bits[i].bit ? bits[i].name : '-';
	buf[n] = '\0';
	return buf;
}

/* Our entry for `a` at a level, 0 where there is none. */
static pte_t
our_entry(struct vcpu *v, gva_t a, unsigned level)
{
	mfn_t top = v->state.efer & EFER_LMA ? v->domain->mmu->top(v) : v->root;
	const pte_t *table = mfn_ok(top) ? mfn_ptr(top) : NULL;

	if (!table)
		return 0;
	for (unsigned l = PAGE_LEVELS;; l--) {
		pte_t entry = table[shadow_index(l, a)];

		if (l == level || !(entry & PTE_P))
			return l == level ? entry : 0;
		table = hpa_ptr(hpa(PTE_ADDR(entry)));
	}
}

static void
show_end(struct shadow_mmu *m, gva_t a, int err, const struct walk *w, char *buf, size_t size)
{
	const struct p2m_entry *e = p2m_entry(m->domain, gpa_to_gfn(w->gpa));
	pte_t ours = our_entry(m->vcpu, a, 1);

	if (err)
		snprintf(buf, size, "  guest: page fault, error code %x%s", w->error,
			 in_window(m->domain, a.v, 1) ? "; ours: the VMM window" : "");
	else if (!e || e->type != P2M_RAM)
		snprintf(buf, size, "  guest-physical %08lx: no memory", w->gpa.v);
	else
		snprintf(buf, size, "  guest-physical %08lx: machine frame %x; ours: %s%lx%s",
			 w->gpa.v, e->mfn, ours & PTE_P ? "" : "not filled, ",
			 PTE_ADDR(ours) >> PAGE_SHIFT, e->track ? "; writes are tracked" : "");
}

/* One line of a walk; false: there are no more. */
bool
shadow_show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size)
{
	struct shadow_mmu *m = shadow_of(v);
	struct walk_memory memory = guest_memory(m);
	unsigned level = PAGE_LEVELS + 1 - line;
	char theirs[80], own[16], names[16];
	struct walk w;
	int err = guest_walk(&m->paging, a, ACCESS_PROBE, &memory, &w);
	pte_t ours;

	if (line >= WALK_LINES)
		return false;
	if (!line) {
		snprintf(buf, size, "d%u: linear %08lx, %s paging", v->domain->id, a.v,
			 m->paging.format->name);
		return true;
	}
	if (level == 0) {
		show_end(m, a, err, &w, buf, size);
		return true;
	}
	ours = our_entry(v, a, level);
	snprintf(theirs, sizeof(theirs), "%-33s",
		 level > m->paging.format->levels ? "has no such level"
		 : level < w.last                 ? "not reached"
						  : "");
	if (level <= m->paging.format->levels && level >= w.last)
		snprintf(theirs, sizeof(theirs), "%08lx: %016lx %s", w.step[level].at.v,
			 w.step[level].entry, flags(w.step[level].entry, names));
	snprintf(buf, size, "  level %u  guest %s  ours %016lx %s", level, theirs, ours,
		 flags(ours, own));
	return true;
}

static int
shadow(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);
	struct shadow_mmu *m;

	if (!d)
		return MONITOR_SAID;
	m = shadow_of(d->vcpu);
	if (!m) {
		printf("d%u: has never turned paging on\n", d->id);
		return 0;
	}
	printf("d%u: %s, %u shadows of at most %u\n", d->id,
	       m->on ? m->paging.format->name : "paging off", m->live, m->limit);
	printf("  VMM window at %08lx, moved %u times\n", d->window, d->window_moves);
	printf("  faults: %lu true, %lu hidden and filled, %lu emulated\n", m->stats.faults,
	       m->stats.filled, m->stats.emulated);
	printf("  tables: %lu writes, %lu entries dropped, %lu given up as no tables\n",
	       m->stats.written, m->stats.dropped, m->stats.flooded);
	printf("  shadows: %lu made, %lu freed, %lu times all of them; CR3 loaded %lu times\n",
	       m->stats.made, m->stats.freed, m->stats.emptied, m->stats.loads);
	return 0;
}
MONITOR_COMMAND(shadow, "shadow", "[ID]", "a guest's shadow page tables in numbers");
