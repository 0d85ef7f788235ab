/*
 * Which entries of its grant table (lib/grants.h) a guest has given away, and which are free.
 */
#pragma once

#include <guest/pv/lib/grants.h>

#define REFS_FIRST 8u /* those below are the builder's, by Xen's GNTTAB_NR_RESERVED_ENTRIES */

struct refs {
	uint16_t next[PV_GRANTS]; /* behind each free one; 0: none */
	uint16_t first;
	unsigned free;
};

/* With a table that is there: pv_grants_init(). */
void refs_begin(struct refs *r);
/* The domain may use that page of its own from now on; 0: no entry is free. */
uint32_t refs_grant(struct refs *r, uint16_t domain, const void *va, bool readonly);
/* Another domain may in place of whoever could; false: that one still does. */
bool refs_move(struct refs *r, uint32_t ref, uint16_t domain);
/* Nobody may any more; false: somebody still does, and the entry stays. */
bool refs_end(struct refs *r, uint32_t ref);
