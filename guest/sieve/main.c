/*
 * A guest that mostly computes: the share of its instructions that run natively is what an engine
 * is for (Popek and Goldberg's "efficiency").
 */
#include <guest/lib/guest.h>

#define LIMIT 200000

static uint8_t composite[LIMIT];

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	uint32_t count = 0, sum = 0;

	(void)magic, (void)info;
	console_init();
	for (uint32_t i = 2; i < LIMIT; i++) {
		if (composite[i])
			continue;
		count++;
		sum = sum * 31 + i;
		for (uint32_t j = 2 * i; j < LIMIT; j += i)
			composite[j] = 1;
	}
	print("primes below ");
	print_hex(LIMIT);
	print(": ");
	print_hex(count);
	print(", checksum ");
	print_hex(sum);
	print("\n");
	return 0;
}
