/*
 * Text on a VGA screen.
 *
 * VGA = IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, 1992.
 */
#include <kern/console/console.h>
#include <kern/cpu.h>
#include <kern/kern.h>
#include <kern/map.h>

#define VGA_COLUMNS     80
#define VGA_ROWS        25
#define VGA_TEXT        0xb8000
#define VGA_CRTC        0x3d4
#define VGA_CURSOR_HIGH 0x0e
#define VGA_CURSOR_LOW  0x0f
#define VGA_GREY        0x0700

static uint16_t screen[VGA_ROWS * VGA_COLUMNS]; /* reading the card's memory is slow */
static unsigned cursor, cursor_shown = ~0u;

static void
vga_show(unsigned from, unsigned cells)
{
	volatile uint16_t *text = hpa_ptr(hpa(VGA_TEXT));

	for (; cells; from++, cells--)
		text[from] = screen[from];
}

static void
vga_fill(unsigned from, unsigned cells)
{
	for (; cells; from++, cells--)
		screen[from] = VGA_GREY | ' ';
}

static void
vga_scroll(void)
{
	const unsigned kept = (VGA_ROWS - 1) * VGA_COLUMNS;

	memmove(screen, screen + VGA_COLUMNS, kept * sizeof(screen[0]));
	vga_fill(kept, VGA_COLUMNS);
	cursor -= VGA_COLUMNS;
	memcpy(hpa_ptr(hpa(VGA_TEXT)), screen, sizeof(screen)); /* for each line, so by 8 bytes */
}

void
screen_putc(int c)
{
	switch (c) {
	case '\n':
		cursor += VGA_COLUMNS - cursor % VGA_COLUMNS;
		break;
	case '\r':
		cursor -= cursor % VGA_COLUMNS;
		break;
	case '\t':
		cursor += 8 - cursor % 8;
		break;
	case '\b':
		if (cursor % VGA_COLUMNS)
			cursor--;
		break;
	default:
		screen[cursor] = (uint16_t)(VGA_GREY | (c & 0xff));
		vga_show(cursor++, 1);
	}
	if (cursor >= VGA_ROWS * VGA_COLUMNS)
		vga_scroll();
}

/* Four port writes: only when someone waits for input, not for every character. */
void
screen_show_cursor(void)
{
	if (cursor == cursor_shown)
		return;
	cursor_shown = cursor;
	outb(VGA_CRTC, VGA_CURSOR_HIGH);
	outb(VGA_CRTC + 1, (uint8_t)(cursor >> 8));
	outb(VGA_CRTC, VGA_CURSOR_LOW);
	outb(VGA_CRTC + 1, (uint8_t)cursor);
}

void
screen_init(void)
{
	vga_fill(0, VGA_ROWS * VGA_COLUMNS);
	vga_show(0, VGA_ROWS * VGA_COLUMNS);
}
