/*
 * What would be seen on a guest's display: the monitor's `screen`.
 *
 * A text mode of 80 columns and 25 rows, which is all there is: the memory at b8000 holds a cell's
 * character and its colours, and the CRTC's registers say at which cell the picture begins, and
 * where the cursor is (VGA 2 "CRT Controller Registers"). Both count cells, and the memory's end
 * leads to its beginning again, so there is no value of them that shows something else.
 *
 * The guest chooses the characters: none of them moves the terminal's cursor, and each row begins
 * with a sign, so no row can be taken for a line of the monitor's.
 *
 * VGA = IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, 1992.
 */
#include <kern/kern.h>
#include <vmm/dev/crtc.h>
#include <vmm/dev/platform.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/words/monitor.h>

#define TEXT       0xb8000u
#define TEXT_CELLS 0x4000u /* of 16 bits: to bffff */
#define COLUMNS    80u
#define ROWS       25u

enum { CURSOR_START = 0x0a, START_HIGH = 0x0c, CURSOR_HIGH = 0x0e };
#define CURSOR_OFF 0x20

static unsigned
address(const struct crtc *c, unsigned high)
{
	return ((unsigned)c->reg[high] << 8 | c->reg[high + 1]) % TEXT_CELLS;
}

/* Of the characters beyond ASCII the lines of frames are drawn, roughly (code page 437). */
static char
shown(uint8_t c)
{
	if (c >= ' ' && c <= '~')
		return (char)c;
	if (!c || c == 0xff)
		return ' ';
	if (c == 0xc4 || c == 0xcd)
		return '-';
	if (c == 0xb3 || c == 0xba)
		return '|';
	return c > 0xb3 && c < 0xdb ? '+' : '.';
}

/* Without the blanks at its end; 0: it is empty. */
static unsigned
row(struct domain *d, unsigned cell, char *text)
{
	unsigned len = 0;

	for (unsigned i = 0; i < COLUMNS; i++) {
		uint8_t c = 0;

		gpa_read(d, gpa(TEXT + 2 * ((cell + i) % TEXT_CELLS)), &c, 1);
		text[i] = shown(c);
		if (text[i] != ' ')
			len = i + 1;
	}
	text[len] = '\0';
	return len;
}

static void
print_screen(struct domain *d, const struct crtc *c)
{
	unsigned start = address(c, START_HIGH), rows = 0;
	unsigned cursor = (address(c, CURSOR_HIGH) - start) % TEXT_CELLS;
	char text[COLUMNS + 1];

	for (unsigned i = 0; i < ROWS; i++)
		if (row(d, start + COLUMNS * i, text))
			rows = i + 1;
	for (unsigned i = 0; i < rows; i++) {
		row(d, start + COLUMNS * i, text);
		printf("| %s\n", text);
	}
	if (c->reg[CURSOR_START] & CURSOR_OFF || cursor >= ROWS * COLUMNS)
		printf("d%u: %u rows of 25, no cursor\n", d->id, rows);
	else
		printf("d%u: %u rows of 25, cursor in row %u, column %u\n", d->id, rows,
		       cursor / COLUMNS, cursor % COLUMNS);
}

static int
screen(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);
	const struct crtc *c;

	if (!d)
		return MONITOR_SAID;
	c = d->platform && d->platform->display ? d->platform->display(d) : NULL;
	if (!c) {
		printf("d%u has no display, or it is its device model's\n", d->id);
		return MONITOR_SAID;
	}
	print_screen(d, c);
	return 0;
}
MONITOR_COMMAND(screen, "screen", "[ID]", "the text that a guest's display would show");
