/*
 * What `save` and `restore` have in common: job.h.
 */
#include <guest/dom0/job.h>
#include <guest/dom0/migrate.h>
#include <guest/dom0/pages.h>
#include <guest/pv/lib/memory.h>

#define ADDRESS    0x000ffffffffff000ul
#define LEVELS     4u
#define HOLE_FIRST 256u /* Zeno's slots of a root */
#define HOLE_LAST  271u

struct job job;
static uint64_t window[PER_PAGE] __attribute__((aligned(4096)));
static bool shown;

_Static_assert(sizeof(struct xen_guest_context) <= IMAGE_CONTEXT * PAGE, "");

/* ---- its tables ---- */

static const char *
table(void *place)
{
	void **page = place;

	*page = page_take();
	return *page ? NULL : "dom0 has no memory for it";
}

const char *
job_tables(void)
{
	const char *wrong = table(&job.p2m);

	for (uint64_t pfn = 0; pfn < job.head.frames && !wrong; pfn += PER_PAGE)
		wrong = table(&job.frames[pfn / PER_PAGE]);
	for (uint64_t pfn = 0; pfn < job.head.frames && !wrong; pfn += PAGE)
		wrong = table(&job.kinds[pfn / PAGE]);
	return wrong;
}

static void
give_back(void *place)
{
	void **page = place;

	if (*page)
		page_give(*page);
	*page = NULL;
}

void
job_over(void)
{
	job_hide();
	give_back(&job.p2m);
	for (unsigned n = 0; n < sizeof(job.frames) / sizeof(job.frames[0]); n++)
		give_back(&job.frames[n]);
	for (unsigned n = 0; n < sizeof(job.kinds) / sizeof(job.kinds[0]); n++)
		give_back(&job.kinds[n]);
	memset(&job, 0, sizeof(job));
}

bool
job_each_table(bool (*one)(void *page))
{
	bool good = true;

	for (uint64_t pfn = 0; pfn < job.head.frames && good; pfn += PAGE)
		good = one(job.kinds[pfn / PAGE]);
	good = good && one(job.p2m);
	for (unsigned n = 0; n < job.head.vcpus * IMAGE_CONTEXT && good; n++)
		good = one(job.context[n / IMAGE_CONTEXT].pages[n % IMAGE_CONTEXT]);
	return good;
}

/* ---- frames ---- */

const char *
job_know_frames(void)
{
	for (uint64_t pfn = 0; pfn < job.head.frames; pfn += PER_PAGE)
		if (pv_call(ZENO_CONTROL, ZENO_FRAMES, job.id, pfn,
			    (uint64_t)job.frames[pfn / PER_PAGE]) <= 0)
			return "the monitor does not say what its memory is";
	return NULL;
}

static uint64_t
word(uint64_t pfn)
{
	return pfn < job.head.frames ? job.frames[pfn / PER_PAGE][pfn % PER_PAGE] : FRAME_NONE;
}

uint64_t
job_mfn(uint64_t pfn)
{
	uint64_t w = word(pfn);

	return w == FRAME_NONE ? FRAME_NONE : ZENO_FRAME_MFN(w);
}

/* A guest may say anything of its frames in the machine-to-phys table: so it is asked both ways. */
uint64_t
job_pfn(uint64_t mfn)
{
	static struct xen_machphys_mapping all;
	uint64_t pfn;

	if (!all.max_mfn)
		pv_memory_op(XEN_XENMEM_machphys_mapping, &all);
	if (mfn > all.max_mfn)
		return FRAME_NONE;
	pfn = pv_guest_frame(mfn);
	return job_mfn(pfn) == mfn ? pfn : FRAME_NONE;
}

uint8_t *
job_kind(uint64_t pfn)
{
	return &job.kinds[pfn / PAGE][pfn % PAGE];
}

uint64_t *
job_show(uint64_t pfn, bool write)
{
	shown = true;
	return control(ZENO_MAP, job.id, pfn, (uint64_t)window | (write ? ZENO_MAP_WRITE : 0))
		       ? NULL
		       : window;
}

void
job_hide(void)
{
	if (shown)
		pv_map(window, pv_page(window) << 12 | PTE_P | PTE_W | PTE_U | PTE_NX);
	shown = false;
}

/* ---- what is replaced ---- */

bool
job_convert(uint64_t *entries, unsigned level, uint64_t (*other)(uint64_t number))
{
	for (unsigned n = 0; n < PER_PAGE; n++) {
		uint64_t number;

		if (level == LEVELS && n >= HOLE_FIRST && n <= HOLE_LAST)
			entries[n] = 0;
		if (!(entries[n] & PTE_P))
			continue;
		number = other((entries[n] & ADDRESS) >> 12);
		if (number == FRAME_NONE)
			return false;
		entries[n] = (entries[n] & ~ADDRESS) | number << 12;
	}
	return true;
}

/* A frame that is named there, or a root, at this place. */
static bool
convert(uint64_t *place, unsigned shift, uint64_t (*other)(uint64_t number))
{
	uint64_t number = other(*place >> shift);

	*place = number << shift;
	return number != FRAME_NONE;
}

bool
job_convert_context(struct xen_guest_context *g, uint64_t (*other)(uint64_t number))
{
	bool good = convert(&g->ctrlreg[3], 12, other);

	if (g->ctrlreg[1])
		good = convert(&g->ctrlreg[1], 12, other) && good;
	for (unsigned n = 0; n * PER_PAGE < g->gdt_entries && n < 16; n++)
		good = convert(&g->gdt_frames[n], 0, other) && good;
	return good;
}

/* ---- in each round ---- */

bool
job_busy(void)
{
	return job.state != JOB_NONE;
}

uint64_t
job_until(void)
{
	return job.away || job.state == JOB_HEARS ? migrate_until() : job.until;
}

bool
job_serve(void)
{
	if (job.state == JOB_NONE)
		return false;
	if (job.state == JOB_LOADS)
		restore_step();
	else if (job.state == JOB_HEARS || job.state == JOB_HELD)
		receive_step();
	else
		save_step();
	if (job.state == JOB_NONE && !attached)
		shell_prompt();
	return job.state == JOB_SAVES || job.state == JOB_LOADS;
}
