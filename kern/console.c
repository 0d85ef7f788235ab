/*
 * The console: COM1 and VGA text out, COM1 and a PS/2 keyboard in, and the side channel.
 *
 * Input is polled: by the main loop between turns, and after each tick when idle. An interrupt
 * would only save up to 10 ms of a person's time, and COM1 holds 16 bytes meanwhile.
 *
 * PC16550D = National Semiconductor PC16550D data sheet, June 1995. VGA = IBM PS/2 Hardware
 * Interface Technical Reference, Video Subsystem, 1992. KBC = Intel 8042, as IBM's AT wired it.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/trap.h>

/* COM1: PC16550D 8.0 "Registers" */
#define COM1           0x3f8
#define UART_DATA      (COM1 + 0)
#define UART_IER       (COM1 + 1)
#define UART_FCR       (COM1 + 2)
#define UART_LCR       (COM1 + 3)
#define UART_MCR       (COM1 + 4)
#define UART_LSR       (COM1 + 5)
#define UART_SCRATCH   (COM1 + 7)
#define FCR_ENABLE     0x01
#define FCR_RESET_BOTH 0x06
#define LCR_8N1        0x03
#define LCR_DLAB       0x80
#define MCR_DTR_RTS    0x03
#define LSR_DATA_READY 0x01
#define LSR_THRE       0x20
#define DIVISOR_115200 1
#define IER_RECEIVED   0x01
#define MCR_OUT2       0x08   /* the way to the 8259 */
#define UART_PATIENCE  200000 /* polls of the LSR before a byte is given up */
#define SIDE_PORT      0xe9

#define VGA_COLUMNS     80
#define VGA_ROWS        25
#define VGA_TEXT        0xb8000
#define VGA_CRTC        0x3d4
#define VGA_CURSOR_HIGH 0x0e
#define VGA_CURSOR_LOW  0x0f
#define VGA_GREY        0x0700

#define KBC_STATUS     0x64
#define KBC_DATA       0x60
#define KBC_FULL       0x01
#define KBC_FROM_MOUSE 0x20

#define UART_IRQ 4
#define KBC_IRQ  1

static bool uart_there;
static uint16_t screen[VGA_ROWS * VGA_COLUMNS]; /* reading the card's memory is slow */
static unsigned cursor, cursor_shown = ~0u;

static void
uart_init(void)
{
	outb(UART_SCRATCH, 0x5a);
	uart_there = inb(UART_SCRATCH) == 0x5a;
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_DLAB);
	outb(UART_DATA, DIVISOR_115200);
	outb(UART_IER, 0); /* the divisor's high byte while DLAB is set */
	outb(UART_LCR, LCR_8N1);
	outb(UART_FCR, FCR_ENABLE | FCR_RESET_BOTH);
	outb(UART_MCR, MCR_DTR_RTS);
}

static void
uart_putc(int c)
{
	unsigned patience = UART_PATIENCE;

	if (!uart_there)
		return;
	/* Bochs drops a byte that is written while THRE is 0. */
	while (!(inb(UART_LSR) & LSR_THRE))
		if (!--patience)
			return;
	outb(UART_DATA, (uint8_t)c);
}

static int
uart_getc(void)
{
	if (!uart_there || !(inb(UART_LSR) & LSR_DATA_READY))
		return -1;
	return inb(UART_DATA);
}

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

static void
vga_putc(int c)
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
static void
vga_show_cursor(void)
{
	if (cursor == cursor_shown)
		return;
	cursor_shown = cursor;
	outb(VGA_CRTC, VGA_CURSOR_HIGH);
	outb(VGA_CRTC + 1, (uint8_t)(cursor >> 8));
	outb(VGA_CRTC, VGA_CURSOR_LOW);
	outb(VGA_CRTC + 1, (uint8_t)cursor);
}

/*
 * Scan codes of set 1, which the 8042 translates to, for a US keyboard: plain, with shift. The gaps
 * are keys that give no character.
 */
static const char keys[2][0x3a] = {
	"\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ",
	"\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ",
};

#define KEY_RELEASED    0x80
#define KEY_EXTENDED    0xe0
#define KEY_CTRL        0x1d
#define KEY_LEFT_SHIFT  0x2a
#define KEY_RIGHT_SHIFT 0x36
#define KEY_UP          0x48 /* after KEY_EXTENDED */
#define KEY_DOWN        0x50
#define CTRL(c)         ((c)&0x1f)

static int
key_char(unsigned code, bool extended, bool shift, bool ctrl)
{
	int c;

	if (extended && code == KEY_UP)
		return CTRL('P');
	if (extended && code == KEY_DOWN)
		return CTRL('N');
	if (code >= sizeof(keys[0]) || !keys[shift][code])
		return -1;
	c = keys[shift][code];
	if (ctrl && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
		return CTRL(c);
	return c;
}

static int
keyboard_getc(void)
{
	static bool shift, ctrl, extended;
	uint8_t status = inb(KBC_STATUS);
	unsigned code;
	bool pressed, was_extended = extended;

	if (status == 0xff || !(status & KBC_FULL)) /* 0xff: no controller */
		return -1;
	code = inb(KBC_DATA);
	if (status & KBC_FROM_MOUSE)
		return -1;
	extended = code == KEY_EXTENDED;
	if (extended)
		return -1;
	pressed = !(code & KEY_RELEASED);
	code &= ~KEY_RELEASED & 0xff;
	if (code == KEY_LEFT_SHIFT || code == KEY_RIGHT_SHIFT) {
		if (!was_extended) /* E0 2A is no shift, but a part of the cursor keys */
			shift = pressed;
	} else if (code == KEY_CTRL) {
		ctrl = pressed;
	} else if (pressed) {
		return key_char(code, was_extended, shift, ctrl);
	}
	return -1;
}

void
console_init(void)
{
	uart_init();
	vga_fill(0, VGA_ROWS * VGA_COLUMNS);
	vga_show(0, VGA_ROWS * VGA_COLUMNS);
}

void
console_putc(int c)
{
	uart_putc(c);
	vga_putc(c);
}

int
console_getc(void)
{
	int c;

	vga_show_cursor();
	c = uart_getc();
	return c >= 0 ? c : keyboard_getc();
}

void
side_printf(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (const char *s = line; *s; s++)
		outb(SIDE_PORT, (uint8_t)*s);
}

/* The character stays in the device until the monitor looks. */
static void
typed(void *arg)
{
}

void
console_interrupts(void)
{
	irq_register(KBC_IRQ, typed, NULL);
	if (!uart_there)
		return;
	irq_register(UART_IRQ, typed, NULL);
	outb(UART_IER, IER_RECEIVED);
	outb(UART_MCR, MCR_DTR_RTS | MCR_OUT2);
}
