/*
 * A driver domain: a domain that has a device of the machine's, and serves disks to others from it,
 * as dom0 does (guest/dom0/blkback.h: the same back end, from the same sources). What dom0 asks of
 * the store that it keeps itself, this one asks by its ring.
 *
 * dom0 says in the store who is to have which disk, and this domain has no more power than that:
 * it sees what front ends grant, and has the device's ports and line. It masters no bus.
 */
#pragma once

#include <guest/dom0/blkback.h>
#include <guest/pv/drivers/xenbus.h>

#define BACK "backend/vbd" /* from its own place in the store on */

extern struct xenbus bus;
extern bool disks_changed; /* something is another below BACK */

/* store.c. It has waited for an answer: events of others may have come, and gone. */
extern bool store_waited;
/* The names in a directory, each with a NUL; where they end: at `to`, if they can't be had. */
const char *daemon_list(const char *path, char *to, size_t size);

/* disks.c: those that are there now are served, those that are not any more are let go of. */
void disks_look(void);
bool disks_serve(void);

/* harm.c: what a driver domain must not be able to do: `harm`, `die=N`. */
void harm(void);
void harm_writes(void); /* it writes into the store: the N-th time is its end */
