/*
 * A domain that has a disk: it writes what it has drawn, several requests at a time, and reads it
 * back; of what it then reads of the whole disk it says the CRC. `cat`: the text that the disk
 * begins with. `times=N`: it goes on until it has been connected so often, and says "ready> " each
 * time, to who has its console. `turn=N`: stretches of N sectors at both ends change places.
 * `log=N`: log.c. `flushes`: its back end has a cache.
 */
#include <guest/pv/disk/disk.h>
#include <guest/pv/drivers/crc.h>
#include <guest/pv/drivers/tell.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/text.h>

int guest_main(const struct xen_start_info *info);
void pv_return(void *to, uint64_t rsp) __attribute__((noreturn));

#define STACK 16384u
static uint8_t stack[STACK] __attribute__((aligned(16)));

struct xenbus bus;
struct refs refs;
struct blkfront disk;
struct xen_blkif_page ring_page __attribute__((aligned(4096)));

/* ---- what it says ---- */

/* The whole of it, as it is read. */
static void
tell_crc(void)
{
	static uint8_t buffer[BLK_SECTORS * XEN_BLKIF_SECTOR] __attribute__((aligned(4096)));
	uint32_t crc = 0;

	for (uint64_t at = 0; at < disk.sectors;) {
		unsigned count = disk.sectors - at < BLK_SECTORS ? (unsigned)(disk.sectors - at)
								 : BLK_SECTORS;
		int err = blk_do(&disk, XEN_BLKIF_OP_READ, at, buffer, count);

		check(!err, "it is read", (uint64_t)-err);
		crc = crc32(crc, buffer, count * XEN_BLKIF_SECTOR);
		at += count;
	}
	pv_printf("vbd %lu: crc32 %x\n", disk.vdev, crc);
}

static void
cat(void)
{
	static uint8_t sector[XEN_BLKIF_SECTOR + 1] __attribute__((aligned(1024)));

	check(!blk_do(&disk, XEN_BLKIF_OP_READ, 0, sector, 1), "it is read", 0);
	for (char *line = (char *)sector; *line;) {
		char *end = line;

		while (*end && *end != '\n')
			end++;
		pv_printf("%s", (*end ? (*end = 0, line) : line));
		pv_print("\n");
		line = end + 1;
		if (line >= (char *)sector + XEN_BLKIF_SECTOR)
			break;
	}
}

/* ---- what it does ---- */

/* It writes, and remembers: at most so many sectors of the disk. */
#define SECTORS 512u
#define FLIGHT  8u
static uint8_t kept[SECTORS * XEN_BLKIF_SECTOR];
static uint8_t buffers[FLIGHT][BLK_SECTORS * XEN_BLKIF_SECTOR] __attribute__((aligned(4096)));

/* One of several that are asked together, none over another: a stretch of the disk is its own. */
static int
ask_one(unsigned n, uint64_t share, bool write, uint64_t *sector, unsigned *count, uint8_t **at)
{
	int request;

	*count = 1 + (unsigned)draw(share < BLK_SECTORS - 8 ? share : BLK_SECTORS - 8);
	*sector = n * share + draw(share - *count + 1);
	*at = buffers[n] + draw(8) * XEN_BLKIF_SECTOR;
	for (unsigned k = 0; write && k < *count * XEN_BLKIF_SECTOR; k++)
		(*at)[k] = (uint8_t)draw(256);
	if (write)
		memcpy(kept + *sector * XEN_BLKIF_SECTOR, *at, *count * XEN_BLKIF_SECTOR);
	request = blk_ask(&disk, write ? XEN_BLKIF_OP_WRITE : XEN_BLKIF_OP_READ, *sector, *at,
			  *count);
	check(request >= 0, "it is asked", (uint64_t)-request);
	return request;
}

static void
several(uint64_t all, bool write)
{
	unsigned flights = all < FLIGHT ? (unsigned)all : FLIGHT;
	uint64_t sector[FLIGHT];
	unsigned count[FLIGHT];
	uint8_t *at[FLIGHT];
	int request[FLIGHT];

	for (unsigned n = 0; n < flights; n++)
		request[n] = ask_one(n, all / flights, write, &sector[n], &count[n], &at[n]);
	for (unsigned n = 0; n < flights; n++) {
		int err = request[n] < 0 ? -EIO : blk_wait(&disk, request[n]);

		check(!err, "it is answered", (uint64_t)-err);
		if (!write)
			for (unsigned k = 0; k < count[n] * XEN_BLKIF_SECTOR; k++)
				if (at[n][k] != kept[sector[n] * XEN_BLKIF_SECTOR + k]) {
					check(false, "what is read was written", sector[n]);
					break;
				}
	}
}

static void
write_and_read(unsigned rounds)
{
	uint64_t all = disk.sectors < SECTORS ? disk.sectors : SECTORS;

	for (uint64_t at = 0; at < all; at += 64) {
		unsigned count = all - at < 64 ? (unsigned)(all - at) : 64;

		check(!blk_do(&disk, XEN_BLKIF_OP_READ, at, buffers[0], count), "it is read", at);
		memcpy(kept + at * XEN_BLKIF_SECTOR, buffers[0], count * XEN_BLKIF_SECTOR);
	}
	for (unsigned n = 0; n < rounds; n++) {
		several(all, !disk.readonly && draw(2));
		if (disk.can_flush)
			check(!blk_do(&disk, XEN_BLKIF_OP_FLUSH_DISKCACHE, 0, NULL, 0), "flush", n);
	}
}

/* What can't be done is answered, and no more. */
static void
refused(void)
{
	uint8_t *at = buffers[0];
	int err;

	err = blk_do(&disk, XEN_BLKIF_OP_READ, disk.sectors - 1, at, 2);
	check(err == -EIO, "beyond its end", (uint64_t)-err);
	err = blk_do(&disk, XEN_BLKIF_OP_READ, ~0ul, at, 2);
	check(err == -EIO, "beyond all ends", (uint64_t)-err);
	err = blk_do(&disk, 77, 0, at, 1);
	check(err == -EOPNOTSUPP, "no such operation", (uint64_t)-err);
	err = blk_do(&disk, XEN_BLKIF_OP_READ, 0, at, 0);
	check(err == -EIO, "nothing", (uint64_t)-err);
	err = blk_do(&disk, XEN_BLKIF_OP_WRITE, 0, at, 1);
	check(err == (disk.readonly ? -EIO : 0), "to write", (uint64_t)-err);
	err = blk_do(&disk, XEN_BLKIF_OP_READ, 0, at + 1, 1);
	check(err == -EINVAL, "to any place", (uint64_t)-err);
}

/* Back ends come and go; nothing that it asks is lost. */
static void
outlive(unsigned times)
{
	unsigned said = 0;
	uint64_t n;

	for (n = 0; said < times; n++) {
		int err = blk_do(&disk, n & 1 ? XEN_BLKIF_OP_READ : XEN_BLKIF_OP_WRITE, n % 8,
				 buffers[0], 8);

		check(!err, "it is done, by one or another", (uint64_t)-err);
		if (said < disk.times && disk.mine == XEN_XENBUS_Connected) {
			said = disk.times;
			tell("ready> ");
		}
	}
	pv_printf("vbd %lu: %u back ends, all is answered\n", disk.vdev, said);
}

/* From both ends to the middle: two are read at a time, and then two are written. */
static void
turn(unsigned step)
{
	for (uint64_t low = 0, high = disk.sectors; low + 2 * step <= high;
	     low += step, high -= step) {
		uint64_t at[2] = { low, high - step };
		int request[2];

		for (unsigned op = 0; op < 2; op++) {
			for (unsigned n = 0; n < 2; n++)
				request[n] =
					blk_ask(&disk, op ? XEN_BLKIF_OP_WRITE : XEN_BLKIF_OP_READ,
						at[n ^ op], buffers[n] + 1024, step);
			for (unsigned n = 2; n--;)
				check(request[n] >= 0 && !blk_wait(&disk, request[n]), "turned",
				      low);
		}
	}
}

static void
use(void)
{
	unsigned step = pv_number("turn=");

	if (step && step <= BLK_SECTORS - 8)
		turn(step);
	if (has_word("flushes"))
		check(disk.can_flush, "it flushes", 0);
	if (has_word("cat"))
		cat();
	if (has_word("bench"))
		bench();
	if (pv_number("log="))
		write_log(pv_number("log="), pv_number("lives="));
	if (pv_number("times="))
		outlive(pv_number("times="));
	if (pv_number("rounds=") && !wrong) {
		write_and_read(pv_number("rounds="));
		refused();
		tell_crc();
	}
}

static void
begin(void)
{
	int err;

	for (unsigned n = pv_number("seed="); n; n--)
		draw(2);
	check(!pv_grants_init(), "a grant table", 0);
	check(xenbus_begin(&bus), "a store", 0);
	refs_begin(&refs);
	err = blk_begin(&disk, &bus, &refs, &ring_page, NULL);
	if (!err && (has_word("harm=") || has_word("die=")))
		harm();
	if (!err)
		err = blk_connect(&disk);
	if (err) {
		pv_printf("no disk: error %d\n", -err);
		pv_exit(1);
	}
	pv_printf("vbd %lu: 4/4, %lu sectors, %s\n", disk.vdev, disk.sectors,
		  disk.readonly ? "to read" : "to read and write");
	use();
	blk_end(&disk);
	check(refs.free == PV_GRANTS - REFS_FIRST, "all grants have come back", refs.free);
	pv_printf("%u wrong; the end\n", wrong);
	pv_exit(wrong != 0);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_events_init();
	pv_return(begin, (uint64_t)stack + STACK - 8);
}
