/* BUILD: vmm/dev/i8042.c vmm/dev/keyboard.c */
/*
 * What keys send (PS2, as vmm/dev/keyboard.h names it): set 2, and set 1 where the controller
 * translates; what is not a key's; who has no keys. tests/devices.t has the commands.
 */
#include <string.h>

#include <vmm/dev/i8042.h>

#include "draw.h"
#include "tap.h"

static struct i8042 k;

static void
out(uint16_t port, uint8_t value)
{
	i8042_write(&k, port, value);
}

/* All that comes, in hex. */
static const char *
sent(void)
{
	static char text[64];
	unsigned n = 0;

	text[0] = 0;
	while (i8042_read(&k, I8042_STATUS) & 1 && n + 2 < sizeof(text))
		n += (unsigned)snprintf(text + n, 3, "%02x", i8042_read(&k, I8042_DATA));
	return text;
}

static const char *
typed(uint8_t c)
{
	i8042_type(&k, c);
	return sent();
}

/* 0x45: translation, and interrupts; 0x05: no translation. */
static void
start(uint8_t mode)
{
	i8042_init(&k);
	out(I8042_STATUS, 0x60);
	out(I8042_DATA, mode);
}

static void
is(const char *got, const char *want, const char *name)
{
	ok(!strcmp(got, want), "%s: %s", name, got);
}

/* One of each row of keys, with and without Shift, and by Control. */
static void
test_codes(void)
{
	static const struct {
		uint8_t c;
		const char *set1, *set2;
	} keys[] = {
		{ 0x1b, "0181", "76f076" },          { '1', "0282", "16f016" },
		{ '_', "2a0c8caa", "124ef04ef012" }, { '\b', "0e8e", "66f066" },
		{ 0x7f, "0e8e", "66f066" },          { '\t', "0f8f", "0df00d" },
		{ 'p', "1999", "4df04d" },           { '}', "2a1b9baa", "125bf05bf012" },
		{ '\r', "1c9c", "5af05a" },          { '\n', "1c9c", "5af05a" },
		{ 'A', "2a1e9eaa", "121cf01cf012" }, { '~', "2a29a9aa", "120ef00ef012" },
		{ '\\', "2bab", "5df05d" },          { '/', "35b5", "4af04a" },
		{ '*', "2a0989aa", "123ef03ef012" }, { ' ', "39b9", "29f029" },
		{ 3, "1d2eae9d", "1421f021f014" },   { 0x1d, "1d1b9b9d", "145bf05bf014" },
		{ 0, "1d03839d", "141ef01ef014" },   { 0xe4, "", "" },
	};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		start(0x45);
		is(typed(keys[i].c), keys[i].set1, "set 1");
		start(0x05);
		is(typed(keys[i].c), keys[i].set2, "set 2");
	}
	start(0x05);
	out(I8042_DATA, 0xf0);
	out(I8042_DATA, 1);
	is(sent(), "fa", "the keyboard is told to send set 1");
	is(typed('a'), "1e9e", "... and does, without translation");
}

/* IRQ 1 is the output buffer, if the mode lets it through; keys wait for what was before. */
static void
test_waits(void)
{
	start(0x45);
	ok(i8042_takes_keys(&k), "nothing waits: the next key may come");
	i8042_type(&k, 'a');
	ok(!i8042_irq(&k) && !i8042_takes_keys(&k), "a key is on its way");
	i8042_update(&k);
	ok(i8042_irq(&k), "its first byte is there");
	i8042_read(&k, I8042_DATA);
	ok(!i8042_irq(&k) && !i8042_is_idle(&k), "between two bytes the line is low");
	i8042_update(&k);
	ok(i8042_irq(&k), "... and high again");
	i8042_read(&k, I8042_DATA);
	ok(i8042_takes_keys(&k), "the key is over");
	i8042_type(&k, 'a');
	out(I8042_DATA, 0xee);
	is(sent(), "ee1e9e", "an answer comes before keys");
	start(0x44);
	i8042_type(&k, 'a');
	i8042_update(&k);
	ok(!i8042_irq(&k), "no interrupt without the mode's bit");
	out(I8042_STATUS, 0xad);
	ok(!i8042_takes_keys(&k), "no keys while its interface is off");
	start(0x45);
	out(I8042_DATA, 0xf5);
	is(sent(), "fa", "the keyboard is disabled");
	is(typed('a'), "", "... and sends no key");
	ok(!i8042_takes_keys(&k), "... nor is asked for one");
	out(I8042_DATA, 0xf4);
	is(sent(), "fa", "enabled again");
	is(typed('a'), "1e9e", "it sends keys");
}

/* More keys than there is room for are lost whole. */
static void
test_full(void)
{
	start(0x05);
	for (unsigned i = 0; i < 5; i++)
		i8042_type(&k, 'A');
	is(sent(), "121cf01cf012121cf01cf012", "two keys of six bytes, and no part of a third");
}

/* Its commands, and bytes that are none: to the keyboard, or to the controller. */
static uint8_t
any_byte(void)
{
	static const uint8_t known[] = { 0x20, 0x60, 0x60, 0xd1, 0xd2, 0xd3, 0xd4, 0xa9, 0xaa,
					 0xad, 0xae, 0xd0, 0xed, 0xee, 0xf0, 0xf2, 0xf3, 0xf4,
					 0xf5, 0xf6, 0xff, 0,    1,    2,    3,    0x45, 0x05 };

	return draw(3) ? known[draw(sizeof(known))] : (uint8_t)draw(256);
}

/*
 * A guest that means harm, and keys all the while: the keyboard keeps no more than there is room
 * for.
 */
static void
test_any(void)
{
	bool good = true;

	i8042_init(&k);
	for (unsigned n = 0; n < 500000 && good; n++) {
		uint16_t port = draw(2) ? I8042_DATA : I8042_STATUS;

		switch (draw(5)) {
		case 0:
			i8042_read(&k, draw(9) ? port : FAST_A20);
			break;
		case 1: /* whoever types asks first; a person does not */
			if (draw(2) || i8042_takes_keys(&k))
				i8042_type(&k, (uint8_t)draw(256));
			break;
		case 2:
			i8042_update(&k);
			break;
		default:
			i8042_write(&k, draw(9) ? port : FAST_A20, any_byte());
		}
		good = k.keyboard.count <= KEYBOARD_QUEUE &&
		       k.keyboard.replies <= k.keyboard.count &&
		       (k.keyboard.set == 1 || k.keyboard.set == 2);
	}
	ok(good,
	   "half a million accesses and keys at random: the queue holds, %u of which %u are answers",
	   k.keyboard.count, k.keyboard.replies);
	for (unsigned n = 0; n < 100; n++)
		i8042_read(&k, I8042_DATA);
	out(I8042_STATUS, 0xae);
	while (k.waits || k.keyboard.waits)
		out(I8042_DATA, 0);
	sent();
	out(I8042_DATA, 0xee);
	is(sent(), "ee", "behind them it answers as ever");
}

int
main(void)
{
	test_codes();
	test_waits();
	test_full();
	test_any();
	return done_testing();
}
