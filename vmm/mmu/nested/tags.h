/*
 * The numbers that a CPU tags translations with (tags.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* All that a CPU has: 0 to count - 1. */
struct tags {
	uint32_t count, next;
	uint64_t generation;
};

/* A vCPU's; of generation 0: none yet. */
struct tag {
	uint32_t number;
	uint64_t generation;
};

/* A number that is nobody else's. True: all translations must go before the next entry. */
bool tag_take(struct tags *all, struct tag *mine);

static inline bool
tag_holds(const struct tags *all, const struct tag *mine)
{
	return mine->generation == all->generation;
}
