/*
 * A domain that goes to another Zeno, or comes from there: what save.c, restore.c and stream.c need
 * of migrate.c.
 */
#pragma once

#include <guest/dom0/link.h>

/* Of who has it: an image of so many pages, at most, is to go there, a page at its place. */
void migrate_begin(uint64_t pages);
bool migrate_room(void); /* for one more, and the tables behind it */
void migrate_put(uint64_t at, const void *page);
void migrate_done(void);   /* that was all */
void migrate_let_go(void); /* it is no more here */
void migrate_over(void);   /* nothing more is sent */
/* A round; and `text` says why, where it is LINK_REFUSED or LINK_SILENCE. */
enum link_state migrate_state(const char **text);

/*
 * Of who gets it: in each round; and what has become of the image: NULL: the domain stands still.
 */
void receive_step(void);
void migrate_ready(const char *wrong);

uint64_t migrate_until(void); /* when there is something to do: ns; 0: when something comes */
