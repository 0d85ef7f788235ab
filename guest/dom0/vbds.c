/*
 * Which domain has which disk, and what the store says of it.
 *
 *   /local/domain/0/backend/vbd/DOMAIN/NUMBER  dom0's: that domain may read it
 *   /local/domain/DOMAIN/device/vbd/NUMBER     that domain's own
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/blkparts.h>
#include <guest/dom0/config.h>
#include <guest/dom0/sparse.h>

struct vbd vbds[VBDS];
static struct vbd *behind = vbds; /* ... the last of those that are somebody's: each round asks */

void
vbd_path(const struct vbd *v, bool back, const char *key, char *path, size_t size)
{
	const char *slash = *key ? "/" : "";

	if (back)
		snprintf(path, size, "/local/domain/0/backend/vbd/%u/%u%s%s", v->of->id,
			 v->disk.number, slash, key);
	else
		snprintf(path, size, "/local/domain/%u/device/vbd/%u%s%s", v->of->id,
			 v->disk.number, slash, key);
}

static void
put(const struct vbd *v, bool back, const char *key, const char *value)
{
	char path[PATH_SIZE];

	vbd_path(v, back, key, path, sizeof(path));
	if (!daemon_write(path, value))
		say("dom0: the store takes no %s\n", path);
}

static void
put_number(const struct vbd *v, bool back, const char *key, uint64_t n)
{
	char number[24];

	snprintf(number, sizeof(number), "%lu", n);
	put(v, back, key, number);
}

/* The keys that xen-blkfront and GRUB read. */
static void
fill(const struct vbd *v)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u", v->of->id);
	daemon_directory(path, 0, v->of->id);
	vbd_path(v, true, "", path, sizeof(path));
	daemon_directory(path, 0, v->of->id);
	vbd_path(v, false, "", path, sizeof(path));
	put(v, true, "frontend", path);
	put_number(v, true, "frontend-id", v->of->id);
	put(v, true, "online", "1");
	put(v, true, "dev", v->disk.name);
	put(v, true, "type", v->disk.device ? "phy" : "file");
	put(v, true, "params", v->disk.target);
	put(v, true, "mode", v->disk.readonly ? "r" : "w");
	put(v, true, "device-type", "disk");
	put_number(v, true, "sectors", v->sectors);
	put_number(v, true, "sector-size", XEN_BLKIF_SECTOR);
	put_number(v, true, "info", v->disk.readonly ? XEN_VDISK_READONLY : 0);
	put(v, true, "feature-flush-cache", "1");
	put_number(v, true, "feature-max-indirect-segments", BLK_MOST);
	if (v->medium.sparse) {
		put(v, true, "feature-discard", "1");
		put_number(v, true, "discard-granularity", XEN_BLKIF_SECTOR);
	}
	put_number(v, true, "state", XEN_XENBUS_Initialising);
	vbd_path(v, true, "", path, sizeof(path));
	put(v, false, "backend", path);
	put(v, false, "backend-id", "0");
	put_number(v, false, "virtual-device", v->disk.number);
	put(v, false, "device-type", "disk");
	put_number(v, false, "state", XEN_XENBUS_Initialising);
}

/* Why this one can't have this disk; NULL: it can, and what is below it is known. */
static const char *
wrong_with(const struct domu *u, struct vbd *new)
{
	const char *wrong = vbd_below(new);

	if (wrong)
		return wrong;
	if (driven_has(u, new->disk.number))
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
	struct vbd new = { .of = u, .disk = *d, .look = true, .mine = XEN_XENBUS_Initialising };
	const char *wrong = *d->backend ? driven_attach(u, d) : wrong_with(u, &new);
	char path[PATH_SIZE];
	struct vbd *v = vbds;

	if (wrong || *d->backend)
		return wrong;
	while (v < vbds + VBDS && v->of)
		v++;
	if (v == vbds + VBDS)
		return "dom0 has no place for more disks";
	*v = new;
	behind = v < behind ? behind : v + 1;
	fill(v);
	vbd_path(v, false, "state", path, sizeof(path));
	daemon_watch(path, &v->look);
	return NULL;
}

void
vbd_free(struct vbd *v)
{
	char path[PATH_SIZE];

	blkback_drop(v);
	daemon_unwatch(&v->look);
	for (unsigned back = 0; back < 2; back++) {
		vbd_path(v, back, "", path, sizeof(path));
		daemon_remove(path);
	}
	v->of = NULL;
	while (behind > vbds && !behind[-1].of)
		behind--;
}

/* It is asked to let go of it; when it has, all is removed. */
bool
vbd_detach(const struct domu *u, const char *name)
{
	for (struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of == u && (disk_number(name) == v->disk.number)) {
			put(v, true, "online", "0");
			v->leaving = v->look = true;
			if (v->mine == XEN_XENBUS_Connected) {
				v->mine = XEN_XENBUS_Closing;
				put_number(v, true, "state", v->mine);
			} else {
				v->mine = XEN_XENBUS_Closed;
			}
			return true;
		}
	return driven_detach(u, disk_number(name));
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
	char path[PATH_SIZE];

	for (struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of == u)
			vbd_free(v);
	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u", u->id);
	daemon_remove(path);
	driven_end(u);
}

void
vbds_list(const struct domu *u)
{
	say("Vdev  Name  State Mode   Sectors  Requests Events Target\n");
	for (const struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of == u)
			say("%-5u %-5s %5u %-4s %9lu %9lu %6lu %s\n", v->disk.number, v->disk.name,
			    v->mine, v->disk.readonly ? "r" : "w", v->sectors, v->asked, v->rung,
			    v->disk.target);
	driven_list(u);
}
