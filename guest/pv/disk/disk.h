/*
 * The disk's guest: what its files share.
 */
#pragma once

#include <guest/pv/drivers/blkfront.h>

extern struct xenbus bus;
extern struct refs refs;
extern struct blkfront disk;
extern struct xen_blkif_page ring_page;

void harm(void);  /* hostile.c */
void bench(void); /* bench.c */
