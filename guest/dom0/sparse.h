/*
 * Files of dom0's that take memory as they are written: what nobody has written is zeros. They are
 * there until dom0 ends, or removes them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <inc/xen_block.h>

#define SPARSE_MAX (1ul << 30) /* bytes of one */

struct sparse {
	char name[64]; /* empty: there is none */
	uint64_t size; /* bytes, a multiple of 512 */
	uint64_t pages;
	void ***leaf; /* tables of 512 pages, where one is written: one page of pointers to them */
};

bool sparse_is_used(const struct sparse *s); /* as a disk: vbds.c */

/* NULL, or why not. */
const char *sparse_make(const char *name, uint64_t size);
const char *sparse_remove(const char *name);
struct sparse *sparse_find(const char *name); /* NULL: there is none of this name */
struct sparse *sparse_next(struct sparse *s); /* the first: NULL; NULL: no more */
uint32_t sparse_crc(const struct sparse *s);

/* What a request of a disk that is such a file comes to: blksparse.c. */
struct vbd;
enum xen_blkif_rsp sparse_serve(const struct vbd *v, const struct xen_blkif_request *r);

/* The page of a byte of the file's, or one of zeros. NULL: it is to be written, without memory. */
uint8_t *sparse_page(struct sparse *s, uint64_t at, bool write);
/*
 * These bytes are zeros again, and whole pages of them nobody's: in so many steps, no more than
 * there were pages and may be leaves.
 */
uint64_t sparse_discard(struct sparse *s, uint64_t at, uint64_t len);
