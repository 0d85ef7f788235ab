/*
 * Chance and memory for the tests of dom0's store (store_fuzz.c, store_ring.c).
 */
#pragma once

#include <stdlib.h>

#include <guest/dom0/store_ring.h>
#include "draw.h"

static unsigned alive;   /* pieces of memory */
static unsigned refuses; /* one of so many: there is no more; 0: never */

uint16_t
store_pays(uint16_t domid)
{
	return 0;
}

void *
store_alloc(size_t size)
{
	void *p = refuses && !draw(refuses) ? NULL : malloc(size);

	alive += p != NULL;
	return p;
}

void
store_free(void *p)
{
	alive -= p != NULL;
	free(p);
}

static struct store store;
