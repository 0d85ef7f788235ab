/*
 * The store, as the back end asks it (guest/dom0/dom0.h), by this domain's ring.
 */
#include <guest/pv/driver/driver.h>
#include <guest/pv/lib/text.h>

#define FRONTS "f" /* the token of all watches at front ends: whoever it was, all look */
#define BACKS  "b"

struct xenbus bus;
bool disks_changed = true;
bool store_waited;
static struct {
	bool *seen; /* NULL: free */
	char path[PATH_SIZE];
} watched[VBDS];

void
daemon_init(void)
{
	if (!xenbus_begin(&bus) || xenbus_watch(&bus, BACK, BACKS)) {
		say("there is no store\n");
		pv_exit(1);
	}
}

void
daemon_hears(void)
{
	if (bus.ring->rsp_prod != bus.ring->rsp_cons) /* of a message there may be a part yet */
		store_waited = true;
	if (xenbus_heard(&bus, FRONTS))
		for (unsigned n = 0; n < VBDS; n++)
			if (watched[n].seen)
				*watched[n].seen = true;
	/* behind that: of whose front end something was heard, its place is known as it is */
	if (xenbus_heard(&bus, BACKS))
		disks_changed = true;
}

bool
daemon_write(const char *path, const char *value)
{
	store_waited = true;
	harm_writes();
	return !xenbus_write(&bus, 0, path, "", value);
}

bool
daemon_read(const char *path, char *to, size_t size)
{
	store_waited = true;
	if (xenbus_read(&bus, 0, path, "") || bus.len >= size)
		return false;
	memcpy(to, bus.answer, bus.len + 1);
	return true;
}

bool
daemon_read_number(const char *path, uint64_t *number)
{
	store_waited = true;
	return !xenbus_read_number(&bus, 0, path, "", number);
}

bool
daemon_watch(const char *path, bool *seen)
{
	unsigned n = 0;

	while (n < VBDS && watched[n].seen)
		n++;
	if (n == VBDS)
		return false;
	watched[n].seen = seen;
	snprintf(watched[n].path, sizeof(watched[n].path), "%s", path);
	store_waited = true;
	return !xenbus_watch(&bus, path, FRONTS);
}

void
daemon_unwatch(const bool *seen)
{
	for (unsigned n = 0; n < VBDS; n++)
		if (watched[n].seen == seen) {
			store_waited = true;
			xenbus_unwatch(&bus, watched[n].path, FRONTS);
			watched[n].seen = NULL;
		}
}

const char *
daemon_list(const char *path, char *to, size_t size)
{
	store_waited = true;
	if (xenbus_list(&bus, path) || bus.len > size)
		return to;
	memcpy(to, bus.answer, bus.len);
	return to + bus.len;
}
