/*
 * A back end's places in the store come and go: dom0 makes them, for itself and for its front end.
 */
#include <guest/dom0/backend.h>

static void
place_of(const struct backend_kind *kind, const struct domu *u, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%sbackend/%s/%u", backends_at, kind->type, u->id);
}

void
back_begin(const struct backend *b)
{
	char path[PATH_SIZE];

	place_of(b->kind, b->of, path);
	daemon_directory(path, 0, b->of->id);
	back_path(b, true, "", path);
	daemon_directory(path, 0, b->of->id);
	back_path(b, false, "", path);
	back_put(b, true, "frontend", path);
	back_put_number(b, true, "frontend-id", b->of->id);
	back_put(b, true, "online", "1");
}

void
back_offer(const struct backend *b)
{
	char path[PATH_SIZE];

	back_put_number(b, true, "state", b->mine);
	back_path(b, true, "", path);
	back_put(b, false, "backend", path);
	back_put(b, false, "backend-id", "0");
}

void
back_wait(struct backend *b)
{
	char path[PATH_SIZE];

	back_put_number(b, false, "state", XEN_XENBUS_Initialising);
	back_path(b, false, "state", path);
	daemon_watch(path, &b->look);
}

void
back_leave(struct backend *b)
{
	back_put(b, true, "online", "0");
	b->leaving = b->look = true;
	if (b->mine == XEN_XENBUS_Connected) {
		b->mine = XEN_XENBUS_Closing;
		back_put_number(b, true, "state", b->mine);
	} else {
		b->mine = XEN_XENBUS_Closed;
	}
}

void
back_remove(struct backend *b)
{
	char path[PATH_SIZE];

	daemon_unwatch(&b->look);
	for (unsigned back = 0; back < 2; back++) {
		back_path(b, back, "", path);
		daemon_remove(path);
	}
	b->of = NULL;
}

void
backs_remove(const struct backend_kind *kind, const struct domu *u)
{
	char path[PATH_SIZE];

	place_of(kind, u, path);
	daemon_remove(path);
}
