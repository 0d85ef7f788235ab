/*
 * dom0's own place on its bridge: an address that answers pings, returns what comes to UDP's port 7
 * (RFC 862), and tells domains theirs if they ask (dhcp.h).
 */
#include <guest/dom0/bridge.h>
#include <guest/dom0/dhcp.h>
#include <guest/dom0/dom0.h>
#include <guest/pv/inet/inet.h>

#define ECHO 7u

static void from_bridge(struct port *p, const void *frame, size_t len);

static struct port port = { .mac = { 0, 0x16, 0x3e }, .send = from_bridge };
static struct inet stack = { .mac = { 0, 0x16, 0x3e },
			     .ip = INET_IP(10, 0, 2, 1),
			     .mask = INET_IP(255, 255, 255, 0) };

static const uint8_t *sender; /* of the frame that has come: the bridge knows that he is that one */

static void
from_bridge(struct port *p, const void *frame, size_t len)
{
	sender = (const uint8_t *)frame + MAC_SIZE;
	if (!bridge_return(p, frame, len))
		inet_receive(&stack, frame, len);
}

static void
to_bridge(struct inet *n, const void *frame, size_t len)
{
	bridge_receive(&port, frame, len);
}

static void
echo(struct inet *n, uint32_t from, uint16_t from_port, const uint8_t *bytes, size_t len)
{
	if (from_port != ECHO) /* two such would never end */
		inet_udp(n, from, ECHO, from_port, bytes, len);
}

/* Who asks in somebody else's name would have that one told what it has not asked for. */
static uint32_t
address_of(const uint8_t *mac)
{
	return memcmp(mac, sender, MAC_SIZE) ? 0 : vif_address(mac);
}

/* To all, since who asks has no address yet. */
static void
dhcp(struct inet *n, uint32_t from, uint16_t from_port, const uint8_t *bytes, size_t len)
{
	const struct dhcp d = { .ip = n->ip, .mask = n->mask, .find = address_of };
	uint8_t answer[DHCP_ANSWER];

	if (dhcp_answer(&d, bytes, len, answer))
		inet_udp(n, INET_ALL, DHCP_SERVER, DHCP_CLIENT, answer, sizeof(answer));
}

void
own_begin(void)
{
	stack.send = to_bridge;
	inet_listen(&stack, ECHO, echo);
	inet_listen(&stack, DHCP_SERVER, dhcp);
	bridge_join(&port);
}

bool
own_has(const uint8_t *mac)
{
	return !memcmp(port.mac, mac, MAC_SIZE);
}
