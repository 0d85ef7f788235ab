/*
 * COM1 as the programs' console. Output is polled. Input is looked for at each clock tick while
 * somebody waits for it, and comes by lines.
 */
#include <guest/os/os.h>

#define COM1      0x3f8
#define COM1_LSR  (COM1 + 5)
#define LSR_DR    0x01
#define LSR_TEMT  0x40
#define END_INPUT 4 /* control-D */
#define DELETE    127

static char line[256];
static volatile uint32_t length, complete;
static volatile int waiting;

static void
typed(char c)
{
	if (c == '\b' || c == DELETE) {
		if (length) {
			length--;
			print("\b \b");
		}
		return;
	}
	if (c == '\r')
		c = '\n';
	if (c == END_INPUT) {
		complete = 1;
		return;
	}
	if (length < sizeof(line) - 1 || c == '\n') {
		line[length++] = c;
		put(c);
	}
	complete = c == '\n';
}

void
console_poll(void)
{
	while (waiting && !complete && inb(COM1_LSR) & LSR_DR)
		typed((char)inb(COM1));
	if (complete)
		sched_wake(line);
}

/* A line, or the part of it that fits. 0: the end of the input. */
int
console_read(char *dst, uint32_t bytes)
{
	uint32_t n;

	int_off();
	waiting = 1;
	while (!complete) {
		if (sched_sleep(line)) {
			int_on();
			return -1;
		}
	}
	waiting = 0;
	int_on();
	n = length < bytes ? length : bytes;
	copy(dst, line, n);
	length = 0;
	complete = 0;
	return (int)n;
}

/* The end of the machine. A UART that is switched off with it loses what it has not sent yet. */
void
console_end(uint32_t code)
{
	while (!(inb(COM1_LSR) & LSR_TEMT))
		;
	guest_exit(code);
}

int
console_write(const char *src, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		put(src[i]);
	return (int)bytes;
}
