/*
 * CRC-32, by bytes: a table of what eight bits make of one.
 */
#include <guest/pv/drivers/crc.h>

#define POLYNOMIAL 0xedb88320u

uint32_t
crc32(uint32_t crc, const uint8_t *bytes, size_t len)
{
	static uint32_t table[256];

	if (!table[1])
		for (uint32_t n = 0; n < 256; n++) {
			table[n] = n;
			for (unsigned bit = 0; bit < 8; bit++)
				table[n] = table[n] >> 1 ^ (table[n] & 1 ? POLYNOMIAL : 0);
		}
	crc = ~crc;
	for (size_t n = 0; n < len; n++)
		crc = crc >> 8 ^ table[(crc ^ bytes[n]) & 0xff];
	return ~crc;
}
