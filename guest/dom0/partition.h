/*
 * A disk's partitions, as its first sector has them: four, of sectors that lie together. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PARTITIONS 4u

/* From 1 on: where it begins, and its sectors. False: there is none, or not within the disk. */
bool partition_find(const uint8_t *sector, uint64_t disk, unsigned number, uint64_t *first,
		    uint64_t *sectors);
