/* Counts primes with a sieve of a million bytes, whose pages come as they are touched. */
#include <guest/os/libc/user.h>

#define BELOW 1000000u

int
main(int argc, char **argv)
{
	uint32_t count = 0, before = frames();
	uint8_t *composite = sbrk(BELOW);

	for (uint32_t n = 2; n < BELOW; n++) {
		if (composite[n])
			continue;
		count++;
		for (uint32_t m = n * n; n < 1000 && m < BELOW; m += n)
			composite[m] = 1;
	}
	printf("%u primes below %u, in %u pages\n", count, BELOW, before - frames());
	return 0;
}
