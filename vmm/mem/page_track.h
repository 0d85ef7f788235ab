/*
 * Being told of the guest's writes to a frame, by frame and not by address (page_track.c).
 */
#pragma once

#include <stddef.h>

#include <inc/addr.h>

struct domain;
struct p2m_entry;

/*
 * Why a frame is write-protected: a bit each in p2m_entry.track, an owner each in
 * page_track_owners[].
 */
enum page_track_why { TRACK_GDT, TRACK_LDT, TRACK_PAGE_TABLE, TRACK_CODE, TRACK_LOG, TRACK_WHYS };

/* Write-protects a guest frame in whatever MMU mode runs and calls the owner after each write. */
int page_track(struct domain *d, gfn_t g, enum page_track_why why);
void page_untrack(struct domain *d, gfn_t g, enum page_track_why why);
void page_track_written(struct domain *d, gpa_t a, size_t len);
void page_track_tell(struct domain *d, const struct p2m_entry *e, gpa_t a, size_t len);
struct page_track_owner {
	enum page_track_why why;
	void (*written)(struct domain *d, gpa_t a, size_t len);
};
