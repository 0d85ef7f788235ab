/*
 * Which domain has which disk, and what the store says of it (backend.h).
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/blkparts.h>
#include <guest/dom0/config.h>
#include <guest/dom0/sparse.h>

struct vbd vbds[VBDS];
static struct vbd *behind = vbds; /* ... the last of those that are somebody's: each round asks */

const char backends_at[] = "/local/domain/0/";

/* The keys that xen-blkfront and GRUB read. */
static void
fill(struct vbd *v)
{
	struct backend *b = &v->back;

	back_begin(b);
	back_put(b, true, "dev", v->disk.name);
	back_put(b, true, "type", v->disk.device ? "phy" : "file");
	back_put(b, true, "params", v->disk.target);
	back_put(b, true, "mode", v->disk.readonly ? "r" : "w");
	back_put(b, true, "device-type", "disk");
	back_put_number(b, true, "sectors", v->sectors);
	back_put_number(b, true, "sector-size", XEN_BLKIF_SECTOR);
	back_put_number(b, true, "info", v->disk.readonly ? XEN_VDISK_READONLY : 0);
	back_put(b, true, "feature-flush-cache", "1");
	back_put_number(b, true, "feature-max-indirect-segments", BLK_MOST);
	if (v->medium.sparse) {
		back_put(b, true, "feature-discard", "1");
		back_put_number(b, true, "discard-granularity", XEN_BLKIF_SECTOR);
	}
	back_offer(b);
	back_put_number(b, false, "virtual-device", b->number);
	back_put(b, false, "device-type", "disk");
	back_wait(b);
}

/* Why this one can't have this disk; NULL: it can, and what is below it is known. */
static const char *
wrong_with(const struct domu *u, struct vbd *new)
{
	const char *wrong = vbd_below(new);

	if (wrong)
		return wrong;
	if (driven_has(u, blkback.type, new->disk.number))
		return "it has a disk of this vdev";
	for (const struct vbd *v = vbds; v < vbds + VBDS; v++) {
		if (!v->of)
			continue;
		if (v->of == u && v->disk.number == new->disk.number)
			return "it has a disk of this vdev";
		if (vbd_is_shared(v, new) && !(v->disk.readonly && new->disk.readonly))
			return "another one has what is there, and one of them writes";
	}
	return NULL;
}

bool
media_used(void)
{
	for (const struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of && v->medium.there && !v->medium.sparse)
			return true;
	return false;
}

bool
sparse_is_used(const struct sparse *s)
{
	for (const struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of && v->medium.sparse == s)
			return true;
	return false;
}

const char *
vbd_wrong(const struct domu *u, const struct disk *d)
{
	struct vbd new = { .disk = *d };

	return *d->backend ? NULL : wrong_with(u, &new);
}

const char *
vbd_medium(const struct disk *d, struct medium *m)
{
	struct vbd new = { .disk = *d };
	const char *wrong = wrong_with(NULL, &new);

	*m = new.medium;
	m->sectors = new.sectors;
	return wrong || m->there ? wrong : "it is a file of the ramdisk";
}

const char *
vbd_attach(struct domu *u, const struct disk *d)
{
	struct vbd new = { .disk = *d,
			   .back = { .of = u,
				     .kind = &blkback,
				     .number = d->number,
				     .look = true,
				     .mine = XEN_XENBUS_Initialising } };
	const char *wrong = *d->backend ? driven_attach(u, d) : wrong_with(u, &new);
	struct vbd *v = vbds;

	if (wrong || *d->backend)
		return wrong;
	while (v < vbds + VBDS && v->of)
		v++;
	if (v == vbds + VBDS)
		return "dom0 has no place for more disks";
	*v = new;
	snprintf(v->back.name, sizeof(v->back.name), "%s", d->name);
	behind = v < behind ? behind : v + 1;
	fill(v);
	return NULL;
}

void
vbd_free(struct vbd *v)
{
	blkback.drop(&v->back);
	back_remove(&v->back);
	while (behind > vbds && !behind[-1].of)
		behind--;
}

/* It is asked to let go of it; when it has, all is removed. */
bool
vbd_detach(const struct domu *u, const char *name)
{
	for (struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of == u && disk_number(name) == v->disk.number) {
			back_leave(&v->back);
			return true;
		}
	return driven_detach(u, blkback.type, disk_number(name));
}

/* ---- a domain's ---- */

/* Those that its file names. */
void
vbds_begin(struct domu *u, const struct config *c)
{
	for (unsigned n = 0; n < c->disks; n++) {
		const char *wrong = vbd_attach(u, &c->disk[n]);

		if (wrong)
			say("%s gets no %s: %s\n", u->name, c->disk[n].name, wrong);
	}
}

bool
vbds_serve(struct domu *u)
{
	bool any = false;

	for (struct vbd *v = vbds; v < behind; v++)
		if (v->of == u)
			any |= blkback_serve(v);
	return driven_serve() || any;
}

void
vbds_end(struct domu *u)
{
	for (struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of == u)
			vbd_free(v);
	backs_remove(&blkback, u);
	driven_end(u);
}

void
vbds_list(const struct domu *u)
{
	say("Vdev  Name  State Mode   Sectors  Requests Events Target\n");
	for (const struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of == u)
			say("%-5u %-5s %5u %-4s %9lu %9lu %6lu %s\n", v->disk.number, v->disk.name,
			    v->back.mine, v->disk.readonly ? "r" : "w", v->sectors, v->asked,
			    v->rung, v->disk.target);
	driven_list(u, blkback.type);
}
