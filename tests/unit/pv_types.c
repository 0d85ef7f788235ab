/* BUILD: solutions/6-pv/types.c trials/pv/audit.c -DDIRECT_MAP=0x200000000000ul */
/*
 * Types of frames: a guest that does what it likes, at random, with the walk stopped anywhere; and
 * behind each step the auditor, who counts from the tables alone. Then the auditor itself: what is
 * broken on purpose it must see.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <trials/pv/audit.h>

#include "draw.h"
#include "tap.h"

#define FRAMES  160u /* of the machine */
#define OWN     150u /* the guest's: 0 to here; one is Zeno's shared page, one Zeno's own */
#define SHARED  150u
#define ZENOS   151u
#define FOREIGN 152u /* another guest's, and behind it free ones */
#define ID      3
#define STEPS   24000
#define FLAT    (PTE_P | PTE_W | PTE_U)

#define DEVICE  (FRAMES + 1) /* registers, behind all memory: so many frames */
#define DEVICES 2u

static struct frame frame[FRAMES + 1 + DEVICES + 1];
struct frame *frames = frame;
uint64_t frame_count = FRAMES;

static struct pv_types types;
static struct pv_types other; /* of whom FOREIGN is */
static bool flush;            /* the TLB is behind what tables there are */
static mfn_t root[2];
static char told[200];

void
preempt_point(void)
{
}

void
audit_differs(struct audit_report *report, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(told, sizeof(told), fmt, ap);
	va_end(ap);
	report->found++;
}

static pte_t *
table(unsigned m)
{
	return mfn_ptr(mfn(m));
}

static unsigned
differences(void)
{
	struct audit_report report = { 0 };
	const struct pv_types *const all[] = { &types, &other, NULL };
	struct frame before[sizeof(frame) / sizeof(frame[0])];

	memcpy(before, frame, sizeof(frame));
	pv_recount(&types, root, 2, all, &report);
	pv_recount(&other, NULL, 0, all, &report);
	if (memcmp(before, frame, sizeof(frame)))
		bail_out("the auditor has changed something");
	return report.found;
}

/* Nobody uses anything. */
static void
reset(void)
{
	memset(frame, 0, sizeof(frame));
	memset(&types, 0, sizeof(types));
	memset(table(0), 0, FRAMES * PAGE_SIZE);
	memset(&other, 0, sizeof(other));
	types.owner = ID;
	types.controls = true;
	other.owner = ID + 1;
	other.flush = &flush;
	types.flush = &flush;
	for (unsigned i = 0; i < PV_HOLE; i++)
		types.hole[i] = (ZENOS << PAGE_SHIFT) | PTE_P | PTE_W | i << 9;
	for (unsigned m = 0; m < OWN; m++)
		frame[m] = (struct frame){ .refs = 1, .owner = ID, .type = FRAME_GUEST };
	frame[SHARED] = frame[ZENOS] = (struct frame){ .refs = 1, .type = FRAME_HOST };
	pv_share(ID, table(SHARED));
	frame[FOREIGN] = (struct frame){ .refs = 1, .owner = ID + 1, .type = FRAME_GUEST };
	for (unsigned m = FOREIGN + 1; m < FRAMES; m++)
		frame[m].type = FRAME_FREE;
	root[0] = root[1] = MFN_NONE;
}

/* All is given back, as at a guest's end. */
static void
end(void)
{
	unsigned budget = ~0u;

	pv_type_forget(&types);
	pv_type_settle(&types, &budget);
	for (unsigned i = 0; i < 2; i++, pv_type_settle(&types, &budget))
		if (mfn_ok(root[i])) {
			pv_type_put(&types, root[i]);
			root[i] = MFN_NONE;
		}
	for (unsigned m = 0; m < OWN; m++)
		if (frame[m].pinned) {
			frame[m].pinned = 0;
			pv_type_put(&types, mfn(m));
			pv_type_settle(&types, &budget);
		}
}

static unsigned
used(void)
{
	unsigned n = 0;

	for (unsigned m = 0; m < FRAMES; m++)
		n += m != SHARED && m < OWN &&
		     (frame[m].refs != 1 || frame[m].type_refs || frame[m].page_type);
	return n + (frame[SHARED].refs != 1 || frame[SHARED].type_refs != 1) +
	       (frame[ZENOS].refs != 1) + (frame[FOREIGN].refs != 1 || frame[FOREIGN].type_refs);
}

/* ---- a guest at random ---- */

/*
 * By their numbers: roots, then tables of levels 3 to 1, then pages; so that much of it is sound.
 */
static unsigned
level_of(unsigned m)
{
	return m < 3 ? 4 : m < 8 ? 3 : m < 18 ? 2 : m < 40 ? 1 : 0;
}

static unsigned
some_of(unsigned level)
{
	static const unsigned from[] = { 40, 18, 8, 3, 0, OWN };

	if (drawn() % 50 == 0)
		return (unsigned)(drawn() % FRAMES);
	return from[level] +
	       (unsigned)(drawn() % ((level ? from[level - 1] : SHARED + 1) - from[level]));
}

/* An entry for a table of this level. */
static pte_t
some_entry(unsigned level)
{
	unsigned to = some_of(level - 1);
	pte_t entry = (pte_t)to << PAGE_SHIFT | PTE_P | PTE_U;

	if (drawn() % 8 == 0)
		return drawn() % 2 ? 0 : drawn() & ~PTE_P;
	if (level > 1 || !level_of(to) || drawn() % 40 == 0)
		entry |= PTE_W;
	if (level == 1 && drawn() % 4 == 0)
		entry = (entry & ~(PTE_W | PTE_ADDR(~0ul))) | (drawn() % OWN) << PAGE_SHIFT;
	if (drawn() % 4 == 0)
		entry ^= PTE_U;
	if (drawn() % 60 == 0)
		entry ^= 1ul << drawn() % 64;
	return entry;
}

static unsigned
some_index(void)
{
	static const unsigned index[] = { 0, 1, 2, 254, 255, 256, 263, 271, 272, 510, 511 };

	return index[drawn() % 11];
}

static unsigned counts[8];

static int
pin(unsigned m, unsigned level, unsigned *budget)
{
	int err = m < FRAMES && frame[m].pinned ? -EINVAL
						: pv_type_get(&types, mfn(m), level, budget);

	if (!err)
		frame[m].pinned = 1;
	return err;
}

static void
set_root(unsigned m, unsigned which, unsigned *budget)
{
	mfn_t old = root[which];

	if (pv_type_get(&types, mfn(m), PV_L4, budget))
		return;
	root[which] = mfn(m);
	counts[5]++;
	if (mfn_ok(old))
		pv_type_put(&types, old);
}

/* What the guest can write by itself it writes; else it asks. */
static void
write_some(unsigned *budget)
{
	unsigned m = some_of((unsigned)(1 + drawn() % 4)), level = level_of(m) ? level_of(m) : 1;
	pte_t *at = &table(m)[some_index()];

	if (m >= OWN)
		return;
	if (!frame[m].page_type) {
		*at = some_entry(level);
	} else if (level == 1 && drawn() % 4 == 0) { /* dom0 maps another's page */
		types.foreign = ID + 1;
		counts[6] += !pv_type_write(&types, frame[m].page_type, at,
					    (pte_t)FOREIGN << PAGE_SHIFT | PTE_P | PTE_U |
						    (drawn() % 2 ? PTE_W : 0),
					    budget);
		types.foreign = 0;
	} else
		counts[3 + !!pv_type_write(&types, frame[m].page_type, at, some_entry(level),
					   budget)]++;
}

static void
one_step(void)
{
	unsigned budget = (unsigned)(drawn() % 3 ? 100000 : drawn() % 700), m;
	int err;

	if (!pv_type_settle(&types, &budget))
		return;
	if (drawn() % 20 == 0)
		pv_type_forget(&types); /* and what follows may begin a walk before it is settled */
	switch (drawn() % 16) {
	case 0:
	case 1:
	case 2:
		m = some_of((unsigned)(1 + drawn() % 4));
		err = pin(m,
			  level_of(m) && drawn() % 20 ? level_of(m) : (unsigned)(drawn() % 4 + 1),
			  &budget);
		counts[err == -EAGAIN ? 2 : !err]++;
		break;
	case 3:
		m = (unsigned)(drawn() % OWN);
		if (frame[m].pinned) {
			frame[m].pinned = 0;
			pv_type_put(&types, mfn(m));
		}
		break;
	case 4:
		set_root(some_of(4), drawn() % 2, &budget);
		break;
	default:
		write_some(&budget);
	}
}

/* What a step begins to make a table of, or to take apart; and nothing is said of the TLB. */
static bool
stale(void)
{
	struct frame before[sizeof(frame) / sizeof(frame[0])];
	bool other = false;

	memcpy(before, frame, sizeof(frame));
	flush = false;
	one_step();
	for (unsigned m = 0; m < FRAMES; m++)
		other |= (frame[m].page_type && !before[m].page_type) ||
			 (before[m].page_type && before[m].type_refs && !frame[m].type_refs);
	return other && !flush;
}

static void
at_random(void)
{
	unsigned wrong = 0, lost = 0, kinds = 0, remembered = 0;

	for (unsigned step = 0; step < STEPS; step++) {
		if (step % 3000 == 0) {
			if (step)
				end();
			lost += step && used();
			reset();
		}
		remembered += stale();
		if (differences() && !wrong++)
			diag("step %u: %s", step, told);
	}
	end();
	for (unsigned i = 0; i < 7; i++)
		kinds += counts[i] > 50;
	diag("pins %u, refused %u, not at once %u; entries %u, refused %u, foreign %u; roots %u",
	     counts[1], counts[0], counts[2], counts[3], counts[4], counts[6], counts[5]);
	is_u64(wrong, 0, "the auditor agrees behind each of %u steps", STEPS);
	is_u64(kinds, 7, "of which there were some of each kind");
	is_u64(remembered, 0, "and the TLB remembers no table as memory");
	is_u64(lost + used(), 0, "and at the end nothing is used");
}

/* ---- frames of another domain ---- */

#define TABLE   20u /* of level 1 */
#define TO(m)   ((pte_t)(m) << PAGE_SHIFT | PTE_P | PTE_U)
#define REFUSED ((uint64_t)-EINVAL)

static uint64_t
put(uint16_t foreign, pte_t entry)
{
	unsigned budget = ~0u;
	int err;

	types.foreign = foreign;
	err = pv_type_write(&types, PV_L1, table(TABLE), entry, &budget);
	types.foreign = 0;
	return (uint64_t)err;
}

/* Only while it is named; as memory, it is no table; and no table that has it is made again. */
static void
foreign(void)
{
	unsigned budget = ~0u;

	reset();
	frame[TABLE].pinned = !pv_type_get(&types, mfn(TABLE), PV_L1, &budget);
	is_u64(put(0, TO(FOREIGN)), REFUSED, "another's page");
	is_u64(put(ID + 2, TO(FOREIGN)), REFUSED, "... of whom it is not");
	is_u64(put(ID + 1, TO(ZENOS)), REFUSED, "... Zeno's");
	is_u64(put(ID + 1, TO(FOREIGN + 1)), REFUSED, "... nobody's");
	is_u64(put(ID + 1, TO(FRAMES)), REFUSED, "... beyond all");
	is_u64(put(ID + 1, TO(FOREIGN)), 0, "... to look at");
	is_u64(frame[FOREIGN].refs << 8 | frame[FOREIGN].type_refs, 2 << 8, "... is counted");
	is_u64(put(0, TO(FOREIGN) | PTE_A), 0, "what does no harm may change");
	is_u64(put(0, TO(FOREIGN) | PTE_W), REFUSED, "to look at is not to write");
	is_u64(pv_type_get(&other, mfn(FOREIGN), PV_L1, &budget), 0, "it may be a table then");
	is_u64(put(ID + 1, TO(FOREIGN) | PTE_W), REFUSED, "... and nobody writes it");
	pv_type_put(&other, mfn(FOREIGN));
	pv_type_settle(&other, &budget);
	is_u64(put(ID + 1, TO(FOREIGN) | PTE_W), 0, "... to write");
	is_u64(frame[FOREIGN].refs << 8 | frame[FOREIGN].type_refs, 1 << 8 | 1, "... is counted");
	is_u64((uint64_t)pv_type_get(&other, mfn(FOREIGN), PV_L1, &budget), REFUSED,
	       "and it is no table then");
	is_u64(differences(), 0, "the auditor sees it");
	frame[FOREIGN].type_refs--;
	is_u64(differences(), 1, "... and one that is not counted");
	frame[FOREIGN].type_refs++;
	frame[TABLE].pinned = 0;
	pv_type_put(&types, mfn(TABLE));
	pv_type_settle(&types, &budget);
	is_u64(used(), 0, "no table, no use");
	is_u64((uint64_t)pv_type_get(&types, mfn(TABLE), PV_L1, &budget), REFUSED,
	       "a table with such an entry is not made again");
	is_u64(used(), 0, "... and nothing is left of it");
}

/* Registers: no memory, so no tables, and for whom they are not nothing at all. */
static void
device(void)
{
	unsigned budget = ~0u;

	reset();
	frame[TABLE].pinned = !pv_type_get(&types, mfn(TABLE), PV_L1, &budget);
	is_u64(put(0, TO(DEVICE)), REFUSED, "a device's register");
	types.device = DEVICE;
	types.devices = DEVICES;
	is_u64(put(0, TO(DEVICE - 1)), REFUSED, "... before those that it has");
	is_u64(put(0, TO(DEVICE + DEVICES)), REFUSED, "... behind them");
	is_u64(put(0, TO(DEVICE + DEVICES - 1)), 0, "the last of them, to look at");
	is_u64(put(0, TO(DEVICE) | PTE_W), 0, "the first, to write");
	is_u64((uint64_t)pv_type_get(&types, mfn(DEVICE), PV_L1, &budget), REFUSED,
	       "it is no table");
	is_u64((uint64_t)pv_type_get(&types, mfn(DEVICE), PV_L4, &budget), REFUSED,
	       "... nor a root");
	is_u64(differences(), 0, "the auditor lets it be");
	types.devices = 0;
	is_u64(differences(), 1, "... but nobody else's");
	frame[TABLE].pinned = 0;
	pv_type_put(&types, mfn(TABLE));
	pv_type_settle(&types, &budget);
	is_u64(used(), 0, "no table, no use");
	is_u64(frame[DEVICE].refs | frame[DEVICE].type_refs | frame[DEVICE + DEVICES - 1].refs, 0,
	       "... nor of a register");
}

/* ---- the auditor itself ---- */

/* Of an entry that is present, W too above level 1; of another one all but P. */
#define HARMLESS (PTE_A | PTE_D | PTE_NX | 7ul << 9 | 0x7fful << 52)

/* A bit of an entry of a table in use; 0: there is none such here. */
static uint64_t *
some_bit(uint64_t *bit)
{
	unsigned m = (unsigned)(drawn() % 40), i = some_index();

	*bit = 1ul << drawn() % 64;
	if (!frame[m].page_type || (frame[m].page_type == PV_L4 && i - HOLE_FIRST_SLOT < PV_HOLE))
		return NULL;
	if (*bit & (table(m)[i] & PTE_P ? HARMLESS : ~PTE_P) ||
	    (*bit == PTE_W && frame[m].page_type > PV_L1))
		return NULL;
	return &table(m)[i];
}

static void
broken(void)
{
	unsigned tried = 0, missed = 0, budget = ~0u, what;
	struct frame *f, saved;
	uint64_t bit, *at;

	reset();
	while (tried < 1000) {
		for (unsigned n = 0; n < 20; n++)
			one_step();
		pv_type_settle(&types, &budget);
		at = some_bit(&bit);
		if (!at)
			continue;
		*at ^= bit;
		missed += !differences();
		*at ^= bit;
		what = (unsigned)(drawn() % 4);
		f = &frame[drawn() % OWN];
		saved = *f;
		if (what == 0)
			f->refs ^= 1u << drawn() % 32;
		else if (what == 1)
			f->type_refs ^= 1u << drawn() % 32;
		else if (what == 2)
			f->page_type = f->page_type ? 0 : 1 + drawn() % 4;
		else
			f->pinned ^= 1;
		missed += !differences();
		*f = saved;
		tried++;
	}
	is_u64(missed, 0, "of %u bits and %u counts that are wrong all are seen", tried, tried);
	is_u64(differences(), 0, "and all is well again");
}

int
main(void)
{
	if (mmap((void *)DIRECT_MAP, FRAMES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		bail_out("no memory");
	at_random();
	foreign();
	device();
	broken();
	return done_testing();
}
