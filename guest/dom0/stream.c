/*
 * Streams of pages: stream.h.
 */
#include <guest/dom0/dom0.h>
#include <guest/dom0/migrate.h>
#include <guest/dom0/sparse.h>
#include <guest/dom0/stream.h>
#include <guest/pv/drivers/crc.h>

#define PAGE    4096u
#define SECTORS (PAGE / XEN_BLKIF_SECTOR)

static uint8_t room[STREAM_ROOM][PAGE]; /* there is one stream at a time */

static const char *
prefixed(const char *name)
{
	static const char phy[] = "phy:";

	return memcmp(name, phy, sizeof(phy) - 1) ? NULL : name + sizeof(phy) - 1;
}

const char *
stream_open(struct stream *s, const char *name, bool writes, uint64_t pages)
{
	struct disk d = { .readonly = !writes, .device = prefixed(name) };
	const char *target = d.device ? prefixed(name) : name, *wrong = NULL;

	*s = (struct stream){ .writes = writes };
	if (strlen(target) >= sizeof(d.target))
		return "the name is too long";
	snprintf(d.target, sizeof(d.target), "%s", target);
	if (writes && !d.device)
		wrong = sparse_make(target, pages * PAGE);
	if (!wrong)
		wrong = vbd_medium(&d, &s->m);
	return wrong;
}

void
stream_open_away(struct stream *s, uint64_t pages)
{
	*s = (struct stream){ .writes = true, .away = true, .m = { .sectors = pages * SECTORS } };
}

uint64_t
stream_bytes(const struct stream *s)
{
	return s->m.sectors * XEN_BLKIF_SECTOR;
}

static bool
move(struct stream *s, unsigned pages)
{
	bool good = medium_move(&s->m, s->writes ? IDE_WRITE : IDE_READ, s->at * SECTORS, room,
				pages * SECTORS);

	s->at += pages;
	return good;
}

static bool
empty(struct stream *s)
{
	bool good = !s->writes || !s->held || move(s, s->held);

	s->held = s->next = 0;
	return good;
}

bool
stream_seek(struct stream *s, uint64_t page)
{
	bool good = empty(s);

	s->at = page;
	s->crc = 0;
	return good;
}

bool
stream_put(struct stream *s, const void *page)
{
	if ((s->at + s->held + 1) * PAGE > stream_bytes(s))
		return false;
	memcpy(room[s->held], page, PAGE); /* somebody may write to the page still */
	s->crc = crc32(s->crc, room[s->held], PAGE);
	if (s->away) {
		migrate_put(s->at++, room[s->held]);
		return true;
	}
	s->held++;
	return s->held < STREAM_ROOM || empty(s);
}

void *
stream_get(struct stream *s)
{
	uint64_t left = stream_bytes(s) / PAGE - s->at;
	void *page;

	if (s->next == s->held) {
		s->held = left < STREAM_ROOM ? (unsigned)left : STREAM_ROOM;
		s->next = 0;
		if (!s->held || !move(s, s->held))
			return NULL;
	}
	page = room[s->next++];
	s->crc = crc32(s->crc, page, PAGE);
	return page;
}

bool
stream_flush(struct stream *s)
{
	return s->away || (empty(s) && medium_move(&s->m, IDE_FLUSH, 0, NULL, 0));
}

void
stream_undo(const struct stream *s)
{
	if (s->writes && s->m.sparse)
		sparse_remove(s->m.sparse->name);
}
