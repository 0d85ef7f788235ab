/*
 * Physical memory: the boot allocator, the frame table, and the way to the page allocator of Lab 0.
 *
 * The boot allocator has one stretch of RAM, the largest below 1 GiB that neither image nor modules
 * touch, and goes up in it. The page allocator (exercise 0.4) gets every free frame when
 * frame_init() runs. So that no frame has two masters, one rule decides there, once: if
 * frame_list_alloc() gives a frame then, the boot allocator is closed for ever, and what is left of
 * its stretch is the list's; if it gives none, the list is never asked again, and the boot
 * allocator goes on.
 */
#include <kern/boot/bootinfo.h>
#include <kern/frame.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/memory.h>
#include <kern/paging.h>
#include <kern/thread.h>

#define MIB       (1ul << 20)
#define BOOT_END  (1ul << 30) /* what entry.asm's page tables show */
#define RAM_START MIB         /* below: BIOS data, real-mode vectors, the screen */

extern char __image_start[], __kernel_end[];

struct frame *frames;
uint64_t frame_count;

static uint64_t boot_start, boot_next, boot_end;
static bool list_works;
static struct frame *first_frame; /* what frame_init() tried the list with; given out first */

struct extent {
	uint64_t start, end;
};

/* The i-th thing that lies in RAM and must stay: the image, then the modules. */
static bool
occupied(unsigned i, struct extent *e)
{
	if (i > module_count)
		return false;
	if (i == 0)
		*e = (struct extent){ (uint64_t)__image_start - KB, (uint64_t)__kernel_end - KB };
	else
		*e = (struct extent){ modules[i - 1].paddr,
				      modules[i - 1].paddr + modules[i - 1].size };
	e->start &= ~PAGE_MASK;
	e->end = (e->end + PAGE_MASK) & ~PAGE_MASK;
	return true;
}

/* Whole frames only. False: this range is not RAM for us. */
static bool
ram(unsigned i, struct extent *e)
{
	const struct memory_range *r = &memory_ranges[i];

	if (r->type != MEMORY_RAM)
		return false;
	e->start = (r->base + PAGE_MASK) & ~PAGE_MASK;
	e->end = (r->base + r->length) & ~PAGE_MASK;
	if (e->start < RAM_START)
		e->start = RAM_START;
	if (e->end > ram_limit())
		e->end = ram_limit();
	return e->start < e->end;
}

/* The free stretch of `r` that starts at `start` or later, before something occupied. */
static struct extent
stretch_from(struct extent r, uint64_t start)
{
	struct extent e = { start > r.start ? start : r.start,
			    r.end < BOOT_END ? r.end : BOOT_END };
	struct extent o;

	for (unsigned i = 0; occupied(i, &o); i++) {
		if (o.start <= e.start && e.start < o.end)
			return (struct extent){ 0, 0 };
		if (o.start > e.start && o.start < e.end)
			e.end = o.start;
	}
	return e;
}

static void
take_larger(struct extent e)
{
	if (e.start < e.end && e.end - e.start > boot_end - boot_start) {
		boot_start = boot_next = e.start;
		boot_end = e.end;
	}
}

/* A stretch starts where RAM starts or where something ends: try them all. */
static void
boot_alloc_init(void)
{
	struct extent r, o;

	for (unsigned i = 0; i < memory_range_count; i++) {
		if (!ram(i, &r))
			continue;
		take_larger(stretch_from(r, r.start));
		for (unsigned j = 0; occupied(j, &o); j++)
			take_larger(stretch_from(r, o.end));
	}
	if (!boot_end)
		panic("no free RAM between 1 MiB and 1 GiB");
}

static void
mark(struct extent e, enum frame_type type)
{
	for (uint64_t i = e.start >> PAGE_SHIFT; i < e.end >> PAGE_SHIFT && i < frame_count; i++) {
		frames[i].type = type;
		frames[i].refs = type == FRAME_HOST;
	}
}

void *
boot_alloc(size_t bytes, size_t align)
{
	uint64_t start = (boot_next + align - 1) & ~(align - 1);

	if (list_works)
		panic("boot_alloc after frame_init: the page allocator owns all frames now");
	if (start > boot_end || bytes > boot_end - start)
		panic("the boot allocator is out of memory: %lu bytes wanted, %lu left", bytes,
		      boot_end - boot_next);
	boot_next = start + bytes;
	mark((struct extent){ start, boot_next + PAGE_MASK }, FRAME_HOST);
	return memset(hpa_ptr(hpa(start)), 0, bytes);
}

uint64_t
ram_limit(void)
{
	return (HOLE_LAST_SLOT + 1 - 262ul) << 39; /* the direct map's slots */
}

/* Sized by the end of RAM: what lies above it is never ours. */
static uint64_t
count_frames(void)
{
	uint64_t end = 0;
	struct extent r;

	for (unsigned i = 0; i < memory_range_count; i++)
		if (ram(i, &r) && r.end > end)
			end = r.end;
	return end >> PAGE_SHIFT;
}

static void
fill_frame_table(void)
{
	struct extent e;

	for (unsigned i = 0; i < memory_range_count; i++)
		if (ram(i, &e))
			mark(e, FRAME_FREE);
	/* Where the firmware's ranges overlap, the one that says "not RAM" is believed. */
	for (unsigned i = 0; i < memory_range_count; i++)
		if (memory_ranges[i].type != MEMORY_RAM)
			mark((struct extent){ memory_ranges[i].base & ~PAGE_MASK,
					      memory_ranges[i].base + memory_ranges[i].length +
						      PAGE_MASK },
			     FRAME_RESERVED);
	for (unsigned i = 0; occupied(i, &e); i++)
		mark(e, FRAME_HOST);
	mark((struct extent){ boot_start, (boot_next + PAGE_MASK) & ~PAGE_MASK }, FRAME_HOST);
}

void
frame_init(void)
{
	fill_frame_table();
	frame_list_init();
	first_frame = frame_list_alloc();
	list_works = first_frame != NULL;
}

mfn_t
frame_mfn(const struct frame *f)
{
	return mfn((uint64_t)(f - frames));
}

struct frame *
frame_of(mfn_t f)
{
	return f.v < frame_count ? &frames[f.v] : NULL;
}

/* Before the frame table is there, page tables come from here too. */
static mfn_t
alloc_from_boot(void)
{
	uint64_t start = (boot_next + PAGE_MASK) & ~PAGE_MASK;

	if (start + PAGE_SIZE > boot_end)
		return MFN_NONE;
	return ptr_mfn(boot_alloc(PAGE_SIZE, PAGE_SIZE));
}

mfn_t
frame_alloc(enum frame_type type, uint16_t owner)
{
	struct frame *f = first_frame;
	mfn_t m;

	ASSERT(type == FRAME_HOST || type == FRAME_GUEST);
	if (!list_works) {
		m = alloc_from_boot();
		f = mfn_ok(m) && frame_count ? frame_of(m) : NULL;
		if (!f)
			return m;
	} else if (f) {
		first_frame = NULL;
	} else {
		f = frame_list_alloc();
		if (!f)
			return MFN_NONE;
	}
	if (f < frames || f >= frames + frame_count || f->refs != 1)
		panic("frame_list_alloc() gave %p: not a frame with one reference", (void *)f);
	f->type = type;
	f->owner = owner;
	return frame_mfn(f);
}

/* The list isn't there: without references the frame is lost until the next boot. */
static void
lose(struct frame *f)
{
	static bool said;

	ASSERT(f->refs > 0);
	if (--f->refs)
		return;
	if (!said)
		printf("frame %lx can't be given back: the boot allocator only goes up "
		       "(exercise 0.4 is not done)\n",
		       frame_mfn(f).v);
	said = true;
}

void
frame_put(mfn_t m)
{
	struct frame *f = frame_of(m);

	ASSERT(f);
	if (list_works)
		frame_list_free(f);
	else
		lose(f);
	if (!f->refs) { /* a later domain of its owner's number has no claim to it */
		f->type = list_works ? FRAME_FREE : FRAME_RESERVED;
		f->owner = OWNER_HOST;
	}
}

uint64_t
frames_free(void)
{
	uint64_t n = 0;

	if (!list_works)
		return (boot_end - boot_next) >> PAGE_SHIFT;
	for (uint64_t i = 0; i < frame_count; i++) {
		if (i % (16 * PREEMPT_WORK) == 0)
			preempt_point();
		n += frames[i].type == FRAME_FREE && !frames[i].refs;
	}
	return n + (first_frame != NULL);
}

void
memory_init(void)
{
	uint64_t count;

	boot_alloc_init();
	count = count_frames();
	paging_init();
	frames = table_area(FRAME_TABLE, count * sizeof(*frames));
	memset(table_area(M2P_BASE, count * sizeof(uint64_t)), 0xff, count * sizeof(uint64_t));
	frame_count = count;
}
