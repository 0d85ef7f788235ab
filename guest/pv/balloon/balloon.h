/*
 * A balloon: frames that a domain has given back to the monitor for as long as dom0 wants it to
 * have less (xenstore-paths: memory/target).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Guest frames from `first` on, `count` of them, that nothing maps; of these the last `out` are no
 * frames just now. */
struct balloon {
	uint64_t *mfn; /* of each guest frame: start_info's mfn_list */
	uint64_t first, count, out;
};

/*
 * As many frames as bring the domain to `target` go back, or come. False: not all of them can, for
 * it has no more to give, or the monitor has none just now.
 */
bool balloon_to(struct balloon *b, uint64_t target);

/* store.c: what the driver asks of the store. */
void store_open(void);
/* Its value's length, at most `room` - 1 bytes and a NUL are in `to`; -1: there is none. */
int store_read(const char *path, char *to, unsigned room);
bool store_write(const char *path, const char *value); /* with its NUL; false: it may not */
void store_watch(const char *path);
/* Whether something that is watched may have changed, since it was asked last. */
bool store_fired(void);
void store_wait(uint64_t until); /* for an event of the store's, or that time (0: for ever) */
