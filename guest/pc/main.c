/*
 * What kernels take for granted when a boot loader on a PC starts them: the modules that were asked
 * for, the words of the BIOS data area, a keyboard controller that answers, a text display that
 * remembers. It prints what it finds, so that its output can be compared with the bare machine's.
 * Its entry is a linear address (boot.asm).
 */
#include <guest/lib/guest.h>

#define MODULES  (1u << 3) /* Multiboot 0.6.96 section 3.3: words 5 and 6 */
#define MMAP     (1u << 6) /* words 11 and 12 */
#define DATA     0x60
#define STATUS   0x64
#define FULL     1u /* the controller has a byte for us */
#define BUSY     2u /* it has not yet taken ours */
#define A20      2u
#define PORT_92  0x92
#define PIC      0x20
#define READ_IRR 0x0au
#define PIT      0x40
#define PORT_B   0x61
#define SLOW     0xffffu /* 55 ms of the 8254 */
#define FAST     1193u   /* 1 ms */
#define EDGES    20
#define TRIES    8
#define CRTC     0x3d4
#define VGA      0x3da
#define RETRACE  8u
#define TEXT     ((volatile uint16_t *)0xb8000)
#define COM1_LSR 0x3fd
#define LSR_TEMT 0x40

static void
say(const char *what, uint32_t value)
{
	print(what);
	put(' ');
	print_hex(value);
	put('\n');
}

static const char *
behind_name(const char *s)
{
	while (*s && *s != ' ')
		s++;
	return s;
}

static void
modules(const uint32_t *info)
{
	const uint32_t *m = (const uint32_t *)info[6];
	uint32_t count = info[0] & MODULES ? info[5] : 0;

	say("modules", count);
	for (uint32_t i = 0; i < count; i++, m += 4) {
		uint32_t sum = 0;

		for (const uint8_t *p = (const uint8_t *)m[0]; p < (const uint8_t *)m[1]; p++)
			sum = sum * 31 + *p;
		say("module", i);
		say("  bytes", m[1] - m[0]);
		say("  sum", sum);
		print("  words:");
		print(behind_name((const char *)m[2]));
		put('\n');
	}
}

static void
firmware(const uint32_t *info)
{
	static volatile uint32_t base =
		0x400; /* no constant to the compiler, which distrusts low addresses */
	const uint16_t *area = (const uint16_t *)base;
	const uint32_t *map = (const uint32_t *)info[12];

	say("COM1", area[0]);
	say("extended area", area[7]);
	say("KiB below it", *(const uint16_t *)(base + 0x13));
	say("its own KiB", *(const uint8_t *)(area[7] * 16u));
	if (info[0] & MMAP)
		say("memory map: pages of the first piece", map[3] / 4096);
}

static void
command(uint32_t value)
{
	while (inb(STATUS) & BUSY)
		;
	outb(STATUS, value);
}

static uint32_t
answer(uint32_t value)
{
	command(value);
	while (!(inb(STATUS) & FULL))
		;
	return inb(DATA);
}

static void
controller(void)
{
	uint32_t output;

	command(0xad); /* no keyboard while we talk */
	while (inb(STATUS) & FULL)
		inb(DATA);
	say("self test", answer(0xaa));
	output = answer(0xd0);
	say("A20 by the controller", output & A20);
	command(0xd1);
	while (inb(STATUS) & BUSY)
		;
	outb(DATA, output | A20 | 1);
	say("A20 by the controller", answer(0xd0) & A20);
	say("A20 by port 92", inb(PORT_92) & A20);
	command(0x60);
	while (inb(STATUS) & BUSY)
		;
	outb(DATA, 0x74);
	say("its mode", answer(0x20));
}

static void
display(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		outb(CRTC, 0x0e + i);
		outb(CRTC + 1, 0x12 + i * 0x22);
	}
	for (uint32_t i = 0; i < 2; i++) {
		outb(CRTC, 0x0e + i);
		say("cursor", inb(CRTC + 1));
	}
	while (!(inb(VGA) & RETRACE))
		;
	while (inb(VGA) & RETRACE)
		;
	print("a retrace has come and gone\n");
	for (uint32_t i = 0; i < 80 * 25; i++)
		TEXT[i] = (uint16_t)(0x0700 | ('a' + i % 26));
	say("text", TEXT[0] | (uint32_t)TEXT[80 * 25 - 1] << 16);
}

static void
set_counter(uint32_t channel, uint32_t mode, uint32_t count)
{
	outb(PIT + 3, channel << 6 | 0x30 | mode << 1);
	outb(PIT + channel, count & 0xff);
	outb(PIT + channel, count >> 8);
}

/* No request is left of before; all are masked, and IRR can be read. */
static void
clear_requests(void)
{
	outb(PIC, 0x11);
	outb(PIC + 1, 0x20);
	outb(PIC + 1, 4);
	outb(PIC + 1, 1);
	outb(PIC + 1, 0xff);
	outb(PIC, READ_IRR);
}

/* How long the 8254's line takes to rise when a slow count has given way to a fast one. */
static uint32_t
time_to_rise(void)
{
	uint32_t left;

	set_counter(0, 2, SLOW);
	for (int i = 0; i < EDGES; i++) { /* who runs the machine may have some to hand on */
		clear_requests();
		inb(PIC);
	}
	set_counter(2, 0, SLOW); /* the stopwatch */
	set_counter(0, 2, FAST);
	while (!(inb(PIC) & 1))
		;
	outb(PIT + 3, 2u << 6);
	left = inb(PIT + 2);
	left |= inb(PIT + 2) << 8;
	return inb(PORT_B) & 0x20 ? SLOW : SLOW - left; /* it has run out, or not */
}

/* Whoever runs the machine may be called away meanwhile, but not each time. */
static void
clock(void)
{
	uint32_t least = SLOW, time;

	outb(PORT_B, 1); /* the gate of channel 2 */
	for (int i = 0; i < TRIES; i++) {
		time = time_to_rise();
		if (time < least)
			least = time;
	}
	say("the 8254 ticks late", least > 4 * FAST);
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic;
	console_init();
	print("a guest that looks at its PC\n");
	modules(info);
	firmware(info);
	controller();
	clock();
	display();
	while (!(inb(COM1_LSR) & LSR_TEMT)) /* Bochs loses what is still on its way */
		;
	return 0;
}
