/*
 * An AT keyboard of 101 keys, as QEMU has it: its answers come before keys that wait, a new command
 * drops what is left of the last one's, and where the controller translates it sends set 1 itself.
 * It has no set 3 and repeats no key.
 */
#include <string.h>

#include <vmm/dev/keyboard.h>

/* PS2 "Commands from the System", "Commands to the System". */
#define SET_LEDS     0xed
#define ECHO         0xee
#define SCAN_CODES   0xf0
#define IDENTIFY     0xf2
#define SET_RATE     0xf3
#define ENABLE       0xf4
#define DISABLE      0xf5
#define SET_DEFAULTS 0xf6
#define ALL_KEYS     0xfa /* make, break, repeat */
#define RESET        0xff

#define ACK    0xfa
#define RESEND 0xfe
#define PASSED 0xaa

#define UP      0x80 /* set 1: the key goes up */
#define UP_NEXT 0xf0 /* set 2: the next byte's */
#define SHIFT   0x2a /* set 1 */
#define CONTROL 0x1d

/* What the keys are engraved with, by their codes of set 1 from 1 on; the same with Shift. */
static const char plain[] = "\x1b"
			    "1234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "\x1b"
			      "!@#$%^&*()_+\b\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

/* Those keys' codes of set 2 (PS2 "Scan Code Set 2"). */
static const uint8_t set2[] = {
	0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
	0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c,
	0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22,
	0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29,
};
#define KEYS sizeof(set2)
_Static_assert(sizeof(plain) == KEYS + 1 && sizeof(shifted) == KEYS + 1, "a code for each key");

static void
set_defaults(struct keyboard *k, bool scans)
{
	*k = (struct keyboard){ .set = 2, .scans = scans };
}

void
keyboard_init(struct keyboard *k)
{
	set_defaults(k, true);
}

/* Instead of what is left of the answer before, and in front of keys. */
static void
reply(struct keyboard *k, const uint8_t *bytes, unsigned n)
{
	uint8_t keys[KEYBOARD_QUEUE];
	unsigned count = k->count - k->replies;

	if (count > KEYBOARD_QUEUE - n)
		count = KEYBOARD_QUEUE - n;
	memcpy(keys, k->queue + k->replies, count);
	memcpy(k->queue, bytes, n);
	memcpy(k->queue + n, keys, count);
	k->replies = (uint8_t)n;
	k->count = (uint8_t)(n + count);
}

static void
reply_byte(struct keyboard *k, uint8_t byte)
{
	reply(k, &byte, 1);
}

static void
operand(struct keyboard *k, uint8_t value, bool translates)
{
	/* the sets' numbers, translated as if they were scan codes */
	static const uint8_t translated[] = { 0, 0x43, 0x41 };
	uint8_t command = k->waits;

	k->waits = 0;
	if (command == SET_LEDS)
		k->leds = value;
	if (command != SCAN_CODES) {
		reply_byte(k, ACK);
	} else if (!value) {
		uint8_t set[] = { ACK, translates ? translated[k->set] : k->set };

		reply(k, set, sizeof(set));
	} else {
		if (value <= 2)
			k->set = value;
		reply_byte(k, value <= 2 ? ACK : RESEND);
	}
}

void
keyboard_write(struct keyboard *k, uint8_t value, bool translates)
{
	uint8_t id[] = { ACK, 0xab, translates ? 0x41 : 0x83 };
	static const uint8_t reset[] = { ACK, PASSED };

	if (k->waits) {
		operand(k, value, translates);
		return;
	}
	switch (value) {
	case SET_LEDS:
	case SCAN_CODES:
	case SET_RATE:
		k->waits = value;
		break;
	case ECHO:
		reply_byte(k, ECHO);
		return;
	case IDENTIFY:
		reply(k, id, sizeof(id));
		return;
	case ENABLE:
		k->scans = k->enabled = true;
		break;
	case DISABLE:
	case SET_DEFAULTS:
		set_defaults(k, value == SET_DEFAULTS);
		break;
	case RESET:
		set_defaults(k, true);
		reply(k, reset, sizeof(reset));
		return;
	case ALL_KEYS:
	case 0: /* QEMU's: SeaBIOS' neighbours in DOS ask so whether there is one */
		break;
	default:
		reply_byte(k, RESEND);
		return;
	}
	reply_byte(k, ACK);
}

uint8_t
keyboard_take(struct keyboard *k)
{
	uint8_t byte = k->queue[0];

	k->count--;
	for (unsigned i = 0; i < k->count; i++)
		k->queue[i] = k->queue[i + 1];
	k->replies -= k->replies > 0;
	return byte;
}

static void
key(struct keyboard *k, uint8_t code, bool up, bool translates)
{
	bool first = translates || k->set == 1;

	if (!first && up)
		k->queue[k->count++] = UP_NEXT;
	k->queue[k->count++] = first ? (uint8_t)(code | (up ? UP : 0)) : set2[code - 1];
}

void
keyboard_type(struct keyboard *k, uint8_t c, bool translates)
{
	uint8_t code = 0, held = 0;
	bool control;

	c = c == '\n' ? '\r' : c == 0x7f ? '\b' : c;
	control = c < 0x20 && c != '\b' && c != '\t' && c != '\r' && c != 0x1b;
	if (control)
		c = (uint8_t)(c && c < 0x1b ? c | 0x60 : c | 0x40);
	for (uint8_t i = 0; i < KEYS && c; i++) {
		if (plain[i] != (char)c && shifted[i] != (char)c)
			continue;
		code = i + 1;
		held = control ? CONTROL : plain[i] != (char)c ? SHIFT : 0;
		break;
	}
	if (!code || !k->scans || KEYBOARD_QUEUE - k->count < 6)
		return;
	if (held)
		key(k, held, false, translates);
	key(k, code, false, translates);
	key(k, code, true, translates);
	if (held)
		key(k, held, true, translates);
}
