/*
 * Pages that go to a file of dom0's, a drive, or another machine, one behind the other, or come
 * from a file or a drive.
 */
#pragma once

#include <guest/dom0/media.h>

#define STREAM_ROOM 8u /* pages that go at once */

struct stream {
	struct medium m;
	bool writes;
	bool away;           /* to another machine (migrate.h): a page that is put has gone */
	uint64_t at;         /* the page that is next on the medium, behind those in the room */
	unsigned held, next; /* pages in the room; of those that were read, the next one */
	uint32_t crc;        /* of all since stream_seek() */
};

/*
 * `name`: a file's, or phy:DEVICE. To write to a file is made, which can take so many pages. NULL,
 * or why not.
 */
const char *stream_open(struct stream *s, const char *name, bool writes, uint64_t pages);
void stream_open_away(struct stream *s, uint64_t pages); /* behind migrate_begin(); to write */
/* From there on, and its sum begins anew. False: what was held could not be written. */
bool stream_seek(struct stream *s, uint64_t page);
bool stream_put(struct stream *s, const void *page);
/* The next page, until the next one is asked for; NULL: it can't be read. */
void *stream_get(struct stream *s);
uint64_t stream_bytes(const struct stream *s); /* of the medium */
bool stream_flush(struct stream *s);
/* What was made for it is not wanted: it is gone. */
void stream_undo(const struct stream *s);
