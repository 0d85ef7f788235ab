/*
 * A domain stands still, its clock with it, for as long as anybody wants it so: each of those who
 * may is asked for himself, so that nobody lets go what another one has stopped.
 */
#pragma once

#include <stdint.h>

struct domain;

enum pauser {
	PAUSED_HERE = 1, /* who sits at this host */
	PAUSED_BY_DOM0 = 2,
	PAUSED_ITSELF = 4, /* a guest that has suspended */
};

/* For some of them. Both may be asked of one that is so already; not of one that has ended. */
void domain_pause(struct domain *d, uint8_t by);
void domain_resume(struct domain *d, uint8_t by);
