/* BUILD: guest/dom0/dhcp.c */
/*
 * dom0's DHCP: who asks for an address is offered his, and has it if he takes it; messages of any
 * bytes.
 */
#include <string.h>

#include <guest/dom0/dhcp.h>
#include <guest/pv/inet/wire.h>

#include "draw.h"
#include "tap.h"

#define ME 0x0a000201u

static const uint8_t card[6] = { 0, 0x16, 0x3e, 0, 2, 0 };

static uint32_t
find(const uint8_t *mac)
{
	return memcmp(mac, card, 6) ? 0 : 0x0a000207;
}

static const struct dhcp server = { .ip = ME, .mask = 0xffffff00, .find = find };
static uint8_t answer[DHCP_ANSWER];

/* A message with these options; the answer's type, 0: none. */
static int
asked(const uint8_t *mac, const char *options, size_t count)
{
	uint8_t *ask = calloc(1, 240 + count);
	int type;

	memcpy(ask, "\1\1\6\0abcd", 8);
	memcpy(ask + 28, mac, 6);
	put32(ask + 236, 0x63825363);
	memcpy(ask + 240, options, count);
	type = dhcp_answer(&server, ask, 240 + count, answer) ? answer[242] : 0;
	free(ask);
	return type;
}
#define ASKED(mac, options) asked(mac, options, sizeof(options) - 1)

static void
talks(void)
{
	ok(ASKED(card, "\x35\1\1\xff") == 2, "a discover is offered something");
	ok(answer[0] == 2 && !memcmp(answer + 4, "abcd", 4) && !memcmp(answer + 28, card, 6) &&
		   get32(answer + 16) == 0x0a000207,
	   "his address, under the number with which he asked");
	ok(!memcmp(answer + 236,
		   "\x63\x82\x53\x63\x35\1\2\x36\4\x0a\0\2\1\x33\4\0\1\x51\x80\1\4\xff\xff\xff\0\xff",
		   26),
	   "the server, a day, the mask");
	ok(ASKED(card, "\x35\1\3\x32\4\x0a\0\2\7\xff") == 5, "who asks for it has it");
	ok(ASKED(card, "\0\0\x0c\3abc\x35\1\3\x36\4\x0a\0\2\1\x32\4\x0a\0\2\7\xff") == 5,
	   "... of this server");
	ok(ASKED(card, "\x35\1\3\x36\4\x0a\0\2\2\x32\4\x0a\0\2\7\xff") == 0,
	   "... not another one's");
	ok(ASKED(card, "\x35\1\3\x32\4\x0a\0\2\x8\xff") == 6, "another address is refused");
	ok(ASKED(card, "\x35\1\3\xff") == 6, "so is none");
	ok(ASKED(card, "\x35\1\7\xff") == 0, "a release needs no answer");
	ok(ASKED((const uint8_t *)"strang", "\x35\1\1\xff") == 0, "a stranger gets none");
	ok(ASKED(card, "\x35\1") == 0 && ASKED(card, "\x35") == 0 && ASKED(card, "") == 0 &&
		   ASKED(card, "\x35\2\1\1\xff") == 0 && ASKED(card, "\xff\x35\1\1") == 0,
	   "nor who does not say what he wants");
}

/* Options of any kind and length. */
static void
any_bytes(void)
{
	unsigned some = 0;

	for (unsigned n = 0; n < 200000; n++) {
		char options[64];
		size_t count = draw(sizeof(options));

		for (size_t k = 0; k < count; k++)
			options[k] = (char)(draw(2) ? draw(6) : draw(2) ? 50 + draw(5) : draw(256));
		some += asked(card, options, count) != 0;
	}
	ok(some > 100, "200,000 messages of any bytes");
	for (size_t len = 0; len < 240; len++) {
		uint8_t *ask = calloc(1, len ? len : 1);

		dhcp_answer(&server, ask, len, answer);
		free(ask);
	}
}

int
main(void)
{
	talks();
	any_bytes();
	return done_testing();
}
