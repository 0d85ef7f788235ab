/* BUILD: vmm/dev/uart.c */
/*
 * The 16550A by its datasheet: PC16550D = National Semiconductor PC16550D, June 1995. Sections are
 * named at each group.
 */
#include <string.h>

#include <vmm/dev/uart.h>

#include "tap.h"

static uint8_t sent[64];
static unsigned sent_len;

static void
collect(void *ctx, uint8_t byte)
{
	(void)ctx;
	if (sent_len < sizeof(sent))
		sent[sent_len++] = byte;
}

static const struct uart_host host = { .tx = collect };
static struct uart u;

static void
out(unsigned reg, uint8_t value)
{
	uart_write(&u, reg, value, &host);
}

static uint8_t
in(unsigned reg)
{
	return uart_read(&u, reg);
}

/* 8 data bits, OUT2 open, FIFOs as asked. */
static void
start(uint8_t fcr)
{
	uart_init(&u);
	sent_len = 0;
	out(UART_LCR, 3);
	out(UART_MCR, UART_MCR_OUT2);
	out(UART_FCR, fcr);
}

/* Table III "UART Reset Functions". */
static void
test_reset(void)
{
	memset(&u, 0xa5, sizeof(u));
	uart_init(&u);
	is_u64(u.version, UART_VERSION, "reset: the state carries its version");
	is_u64(in(UART_IER), 0, "reset: IER is 0");
	is_u64(in(UART_IIR), UART_IIR_NONE, "reset: IIR says no interrupt");
	is_u64(in(UART_LCR), 0, "reset: LCR is 0");
	is_u64(in(UART_MCR), 0, "reset: MCR is 0");
	is_u64(in(UART_LSR), 0x60, "reset: LSR is 60h");
	is_u64(in(UART_MSR), 0xb0, "reset: no delta; CTS, DSR and DCD of the modem");
	ok(!uart_irq(&u), "reset: INTR is low");
}

/* 8.1 "Line Control Register" bit 7, 8.10 "Scratchpad", unused bits of IER (8.6) and MCR (8.7). */
static void
test_registers(void)
{
	start(0);
	out(UART_LCR, 0x83);
	out(UART_DLL, 0x34);
	out(UART_DLM, 0x12);
	is_u64(in(UART_DLL), 0x34, "DLAB=1: DLL reads back");
	is_u64(in(UART_DLM), 0x12, "DLAB=1: DLM reads back");
	is_u64(sent_len, 0, "DLAB=1: a write to port 0 sends nothing");
	out(UART_LCR, 0x03);
	is_u64(in(UART_IER), 0, "DLAB=0: port 1 is IER");
	out(UART_IER, 0xff);
	is_u64(in(UART_IER), 0x0f, "IER: bits 4-7 are always 0");
	out(UART_MCR, 0xef);
	is_u64(in(UART_MCR), 0x0f, "MCR: bits 5-7 are always 0");
	out(UART_SCR, 0x5a);
	is_u64(in(UART_SCR), 0x5a, "SCR holds a byte");
	out(UART_LSR, 0x1f);
	is_u64(in(UART_LSR), 0x60, "LSR: a write changes nothing here");
}

/* 8.1 bits 0 and 1: the word length; 8.4 bit 5: THRE. */
static void
test_transmit(void)
{
	start(0);
	out(UART_THR, 0xc1);
	ok(sent_len == 1 && sent[0] == 0xc1, "a byte is sent at once");
	is_u64(in(UART_LSR), 0x60, "and THR and the shift register are empty again");
	for (unsigned bits = 5; bits <= 8; bits++) {
		out(UART_LCR, bits - 5);
		sent_len = 0;
		out(UART_THR, 0xff);
		is_u64(sent[0], (1u << bits) - 1, "%u data bits", bits);
	}
	uart_write(&u, UART_THR, 'x', &(struct uart_host){ 0 });
	is_u64(in(UART_LSR), 0x60, "a port with nothing connected sends too");
}

/* 8.4 "Line Status Register" bits 0, 1; character mode. */
static void
test_receive(void)
{
	start(0);
	is_u64(uart_room(&u), 1, "character mode: room for one byte");
	uart_receive(&u, 'a');
	is_u64(in(UART_LSR), 0x61, "character mode: DR");
	is_u64(uart_room(&u), 0, "character mode: then for none");
	uart_receive(&u, 'b');
	is_u64(in(UART_LSR), 0x63, "character mode: a second byte is an overrun");
	is_u64(in(UART_LSR), 0x61, "OE is cleared by reading LSR");
	is_u64(in(UART_RBR), 'b', "character mode: it destroyed the first");
	is_u64(in(UART_LSR), 0x60, "DR is cleared by reading RBR");
	out(UART_LCR, 0x01);
	uart_receive(&u, 0xff);
	is_u64(in(UART_RBR), 0x3f, "six data bits: the rest is zero");
}

/* 8.3 "FIFO Control Register", 8.4 bit 1 in FIFO mode. */
static void
test_fifo(void)
{
	start(UART_FCR_ENABLE);
	is_u64(in(UART_IIR), 0xc1, "FIFOs on: IIR bits 6 and 7 are set");
	is_u64(uart_room(&u), 16, "FIFOs on: room for 16");
	for (unsigned i = 0; i < 16; i++)
		uart_receive(&u, 'A' + i);
	is_u64(in(UART_LSR), 0x61, "16 bytes fit");
	uart_receive(&u, 'z');
	is_u64(in(UART_LSR), 0x63, "the 17th is an overrun");
	bool same = true;
	for (unsigned i = 0; i < 16; i++)
		same &= in(UART_RBR) == 'A' + i;
	ok(same, "the FIFO is kept in order, the 17th byte is lost");
	is_u64(in(UART_LSR), 0x60, "then it is empty");
	for (unsigned i = 0; i < 3; i++)
		uart_receive(&u, i);
	out(UART_FCR, UART_FCR_ENABLE | UART_FCR_RX_RESET);
	is_u64(in(UART_LSR), 0x60, "FCR bit 1 clears the receive FIFO");
	uart_receive(&u, 1);
	out(UART_FCR, 0);
	is_u64(in(UART_LSR), 0x60, "changing FCR bit 0 clears it too");
	is_u64(in(UART_IIR), 0x01, "FIFOs off: IIR bits 6 and 7 are clear");
	out(UART_FCR, UART_FCR_TRIGGER);
	out(UART_FCR, UART_FCR_ENABLE);
	out(UART_IER, UART_IER_RX);
	uart_receive(&u, 1);
	is_u64(in(UART_IIR), 0xc4, "FCR bits written with bit 0 clear are not programmed");
}

/* 8.3 bits 6 and 7; 8.4.1 "FIFO Interrupt Mode Operation" A-D. */
static void
test_trigger(void)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	for (unsigned t = 0; t < 4; t++) {
		start(UART_FCR_ENABLE | t << 6);
		out(UART_IER, UART_IER_RX);
		for (unsigned i = 1; i < level[t]; i++)
			uart_receive(&u, i);
		if (level[t] > 1)
			is_u64(in(UART_IIR), 0xcc, "trigger %u: below it, a character timeout",
			       level[t]);
		uart_receive(&u, 0);
		is_u64(in(UART_IIR), 0xc4, "trigger %u: reached, received data", level[t]);
		ok(uart_irq(&u), "trigger %u: INTR", level[t]);
		in(UART_RBR);
		is_u64(in(UART_IIR), level[t] > 1 ? 0xcc : 0xc1,
		       "trigger %u: gone when the FIFO drops below", level[t]);
	}
}

/* 8.5 "Interrupt Identification Register", table V: priorities, sources and resets. */
static void
test_priority(void)
{
	start(0);
	out(UART_IER, 0x0f);
	uart_receive(&u, 1);
	uart_receive(&u, 2);
	uart_modem(&u, 0);
	is_u64(in(UART_IIR), UART_IIR_LINE, "first: line status");
	in(UART_LSR);
	is_u64(in(UART_IIR), UART_IIR_RX, "second: received data");
	in(UART_RBR);
	is_u64(in(UART_IIR), UART_IIR_THRE, "third: THR empty");
	is_u64(in(UART_IIR), UART_IIR_MODEM, "reading IIR reset that; fourth: modem status");
	is_u64(in(UART_MSR), 0x0b, "MSR has the three deltas");
	is_u64(in(UART_IIR), UART_IIR_NONE, "reading MSR reset it");
	ok(!uart_irq(&u), "INTR is low then");
}

/* Table V, level 3: reset by reading IIR (if it is the source) or by writing THR. */
static void
test_thre(void)
{
	start(0);
	out(UART_IER, UART_IER_THRE);
	ok(uart_irq(&u), "THRE: enabling it with THR empty interrupts");
	is_u64(in(UART_IIR), UART_IIR_THRE, "THRE: identified");
	ok(!uart_irq(&u), "THRE: once");
	out(UART_IER, UART_IER_THRE);
	ok(!uart_irq(&u), "THRE: writing the same IER again doesn't repeat it");
	out(UART_THR, 'x');
	is_u64(in(UART_IIR), UART_IIR_THRE, "THRE: a byte sent brings the next");
	out(UART_IER, 0);
	out(UART_IER, UART_IER_THRE);
	ok(uart_irq(&u), "THRE: off and on again repeats it");
	out(UART_IER, UART_IER_THRE | UART_IER_RX);
	uart_receive(&u, 1);
	is_u64(in(UART_IIR), UART_IIR_RX, "THRE: something more urgent first");
	in(UART_RBR);
	is_u64(in(UART_IIR), UART_IIR_THRE, "THRE: reading IIR reset only what it showed");
}

/* 8.6 "Interrupt Enable Register"; the PC's gate at OUT2. */
static void
test_gate(void)
{
	start(0);
	uart_receive(&u, 1);
	is_u64(in(UART_IIR), UART_IIR_NONE, "IER=0: nothing is identified");
	out(UART_IER, UART_IER_RX);
	ok(uart_irq(&u), "IER bit 0 and a byte: INTR");
	out(UART_MCR, 0);
	ok(!uart_irq(&u), "OUT2 off: INTR is cut from the line");
	is_u64(in(UART_IIR), UART_IIR_RX, "OUT2 off: IIR shows it still");
	out(UART_MCR, UART_MCR_OUT2);
	ok(uart_irq(&u), "OUT2 on: the line rises");
}

/* 8.7 "Modem Control Register" bit 4: six statements about local loopback. */
static void
test_loopback(void)
{
	start(UART_FCR_ENABLE);
	in(UART_MSR);
	out(UART_MCR, UART_MCR_LOOP);
	is_u64(in(UART_MSR), 0x0b, "loopback: the modem's lines are cut off, and that is a change");
	is_u64(in(UART_MSR), 0x00, "loopback: MCR is what MSR shows");
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	is_u64(in(UART_MSR), 0x11, "loopback: RTS is CTS");
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_DTR);
	is_u64(in(UART_MSR), 0x23, "loopback: DTR is DSR");
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	is_u64(in(UART_MSR), 0x42, "loopback: OUT1 is RI; its rise is no TERI");
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2);
	is_u64(in(UART_MSR), 0x8c, "loopback: OUT2 is DCD; RI's fall is TERI");
	sent_len = 0;
	out(UART_THR, 0x5a);
	is_u64(sent_len, 0, "loopback: nothing leaves");
	is_u64(in(UART_LSR), 0x61, "loopback: the byte is received");
	uart_receive(&u, 0x11);
	is_u64(in(UART_RBR), 0x5a, "loopback: and is the same");
	is_u64(in(UART_LSR), 0x60, "loopback: the serial input is disconnected");
	out(UART_IER, UART_IER_RX);
	out(UART_THR, 1);
	is_u64(in(UART_IIR), 0xc4, "loopback: interrupts are identified");
	ok(!uart_irq(&u), "loopback: the pin OUT2 is off, so none leaves");
	out(UART_MCR, UART_MCR_OUT2);
	ok(uart_irq(&u), "after loopback it does");
	is_u64(in(UART_MSR), 0xb3, "after loopback the modem is back");
}

/* 8.8 "Modem Status Register": deltas add up until MSR is read. */
static void
test_modem(void)
{
	start(0);
	uart_modem(&u, UART_MSR_CTS | UART_MSR_DSR);
	uart_modem(&u, UART_MSR_CTS | UART_MSR_DSR | UART_MSR_RI);
	is_u64(in(UART_MSR), 0x78, "DCD fell: DDCD; RI rose: no TERI");
	uart_modem(&u, UART_MSR_DSR);
	is_u64(in(UART_MSR), 0x25, "RI fell: TERI; CTS fell: DCTS");
	out(UART_MSR, 0xff);
	is_u64(in(UART_MSR), 0x20, "MSR: a write changes nothing");
}

/* Whatever is written, what can't be must not be, and the state stays in its bounds. */
static void
test_random(void)
{
	uint64_t x = 1;
	bool good = true;

	start(0);
	for (unsigned i = 0; i < 200000; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		if (x >> 63)
			out((x >> 40) & 15, (x >> 48) & 0xff);
		else
			in((x >> 40) & 15);
		if ((x >> 36 & 7) == 0)
			uart_receive(&u, x >> 32);
		good &= u.rx_count <= 16 && u.rx_first < 16 && uart_room(&u) <= 16;
		good &= (in(UART_LSR)&0x60) == 0x60;
		good &= !uart_irq(&u) || !(in(UART_IIR)&1);
	}
	ok(good, "random writes: bounds hold, and INTR has a cause");
	is_u64(u.version, UART_VERSION, "random writes: the version stays");
}

int
main(void)
{
	test_reset();
	test_registers();
	test_transmit();
	test_receive();
	test_fifo();
	test_trigger();
	test_priority();
	test_thre();
	test_gate();
	test_loopback();
	test_modem();
	test_random();
	return done_testing();
}
