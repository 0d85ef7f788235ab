/*
 * What the tests of grants share: frames, four domains that have a table of two frames each, and
 * the auditors. Its includer says in BUILD which files are tested.
 */
#pragma once

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <trials/grants/recount.h>
#include <trials/pv/audit.h>

#include "tap.h"

#define HOST   XEN_GNTMAP_host_map
#define DEVICE XEN_GNTMAP_device_map
#define BOTH   (HOST | DEVICE)
#define READ   XEN_GNTMAP_readonly

#define FRAMES 400u
#define OWN    12u /* of each domain; the first is a table of level 1 */
#define DOMS   4u  /* 1 to 4; 4 keeps no rules */
#define SLOTS  8u

static struct frame frame[FRAMES];
struct frame *frames = frame;
uint64_t frame_count = FRAMES;

static struct pv_types types[DOMS + 1];
static struct pv_grants grants[DOMS + 1];
static struct pv_grant_table tables[DOMS + 1];
static bool flush;
static unsigned wrong;
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

/* ---- frames: those from 200 on are Zeno's to take ---- */

mfn_t
frame_alloc(enum frame_type type, uint16_t owner)
{
	for (unsigned m = 200; m < FRAMES; m++)
		if (frame[m].type == FRAME_FREE) {
			frame[m] = (struct frame){ .refs = 1, .type = type, .owner = owner };
			memset(mfn_ptr(mfn(m)), 0, PAGE_SIZE);
			return mfn(m);
		}
	return MFN_NONE;
}

void
frame_put(mfn_t m)
{
	if (!frame[m.v].refs || --frame[m.v].refs)
		bail_out("frame %lu is freed, and has uses", m.v);
	frame[m.v] = (struct frame){ .type = FRAME_FREE };
}

void
pv_orphan_free(mfn_t m)
{
	frame[m.v].refs = 1;
	frame_put(m);
	pv_orphans--;
}

static unsigned
first_of(unsigned id)
{
	return id * 20;
}

static pte_t *
slot(unsigned id, unsigned n)
{
	return (pte_t *)mfn_ptr(mfn(first_of(id))) + n;
}

static volatile struct xen_grant_entry *
entry(unsigned id, uint32_t ref)
{
	return &tables[id].frame[ref / PV_FRAME_GRANTS][ref % PV_FRAME_GRANTS];
}

/* It has memory that nobody uses; or some of it is another's still, and so is not its. */
static void
begin(unsigned id)
{
	unsigned budget = ~0u, m = first_of(id);

	memset(&grants[id], 0, sizeof(grants[id]));
	memset(&types[id], 0, sizeof(types[id]));
	types[id] = (struct pv_types){ .owner = (uint16_t)id, .flush = &flush };
	grants[id] = (struct pv_grants){ .owner = (uint16_t)id,
					 .name = id == 1 ? 0 : (uint16_t)id,
					 .types = &types[id],
					 .table = &tables[id],
					 .free_handle = PV_NO_HANDLE };
	for (unsigned n = 0; n < OWN; n++)
		if (frame[m + n].type != FRAME_GUEST) {
			frame[m + n] = (struct frame){ .refs = 1,
						       .owner = (uint16_t)id,
						       .type = FRAME_GUEST };
			memset(mfn_ptr(mfn(m + n)), (int)(m + n), PAGE_SIZE);
		}
	memset(slot(id, 0), 0, PAGE_SIZE);
	for (unsigned n = 0; n < 2; n++)
		memset((void *)tables[id].frame[n], 0, PAGE_SIZE);
	if (pv_type_get(&types[id], mfn(m), PV_L1, &budget))
		bail_out("no table");
	frame[m].pinned = 1;
	pv_grants_of[id] = &grants[id];
}

/* As Zeno ends a domain; what somebody uses stays. Its frames that are not free then. */
static unsigned
end(unsigned id)
{
	unsigned budget = ~0u, m = first_of(id), left = 0;

	for (unsigned n = 0; n < OWN; n++)
		if (frame[m + n].pinned && frame[m + n].owner == id) {
			frame[m + n].pinned = 0;
			pv_type_put(&types[id], mfn(m + n));
			pv_type_settle(&types[id], &budget);
		}
	pv_grants_unmap_all(&grants[id]);
	pv_grants_orphan(&grants[id]);
	for (unsigned n = 0; n < OWN; n++)
		if (frame[m + n].owner == id) {
			left += frame[m + n].refs != 1 || frame[m + n].type_refs ||
				frame[m + n].page_type;
			frame_put(mfn(m + n));
		}
	pv_grants_of[id] = NULL;
	for (unsigned n = 0; n < PV_GRANT_FRAMES; n++)
		host_page_put(grants[id].active[n]);
	for (unsigned n = 0; n < PV_HANDLE_FRAMES; n++)
		host_page_put(grants[id].handle[n]);
	return left;
}

static unsigned
differences(void)
{
	const struct pv_types *all[DOMS + 1];
	struct audit_report report = { 0 };
	struct frame before[FRAMES];
	unsigned count = 0;

	memcpy(before, frame, sizeof(frame));
	for (unsigned id = 1; id <= DOMS; id++)
		if (pv_grants_of[id])
			all[count++] = &types[id];
	all[count] = NULL;
	pv_grants_recount(all, &report);
	for (unsigned id = 1; id <= DOMS; id++)
		if (pv_grants_of[id])
			pv_grants_count(&grants[id], -1u);
	for (unsigned n = 0; n < count; n++)
		pv_recount(all[n], NULL, 0, all, &report);
	for (unsigned id = 1; id <= DOMS; id++)
		if (pv_grants_of[id])
			pv_grants_count(&grants[id], 1);
	if (memcmp(before, frame, sizeof(frame)))
		bail_out("the auditors have changed something");
	return report.found;
}

static void
four_domains(void)
{
	if (mmap((void *)DIRECT_MAP, FRAMES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		bail_out("no memory");
	for (unsigned m = 0; m < FRAMES; m++)
		frame[m].type = FRAME_FREE;
	for (unsigned id = 1; id <= DOMS; id++) {
		tables[id].frames = 2;
		for (unsigned n = 0; n < 2; n++)
			tables[id].frame[n] = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		begin(id);
	}
}
