/*
 * What back ends of all kinds have alike: their places in the store, the handshake, pages and ports
 * of the other end's.
 */
#include <guest/dom0/backend.h>
#include <guest/pv/lib/grants.h>

/* ---- in the store ---- */

void
back_path(const struct backend *b, bool back, const char *key, char path[PATH_SIZE])
{
	const char *slash = *key ? "/" : "";

	if (back)
		snprintf(path, PATH_SIZE, "%sbackend/%s/%u/%u%s%s", backends_at, b->kind->type,
			 b->of->id, b->number + b->beyond, slash, key);
	else
		snprintf(path, PATH_SIZE, "/local/domain/%u/device/%s/%u%s%s", b->of->id,
			 b->kind->type, b->number, slash, key);
}

void
back_put(const struct backend *b, bool back, const char *key, const char *value)
{
	char path[PATH_SIZE];

	back_path(b, back, key, path);
	if (!daemon_write(path, value))
		say("dom0: the store takes no %s\n", path);
}

void
back_put_number(const struct backend *b, bool back, const char *key, uint64_t n)
{
	char number[24];

	snprintf(number, sizeof(number), "%lu", n);
	back_put(b, back, key, number);
}

bool
front_number(const struct backend *b, const char *key, uint64_t *number)
{
	char path[PATH_SIZE];

	back_path(b, false, key, path);
	return daemon_read_number(path, number);
}

/* ---- the handshake ---- */

/* Once: who breaks rules without end fills nobody's screen. */
static void
tell(struct backend *b, const char *why)
{
	if (b->told)
		return;
	b->told = true;
	say("%s%s's %s is closed to it: %s\n", speaker ? "\n" : "", b->of->name, b->name, why);
}

static enum xen_xenbus_state
front_state(const struct backend *b)
{
	uint64_t state = 0;

	front_number(b, "state", &state);
	if (state > XEN_XENBUS_Reconfigured)
		return XEN_XENBUS_Unknown;
	return b->kind->skips && b->mine == XEN_XENBUS_InitWait && state == XEN_XENBUS_Connected
		       ? XEN_XENBUS_Initialised
		       : (enum xen_xenbus_state)state;
}

/*
 * What a back end writes behind a step, its front end being in `other`. Who parts finds it Closing,
 * and Closed once it has Closed itself: Linux that shuts down waits 5 s for a back end that says
 * Closing, and believes nothing else (drivers/xen/xenbus/xenbus_probe.c,
 * xenbus_otherend_changed()).
 */
static enum xen_xenbus_state
state_behind(enum step step, enum xen_xenbus_state mine, enum xen_xenbus_state other)
{
	return step == STEP_CLOSE && mine == XEN_XENBUS_Connected && other == XEN_XENBUS_Closing
		       ? XEN_XENBUS_Closing
		       : state_after(BACK, step, mine);
}

static void
show_state(const struct backend *b)
{
	char path[PATH_SIZE], number[4];

	back_path(b, true, "state", path);
	snprintf(number, sizeof(number), "%u", b->mine);
	daemon_write(path, number);
}

static bool
shake_hands(struct backend *b)
{
	enum xen_xenbus_state other = front_state(b);
	enum step step = state_step(BACK, b->mine, other);
	const char *why = NULL;

	if (step == STEP_WAIT || (b->leaving && b->mine == XEN_XENBUS_Closed))
		return false;
	if (step == STEP_CONNECT)
		why = b->kind->connect(b);
	if (why) {
		back_close(b, why);
		return true;
	}
	if (step != STEP_CONNECT)
		b->kind->drop(b);
	b->mine = state_behind(step, b->mine, other);
	show_state(b);
	return true;
}

bool
back_shake(struct backend *b)
{
	bool any = false;

	if (!b->look)
		return false;
	b->look = false;
	while (shake_hands(b))
		any = true;
	return any;
}

void
back_close(struct backend *b, const char *why)
{
	tell(b, why);
	b->kind->drop(b);
	b->mine = XEN_XENBUS_Closed;
	show_state(b);
}

bool
back_left(struct backend *b)
{
	if (!b->leaving || b->mine != XEN_XENBUS_Closed)
		return false;
	say("\n%s has let go of %s\n", b->of->name, b->name);
	if (!attached)
		shell_prompt();
	return true;
}

/* ---- what is the other end's ---- */

void *
back_map(const struct backend *b, uint8_t *at, uint64_t ref, uint32_t *handle)
{
	return ref > UINT32_MAX || pv_map_grant(at, (uint16_t)b->of->id, (uint32_t)ref,
						XEN_GNTMAP_host_map, handle)
		       ? NULL
		       : at;
}

/* Our own page is there again. */
void
back_unmap(uint8_t *at, uint32_t handle)
{
	pv_unmap_grant(at, 0, handle);
	pv_map(at, pv_page(at) << 12 | PTE_P | PTE_W | PTE_U | PTE_NX);
}

uint32_t
back_bind(const struct backend *b, uint64_t port)
{
	struct xen_evtchn_bind_interdomain bind = { .remote_dom = (uint16_t)b->of->id,
						    .remote_port = (uint32_t)port };

	return port > UINT32_MAX || pv_event_op(XEN_EVTCHNOP_bind_interdomain, &bind)
		       ? 0
		       : bind.local_port;
}

void
back_unbind(uint32_t *port)
{
	struct xen_evtchn_close c = { *port };

	if (*port)
		pv_event_op(XEN_EVTCHNOP_close, &c);
	*port = 0;
}
