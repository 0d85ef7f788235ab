/*
 * `save` and `restore`: one at a time, a little in each round, while all other domains go on. The
 * shell waits for it.
 *
 * dom0 reads and writes the domain's pages by mapping one after the other. What machine frames'
 * numbers there are it knows from Zeno (inc/control.h, FRAMES), and replaces them: in page tables,
 * contexts, the p2m and start_info.
 */
#pragma once

#include <guest/dom0/dom0.h>
#include <guest/dom0/image.h>
#include <guest/dom0/stream.h>
#include <inc/xen_vcpu.h>

#define PAGE       4096u
#define PER_PAGE   (PAGE / sizeof(uint64_t))
#define AT_ONCE    32u /* pages of one round */
#define FRAME_NONE ZENO_FRAME_NONE

enum job_state {
	JOB_NONE,
	JOB_CALLS, /* whether somebody is at the other end who would take it */
	JOB_ASKED, /* a domain is asked to suspend */
	JOB_SAVES,
	JOB_SENT, /* all of it is on its way to another machine, which may refuse it */
	JOB_TOLD, /* ... is ready there, and is told to begin */
	JOB_ENDS,
	JOB_LOADS,
	JOB_HEARS, /* one is to come from another machine */
	JOB_HELD,  /* ... has come, and is another one's still */
};
struct job {
	enum job_state state;
	struct domu *u; /* that is put away; its number says whether it is there still */
	unsigned id;    /* ... or of the one that comes back */
	char name[64];  /* of the file, phy:DEVICE, or another machine's address */
	bool away;      /* to another machine, or from there: migrate.h */
	uint64_t since; /* when it has suspended: ns */
	uint64_t until; /* that it answers */
	struct stream stream;
	bool opened;
	uint64_t pfn; /* the next one */
	union {
		struct image_head head;
		uint8_t head_page[PAGE];
	};
	/* by guest frame: what FRAMES says, and its kind; by page of the p2m: which guest frame */
	uint64_t *frames[IMAGE_MOST / PER_PAGE];
	uint8_t *kinds[IMAGE_MOST / PAGE];
	uint32_t *p2m;
	union {
		struct xen_guest_context cpu;
		uint8_t pages[IMAGE_CONTEXT][PAGE];
	} context[ZENO_VCPUS];
};
extern struct job job;

/* job.c. With the head's frames: NULL, or why there is no room for it. */
const char *job_tables(void);
/* What there is of the job is given back: there is none. */
void job_over(void);
/* Each page of the tables that go to an image, or come from there, in their order. */
bool job_each_table(bool (*one)(void *page));
const char *job_know_frames(void);            /* of job.id: NULL, or why not */
uint64_t job_mfn(uint64_t pfn);               /* FRAME_NONE: it has none such */
uint64_t job_pfn(uint64_t mfn);               /* of its frames; FRAME_NONE: it is none of them */
uint8_t *job_kind(uint64_t pfn);              /* one that there is */
uint64_t *job_show(uint64_t pfn, bool write); /* until the next one, or job_hide(); NULL: error */
void job_hide(void);
/*
 * Frames' numbers in a page table of this level: guest's for machine's, or back. False: one is
 * none.
 */
bool job_convert(uint64_t *table, unsigned level, uint64_t (*other)(uint64_t number));
bool job_convert_context(struct xen_guest_context *g, uint64_t (*other)(uint64_t number));

/* save.c, restore.c: in each round; a step, up to the end. */
void save_step(void);
void restore_step(void);
bool save_takes(const struct domu *u); /* that one has suspended because of it */
/* They begin, with the shell's words: a domain's name, and where it goes; a file's name. */
void save_begin(const char *domain, const char *to, bool away);
void restore_begin(const char *name, bool away);
