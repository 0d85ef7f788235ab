/*
 * Addresses of a network.
 */
#include <guest/pv/drivers/address.h>
#include <guest/pv/lib/text.h>

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
mac_parse(const char *text, uint8_t *mac)
{
	for (unsigned n = 0; n < MAC_SIZE; n++, text += 3) {
		if (digit(text[0]) < 0 || digit(text[1]) < 0 ||
		    text[2] != (n + 1 < MAC_SIZE ? ':' : '\0'))
			return false;
		mac[n] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	}
	return true;
}

bool
ip_parse(const char *text, uint32_t *ip)
{
	*ip = 0;
	for (unsigned part = 0; part < 4; part++, text++) {
		unsigned number = 0, digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 4; text++, digits++)
			number = number * 10 + (unsigned)(*text - '0');
		if (!digits || number > 255 || *text != (part < 3 ? '.' : '\0'))
			return false;
		*ip = *ip << 8 | number;
	}
	return true;
}

const char *
mac_text(const uint8_t *mac, char *to)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned n = 0; n < MAC_SIZE; n++) {
		to[n * 3] = digits[mac[n] >> 4];
		to[n * 3 + 1] = digits[mac[n] & 15];
		to[n * 3 + 2] = n + 1 < MAC_SIZE ? ':' : '\0';
	}
	return to;
}

const char *
ip_text(uint32_t ip, char *to)
{
	snprintf(to, IP_TEXT, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
	return to;
}
