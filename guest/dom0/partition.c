/*
 * The partition table of PCs: 16 bytes for each at 446, and 55 aa behind them. Whoever wrote the
 * disk is not trusted.
 */
#include <guest/dom0/partition.h>

#define TABLE     446u
#define ENTRY     16u
#define KIND      4u /* 0: it is none */
#define FIRST     8u /* and how many: four bytes each, the lowest first */
#define SECTORS   12u
#define SIGNATURE 510u

static uint32_t
number_at(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

bool
partition_find(const uint8_t *sector, uint64_t disk, unsigned number, uint64_t *first,
	       uint64_t *sectors)
{
	const uint8_t *entry = sector + TABLE + ENTRY * (number - 1);

	if (sector[SIGNATURE] != 0x55 || sector[SIGNATURE + 1] != 0xaa || number - 1 >= PARTITIONS)
		return false;
	*first = number_at(entry + FIRST);
	*sectors = number_at(entry + SECTORS);
	return entry[KIND] && *first && *sectors && *first < disk && *sectors <= disk - *first;
}
