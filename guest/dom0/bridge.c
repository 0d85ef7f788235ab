/*
 * The bridge.
 */
#include <guest/dom0/bridge.h>
#include <guest/pv/lib/text.h>

#define GROUP 1u /* in the first byte of an address: more than one may have it */

static struct port *ports;

static bool
has(const struct port *p, const uint8_t *mac)
{
	return !p->uplink && !memcmp(p->mac, mac, MAC_SIZE);
}

static struct port *
whose(const uint8_t *mac)
{
	struct port *p = ports;

	while (p && !has(p, mac))
		p = p->next;
	return p;
}

bool
bridge_join(struct port *p)
{
	if (!p->uplink && (p->mac[0] & GROUP || whose(p->mac)))
		return false;
	p->next = ports;
	ports = p;
	return true;
}

void
bridge_leave(struct port *p)
{
	struct port **at = &ports;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
}

/* Behind an uplink is nobody who is here. */
bool
bridge_takes(struct port *from, const uint8_t *head)
{
	const uint8_t *source = head + MAC_SIZE;
	bool good = from->uplink ? !(source[0] & GROUP) && !whose(source) : has(from, source);

	from->refused += !good;
	return good;
}

struct port *
bridge_next(const struct port *from, const uint8_t *head, const struct port *after)
{
	bool all = head[0] & GROUP;
	struct port *one = all ? NULL : whose(head);

	if (one)
		return !after && one != from ? one : NULL;
	for (struct port *p = after ? after->next : ports; p; p = p->next)
		if (p != from && (all || p->uplink))
			return p;
	return NULL;
}

void
bridge_receive(struct port *from, const void *frame, size_t len)
{
	struct port *p = NULL;

	if (len < FRAME_MIN || len > FRAME_MAX || !bridge_takes(from, frame))
		return;
	while ((p = bridge_next(from, frame, p)))
		p->send(p, frame, len);
}

bool
bridge_return(struct port *p, const void *frame, size_t len)
{
	static uint8_t answer[FRAME_MAX];
	const uint8_t *asked = frame;

	if (asked[12] != FRAME_LOOP >> 8 || asked[13] || !has(p, asked))
		return false;
	memcpy(answer, asked, len);
	memcpy(answer, asked + MAC_SIZE, MAC_SIZE);
	memcpy(answer + MAC_SIZE, p->mac, MAC_SIZE);
	bridge_receive(p, answer, len);
	return true;
}
