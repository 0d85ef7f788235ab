/* BUILD: guest/dom0/partition.c */
/*
 * A disk's partitions: of a table that is one, and of first sectors of any bytes none that leaves
 * the disk, or has the table itself in it.
 */
#include <string.h>

#include <guest/dom0/partition.h>

#include "tap.h"

#define DISK 1000u

static uint64_t seed = 3;

static uint32_t
draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % below;
}

/* Of sectors: a number's four bytes may be any. */
static void
entry(uint8_t *sector, unsigned number, uint8_t kind, uint32_t first, uint32_t sectors)
{
	uint8_t *at = sector + 446 + 16 * (number - 1);

	at[4] = kind;
	for (unsigned n = 0; n < 4; n++) {
		at[8 + n] = (uint8_t)(first >> 8 * n);
		at[12 + n] = (uint8_t)(sectors >> 8 * n);
	}
	sector[510] = 0x55;
	sector[511] = 0xaa;
}

static bool
is(const uint8_t *sector, unsigned number, uint64_t want_first, uint64_t want_sectors)
{
	uint64_t first = 0, sectors = 0;
	bool found = partition_find(sector, DISK, number, &first, &sectors);

	return want_sectors ? found && first == want_first && sectors == want_sectors : !found;
}

int
main(void)
{
	uint8_t sector[512] = { 0 };
	unsigned taken = 0, bad = 0;

	ok(is(sector, 1, 0, 0), "no table");
	entry(sector, 1, 0x83, 1, 500);
	entry(sector, 3, 0x07, 501, 499);
	entry(sector, 4, 0x83, 0x01020304, 1);
	ok(is(sector, 1, 1, 500) && is(sector, 2, 0, 0) && is(sector, 3, 501, 499),
	   "two, and one that is none");
	ok(is(sector, 4, 0, 0) && is(sector, 5, 0, 0) && is(sector, 0, 0, 0),
	   "one beyond the disk, and numbers that there are not");
	entry(sector, 3, 0x07, 501, 500);
	entry(sector, 2, 0x07, 999, 0xffffffff);
	ok(is(sector, 3, 0, 0) && is(sector, 2, 0, 0), "those that end beyond the disk");
	sector[511] = 0x55;
	ok(is(sector, 1, 0, 0), "a table without its signature");
	for (unsigned n = 0; n < 100000; n++) {
		uint64_t first = 0, sectors = 0;

		for (unsigned k = 1; k <= 4; k++)
			entry(sector, k, (uint8_t)draw(2), draw(draw(2) ? DISK + 2 : 0xffffffff),
			      draw(draw(2) ? DISK + 2 : 0xffffffff));
		if (!partition_find(sector, DISK, 1 + draw(4), &first, &sectors))
			continue;
		taken++;
		bad += !first || !sectors || first >= DISK || first + sectors > DISK;
	}
	ok(taken > 1000 && !bad, "of any numbers %u are taken, all within the disk", taken);
	return done_testing();
}
