/*
 * The auditor of direct paging: each use of a frame that is found in the guest's tables is taken
 * away from the frame's counts, and at the end nothing may be left. Then all are given back, by the
 * same walk. It shares no code with what it audits.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/thread.h>
#include <trials/pv/audit.h>

#define P       1ul
#define W       2ul
#define U       4ul
#define ADDRESS 0x000ffffffffff000ul
#define KNOWN   0xfff0000000000e67ul /* P W U A D, available, NX */
#define HOLE    256u                 /* slots of the top level, 16 of them */
#define ENTRIES 512u

struct audit {
	const struct pv_types *t;
	struct audit_report *report; /* NULL: what was taken is given back */
	uint32_t step;               /* -1, or 1 */
};

#define differ(a, ...) ((a)->report ? audit_differs((a)->report, __VA_ARGS__) : (void)0)

static bool
is_own(const struct audit *a, uint64_t m)
{
	return m < frame_count && frames[m].owner == a->t->owner &&
	       (frames[m].type == FRAME_GUEST || frames[m].type == FRAME_HOST);
}

/* Where the walk of types.h is in the middle of it: its place in the path, and 1. */
static unsigned
in_walk(const struct audit *a, uint64_t m)
{
	for (unsigned i = 0; i < a->t->depth; i++)
		if (a->t->path[i].mfn == m)
			return i + 1;
	return 0;
}

static void
use_table(const struct audit *a, uint64_t m, unsigned type, const char *who)
{
	if (!is_own(a, m) || frames[m].type != FRAME_GUEST || frames[m].page_type != type)
		differ(a, "%s leads to frame %lx, which is none of its tables of level %u", who, m,
		       type);
	else
		frames[m].type_refs += a->step;
}

/*
 * dom0 may have such entries, and who maps grants; they are counted where their owner is audited.
 */
static bool
is_foreign(const struct audit *a, uint64_t m)
{
	return a->t->controls && m < frame_count && frames[m].type == FRAME_GUEST &&
	       frames[m].owner != a->t->owner;
}

static void
use_page(const struct audit *a, uint64_t table, unsigned i, uint64_t entry)
{
	uint64_t m = (entry & ADDRESS) >> 12;

	if (m - a->t->device < a->t->devices)
		return; /* no memory, and nobody asks how often */
	if (is_foreign(a, m)) {
		if (entry & W && frames[m].page_type)
			differ(a, "table %lx: entry %u lets it write frame %lx, d%u's %u", table, i,
			       m, frames[m].owner, frames[m].page_type);
	} else if (!is_own(a, m))
		differ(a, "table %lx: entry %u maps frame %lx, which is not its own", table, i, m);
	else if (!(entry & W))
		frames[m].refs += a->step;
	else if (frames[m].page_type == 0)
		frames[m].type_refs += a->step;
	else
		differ(a, "table %lx: entry %u lets it write frame %lx, which is a %u", table, i, m,
		       frames[m].page_type);
}

static void
check_hole(const struct audit *a, uint64_t m)
{
	const uint64_t *table = mfn_ptr(mfn(m));

	for (unsigned i = 0; i < 16; i++)
		if ((table[HOLE + i] ^ a->t->hole[i]) & ~0x60ul) /* the CPU sets A and D */
			differ(a, "root %lx: slot %u is %lx, not Zeno's %lx", m, HOLE + i,
			       table[HOLE + i], a->t->hole[i]);
}

static void
use_entries(const struct audit *a, uint64_t m, unsigned level)
{
	const uint64_t *table = mfn_ptr(mfn(m));
	unsigned at = in_walk(a, m), end = at ? a->t->path[at - 1].counted : ENTRIES;

	if (level == 4 && !at)
		check_hole(a, m);
	for (unsigned i = 0; i < end; i++) {
		uint64_t e = table[i];
		char who[48];

		if (!(e & P) || (level == 4 && i - HOLE < 16))
			continue;
		if (e & ~(KNOWN | ADDRESS) || !(e & U))
			differ(a, "table %lx: entry %u is %lx", m, i, e);
		if (level == 1) {
			use_page(a, m, i, e);
			continue;
		}
		if (a->report)
			snprintf(who, sizeof(who), "table %lx: entry %u", m, i);
		use_table(a, (e & ADDRESS) >> 12, level - 1, who);
	}
}

/* What does not come from entries: the domain's own reference, or Zeno's; a pin. */
static void
use_frame(const struct audit *a, uint64_t m)
{
	struct frame *f = &frames[m];

	if (f->page_type > PV_L4)
		differ(a, "frame %lx is of type %u", m, f->page_type);
	if (f->type == FRAME_HOST && f->page_type)
		differ(a, "frame %lx is Zeno's, and a table", m);
	f->refs += a->step;
	if (f->type == FRAME_HOST)
		f->type_refs += a->step;
	if (f->pinned && f->page_type == PV_ORDINARY)
		differ(a, "frame %lx is pinned, and no table", m);
	else if (f->pinned)
		use_table(a, m, f->page_type, "a pin");
}

static void
walk(const struct audit *a, const mfn_t *root, unsigned roots)
{
	for (uint64_t m = 0; m < frame_count; m++) {
		if (m % PREEMPT_WORK == 0)
			preempt_point();
		if (!is_own(a, m))
			continue;
		use_frame(a, m);
		if (frames[m].page_type - 1u < 4)
			use_entries(a, m, frames[m].page_type);
	}
	for (unsigned i = 0; i < roots; i++)
		if (mfn_ok(root[i]))
			use_table(a, root[i].v, 4, "a CPU");
	if ((a->t->asked || a->t->forgotten) && !a->t->result && !in_walk(a, a->t->target.v))
		use_table(a, a->t->target.v, a->t->type, "an answer");
}

/* Those entries of another domain that lead to this one's frames. */
static void
use_foreign(const struct audit *a, const struct pv_types *by)
{
	struct audit other = { .t = by };

	for (uint64_t m = 0; by != a->t && by->controls && m < frame_count; m++) {
		const uint64_t *table = mfn_ptr(mfn(m));
		unsigned at;

		if (!is_own(&other, m) || frames[m].page_type != 1)
			continue;
		at = in_walk(&other, m);
		for (unsigned i = 0; i < (at ? by->path[at - 1].counted : ENTRIES); i++) {
			uint64_t to = (table[i] & ADDRESS) >> 12;

			if (!(table[i] & P) || !is_own(a, to) || frames[to].type != FRAME_GUEST)
				continue;
			if (table[i] & W)
				frames[to].type_refs += a->step;
			else
				frames[to].refs += a->step;
		}
	}
}

void
pv_recount_foreign(const struct pv_types *t, const struct pv_types *const *all, uint32_t step)
{
	struct audit a = { t, NULL, step };

	for (; *all; all++)
		use_foreign(&a, *all);
}

void
pv_recount(const struct pv_types *t, const mfn_t *root, unsigned roots,
	   const struct pv_types *const *all, struct audit_report *report)
{
	struct audit take = { t, report, -1u }, give = { t, NULL, 1 };

	for (uint64_t m = 0; m < frame_count; m++)
		if (is_own(&take, m) && frames[m].page_type && !frames[m].type_refs &&
		    !in_walk(&take, m))
			audit_differs(report, "frame %lx is a %u, which nobody uses", m,
				      frames[m].page_type);
	pv_recount_foreign(t, all, take.step);
	walk(&take, root, roots);
	for (uint64_t m = 0; m < frame_count; m++)
		if (is_own(&take, m) && (frames[m].refs || frames[m].type_refs))
			audit_differs(report,
				      "frame %lx, a %u: %d references too many, and %d of its type",
				      m, frames[m].page_type, (int)frames[m].refs,
				      (int)frames[m].type_refs);
	walk(&give, root, roots);
	pv_recount_foreign(t, all, give.step);
}
