/*
 * Writes of which each has a number, larger than those before, several at a time. A number that is
 * acknowledged is said, with where it was written. `log=K`: behind K of them it says "now> " to who
 * has its console, and goes on until another back end is there; with the `lives=`-th it ends.
 *
 * No two that are on their way at a time go to the same sectors: so what a sector holds at the end
 * is the last number that was acknowledged there, or a later one.
 */
#include <guest/pv/disk/disk.h>
#include <guest/pv/drivers/tell.h>
#include <guest/pv/lib/check.h>

#define FLIGHT 8u
#define MOST   12u /* sectors of one */

static struct written {
	int request;
	unsigned count;
	uint64_t number, sector;
} flight[FLIGHT];
static uint64_t buffers[FLIGHT][MOST * XEN_BLKIF_SECTOR / 8] __attribute__((aligned(4096)));

static void
write_one(unsigned n, uint64_t number)
{
	uint64_t share = disk.sectors / FLIGHT;
	struct written *w = &flight[n];

	w->number = number;
	w->count = 1 + (unsigned)draw(MOST);
	w->sector = n * share + draw(share - w->count + 1);
	for (unsigned k = 0; k < w->count * XEN_BLKIF_SECTOR / 8; k++)
		buffers[n][k] = number;
	w->request = blk_ask(&disk, XEN_BLKIF_OP_WRITE, w->sector, buffers[n], w->count);
	check(w->request >= 0, "it is asked", (uint64_t)-w->request);
	blk_push(&disk);
}

static void
acknowledged(unsigned n)
{
	const struct written *w = &flight[n];
	int err = w->request < 0 ? -EIO : blk_wait(&disk, w->request);

	check(!err, "it is answered", (uint64_t)-err);
	if (!err)
		pv_printf("ack %lu at %lu, %u\n", w->number, w->sector, w->count);
}

void
write_log(unsigned each, unsigned lives)
{
	unsigned times = disk.times, since = 0;

	for (uint64_t n = 0; !wrong && (times < lives || since < each); n++) {
		if (n >= FLIGHT) {
			acknowledged(n % FLIGHT);
			since++;
		}
		write_one(n % FLIGHT, n + 1);
		if (times != disk.times) {
			times = disk.times;
			since = 0;
			pv_printf("back end %u, from domain %lu\n", times, disk.peer);
		}
		if (since == each && times < lives)
			tell("now> ");
	}
	for (unsigned n = 0; n < FLIGHT; n++)
		blk_wait(&disk, flight[n].request);
}
