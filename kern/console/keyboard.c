/*
 * A PS/2 keyboard behind the 8042, polled.
 *
 * KBC = Intel 8042, as IBM's AT wired it.
 */
#include <kern/console/console.h>
#include <kern/cpu.h>
#include <kern/kern.h>

#define KBC_STATUS     0x64
#define KBC_DATA       0x60
#define KBC_FULL       0x01
#define KBC_FROM_MOUSE 0x20

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

int
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
