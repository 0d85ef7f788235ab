/*
 * From guest frames to the machine's (p2m.c).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <inc/addr.h>
#include <vmm/domain.h>

/* P2M_ONES: a frame that is read only: ones, of all domains; ROM; RAM that PAM protects. */
enum p2m_type { P2M_NONE, P2M_RAM, P2M_MMIO, P2M_LOGDIRTY, P2M_FOREIGN, P2M_BALLOONED, P2M_ONES };

struct p2m_entry {
	uint32_t mfn;  /* 16 TiB of machine memory */
	uint8_t type;  /* enum p2m_type */
	uint8_t track; /* bit per enum page_track_why (page_track.h) */
	uint16_t pad;
};
_Static_assert(sizeof(struct p2m_entry) == 8, "512 entries make a leaf page");
#define P2M_LEAF_ENTRIES 512
#define P2M_POINTERS     512

int p2m_init(struct domain *d);
void p2m_free(struct domain *d);

/* NULL: beyond the table. */
static inline struct p2m_entry *
p2m_entry(struct domain *d, gfn_t g)
{
	uint64_t leaf = g.v / P2M_LEAF_ENTRIES, i = leaf / P2M_POINTERS, j = leaf % P2M_POINTERS;

	if (i >= P2M_POINTERS || !d->p2m[i] || !d->p2m[i][j])
		return NULL;
	return &d->p2m[i][j][g.v % P2M_LEAF_ENTRIES];
}

int p2m_set(struct domain *d, gfn_t g, mfn_t m, enum p2m_type type);
/*
 * A pointer to guest RAM through the direct map, good for `*len` bytes (cut at the frame's end), or
 * NULL where there is no RAM. The one way in which the host touches guest memory.
 */
void *gpa_ptr(struct domain *d, gpa_t a, size_t *len);
void *gpa_frame(struct domain *d, gpa_t a, size_t *len, bool write);   /* or ROM, to be read */
int gpa_read(struct domain *d, gpa_t a, void *buf, size_t len);        /* 0 or -EFAULT */
int gpa_write(struct domain *d, gpa_t a, const void *buf, size_t len); /* tells who tracks */
