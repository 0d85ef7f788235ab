/*
 * The keyboard controller of a PC without a mouse: kernels wait for it, ask it about A20, reset the
 * machine by it, and have keys by it (keyboard.c). One byte waits for the guest at a time, the
 * controller's own before the keyboard's.
 *
 * A20 is on and stays on: off it is a thing of real mode. i8042.h says what PC/AT is.
 */
#include <stddef.h>

#include <vmm/dev/i8042.h>

#define STATUS_FULL     0x01 /* a byte waits at port 60 */
#define STATUS_SYSTEM   0x04 /* the self test has been passed */
#define STATUS_COMMAND  0x08 /* the last byte came to port 64 */
#define STATUS_UNLOCKED 0x10
#define STATUS_TIMEOUT  0x40 /* a device did not answer */

#define MODE_INTERRUPTS   0x01
#define MODE_KEYBOARD_OFF 0x10
#define MODE_AUX_OFF      0x20
#define MODE_TRANSLATES   0x40

#define OUTPUT_RUN  0x01 /* 0: the CPU is reset */
#define OUTPUT_A20  0x02
#define OUTPUT_FULL 0x10 /* IRQ 1's wire, whatever the mode */

#define NO_ANSWER 0xfe /* "resend", with STATUS_TIMEOUT */

static const char resets[] = "it reset the machine";
static const char no_a20[] = "it turned address line 20 off, which stays on here";

void
i8042_init(struct i8042 *k)
{
	*k = (struct i8042){ .status = STATUS_SYSTEM | STATUS_COMMAND | STATUS_UNLOCKED,
			     .mode = 0x45 |
				     MODE_AUX_OFF, /* as firmware leaves it, but for the mouse */
			     .output = 0xcc | OUTPUT_RUN | OUTPUT_A20 };
	keyboard_init(&k->keyboard);
}

void
i8042_update(struct i8042 *k)
{
	bool keyboard = k->keyboard.count && !(k->mode & MODE_KEYBOARD_OFF);

	if (k->status & STATUS_FULL || !(k->answers || keyboard))
		return;
	k->own = k->answers;
	k->status |= STATUS_FULL;
}

bool
i8042_irq(const struct i8042 *k)
{
	return k->status & STATUS_FULL &&
	       (k->mode & (MODE_INTERRUPTS | MODE_KEYBOARD_OFF)) == MODE_INTERRUPTS;
}

bool
i8042_is_idle(const struct i8042 *k)
{
	return !(k->status & STATUS_FULL || k->answers || k->keyboard.count);
}

bool
i8042_takes_keys(const struct i8042 *k)
{
	return i8042_is_idle(k) && k->keyboard.scans && !(k->mode & MODE_KEYBOARD_OFF);
}

void
i8042_type(struct i8042 *k, uint8_t c)
{
	keyboard_type(&k->keyboard, c, k->mode & MODE_TRANSLATES);
}

static void
answer(struct i8042 *k, uint8_t byte, uint8_t status)
{
	k->answer = byte;
	k->answers = true;
	k->status = (uint8_t)((k->status & ~STATUS_TIMEOUT) | status);
}

/* A port whose bit 1 is A20; `run` is true if the other bit lets the CPU run. */
static const char *
lines(uint8_t value, bool run)
{
	if (!run)
		return resets;
	return value & OUTPUT_A20 ? NULL : no_a20;
}

static const char *
command(struct i8042 *k, uint8_t value)
{
	k->status |= STATUS_COMMAND;
	switch (value) {
	case 0x20:
		answer(k, k->mode, 0);
		break;
	case 0x60: /* write: the mode, the output port, a byte that seems to come from keyboard, mouse, or goes to it */
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xd4:
		k->waits = value;
		break;
	case 0xa7:
		k->mode |= MODE_AUX_OFF;
		break;
	case 0xa8:
		k->mode &= (uint8_t)~MODE_AUX_OFF;
		break;
	case 0xa9: /* the mouse's clock line hangs: there is none */
		answer(k, 0x01, 0);
		break;
	case 0xaa:
		answer(k, 0x55, STATUS_SYSTEM);
		break;
	case 0xab:
		answer(k, 0x00, 0);
		break;
	case 0xad:
		k->mode |= MODE_KEYBOARD_OFF;
		break;
	case 0xae:
		k->mode &= (uint8_t)~MODE_KEYBOARD_OFF;
		break;
	case 0xc0:
		answer(k, 0x80, 0); /* the input port: the lock is open */
		break;
	case 0xd0:
		answer(k, (uint8_t)(k->output | (k->status & STATUS_FULL ? OUTPUT_FULL : 0)), 0);
		break;
	default: /* 0xf0 up: the low lines of the output port that are 0 in it go low for 6 microseconds */
		return value >= 0xf0 && !(value & OUTPUT_RUN) ? resets : NULL;
	}
	return NULL;
}

static const char *
data(struct i8042 *k, uint8_t value)
{
	uint8_t first = k->waits;

	k->waits = 0;
	k->status &= (uint8_t)~STATUS_COMMAND;
	switch (first) {
	case 0x60:
		k->mode = value;
		return NULL;
	case 0xd1:
		k->output = value | OUTPUT_RUN | OUTPUT_A20;
		return lines(value, value & OUTPUT_RUN);
	case 0xd2:
	case 0xd3:
		answer(k, value, 0);
		return NULL;
	case 0xd4:
		answer(k, NO_ANSWER, STATUS_TIMEOUT);
		return NULL;
	default: /* to the keyboard, which is heard then */
		k->mode &= (uint8_t)~MODE_KEYBOARD_OFF;
		keyboard_write(&k->keyboard, value, k->mode & MODE_TRANSLATES);
		return NULL;
	}
}

uint8_t
i8042_read(struct i8042 *k, uint16_t port)
{
	if (port == FAST_A20)
		return OUTPUT_A20;
	i8042_update(k);
	if (port == I8042_STATUS)
		return k->status;
	if (!(k->status & STATUS_FULL))
		return k->data;
	k->status &= (uint8_t) ~(STATUS_FULL | STATUS_TIMEOUT);
	if (k->own)
		k->data = k->answer;
	else if (k->keyboard.count) /* not if it was reset since */
		k->data = keyboard_take(&k->keyboard);
	k->answers &= !k->own;
	return k->data;
}

const char *
i8042_write(struct i8042 *k, uint16_t port, uint8_t value)
{
	const char *why;

	if (port == FAST_A20)
		return lines(value, !(value & 1));
	i8042_update(k); /* what has come before is read first */
	why = port == I8042_STATUS ? command(k, value) : data(k, value);
	i8042_update(k);
	return why;
}
