/*
 * Disks and cards that a domain has from another one, a driver domain: `backend=NAME`. dom0 brings
 * both together in the store, and no request passes it.
 *
 *   /local/domain/BACK/backend/TYPE/DOMAIN/PLACE  the back end's: that domain may read it
 *   /local/domain/DOMAIN/device/TYPE/NUMBER       that domain's own: the back end may read it
 *
 * A domain ends, and another one comes under its number. A back end that looks behind both finds
 * what it knows, and Linux' keeps what it has opened for the one that has ended (drivers/xen/
 * xenbus/xenbus_probe.c, xenbus_dev_changed()). So the place is NUMBER for a domain's number's
 * first bearer alone: each later one's is another one.
 *
 * The back end's domain may end, and another one of its name come: then both places are made anew,
 * and the front end finds another `backend`. Until then a disk waits; what is below it, only its
 * back end knows.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/netback.h>

#define DRIVEN  16u
#define BEARERS 100000u /* what is more in a later one's place: more than any NUMBER ... */
#define SOME    9u      /* ... and all of them have six digits at most */

static struct driven {
	struct domu *of;   /* NULL: none */
	struct domu *back; /* NULL: none of this name is there */
	const char *type;  /* vbd, vif */
	unsigned number, place;
	char name[16], backend[sizeof(((struct disk *)0)->backend)];
	struct disk disk;      /* a vbd's */
	uint8_t mac[MAC_SIZE]; /* a vif's */
	bool leaving, look;    /* when its back end has closed, it is gone; that may be so */
} driven[DRIVEN];
static unsigned leaving;
static unsigned ended[DOMUS + 1]; /* of each number: domains that have ended */

static struct domu *
find(const char *name)
{
	for (struct domu *u = domus; u < domus + DOMUS; u++)
		if (u->id && !strcmp(u->name, name))
			return u;
	return NULL;
}

static bool
is_disk(const struct driven *d)
{
	return !strcmp(d->type, blkback.type);
}

/* ---- in the store ---- */

static void
path_of(const struct driven *d, bool back, const char *key, char *path)
{
	const char *slash = *key ? "/" : "";

	if (back)
		snprintf(path, PATH_SIZE, "/local/domain/%u/backend/%s/%u/%u%s%s", d->back->id,
			 d->type, d->of->id, d->place, slash, key);
	else
		snprintf(path, PATH_SIZE, "/local/domain/%u/device/%s/%u%s%s", d->of->id, d->type,
			 d->number, slash, key);
}

static void
put(const struct driven *d, bool back, const char *key, const char *value)
{
	char path[PATH_SIZE];

	path_of(d, back, key, path);
	if (!daemon_write(path, value))
		say("dom0: the store takes no %s\n", path);
}

static void
put_number(const struct driven *d, bool back, const char *key, unsigned n)
{
	char number[24];

	snprintf(number, sizeof(number), "%u", n);
	put(d, back, key, number);
}

/*
 * Linux opens what this key names, and nothing else; without it, it waits. On Xen a script in the
 * back end's domain finds a path's numbers and writes them, both hexadecimal (drivers/block/
 * xen-blkback/xenbus.c, backend_changed()). dom0 looks into nobody's /dev: whoever makes the file
 * says them.
 */
static void
offer_numbers(const struct driven *d)
{
	unsigned major, minor;
	char numbers[24];

	if (!disk_numbers(&d->disk, &major, &minor))
		return;
	snprintf(numbers, sizeof(numbers), "%x:%x", major, minor);
	put(d, true, "physical-device", numbers);
}

static void
say_disk(const struct driven *d)
{
	put_number(d, false, "virtual-device", d->number);
	put(d, false, "device-type", "disk");
	put(d, true, "dev", d->name);
	put(d, true, "type", d->disk.device ? "phy" : "file");
	put(d, true, "params", d->disk.target);
	put(d, true, "mode", d->disk.readonly ? "r" : "w");
	put(d, true, "device-type", "disk");
	offer_numbers(d);
}

/*
 * Linux has no card for who names no script, and is not Connected before one has run and has said
 * so (drivers/net/xen-netback/xenbus.c, netback_probe(), hotplug_status_changed()). Here that
 * domain's own /init has the card up, and there is no script to wait for.
 */
static void
say_card(const struct driven *d)
{
	char mac[MAC_TEXT];

	for (unsigned back = 0; back < 2; back++) {
		put_number(d, back, "handle", d->number);
		put(d, back, "mac", mac_text(d->mac, mac));
	}
	put(d, true, "script", "");
	put(d, true, "hotplug-status", "connected");
}

/*
 * What both ends read. The front end's place comes first, and the back end's is whole before
 * anybody else runs. What a front end has told another back end is not there any more.
 */
static void
join(struct driven *d)
{
	char path[PATH_SIZE], other[PATH_SIZE];

	d->place = d->number + BEARERS * (ended[d->of->id % (DOMUS + 1)] % SOME);
	path_of(d, true, "", other);
	path_of(d, false, "", path);
	daemon_remove(path);
	daemon_directory(path, d->of->id, d->back->id);
	daemon_directory(other, d->back->id, d->of->id);
	put(d, false, "backend", other);
	put_number(d, false, "backend-id", d->back->id);
	put(d, true, "frontend", path);
	put_number(d, true, "frontend-id", d->of->id);
	put(d, true, "online", "1");
	if (is_disk(d))
		say_disk(d);
	else
		say_card(d);
	put_number(d, false, "state", XEN_XENBUS_Initialising);
	put_number(d, true, "state", XEN_XENBUS_Initialising);
}

static void
part(struct driven *d)
{
	char path[PATH_SIZE];

	if (d->leaving) {
		daemon_unwatch(&d->look);
		leaving--;
	}
	if (d->back) {
		path_of(d, true, "", path);
		daemon_remove(path);
	}
	path_of(d, false, "", path);
	daemon_remove(path);
	d->of = NULL;
}

/* ---- they come and go ---- */

bool
driven_has(const struct domu *u, const char *type, unsigned number)
{
	for (const struct driven *d = driven; d < driven + DRIVEN; d++)
		if (d->of && d->of == u && !strcmp(d->type, type) && d->number == number)
			return true;
	return false;
}

bool
driven_has_mac(const uint8_t *mac)
{
	for (const struct driven *d = driven; d < driven + DRIVEN; d++)
		if (d->of && !is_disk(d) && !memcmp(d->mac, mac, MAC_SIZE))
			return true;
	return false;
}

static const char *
attach(const struct driven *new)
{
	struct driven *d = driven;

	if (!strcmp(new->of->name, new->backend))
		return "nobody is his own back end";
	while (d < driven + DRIVEN && d->of)
		d++;
	if (d == driven + DRIVEN)
		return "dom0 has no place for more of other domains' disks and cards";
	*d = *new;
	d->back = find(d->backend);
	if (d->back)
		join(d);
	else
		say("%s's %s comes with the domain %s\n", d->of->name, d->name, d->backend);
	return NULL;
}

const char *
driven_attach(struct domu *u, const struct disk *disk)
{
	struct driven new = {
		.of = u, .type = blkback.type, .number = disk->number, .disk = *disk
	};

	for (const struct vbd *v = vbds; v < vbds + VBDS; v++)
		if (v->of == u && v->disk.number == disk->number)
			return "it has a disk of this vdev";
	if (driven_has(u, new.type, new.number))
		return "it has a disk of this vdev";
	snprintf(new.name, sizeof(new.name), "%s", disk->name);
	snprintf(new.backend, sizeof(new.backend), "%s", disk->backend);
	return attach(&new);
}

const char *
driven_attach_card(struct domu *u, unsigned number, const uint8_t *mac, const char *backend)
{
	struct driven new = { .of = u, .type = netback.type, .number = number };

	memcpy(new.mac, mac, MAC_SIZE);
	snprintf(new.name, sizeof(new.name), "vif %u", number);
	snprintf(new.backend, sizeof(new.backend), "%s", backend);
	return attach(&new);
}

bool
driven_detach(const struct domu *u, const char *type, unsigned number)
{
	char path[PATH_SIZE];

	for (struct driven *d = driven; d < driven + DRIVEN; d++) {
		if (!d->of || d->of != u || strcmp(d->type, type) || d->number != number)
			continue;
		if (!d->back || d->leaving) { /* who asks again waits for nobody */
			part(d);
		} else {
			put(d, true, "online", "0");
			put_number(d, true, "state", XEN_XENBUS_Closing);
			d->leaving = true;
			leaving++;
			path_of(d, true, "state", path);
			daemon_watch(path, &d->look);
		}
		return true;
	}
	return false;
}

bool
driven_serve(void)
{
	uint64_t state = XEN_XENBUS_Unknown;
	char path[PATH_SIZE];
	bool any = false;

	if (!leaving)
		return false;
	for (struct driven *d = driven; d < driven + DRIVEN; d++) {
		if (!d->of || !d->leaving || !d->look)
			continue;
		d->look = false;
		path_of(d, true, "state", path);
		if (daemon_read_number(path, &state) && state != XEN_XENBUS_Closed)
			continue;
		say("\n%s has let go of %s\n", d->of->name, d->name);
		part(d);
		if (!attached)
			shell_prompt();
		any = true;
	}
	return any;
}

void
driven_begin(struct domu *back)
{
	for (struct driven *d = driven; d < driven + DRIVEN; d++)
		if (d->of && !d->back && !strcmp(d->backend, back->name)) {
			d->back = back;
			join(d);
		}
}

/* What the store has of a domain goes with it. */
void
driven_end(const struct domu *u)
{
	char path[PATH_SIZE];

	for (struct driven *d = driven; d < driven + DRIVEN; d++) {
		if (!d->of)
			continue;
		if (d->of == u && d->back) {
			snprintf(path, sizeof(path), "/local/domain/%u/backend/%s/%u", d->back->id,
				 d->type, u->id);
			part(d);
			daemon_remove(path);
		} else if (d->of == u || (d->back == u && d->leaving))
			part(d);
		else if (d->back == u)
			d->back = NULL;
	}
	ended[u->id % (DOMUS + 1)]++;
}

static uint64_t
shown(const struct driven *d, const char *key)
{
	uint64_t number = 0;
	char path[PATH_SIZE];

	if (!d->back)
		return 0;
	path_of(d, true, key, path);
	daemon_read_number(path, &number);
	return number;
}

void
driven_list(const struct domu *u, const char *type)
{
	char mac[MAC_TEXT];

	for (const struct driven *d = driven; d < driven + DRIVEN; d++) {
		if (!d->of || d->of != u || strcmp(d->type, type))
			continue;
		if (is_disk(d))
			say("%-5u %-5s %5lu %-4s %9lu %9s %6s %s of %s\n", d->number, d->name,
			    shown(d, "state"), d->disk.readonly ? "r" : "w", shown(d, "sectors"),
			    "-", "-", d->disk.target, d->backend);
		else
			say("%-3u %s %5lu %8s %8s %8s %8s %6s of %s\n", d->number,
			    mac_text(d->mac, mac), shown(d, "state"), "-", "-", "-", "-", "-",
			    d->backend);
	}
}
