/*
 * The debugger's line: COM2, and the frame of a packet, `$body#checksum`.
 *
 * Nothing here can hang the host or be hurried by a peer: each poll takes in a bounded number of
 * bytes, answers one `-` at most, and a line that no longer takes bytes loses the packet.
 *
 * The UART's FIFOs stay off. Both emulators then hold a byte back until the one before has been
 * read, so none is lost while the host is busy. On a real line one may be: the peer repeats what
 * nobody acknowledges.
 *
 * RSP = "Debugging with GDB", GDB 13, appendix E. PC16550D = National Semiconductor PC16550D data
 * sheet, June 1995.
 */
#include <kern/cpu.h>
#include <kern/gdb/gdb.h>
#include <kern/thread.h>
#include <kern/trap.h>

/* PC16550D 8.0 "Registers" */
#define COM2           0x2f8
#define COM2_IRQ       3
#define UART_DATA      (COM2 + 0)
#define UART_IER       (COM2 + 1)
#define UART_FCR       (COM2 + 2)
#define UART_LCR       (COM2 + 3)
#define UART_MCR       (COM2 + 4)
#define UART_LSR       (COM2 + 5)
#define UART_SCRATCH   (COM2 + 7)
#define IER_RECEIVED   0x01
#define LCR_8N1        0x03
#define LCR_DLAB       0x80
#define MCR_DTR_RTS    0x03
#define MCR_OUT2       0x08 /* on a PC it connects the interrupt */
#define LSR_DATA_READY 0x01
#define LSR_THRE       0x20

#define SEND_PATIENCE  5000000000ul /* ns for one byte, before a packet is given up */
#define BYTE_PATIENCE  2000         /* ... for the next byte of a packet that has begun */
#define BYTES_PER_POLL (2 * GDB_PACKET)

static enum { IDLE, BODY, TOO_LONG, SUM_HIGH, SUM_LOW } state;
static size_t length;
static uint8_t sum, claimed;

static char sent[GDB_PACKET]; /* the last packet, for when the peer wants it again */
static size_t sent_length;

/* Wakes an idle host and ends a guest's slice; the byte itself waits for the next poll. */
static void
received(void *arg)
{
	(void)arg;
	need_resched = true;
}

bool
gdb_line_init(void)
{
	outb(UART_SCRATCH, 0xa5);
	if (inb(UART_SCRATCH) != 0xa5)
		return false;
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_DLAB | LCR_8N1);
	outb(UART_DATA, 1); /* 115200 baud */
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_8N1);
	outb(UART_FCR, 0);
	outb(UART_MCR, MCR_DTR_RTS | MCR_OUT2);
	outb(UART_IER, IER_RECEIVED);
	irq_register(COM2_IRQ, received, NULL);
	return true;
}

static int
get(unsigned patience)
{
	do {
		if (inb(UART_LSR) & LSR_DATA_READY)
			return inb(UART_DATA);
	} while (patience--);
	return -1;
}

static bool
put(int c)
{
	uint64_t start = clock_ns();

	while (!(inb(UART_LSR) & LSR_THRE))
		if (clock_ns() - start > SEND_PATIENCE)
			return false;
	outb(UART_DATA, (uint8_t)c);
	return true;
}

static void
send_again(void)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t total = 0;
	size_t i;

	if (!put('$'))
		return;
	for (i = 0; i < sent_length && put(sent[i]); i++)
		total += (uint8_t)sent[i];
	if (i == sent_length && put('#') && put(digits[total >> 4]))
		put(digits[total & 15]);
}

void
gdb_line_send(const char *body, size_t body_length)
{
	ASSERT(body_length <= sizeof(sent));
	memcpy(sent, body, body_length);
	sent_length = body_length;
	send_again();
}

static int
digit(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Between packets: acknowledgements, the interrupt byte, and noise. */
static enum gdb_event
between(int c)
{
	if (c == 3)
		return GDB_GOT_BREAK;
	if (c == '$') {
		state = BODY;
		length = sum = 0;
	}
	return GDB_NOTHING;
}

static void
in_body(int c, char *body)
{
	if (c == '$') { /* never inside a packet: the rest of this one was lost (RSP E.1) */
		state = BODY;
		length = sum = 0;
	} else if (c == '#') {
		state = state == BODY ? SUM_HIGH : IDLE;
		if (state == IDLE)
			put('-');
	} else if (length == GDB_PACKET) {
		state = TOO_LONG;
	} else {
		body[length++] = (char)c;
		sum += (uint8_t)c;
	}
}

/* True: the packet is whole and good. */
static bool
in_sum(int c, char *body)
{
	int value = digit(c | 0x20);

	if (state == SUM_HIGH && value >= 0) {
		state = SUM_LOW;
		claimed = (uint8_t)(value << 4);
		return false;
	}
	state = IDLE;
	if (value < 0 || (claimed | value) != sum) {
		put('-');
		return false;
	}
	put('+');
	body[length] = '\0';
	return true;
}

enum gdb_event
gdb_line_poll(char body[GDB_PACKET + 1])
{
	for (unsigned budget = BYTES_PER_POLL; budget; budget--) {
		int c = get(state == IDLE ? 0 : BYTE_PATIENCE);

		if (c < 0)
			break;
		if (state == IDLE && c == '-') {
			send_again();
			break;
		}
		if (state == IDLE) {
			if (between(c) == GDB_GOT_BREAK)
				return GDB_GOT_BREAK;
		} else if (state == BODY || state == TOO_LONG) {
			in_body(c, body);
		} else if (in_sum(c, body)) {
			return GDB_GOT_PACKET;
		}
	}
	return GDB_NOTHING;
}
