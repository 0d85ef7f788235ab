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

#define NUMBERS 1000000u /* one with seven digits is none */

struct vbd vbds[VBDS];
static struct domu fronts[VBDS]; /* each disk's own */

const char backends_at[] = "";

void
vbd_free(struct vbd *v)
{
	blkback.drop(&v->back);
	daemon_unwatch(&v->back.look);
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

	back_path(&v->back, true, key, path);
	return daemon_read(path, to, size);
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
	back_put_number(&v->back, true, "sectors", v->sectors);
	back_put_number(&v->back, true, "sector-size", XEN_BLKIF_SECTOR);
	back_put_number(&v->back, true, "info", v->disk.readonly ? XEN_VDISK_READONLY : 0);
	back_put_number(&v->back, true, "feature-flush-cache", 1);
	back_put_number(&v->back, true, "feature-max-indirect-segments", BLK_MOST);
}

/* The front end's number is its own place's, as dom0 names that; ours may be another one's. */
static unsigned
number_of(unsigned domain, unsigned place)
{
	char path[PATH_SIZE];
	const char *end = path;
	unsigned number = 0;

	snprintf(path, sizeof(path), BACK "/%u/%u/frontend", domain, place);
	if (!daemon_read(path, path, sizeof(path)))
		return place;
	for (const char *c = path; *c; c++)
		if (*c == '/')
			end = c + 1;
	for (; *end >= '0' && *end <= '9' && number < NUMBERS; end++)
		number = number * 10 + (unsigned)(*end - '0');
	return number;
}

static void
begin(struct vbd *v, unsigned domain, unsigned place)
{
	unsigned number = number_of(domain, place);
	char path[PATH_SIZE];
	const char *wrong;

	fronts[v - vbds] = (struct domu){ .id = domain };
	snprintf(fronts[v - vbds].name, sizeof(fronts[0].name), "domain %u", domain);
	*v = (struct vbd){ .back = { .of = &fronts[v - vbds],
				     .kind = &blkback,
				     .number = number,
				     .beyond = place - number,
				     .look = true,
				     .mine = XEN_XENBUS_Initialising } };
	if (!get(v, "dev", v->disk.name, sizeof(v->disk.name)))
		snprintf(v->disk.name, sizeof(v->disk.name), "%u", number);
	snprintf(v->back.name, sizeof(v->back.name), "%s", v->disk.name);
	wrong = find_below(v);
	if (wrong) {
		say("%s gets no %s: %s\n", v->of->name, v->disk.name, wrong);
		v->back.mine = XEN_XENBUS_Closed;
		back_put_number(&v->back, true, "state", v->back.mine);
		v->back.look = false; /* it stays so, until dom0 removes it */
		return;
	}
	offer(v);
	back_path(&v->back, false, "state", path);
	daemon_watch(path, &v->back.look);
}

/* ---- what the store has ---- */

/* The next of the names of a directory, as a number; false: there is no more, or it is none. */
static bool
next_number(const char **name, const char *end, unsigned *number)
{
	const char *c = *name;

	*number = 0;
	for (; c < end && *c >= '0' && *c <= '9' && *number < NUMBERS; c++)
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

	back_path(&v->back, true, key, path);
	return daemon_read_number(path, &n);
}

static void
see(bool seen[VBDS], unsigned domain, unsigned place)
{
	struct vbd *free = NULL;

	for (struct vbd *v = vbds; v < vbds + VBDS; v++) {
		if (v->of && v->of->id == domain && v->back.number + v->back.beyond == place) {
			seen[v - vbds] = has(v, "frontend-id");
			/* another one came under its number, unseen: it has no offer */
			if (seen[v - vbds] && v->sectors && !has(v, "sectors")) {
				vbd_free(v);
				begin(v, domain, place);
			}
			return;
		}
		if (!v->of && !free)
			free = v;
	}
	if (!free)
		return;
	begin(free, domain, place);
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
