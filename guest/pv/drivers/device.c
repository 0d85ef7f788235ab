/*
 * A front end's device in the store.
 */
#include <guest/pv/drivers/device.h>
#include <guest/pv/lib/text.h>

int
device_begin(struct device *d, struct xenbus *bus, const char *kind, const char *name)
{
	int err;

	memset(d, 0, sizeof(*d));
	d->bus = bus;
	snprintf(d->here, sizeof(d->here), "device/%s", kind);
	err = name ? 0 : xenbus_list(bus, d->here);
	if (!name)
		name = bus->answer;
	if (err || !*name)
		return err ? err : -ENOENT;
	if (strlen(name) >= sizeof(d->token))
		return -EINVAL;
	memcpy(d->token, name, strlen(name) + 1);
	snprintf(d->here, sizeof(d->here), "device/%s/%s", kind, d->token);
	err = xenbus_read_number(bus, 0, d->here, "backend-id", &d->peer);
	if (!err)
		err = xenbus_read(bus, 0, d->here, "backend");
	if (err)
		return err;
	if (strlen(bus->answer) >= sizeof(d->there))
		return -EINVAL;
	memcpy(d->there, bus->answer, strlen(bus->answer) + 1);
	return xenbus_watch(bus, d->there, d->token);
}

void
device_end(struct device *d)
{
	xenbus_unwatch(d->bus, d->there, d->token);
}

enum xen_xenbus_state
device_state(struct device *d, const char *dir)
{
	uint64_t n = 0;

	return xenbus_read_number(d->bus, 0, dir, "state", &n) ? XEN_XENBUS_Unknown
							       : (enum xen_xenbus_state)n;
}

void
device_show(struct device *d, enum xen_xenbus_state state)
{
	xenbus_write_number(d->bus, 0, d->here, "state", state);
}

int
device_publish(struct device *d, const struct device_says *what, unsigned count)
{
	uint32_t tx;
	int err;

	do {
		err = xenbus_start(d->bus, &tx);
		if (err)
			return err;
		for (unsigned n = 0; n < count && !err; n++)
			err = xenbus_write_number(d->bus, tx, d->here, what[n].key, what[n].value);
		if (xenbus_end(d->bus, tx, !err) == -EAGAIN)
			err = -EAGAIN;
	} while (err == -EAGAIN);
	return err;
}
