/*
 * DHCP: what a server answers.
 */
#include <guest/dom0/dhcp.h>
#include <guest/pv/inet/wire.h>
#include <guest/pv/lib/text.h>

/* Places in a message. */
#define OP      0u
#define XID     4u
#define FLAGS   10u
#define HAS     12u /* the address that the client has already */
#define GETS    16u
#define MAC     28u
#define COOKIE  236u
#define OPTIONS 240u
#define MAGIC   0x63825363u

enum { ASKS = 1, ANSWERS = 2 };
enum type { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };
enum option { PAD = 0, MASK = 1, WANTED = 50, LEASE = 51, TYPE = 53, SERVER = 54, END = 255 };
#define A_DAY 86400u

/* An option's bytes; NULL: it is not there, or not so long. */
static const uint8_t *
option(const uint8_t *ask, size_t len, enum option which, size_t size)
{
	for (size_t at = OPTIONS; at < len && ask[at] != END;) {
		if (ask[at] == PAD) {
			at++;
			continue;
		}
		if (at + 2 > len || at + 2 + ask[at + 1] > len)
			return NULL;
		if (ask[at] == which)
			return ask[at + 1] == size ? ask + at + 2 : NULL;
		at += 2u + ask[at + 1];
	}
	return NULL;
}

static uint8_t *
put(uint8_t *at, enum option which, uint32_t value)
{
	at[0] = (uint8_t)which;
	at[1] = 4;
	put32(at + 2, value);
	return at + 6;
}

/* 0: nothing. Who asks another server has had its answer from that. */
static enum type
answer_type(const struct dhcp *d, const uint8_t *ask, size_t len, uint32_t gets)
{
	const uint8_t *type = option(ask, len, TYPE, 1);
	const uint8_t *server = option(ask, len, SERVER, 4), *wanted = option(ask, len, WANTED, 4);

	if (!type || (server && get32(server) != d->ip))
		return 0;
	if (*type == DISCOVER)
		return OFFER;
	if (*type != REQUEST)
		return 0;
	return get32(wanted ? wanted : ask + HAS) == gets ? ACK : NAK;
}

bool
dhcp_answer(const struct dhcp *d, const uint8_t *ask, size_t len, uint8_t *to)
{
	uint8_t *at = to + OPTIONS;
	enum type type;
	uint32_t gets;

	if (len < OPTIONS || ask[OP] != ASKS || ask[1] != 1 || ask[2] != 6 ||
	    get32(ask + COOKIE) != MAGIC)
		return false;
	gets = d->find(ask + MAC);
	type = gets ? answer_type(d, ask, len, gets) : 0;
	if (!type)
		return false;
	memset(to, 0, DHCP_ANSWER);
	memcpy(to, ask, XID + 4);
	to[OP] = ANSWERS;
	memcpy(to + FLAGS, ask + FLAGS, 2);
	memcpy(to + MAC, ask + MAC, 16);
	put32(to + COOKIE, MAGIC);
	*at++ = TYPE;
	*at++ = 1;
	*at++ = (uint8_t)type;
	at = put(at, SERVER, d->ip);
	if (type != NAK) {
		put32(to + GETS, gets);
		at = put(at, LEASE, A_DAY);
		at = put(at, MASK, d->mask);
	}
	*at = END;
	return true;
}
