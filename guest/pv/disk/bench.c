/*
 * What a sector costs, in instructions of all who have to do with it: under QEMU's -icount the time
 * stamp counter counts them, and the CPU is never idle meanwhile. Minimum, median and maximum of
 * so many; and how often each end was rung for a hundred requests.
 */
#include <guest/pv/disk/disk.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/samples.h>

#define RUNS   100
#define FLIGHT 16u
#define PAGE   4096u

static uint8_t pages[FLIGHT][PAGE] __attribute__((aligned(4096)));
static uint64_t samples[RUNS];

static void
ask_all(enum xen_blkif_op op, unsigned flight, unsigned sectors)
{
	int request[FLIGHT];

	for (unsigned n = 0; n < flight; n++)
		request[n] = blk_ask(&disk, op, n * 8, pages[n], sectors);
	for (unsigned n = 0; n < flight; n++)
		check(!blk_wait(&disk, request[n]), "it is done", n);
}

static void
row(const char *name, enum xen_blkif_op op, unsigned flight, unsigned sectors)
{
	uint64_t sent = disk.sent, came = disk.rung;

	for (unsigned n = 0; n < RUNS; n++) {
		uint64_t from = now();

		ask_all(op, flight, sectors);
		sample(samples, n, (now() - from) / flight);
	}
	pv_printf("%s: %lu %lu %lu\n", name, samples[0], samples[RUNS / 2], samples[RUNS - 1]);
	pv_printf("%s, events of 100: %lu out, %lu in\n", name,
		  (disk.sent - sent) * 100 / (RUNS * flight),
		  (disk.rung - came) * 100 / (RUNS * flight));
}

void
bench(void)
{
	row("block read of 4 KiB", XEN_BLKIF_OP_READ, 1, 8);
	row("block write of 4 KiB", XEN_BLKIF_OP_WRITE, 1, 8);
	row("... 16 in flight, read, each", XEN_BLKIF_OP_READ, FLIGHT, 8);
	row("... 16 in flight, write, each", XEN_BLKIF_OP_WRITE, FLIGHT, 8);
	row("block flush", XEN_BLKIF_OP_FLUSH_DISKCACHE, 1, 0);
}
