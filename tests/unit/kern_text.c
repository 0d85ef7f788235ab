/* BUILD: -fno-builtin */
/*
 * printf.c, string.c and cmdline.c of the kernel, against the build machine's C library.
 *
 * They define functions of the C library, so they are included here under other names.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define printf    z_printf
#define vprintf   z_vprintf
#define snprintf  z_snprintf
#define vsnprintf z_vsnprintf
#define memcpy    z_memcpy
#define memmove   z_memmove
#define memset    z_memset
#define memcmp    z_memcmp
#define strlen    z_strlen
#define strcmp    z_strcmp
#define strncmp   z_strncmp
#include "../../kern/printf.c"
#include "../../kern/string.c"
#include "../../kern/boot/cmdline.c"
#undef printf
#undef vprintf
#undef snprintf
#undef vsnprintf
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp

static char console[4096];
static size_t console_length;

void
console_putc(int c)
{
	if (console_length < sizeof(console) - 1)
		console[console_length++] = (char)c;
}

static const char *const flags[] = { "", "-", "0", "-0", "0-" };
static const char *const widths[] = { "", "1", "5", "20" };

/* One random conversion by both; the lengths must agree too. */
static bool
same_number(void)
{
	static const char sizes[][3] = { "", "l", "ll", "z", "h", "hh" };
	static const char conversions[] = "diuxX";
	unsigned size = (unsigned)rand() % 6;
	char fmt[32], ours[64], theirs[64];
	uint64_t v =
		((uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand()) >> rand() % 64;
	int a, b;

	if (rand() % 4 == 0)
		v = -v;
	if (size == 4) /* h and hh: the caller has narrowed the value already */
		v &= 0x7fff;
	if (size == 5)
		v &= 0x7f;
	snprintf(fmt, sizeof(fmt), "<%%%s%s%s%c>", flags[rand() % 5], widths[rand() % 4],
		 sizes[size], conversions[rand() % 5]);
	if (size >= 1 && size <= 3) {
		a = z_snprintf(ours, sizeof(ours), fmt, v);
		b = snprintf(theirs, sizeof(theirs), fmt, v);
	} else {
		a = z_snprintf(ours, sizeof(ours), fmt, (unsigned)v);
		b = snprintf(theirs, sizeof(theirs), fmt, (unsigned)v);
	}
	if (a != b || strcmp(ours, theirs)) {
		diag("%s of %lx: \"%s\" (%d), not \"%s\" (%d)", fmt, v, ours, a, theirs, b);
		return false;
	}
	return true;
}

static bool
same_string(void)
{
	static const char *const texts[] = { "", "x", "hello", "a longer text than the width" };
	char fmt[32], ours[24], theirs[24];
	const char *text = texts[rand() % 4];
	size_t room = (size_t)rand() % sizeof(ours) + 1;
	int a, b;

	snprintf(fmt, sizeof(fmt), "%%%s%s%s%s|%%c%%%%%%-3c", rand() % 2 ? "-" : "",
		 widths[rand() % 4], rand() % 2 ? "." : "", rand() % 2 ? "3s" : "s");
	a = z_snprintf(ours, room, fmt, text, 'y', 'z');
	b = snprintf(theirs, room, fmt, text, 'y', 'z');
	if (a != b || strcmp(ours, theirs)) {
		diag("%s of \"%s\" in %zu: \"%s\" (%d), not \"%s\" (%d)", fmt, text, room, ours, a,
		     theirs, b);
		return false;
	}
	return true;
}

static void
test_printf(void)
{
	/* Not literals: the compiler would refuse them. */
	const char *volatile unfinished = "a%", *volatile unknown = "%q%d";
	const char *volatile nothing = NULL;
	char buf[64], untouched[4] = "abc";
	unsigned good = 0;

	for (unsigned i = 0; i < 200000; i++)
		good += same_number();
	ok(good == 200000, "numbers as the C library prints them");
	good = 0;
	for (unsigned i = 0; i < 100000; i++)
		good += same_string();
	ok(good == 100000, "strings and characters, cut to the buffer");
	z_snprintf(buf, sizeof(buf), "%*d|%-*d|%.*s", 4, 7, 3, 8, 2, "xyz");
	ok(!strcmp(buf, "   7|8  |xy"), "width and precision from arguments");
	z_snprintf(buf, sizeof(buf), "%*d|", -4, 7);
	ok(!strcmp(buf, "7   |"), "a negative width means left");
	z_snprintf(buf, sizeof(buf), "%p", (void *)0x1234);
	ok(!strcmp(buf, "0000000000001234"), "pointers have 16 digits");
	z_snprintf(buf, sizeof(buf), "%ld %ld", INT64_MIN, INT64_MAX);
	ok(!strcmp(buf, "-9223372036854775808 9223372036854775807"), "the ends of int64_t");
	z_snprintf(buf, sizeof(buf), "%s", nothing);
	ok(!strcmp(buf, "(null)"), "NULL is said");
	ok(z_snprintf(untouched, 0, "%d", 12345) == 5 && !strcmp(untouched, "abc"),
	   "a buffer of no bytes is left alone");
	z_snprintf(buf, sizeof(buf), unfinished);
	ok(!strcmp(buf, "a%!"),
	   "a percent sign at the end is shown, and nothing behind it is read");
	z_snprintf(buf, sizeof(buf), unknown, 5);
	ok(!strcmp(buf, "%!5"), "an unknown conversion is shown");
	console_length = 0;
	ok(z_printf("%s-%u\n", "to the console", 3u) == 17 &&
		   !memcmp(console, "to the console-3\n", 17) && console_length == 17,
	   "printf writes to the console and counts");
}

static bool
same_move(void)
{
	uint8_t ours[96], theirs[96];
	size_t n = (size_t)rand() % 33, from = (size_t)rand() % 64, to = (size_t)rand() % 64;

	for (size_t i = 0; i < sizeof(ours); i++)
		ours[i] = theirs[i] = (uint8_t)rand();
	if (z_memmove(ours + to, ours + from, n) != ours + to)
		return false;
	memmove(theirs + to, theirs + from, n);
	return !memcmp(ours, theirs, sizeof(ours));
}

static bool
same_fill(void)
{
	uint8_t ours[96] = { 0 }, theirs[96] = { 0 }, copy[96] = { 0 };
	size_t n = (size_t)rand() % 33, to = (size_t)rand() % 64;
	int c = rand();

	z_memset(ours + to, c, n);
	memset(theirs + to, c, n);
	z_memcpy(copy + to, theirs + to, n);
	return !memcmp(ours, theirs, sizeof(ours)) && !memcmp(copy, theirs, sizeof(copy));
}

static int
sign(int v)
{
	return (v > 0) - (v < 0);
}

static bool
same_order(void)
{
	char a[6], b[6];
	size_t n = (size_t)rand() % 7;

	for (unsigned i = 0; i < 5; i++) {
		a[i] = "a\377\0"[rand() % 3];
		b[i] = "a\377\0"[rand() % 3];
	}
	a[5] = b[5] = '\0';
	return sign(z_strcmp(a, b)) == sign(strcmp(a, b)) &&
	       sign(z_strncmp(a, b, n)) == sign(strncmp(a, b, n)) &&
	       sign(z_memcmp(a, b, n % 6)) == sign(memcmp(a, b, n % 6)) && z_strlen(a) == strlen(a);
}

static void
test_string(void)
{
	unsigned moves = 0, fills = 0, orders = 0;

	for (unsigned i = 0; i < 100000; i++) {
		moves += same_move();
		fills += same_fill();
		orders += same_order();
	}
	ok(moves == 100000, "memmove, however the two overlap");
	ok(fills == 100000, "memset and memcpy");
	ok(orders == 100000, "strcmp, strncmp, memcmp, strlen");
}

static void
test_parse(void)
{
	static const struct {
		const char *text;
		int error;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -EINVAL, 0 },
		{ "99999999999999999999", -EINVAL, 0 },
		{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "0XAbC", 0, 0xabc },
		{ "0x10000000000000000", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "12a", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "010", 0, 10 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t v = 0x5555;
		int error = parse_u64(cases[i].text, &v);

		ok(error == cases[i].error && v == (error ? 0x5555 : cases[i].value),
		   "parse_u64(\"%s\")", cases[i].text);
	}
}

static void
test_cmdline(void)
{
	char text[CMDLINE_MAX + 100];

	cmdline_init("/a/zeno.mb  paranoid=1 log flag=  panic=off --  echo a -- b; off");
	ok(!strcmp(cmdline_get("paranoid", "0"), "1"), "key=value");
	ok(!strcmp(cmdline_get("log", "0"), "1"), "a key alone is 1");
	ok(!strcmp(cmdline_get("flag", "x"), ""), "an empty value");
	ok(!strcmp(cmdline_get("panic", "stop"), "off"), "the last word before --");
	ok(!strcmp(cmdline_get("pan", "none"), "none"), "half a key is another key");
	ok(!strcmp(cmdline_get("echo", "none"), "none"), "commands are no options");
	ok(!strcmp(cmdline_commands(), "echo a -- b; off"), "the commands, from the first -- on");
	cmdline_init("-- off");
	ok(!strcmp(cmdline_commands(), "off") && !strcmp(cmdline_get("x", "y"), "y"), "-- first");
	commands = "";
	cmdline_init("a--b=1 --c --");
	ok(!strcmp(cmdline_commands(), "") && !strcmp(cmdline_get("a--b", ""), "1"),
	   "-- in a word");
	commands = "";
	cmdline_init("");
	ok(!strcmp(cmdline_commands(), "") && !strcmp(cmdline_get("x", "y"), "y"), "nothing");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	console_length = 0;
	cmdline_init(text);
	ok(console_length > 0, "what is cut off is said");
}

int
main(void)
{
	plan(11 + 3 + 14 + 11);
	srand(1);
	test_printf();
	test_string();
	test_parse();
	test_cmdline();
	return done_testing();
}
