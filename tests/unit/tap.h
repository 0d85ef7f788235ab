/*
 * TAP for the host's unit tests: one line per check, a plan at the end, a status that agrees with
 * it.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
	unsigned run, failed, planned;
} tap;

__attribute__((unused, format(printf, 1, 2))) static void
diag(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
}

__attribute__((unused)) static void
plan(unsigned n)
{
	tap.planned = n;
	printf("1..%u\n", n);
}

__attribute__((unused, format(printf, 2, 3))) static bool
ok(bool passed, const char *format, ...)
{
	va_list args;

	tap.run++;
	tap.failed += !passed;
	va_start(args, format);
	printf("%sok %u - ", passed ? "" : "not ", tap.run);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
	return passed;
}

__attribute__((unused, format(printf, 3, 4))) static bool
is_u64(uint64_t got, uint64_t want, const char *format, ...)
{
	char name[200];
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	if (!ok(got == want, "%s", name))
		diag("got %#llx, want %#llx", (unsigned long long)got, (unsigned long long)want);
	return got == want;
}

/* A check that can't be made here; the reason is for whoever reads that it was not. */
__attribute__((unused, format(printf, 1, 2))) static void
skip(const char *format, ...)
{
	va_list args;

	tap.run++;
	va_start(args, format);
	printf("ok %u # SKIP ", tap.run);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
}

__attribute__((unused, noreturn, format(printf, 1, 2))) static void
bail_out(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("Bail out! ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	exit(255);
}

/* The exit status: main() returns it. A plan that was not kept is a failure too. */
__attribute__((unused)) static int
done_testing(void)
{
	if (!tap.planned)
		printf("1..%u\n", tap.run);
	else if (tap.planned != tap.run)
		diag("planned %u tests, ran %u", tap.planned, tap.run);
	if (tap.failed)
		diag("failed %u of %u tests", tap.failed, tap.run);
	return tap.failed || !tap.run || (tap.planned && tap.planned != tap.run);
}
