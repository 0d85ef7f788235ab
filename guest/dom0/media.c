/*
 * Disks that are no files of the ramdisk: media.h.
 *
 * The drive reads and writes a buffer of dom0's, and what is another domain's is copied from there
 * and to there by grants: no device is ever told of a frame that is not dom0's. What is to be
 * copied, and how it is refused, is the same as for a file: the buffer is one for that while.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/blkparts.h>
#include <guest/dom0/ide.h>
#include <guest/dom0/partition.h>
#include <guest/dom0/sparse.h>

static struct {
	struct vbd *v;                    /* NULL: nobody wants to know */
	struct xen_blkif_request r, part; /* as it was asked; what the drive does of it now */
	struct blk_parts rest;
	unsigned sectors; /* of the part */
} job;
static bool on_its_way;
static unsigned turn; /* whose the last one was */

/* ---- requests ---- */

/* Between the buffer and the other end's pages. */
static enum xen_blkif_rsp
copy(const struct vbd *v, const struct xen_blkif_request *r, unsigned sectors)
{
	struct vbd window = { .of = v->of,
			      .file = { .bytes = ide_buffer, .size = IDE_BUFFER },
			      .sectors = sectors };
	struct xen_blkif_request there = *r;

	there.sector_number = 0;
	return blkserve(&window, &there);
}

static enum xen_blkif_rsp
why_not(const struct vbd *v, const struct xen_blkif_request *r, unsigned *sectors)
{
	enum xen_blkif_rsp status;

	*sectors = 0;
	if (r->operation == XEN_BLKIF_OP_DISCARD) {
		if (!v->medium.sparse)
			return XEN_BLKIF_RSP_EOPNOTSUPP;
		return v->disk.readonly ? XEN_BLKIF_RSP_ERROR : XEN_BLKIF_RSP_OKAY;
	}
	status = blk_may(v, r);
	if (status != XEN_BLKIF_RSP_OKAY || r->operation == XEN_BLKIF_OP_FLUSH_DISKCACHE)
		return status;
	*sectors = (unsigned)blk_sectors(v, r);
	return r->operation == XEN_BLKIF_OP_WRITE && !v->medium.sparse ? copy(v, r, *sectors)
								       : XEN_BLKIF_RSP_OKAY;
}

bool
medium_busy(const struct vbd *v)
{
	return on_its_way && !v->medium.sparse;
}

/* The drive has the next part; false: there is none, or it can't be done, as *status says. */
static bool
begin_part(enum xen_blkif_rsp *status)
{
	const struct medium *m = &job.v->medium;

	*status = XEN_BLKIF_RSP_OKAY;
	if (!blk_part(&job.rest, &job.part))
		return false;
	*status = why_not(job.v, &job.part, &job.sectors);
	if (*status != XEN_BLKIF_RSP_OKAY)
		return false;
	on_its_way = true;
	ide_begin(m->drive,
		  job.part.operation == XEN_BLKIF_OP_READ    ? IDE_READ
		  : job.part.operation == XEN_BLKIF_OP_WRITE ? IDE_WRITE
							     : IDE_FLUSH,
		  m->first + job.part.sector_number, job.sectors);
	return true;
}

static enum xen_blkif_rsp
serve_sparse(const struct vbd *v, const struct xen_blkif_request *r)
{
	unsigned sectors;
	enum xen_blkif_rsp status = why_not(v, r, &sectors);

	return status == XEN_BLKIF_RSP_OKAY ? sparse_serve(v, r) : status;
}

void
medium_begin(struct vbd *v, const struct xen_blkif_request *r)
{
	enum xen_blkif_rsp status = XEN_BLKIF_RSP_ERROR;

	if (v->medium.sparse) {
		blkback_answer(v, r, blk_serve_parts(v, r, serve_sparse));
		return;
	}
	job.v = v;
	job.r = *r;
	turn = (unsigned)(v - vbds);
	if (!blk_divide(&job.rest, v, r) || !begin_part(&status))
		blkback_answer(v, r, status);
}

static void
is_done(bool good)
{
	enum xen_blkif_rsp status = good ? XEN_BLKIF_RSP_OKAY : XEN_BLKIF_RSP_ERROR;

	on_its_way = false;
	if (!job.v)
		return;
	if (good && job.part.operation == XEN_BLKIF_OP_READ)
		status = copy(job.v, &job.part, job.sectors);
	if (status != XEN_BLKIF_RSP_OKAY || !begin_part(&status))
		blkback_answer(job.v, &job.r, status);
}

bool
media_serve(void)
{
	enum ide_state state = ide_look();

	if (state != IDE_GOOD && state != IDE_BAD)
		return false;
	is_done(state == IDE_GOOD);
	for (unsigned n = 1; n <= VBDS && !on_its_way; n++) { /* whoever has waited longest */
		struct vbd *v = &vbds[(turn + n) % VBDS];

		if (v->of && v->medium.there && !v->medium.sparse)
			blkback_serve(v);
	}
	return true;
}

void
medium_forget(const struct vbd *v)
{
	if (job.v == v)
		job.v = NULL;
}

/* ---- which there are ---- */

/* For dom0 itself, and into the buffer, for nobody else is at it then. */
static bool
do_now(unsigned drive, enum ide_op op, uint64_t sector, unsigned sectors)
{
	while (on_its_way)
		is_done(ide_wait() == IDE_GOOD);
	ide_begin(drive, op, sector, sectors);
	return ide_wait() == IDE_GOOD;
}

static bool
move_sparse(struct sparse *s, enum ide_op op, uint64_t sector, uint8_t *bytes, unsigned sectors)
{
	for (; sectors--; sector++, bytes += IDE_SECTOR) {
		uint64_t at = sector * IDE_SECTOR;
		uint8_t *page = sparse_page(s, at, op == IDE_WRITE);

		if (!page)
			return false;
		page += at % 4096;
		memcpy(op == IDE_WRITE ? page : bytes, op == IDE_WRITE ? bytes : page, IDE_SECTOR);
	}
	return true;
}

bool
medium_move(const struct medium *m, enum ide_op op, uint64_t sector, void *bytes, unsigned sectors)
{
	bool good;

	if (sector + sectors > m->sectors)
		return false;
	if (m->sparse)
		return move_sparse(m->sparse, op, sector, bytes, sectors);
	while (on_its_way)
		is_done(ide_wait() == IDE_GOOD);
	if (op == IDE_WRITE)
		memcpy(ide_buffer, bytes, sectors * IDE_SECTOR);
	good = do_now(m->drive, op, m->first + sector, sectors);
	if (good && op == IDE_READ)
		memcpy(bytes, ide_buffer, sectors * IDE_SECTOR);
	return good;
}

const char *
medium_find(const char *name, struct medium *m)
{
	unsigned number = name[0] && name[1] && name[2] && name[3] ? (unsigned)(name[3] - '0') : 0;
	unsigned drive = name[0] && name[1] ? (unsigned)(name[2] - 'a') : IDE_DRIVES;

	if (name[0] != 'h' || name[1] != 'd' || drive >= IDE_DRIVES || number > 9 ||
	    (name[3] && (!number || name[4])))
		return "a device is hda or hdb, or a part of one: hda1";
	*m = (struct medium){ .there = true, .drive = drive, .sectors = ide_sectors(drive) };
	if (!m->sectors)
		return "dom0 has no such drive";
	if (!number)
		return NULL;
	if (!do_now(drive, IDE_READ, 0, 1))
		return "its drive can't be read";
	return partition_find(ide_buffer, m->sectors, number, &m->first, &m->sectors)
		       ? NULL
		       : "its drive has no such partition";
}

void
media_list(void)
{
	static const char *const names[] = { "hda", "hda1", "hda2", "hda3", "hda4",
					     "hdb", "hdb1", "hdb2", "hdb3", "hdb4" };
	struct medium m;

	say("Name     First   Sectors\n");
	for (unsigned n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		if (!medium_find(names[n], &m))
			say("%-5s %8lu %9lu\n", names[n], m.first, m.sectors);
}
