/*
 * The disk's guest: what its files share.
 */
#pragma once

#include <guest/pv/drivers/blkfront.h>

extern struct xenbus bus;
extern struct refs refs;
extern struct blkfront disk;
extern struct xen_blkif_page ring_page;

void harm(void); /* hostile.c */
bool back_becomes(enum xen_xenbus_state state);
void show(enum xen_xenbus_state state);
void rings(void);                              /* rings.c */
void bench(void);                              /* bench.c */
void write_log(unsigned each, unsigned lives); /* log.c */
