/*
 * How much a network card may send: a rate of its own, and its turn beside the others'.
 *
 * The rate is a bucket that fills with bytes as time goes by, up to what comes in SHARE_BURST ns or
 * two frames, whichever is more: a card that has sent nothing for an hour has no hour's worth. The
 * turn is a number of bytes (a deficit round robin), not of frames: who sends small ones gets as
 * much as who sends large ones, and what is left of a turn is not lost while there is more to send.
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SHARE_TURN  8192u     /* bytes, more than the longest frame has */
#define SHARE_BURST 50000000u /* ns */
#define SHARE_FRAME 1514u

struct share {
	uint64_t rate;    /* bytes a second; 0: any */
	uint64_t bytes;   /* in the bucket */
	uint64_t since;   /* ns: up to when it has been filled */
	uint64_t deficit; /* bytes that are left of its turn */
};

void share_begin(struct share *s, uint64_t rate, uint64_t now);
/* It is its turn. */
void share_turn(struct share *s, uint64_t now);
/* A frame of so many bytes may go, and has gone. False: not in this turn. */
bool share_takes(struct share *s, uint64_t len);
/* It has nothing more to send. */
void share_idle(struct share *s);
/* When a frame of this length may go by its rate: ns; 0: at once. */
uint64_t share_until(const struct share *s, uint64_t len);
