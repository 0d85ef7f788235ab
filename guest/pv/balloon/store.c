/*
 * The store's ring, with one request on its way at a time.
 */
#include <guest/pv/balloon/balloon.h>
#include <guest/pv/lib/events.h>
#include <inc/xen_rings.h>

static volatile struct xen_store_ring *ring;
static bool fired;

void
store_open(void)
{
	ring = pv_machine_page(pv_info->store_mfn);
}

/* Upcalls are masked, so that a port stays pending up to here. */
void
store_wait(uint64_t until)
{
	pv_poll(pv_info->store_evtchn, until);
	while (pv_event_next() >= 0)
		;
}

static void
put(const void *bytes, uint32_t len)
{
	for (uint32_t n = 0; n < len; n++) {
		while (ring->req_prod - ring->req_cons >= XEN_STORE_RING) {
			pv_send(pv_info->store_evtchn);
			store_wait(0);
		}
		ring->req[ring->req_prod % XEN_STORE_RING] = ((const uint8_t *)bytes)[n];
		ring->req_prod++;
	}
}

/* The ring is the other end's, too: a length is what the bytes that follow are counted by. */
static void
take(void *bytes, uint32_t room, uint32_t len)
{
	for (uint32_t n = 0; n < len; n++) {
		while (ring->rsp_prod == ring->rsp_cons) {
			pv_send(pv_info->store_evtchn);
			store_wait(0);
		}
		if (n < room)
			((uint8_t *)bytes)[n] = ring->rsp[ring->rsp_cons % XEN_STORE_RING];
		ring->rsp_cons++;
	}
}

/* The next message; events are remembered. Its length, in `to` as much as there is room for. */
static uint32_t
hear(uint32_t *type, char *to, uint32_t room)
{
	struct xen_xsd_sockmsg head;

	take(&head, sizeof(head), sizeof(head));
	take(to, room, head.len);
	*type = head.type;
	fired |= head.type == XEN_XS_WATCH_EVENT;
	return head.len;
}

/* With its NUL. */
static uint32_t
length(const char *text)
{
	uint32_t n = 0;

	while (text[n++])
		;
	return n;
}

static uint32_t
ask(uint32_t type, const char *path, const char *token, char *to, uint32_t room, uint32_t *len)
{
	uint32_t path_len = length(path), answer;
	struct xen_xsd_sockmsg head = { .type = type, .len = path_len };

	head.len += token ? length(token) : 0;
	put(&head, sizeof(head));
	put(path, path_len);
	put(token, head.len - path_len);
	pv_send(pv_info->store_evtchn);
	do
		*len = hear(&answer, to, room);
	while (answer == XEN_XS_WATCH_EVENT);
	return answer;
}

int
store_read(const char *path, char *to, unsigned room)
{
	uint32_t len, type = ask(XEN_XS_READ, path, NULL, to, room - 1, &len);

	if (len > room - 1)
		len = room - 1;
	to[len] = 0;
	return type == XEN_XS_READ ? (int)len : -1;
}

bool
store_write(const char *path, const char *value)
{
	char text[8];
	uint32_t len;

	return ask(XEN_XS_WRITE, path, value, text, sizeof(text), &len) == XEN_XS_WRITE;
}

void
store_watch(const char *path)
{
	char text[8];
	uint32_t len;

	ask(XEN_XS_WATCH, path, "balloon", text, sizeof(text), &len);
}

bool
store_fired(void)
{
	bool was;
	char text[8];
	uint32_t type;

	while (ring->rsp_prod != ring->rsp_cons)
		hear(&type, text, sizeof(text));
	was = fired;
	fired = false;
	return was;
}
