/* Ring 3 alone: matrices, a hash, a sort. It makes no system call before the last line. */
#include <guest/os/libc/user.h>

#define N     64
#define WORDS 4096

static uint32_t a[N][N], b[N][N], c[N][N], words[WORDS];

static uint32_t
multiply(uint32_t *seed)
{
	uint32_t sum = 0;

	for (int i = 0; i < N * N; i++) {
		a[i / N][i % N] = mix(seed);
		b[i / N][i % N] = mix(seed);
	}
	for (int i = 0; i < N; i++) {
		for (int j = 0; j < N; j++) {
			uint32_t cell = 0;

			for (int k = 0; k < N; k++)
				cell += a[i][k] * b[k][j];
			c[i][j] = cell;
			sum ^= cell + (uint32_t)j;
		}
	}
	return sum;
}

static void
quick(uint32_t *from, uint32_t *to)
{
	while (from < to) {
		uint32_t pivot = from[(to - from) / 2], *i = from, *k = to;

		while (i <= k) {
			while (*i < pivot)
				i++;
			while (*k > pivot)
				k--;
			if (i <= k) {
				uint32_t t = *i;

				*i++ = *k;
				*k-- = t;
			}
		}
		quick(from, k);
		from = i;
	}
}

int
main(int argc, char **argv)
{
	uint32_t seed = 1, sum = 0;

	for (int round = 0; round < 8; round++) {
		sum = sum * 31 + multiply(&seed);
		for (int i = 0; i < WORDS; i++)
			words[i] = mix(&seed);
		quick(words, words + WORDS - 1);
		for (int i = 0; i < WORDS; i++)
			sum = (sum ^ words[i]) * 16777619;
	}
	printf("bench-compute: %08x\n", sum);
	return 0;
}
