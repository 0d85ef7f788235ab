/*
 * Pages for another Zeno's dom0 on the same Ethernet, which keeps them until they are all there.
 *
 *   who sends                        who takes
 *   OPEN   so many pages, at most    makes room, or refuses
 *   DATA   a quarter of a page ...   keeps it at the page's place, also one that comes again
 *   DONE   that was all              does with them what they are for: it refuses, or is ready
 *   RUN    it is yours               begins
 *
 * Up to the answer to DONE all is the sender's: whatever is lost, late, or refused, it has lost
 * nothing. From that answer on it is the other's, who does nothing yet, for the answer may be lost;
 * RUN says that the sender will never do anything with it. What it has it throws away when RUN is
 * answered. So there are never two who use it, and if a word is lost for good there is one, or two
 * who stand still, until somebody looks at both.
 *
 * Each frame has a number, and is taken if it is the next one; each that comes is answered with the
 * number that is wanted next, and the sender goes back to there when nothing has come for a while.
 * Sums find what was altered by chance. Nobody is kept out who is on that Ethernet and means harm:
 * what comes is checked where it is used, as of any image (image.h). Frames are the sender's own
 * memory until they are answered. Pure: what is sent, and where pages are kept, is its owner's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <guest/pv/drivers/address.h>

#define LINK_TYPE   0x88b5u /* of a frame: IEEE 802's for experiments within one house */
#define LINK_PART   1024u   /* bytes of one frame */
#define LINK_PARTS  4u      /* of a page */
#define LINK_PAGES  96u     /* that are to go, or to be answered */
#define LINK_QUEUE  ((LINK_PAGES + 1) * LINK_PARTS)
#define LINK_AGAIN  20000000ul   /* ns without an answer, behind which it is sent again */
#define LINK_SILENT 5000000000ul /* ... behind which nobody is there */

enum link_state {
	LINK_NONE,
	LINK_OPENS,   /* nothing has come yet */
	LINK_TAKES,   /* pages go, or come */
	LINK_WHOLE,   /* of who takes: all are there, and wait for link_ready() or link_refuse() */
	LINK_READY,   /* they have become what they are for */
	LINK_RUNS,    /* RUN has come, or is answered */
	LINK_REFUSED, /* `text` says why */
	LINK_SILENCE, /* nobody has said anything for LINK_SILENT */
};

/* Little-endian but for its type. */
struct link_frame {
	uint8_t to[MAC_SIZE], from[MAC_SIZE];
	uint8_t type[2];
	uint16_t kind;
	uint32_t magic, session;
	uint32_t number; /* this frame's; in an answer that of the next that is wanted */
	uint32_t crc;    /* of all, with 0 here */
	uint64_t at;     /* a page; of OPEN how many */
	uint32_t part;   /* of the page; in an answer how it is there: enum link_state */
	uint32_t pad;
	uint8_t bytes
		/* of DATA, and of an answer that refuses: a text. All others end here */
		[LINK_PART];
};

struct link {
	enum link_state state;
	bool sends;
	uint8_t mine[MAC_SIZE], peer[MAC_SIZE];
	uint32_t session;
	/* Numbers of frames. Who sends: answered, sent, made. Who takes: the next one is `made`. */
	uint32_t answered, sent, made;
	uint64_t again, silent; /* ns: when it is sent again, and when nobody is there */
	uint64_t pages;         /* of OPEN */
	char text[64];
	struct link_frame *queue; /* LINK_QUEUE of who sends */
	void (*send)(const void *frame, size_t len);
	/*
	 * Of who takes. NULL, or why there is no room for so many pages; and where a page is kept,
	 * or NULL.
	 */
	const char *(*make)(uint64_t pages);
	uint8_t *(*page)(uint64_t at);
};

/* Begins, with what is its owner's set above: to send so many pages at most, or to take some. */
void link_open(struct link *l, uint32_t session, uint64_t pages, uint64_t now);
void link_listen(struct link *l, uint64_t now);

/* Of who sends: pages that have room; a page, DONE behind the last one, RUN behind LINK_READY. */
unsigned link_room(const struct link *l);
void link_put(struct link *l, uint64_t at, const void *page);
void link_done(struct link *l);
void link_run(struct link *l);

/* Of who takes, once it is LINK_WHOLE. */
void link_ready(struct link *l);
void link_refuse(struct link *l, const char *text);

/* A frame has come in, any one: whether it was for this. */
bool link_hears(struct link *l, const void *frame, size_t len, uint64_t now);
/* In each round; and when the next one is due, ns, 0: whenever something comes. */
void link_serve(struct link *l, uint64_t now);
uint64_t link_until(const struct link *l);
