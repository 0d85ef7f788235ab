/*
 * What is below a domain's disk, if it is no file of the ramdisk: a drive of the machine's, a part
 * of one, or a sparse file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <guest/dom0/disk.h>
#include <guest/dom0/ide.h>
#include <inc/xen_block.h>

struct vbd;
struct sparse;
struct medium {
	bool there;            /* false: a file is there in place of it */
	struct sparse *sparse; /* in place of a drive; NULL: it is one */
	unsigned drive;
	uint64_t first, sectors;
};

/* "hda", "hdb2": NULL, or why there is none such. May wait for the drive. */
const char *medium_find(const char *name, struct medium *m);
void media_list(void);
bool media_used(void); /* somebody has a drive, or a part of one: vbds.c */
/* For dom0 itself, which waits for it: at most IDE_SECTORS. False: it could not be done. */
bool medium_move(const struct medium *m, enum ide_op op, uint64_t sector, void *bytes,
		 unsigned sectors);

/*
 * Where its medium is not busy, a request of a disk that has one is begun. It is answered by
 * blkback_answer(), which may be at once, or later, in media_serve().
 */
bool medium_busy(const struct vbd *v);
void medium_begin(struct vbd *v, const struct xen_blkif_request *r);
bool media_serve(void); /* whether there was something to do */
/* Whoever asked does not want to know any more. */
void medium_forget(const struct vbd *v);
