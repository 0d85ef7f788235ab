/* Counts primes below a number by trial division: ring 3 and nothing else. */
#include <guest/os/libc/user.h>

static int
is_prime(uint32_t n)
{
	for (uint32_t d = 2; d * d <= n; d++)
		if (n % d == 0)
			return 0;
	return n > 1;
}

int
main(int argc, char **argv)
{
	uint32_t below = argc > 1 ? (uint32_t)number(argv[1]) : 10000, count = 0, last = 0;

	for (uint32_t n = 0; n < below; n++) {
		if (is_prime(n)) {
			count++;
			last = n;
		}
	}
	printf("%u primes below %u, the last is %u\n", count, below, last);
	return 0;
}
