/*
 * Makes random scripts of port accesses. They stay away from what QEMU does otherwise than the
 * datasheets: EXCEPTION in a comment says what, and there are no others.
 */
#include <stdio.h>
#include <string.h>

#include "model.h"

#define SETTLE     2000   /* ns between the steps of a script for the 8254: more than two pulses */
#define CHARACTERS 500000 /* ns: more than four characters of 12 bits at 115200 baud */
#define CASCADE    (1u << PIC_CASCADE)

static struct machine m; /* our devices, as the script leaves them */
static uint64_t seed;

static unsigned
below(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static void
emit(enum op op, uint16_t port, uint32_t value)
{
	struct step s = { .op = op, .port = port, .value = value };

	fwrite(&s, sizeof(s), 1, stdout);
	play(&m, &s, 0);
}

/* ---- the 8259s ---- */

static uint8_t
edge_requests(const struct pic_chip *c)
{
	return c->irr & ~c->elcr;
}

/*
 * EXCEPTION: QEMU's 8259A keeps an edge's request when its line falls, the datasheet's withdraws
 * it. A step that would withdraw one, the slave's INT included, is left out.
 */
static bool
withdraws(const struct step *s)
{
	struct machine then = m;
	uint8_t lost = 0;

	play(&then, s, 0);
	for (unsigned i = 0; i < 2; i++)
		lost |= edge_requests(&m.pic.chip[i]) & ~edge_requests(&then.pic.chip[i]);
	return lost;
}

static void
emit_unless_withdrawn(enum op op, uint16_t port, uint32_t value)
{
	struct step s = { .op = op, .port = port, .value = value };

	if (!withdraws(&s))
		emit(op, port, value);
}

static const uint8_t lines[] = { 0, 3, 4, 8, 12 }; /* those that bare.asm can drive */

static bool
line_level(unsigned line)
{
	return m.pic.chip[line >> 3].lines >> (line & 7) & 1;
}

static void
pic_sequence(uint16_t port, uint8_t base, uint8_t icw3, uint8_t icw4)
{
	emit(OP_OUT, port, 0x11);
	emit(OP_OUT, port + 1, base);
	emit(OP_OUT, port + 1, icw3);
	emit(OP_OUT, port + 1, icw4);
}

/*
 * EXCEPTION: QEMU forgets at ICW1 that a line is high, and takes its next update for an edge; so
 * all are low then. EXCEPTION: with automatic EOI in the slave, QEMU's loses requests; so it is in
 * the master only.
 */
static void
pic_start(void)
{
	emit(OP_OUT, PIC_MASTER + 1, 0xff);
	emit(OP_OUT, PIC_SLAVE + 1, 0xff);
	for (unsigned i = 0; i < sizeof(lines); i++)
		emit(OP_LINE, lines[i], 0);
	emit(OP_OUT, PIC_ELCR, 0);
	emit(OP_OUT, PIC_ELCR + 1, 0);
	pic_sequence(PIC_SLAVE, 0x28 + 8 * below(4), 2, 1);
	pic_sequence(PIC_MASTER, 0x48 + 8 * below(4), 4, 1 | below(2) << 4 | (below(4) ? 0 : 2));
	if (m.pic.chip[0].icw4 & 2)
		emit(OP_OUT, PIC_MASTER, below(2) ? 0x80 : 0);
}

/* EXCEPTION: QEMU doesn't look at the lines when ELCR changes; so only bits of low lines do. */
static void
pic_elcr(unsigned which)
{
	const struct pic_chip *c = &m.pic.chip[which];
	uint8_t change = below(256) & ~c->lines & ~c->irr;

	emit(OP_OUT, PIC_ELCR + which, c->elcr ^ change);
	emit(OP_IN, PIC_ELCR + which, 0);
}

/*
 * EXCEPTION: QEMU's non-specific EOI ends masked levels in special mask mode; then ours is
 * specific.
 */
static void
pic_eoi(unsigned which)
{
	const struct pic_chip *c = &m.pic.chip[which];
	uint8_t ocw2 = (1 + 2 * below(4)) << 5 | below(8); /* the four kinds of EOI */

	if (below(4))
		ocw2 = 0x20;
	if (!(ocw2 & 0x40) && c->special_mask && (c->isr & c->imr))
		ocw2 = 0x60 | below(8);
	emit_unless_withdrawn(OP_OUT, which ? PIC_SLAVE : PIC_MASTER, ocw2);
}

static void
pic_status(uint16_t port)
{
	emit(OP_OUT, port, 0x0a | below(2));
	emit(OP_IN, port, 0);
	emit(OP_IN, port + 1, 0);
}

/*
 * EXCEPTION, as in withdraws(): polling the slave takes back its INT, so the master is polled
 * first, and the slave only if that took IR2.
 */
static void
pic_poll(unsigned which)
{
	if (!which || m.pic.chip[0].irr & CASCADE) {
		emit(OP_OUT, PIC_MASTER, 0x0c);
		emit(OP_IN, PIC_MASTER, 0);
	}
	if (!which || m.pic.chip[0].irr & CASCADE)
		return;
	emit(OP_OUT, PIC_SLAVE, 0x0c);
	emit(OP_IN, PIC_SLAVE, 0);
}

static void
pic_step(void)
{
	unsigned which = below(2), line = lines[below(sizeof(lines))];
	uint16_t port = which ? PIC_SLAVE : PIC_MASTER;

	switch (below(16)) {
	case 0:
		emit_unless_withdrawn(OP_OUT, port + 1, below(2) ? below(256) : 0);
		break;
	case 1:
	case 2:
	case 3:
		pic_eoi(which);
		break;
	case 4:
		emit_unless_withdrawn(OP_OUT, port, 0x48 | below(2) << 5);
		break;
	case 5:
		pic_elcr(which);
		break;
	case 6:
		pic_poll(which);
		break;
	case 7:
		emit_unless_withdrawn(OP_OUT, port, below(2) ? 0xc0 | below(8) : 0x40);
		break;
	case 8:
	case 9:
		emit(OP_TAKE, 0, 0);
		break;
	case 10:
		if (!below(30))
			pic_start();
		break;
	case 11:
		pic_status(port);
		break;
	default:
		emit_unless_withdrawn(OP_LINE, line, !line_level(line));
		break;
	}
}

/* ---- the UART ---- */

#define COM1(reg) (UART_COM1_BASE + (reg))

static void
uart_start(void)
{
	emit(OP_OUT, COM1(UART_LCR), 0x83);
	emit(OP_OUT, COM1(UART_DLL), 1);
	emit(OP_OUT, COM1(UART_DLM), 0);
	emit(OP_OUT, COM1(UART_LCR), 3);
	emit(OP_OUT, COM1(UART_IER), 0);
	emit(OP_OUT, COM1(UART_SCR), 0);
	emit(OP_OUT, COM1(UART_FCR), 1);
	emit(OP_OUT, COM1(UART_FCR), 0);
	emit(OP_OUT, COM1(UART_MCR), UART_MCR_LOOP);
}

/* EXCEPTION: QEMU keeps eight bits whatever the word length; so it is eight. */
static void
uart_divisor(void)
{
	emit(OP_OUT, COM1(UART_LCR), (below(64) & 0x3c) | 0x83);
	emit(OP_OUT, COM1(UART_DLL), 1); /* 115200 baud: CHARACTERS depends on it */
	emit(OP_OUT, COM1(UART_DLM), 0);
	emit(OP_IN, COM1(UART_DLL), 0);
	emit(OP_IN, COM1(UART_DLM), 0);
	emit(OP_OUT, COM1(UART_LCR), (below(64) & 0x3c) | 3);
}

/* After whatever restarts QEMU's character timeout there is a wait, since ours comes at once. */
static void
uart_step(void)
{
	unsigned reg = below(8);

	switch (below(10)) {
	case 0:
		/*
		 * EXCEPTION: in QEMU clearing the transmit FIFO is a THRE interrupt; so that is
		 * off.
		 */
		emit(OP_OUT, COM1(UART_IER), below(16) & 5);
		emit(OP_OUT, COM1(UART_FCR), below(4) ? (below(64) << 2 & 0xc6) | 1 : 0);
		break;
	case 1:
		/* EXCEPTION: QEMU counts no deltas in loopback; so the modem's interrupt is off. */
		emit(OP_OUT, COM1(UART_IER), below(256) & 0xf7);
		for (unsigned i = 0; i < 2; i++) /* the second shows what the first has reset */
			emit(OP_IN, COM1(UART_IIR), 0);
		break;
	case 2:
		uart_divisor();
		break;
	case 3:
		emit(OP_OUT, COM1(UART_MCR), below(256) & (below(4) ? 0xff : 0xef));
		break;
	case 4:
		emit(OP_OUT, COM1(UART_SCR), below(256));
		break;
	case 5:
	case 6:
		for (unsigned n = 1 + below(below(4) ? 3 : 18); n; n--)
			emit(OP_OUT, COM1(UART_THR), below(256));
		emit(OP_WAIT, 0, CHARACTERS);
		break;
	default:
		/* What an empty receiver reads as is nowhere said. */
		if (reg == UART_RBR && !m.uart.rx_count)
			break;
		emit(OP_IN, COM1(reg), 0);
		if (reg == UART_RBR)
			emit(OP_WAIT, 0, CHARACTERS);
		break;
	}
}

/* ---- the 8254 ---- */

static unsigned pit_access;

static void
pit_emit(enum op op, uint16_t port, uint32_t value)
{
	emit(op, port, value);
	emit(OP_WAIT, 0, SETTLE);
}

/*
 * EXCEPTION: QEMU's 8254 has no BCD, starts modes 1 and 5 without a trigger, doesn't stop while
 * GATE is low, takes a new count in the middle of a period, and counts odd ones in mode 3 wrongly.
 * So: binary, modes 0, 2, 3 and 4, GATE high, each count after a control word, even ones.
 */
static void
pit_program(void)
{
	static const uint8_t modes[4] = { 0, 2, 3, 4 };
	unsigned n = (2 + below(below(2) ? 60 : 65000)) & ~1u;

	pit_access = 1 + below(3);
	pit_emit(OP_OUT, PIT_CONTROL, 2 << 6 | pit_access << 4 | modes[below(4)] << 1);
	if (pit_access & 1)
		pit_emit(OP_OUT, PIT_BASE + 2, n & 0xff);
	if (pit_access & 2)
		pit_emit(OP_OUT, PIT_BASE + 2, n >> 8);
}

static void
pit_start(void)
{
	emit(OP_OUT, PIT_PORT_B, PORT_B_GATE2);
	pit_program();
}

/* A whole count, and before it what else is latched. */
static void
pit_read_all(unsigned more)
{
	for (unsigned n = more + (pit_access == 3 ? 2 : 1); n; n--)
		pit_emit(OP_IN, PIT_BASE + 2, 0);
}

static void
pit_step(void)
{
	switch (below(8)) {
	case 0:
		pit_program();
		break;
	case 1:
		pit_emit(OP_OUT, PIT_CONTROL, 2 << 6);
		pit_read_all(0);
		break;
	case 2:
		pit_read_all(0);
		break;
	case 3:
		pit_emit(OP_OUT, PIT_CONTROL, 0xe0 | 2 << 2);
		pit_emit(OP_IN, PIT_BASE + 2, 0);
		break;
	case 4:
		pit_emit(OP_OUT, PIT_CONTROL, 0xc0 | 2 << 2);
		pit_read_all(1);
		break;
	case 5:
		if (m.pit.ch[2].mode != 2 && m.pit.ch[2].mode != 3)
			break;
		emit(OP_OUT, PIT_PORT_B, 0);
		pit_emit(OP_OUT, PIT_PORT_B, PORT_B_GATE2);
		break;
	case 6:
		pit_emit(OP_IN, PIT_PORT_B, 0);
		break;
	default:
		emit(OP_WAIT, 0, below(300000));
		break;
	}
}

/* ---- the keyboard and its controller ---- */

#define DRAIN 4 /* bytes that wait at most, and one that is none */

static void
keyboard_drain(unsigned n)
{
	while (n--) {
		emit(OP_IN, I8042_STATUS, 0);
		emit(OP_IN, I8042_DATA, 0);
	}
}

/* As firmware leaves it, but for its interrupts: nobody takes them. */
static void
keyboard_start(void)
{
	emit(OP_OUT, PIC_MASTER + 1, 0xff);
	emit(OP_OUT, PIC_SLAVE + 1, 0xff);
	emit(OP_OUT, I8042_STATUS, 0xaa);
	emit(OP_OUT, I8042_STATUS, 0x60);
	emit(OP_OUT, I8042_DATA, 0x64);
	emit(OP_OUT, I8042_DATA, 0xff);
	keyboard_drain(DRAIN);
}

/*
 * EXCEPTION: QEMU has a mouse, which answers; so nothing is asked of one. No reset; A20 stays on.
 */
static void
controller_step(void)
{
	static const uint8_t commands[] = { 0x20, 0x60, 0xa7, 0xa8, 0xaa, 0xab, 0xad,
					    0xae, 0xc0, 0xd0, 0xd1, 0xd2, 0xf1, 0xff };
	uint8_t command = commands[below(sizeof(commands))];

	emit(OP_OUT, I8042_STATUS, command);
	if (command == 0x60)
		emit(OP_OUT, I8042_DATA, 0x04 | (below(256) & 0x71));
	else if (command == 0xd1)
		emit(OP_OUT, I8042_DATA, 0x03 | (below(256) & 0xcc));
	else if (command == 0xd2)
		emit(OP_OUT, I8042_DATA, below(256));
}

/* EXCEPTION: QEMU has a set 3 of scan codes, and takes an operand of command fc. */
static void
keyboard_step(void)
{
	static const uint8_t commands[] = { 0x00, 0x05, 0xed, 0xee, 0xf0, 0xf0, 0xf2,
					    0xf3, 0xf4, 0xf5, 0xf6, 0xfa, 0xfe, 0xff };
	uint8_t command = commands[below(sizeof(commands))];

	if (below(3) == 0) {
		controller_step();
	} else {
		emit(OP_OUT, I8042_DATA, command);
		if (below(2))
			keyboard_drain(1);
		if (command == 0xed || command == 0xf3)
			emit(OP_OUT, I8042_DATA, below(256));
		else if (command == 0xf0)
			emit(OP_OUT, I8042_DATA, below(4) ? below(3) : 4 + below(252));
	}
	keyboard_drain(below(DRAIN + 1));
}

static const struct kind {
	const char *name;
	void (*start)(void), (*step)(void);
} kinds[] = {
	{ "pic", pic_start, pic_step },
	{ "uart", uart_start, uart_step },
	{ "pit", pit_start, pit_step },
	{ "keyboard", keyboard_start, keyboard_step },
};

int
generate(const char *kind, uint64_t first, unsigned long steps)
{
	const struct kind *k = NULL;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, kind))
			k = &kinds[i];
	if (!k) {
		fprintf(stderr, "%s: no such kind of script\n", kind);
		return 2;
	}
	seed = first;
	reset(&m);
	k->start();
	while (steps--)
		k->step();
	emit(OP_END, 0, 0);
	return fflush(stdout) || ferror(stdout);
}
