/*
 * What was measured many times, in a line: minimum, median and maximum.
 */
#pragma once

#include <guest/lib/guest.h>

static inline void
print_number(uint32_t n)
{
	char digits[10];
	int i = 0;

	do
		digits[i++] = (char)('0' + n % 10);
	while (n /= 10);
	while (i)
		put(digits[--i]);
}

static inline void
sort(uint32_t *a, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		uint32_t x = a[i], j = i;

		for (; j && a[j - 1] > x; j--)
			a[j] = a[j - 1];
		a[j] = x;
	}
}

/* The samples are sorted then; `floor` is what measuring costs, so none is below it. */
static inline void
print_samples(const char *name, uint32_t *a, uint32_t n, uint32_t floor)
{
	sort(a, n);
	print(name);
	print(": ");
	print_number(a[0] - floor);
	put(' ');
	print_number(a[n / 2] - floor);
	put(' ');
	print_number(a[n - 1] - floor);
	put('\n');
}
