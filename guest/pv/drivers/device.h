/*
 * A front end's device, as the store has it: below device/KIND/NAME of its own, and in the back
 * end's directory, which is watched. What the states mean is states.h's affair.
 */
#pragma once

#include <guest/pv/drivers/states.h>
#include <guest/pv/drivers/xenbus.h>

struct device {
	struct xenbus *bus;
	char here[40], there[XENBUS_PATH], token[16];
	uint64_t peer; /* whose back end it is */
	enum xen_xenbus_state mine;
};

/*
 * The device of this name, or the first there is, if name is NULL. 0; -ENOENT: there is none;
 * -EINVAL: one of its names is too long.
 */
int device_begin(struct device *d, struct xenbus *bus, const char *kind, const char *name);
void device_end(struct device *d); /* nobody watches it any more */

enum xen_xenbus_state device_state(struct device *d, const char *dir); /* Unknown: none is there */
void device_show(struct device *d, enum xen_xenbus_state state);

/* Rings, and whatever else a front end says of itself: all of it at once. */
struct device_says {
	const char *key;
	uint64_t value;
};
int device_publish(struct device *d, const struct device_says *what, unsigned count);
