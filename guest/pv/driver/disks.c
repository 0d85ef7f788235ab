/*
 * Which disks it has for whom: what the store says below `backend/vbd/DOMAIN/NUMBER`.
 *
 * dom0 has written there who it is and what it is to be; we say what we can, and go on as
 * xenbus's states have it. Where dom0 has removed it, we let go.
 */
#include <guest/dom0/blkparts.h>
#include <guest/dom0/sparse.h>
#include <guest/pv/driver/driver.h>
#include <guest/pv/lib/text.h>

struct vbd vbds[VBDS];
static struct domu fronts[VBDS]; /* each disk's own */

void
vbd_path(const struct vbd *v, bool back, const char *key, char *path, size_t size)
{
	const char *slash = *key ? "/" : "";

	if (back)
		snprintf(path, size, BACK "/%u/%u%s%s", v->of->id, v->disk.number, slash, key);
	else
		snprintf(path, size, "/local/domain/%u/device/vbd/%u%s%s", v->of->id,
			 v->disk.number, slash, key);
}

void
vbd_free(struct vbd *v)
{
	blkback_drop(v);
	daemon_unwatch(&v->look);
	v->of = NULL;
}

bool
sparse_is_used(const struct sparse *s)
{
	return false; /* it has none */
}

/* ---- they come ---- */

static bool
get(const struct vbd *v, const char *key, char *to, size_t size)
{
	char path[PATH_SIZE];

	vbd_path(v, true, key, path, sizeof(path));
	return daemon_read(path, to, size);
}

static void
put_number(const struct vbd *v, const char *key, uint64_t n)
{
	char path[PATH_SIZE], number[24];

	vbd_path(v, true, key, path, sizeof(path));
	snprintf(number, sizeof(number), "%lu", n);
	daemon_write(path, number);
}

/* By the words that dom0 has for it; why it can't be had. */
static const char *
find_below(struct vbd *v)
{
	char mode[8] = "", type[8] = "";
	const char *wrong;

	if (!get(v, "params", v->disk.target, sizeof(v->disk.target)) ||
	    !get(v, "mode", mode, sizeof(mode)) || !get(v, "type", type, sizeof(type)))
		return "dom0 does not say what it is to be";
	v->disk.readonly = strcmp(mode, "w") != 0;
	v->disk.device = !strcmp(type, "phy");
	wrong = vbd_below(v);
	for (const struct vbd *other = vbds; other < vbds + VBDS && !wrong; other++)
		if (other->of && other != v && vbd_is_shared(other, v) &&
		    !(other->disk.readonly && v->disk.readonly))
			wrong = "another one has what is there, and one of them writes";
	return wrong;
}

static void
offer(struct vbd *v)
{
	put_number(v, "sectors", v->sectors);
	put_number(v, "sector-size", XEN_BLKIF_SECTOR);
	put_number(v, "info", v->disk.readonly ? XEN_VDISK_READONLY : 0);
	put_number(v, "feature-flush-cache", 1);
	put_number(v, "feature-max-indirect-segments", BLK_MOST);
}

static void
begin(struct vbd *v, unsigned domain, unsigned number)
{
	char path[PATH_SIZE];
	const char *wrong;

	fronts[v - vbds] = (struct domu){ .id = domain };
	snprintf(fronts[v - vbds].name, sizeof(fronts[0].name), "domain %u", domain);
	*v = (struct vbd){ .of = &fronts[v - vbds],
			   .disk.number = number,
			   .look = true,
			   .mine = XEN_XENBUS_Initialising };
	if (!get(v, "dev", v->disk.name, sizeof(v->disk.name)))
		snprintf(v->disk.name, sizeof(v->disk.name), "%u", number);
	wrong = find_below(v);
	if (wrong) {
		say("%s gets no %s: %s\n", v->of->name, v->disk.name, wrong);
		v->mine = XEN_XENBUS_Closed;
		put_number(v, "state", v->mine);
		v->look = false; /* it stays so, until dom0 removes it */
		return;
	}
	offer(v);
	vbd_path(v, false, "state", path, sizeof(path));
	daemon_watch(path, &v->look);
}

/* ---- what the store has ---- */

/* The next of the names of a directory, as a number; false: there is no more, or it is none. */
static bool
next_number(const char **name, const char *end, unsigned *number)
{
	const char *c = *name;

	*number = 0;
	for (; c < end && *c >= '0' && *c <= '9' && *number < 1000000; c++)
		*number = *number * 10 + (unsigned)(*c - '0');
	if (c == *name || c >= end || *c)
		return false;
	*name = c + 1;
	return true;
}

static bool
has(const struct vbd *v, const char *key)
{
	char path[PATH_SIZE];
	uint64_t n;

	vbd_path(v, true, key, path, sizeof(path));
	return daemon_read_number(path, &n);
}

static void
see(bool seen[VBDS], unsigned domain, unsigned number)
{
	struct vbd *free = NULL;

	for (struct vbd *v = vbds; v < vbds + VBDS; v++) {
		if (v->of && v->of->id == domain && v->disk.number == number) {
			seen[v - vbds] = has(v, "frontend-id");
			/* another one came under its number, unseen: it has no offer */
			if (seen[v - vbds] && v->sectors && !has(v, "sectors")) {
				vbd_free(v);
				begin(v, domain, number);
			}
			return;
		}
		if (!v->of && !free)
			free = v;
	}
	if (!free)
		return;
	begin(free, domain, number);
	seen[free - vbds] = true;
}

void
disks_look(void)
{
	static char domains[256], numbers[256];
	const char *d = domains, *d_end, *n, *n_end;
	bool seen[VBDS] = { false };
	unsigned domain, number;
	char path[PATH_SIZE];

	if (!disks_changed)
		return;
	disks_changed = false;
	d_end = daemon_list(BACK, domains, sizeof(domains));
	while (next_number(&d, d_end, &domain)) {
		snprintf(path, sizeof(path), BACK "/%u", domain);
		n_end = daemon_list(path, numbers, sizeof(numbers));
		for (n = numbers; next_number(&n, n_end, &number);)
			see(seen, domain, number);
	}
	for (struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of && !seen[v - vbds])
			vbd_free(v);
}

bool
disks_serve(void)
{
	bool any = false;

	for (struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of)
			any |= blkback_serve(v);
	return any;
}
