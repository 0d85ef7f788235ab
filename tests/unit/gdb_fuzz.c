/* BUILD: kern/gdb/gdb.c kern/gdb/packet.c kern/gdb/data.c */
/*
 * The GDB stub against random packets, framed right and wrong, with a target whose threads come and
 * go. The line's UART is this test. The sanitizers see every access; what is sent must be packets,
 * and nothing else.
 */
#include <string.h>

#include <kern/cpu.h>
#include <kern/gdb/gdb.h>
#include <kern/thread.h>
#include <kern/trap.h>

#include "draw.h"
#include "tap.h"

static uint8_t inb_of_line(uint16_t port);
static void outb_of_line(uint16_t port, uint8_t value);

#define inb  inb_of_line
#define outb outb_of_line
#include "../../kern/gdb/line.c"
#undef inb
#undef outb

#define ROUNDS  200000
#define THREADS 6
#define BYTES   64 /* of a thread's memory, from address 0x1000 on */
#define BASE    0x1000u

/* ---- the line ---- */

static uint8_t typed[3 * GDB_PACKET];
static size_t typed_length, typed_at;
static size_t bytes_sent, packets_sent, bad_packets;
static uint8_t total, wanted;
static int since = -1; /* behind '#': how many digits have come; -1: not there */
static bool inside;

static uint8_t
inb_of_line(uint16_t port)
{
	if (port == UART_SCRATCH)
		return 0xa5;
	if (port == UART_LSR)
		return LSR_THRE | (typed_at < typed_length ? LSR_DATA_READY : 0);
	return typed_at < typed_length ? typed[typed_at++] : 0;
}

/* Takes packets apart as a debugger does. */
static void
outb_of_line(uint16_t port, uint8_t value)
{
	if (port != UART_DATA || value == 1)
		return;
	bytes_sent++;
	if (since >= 0) {
		wanted = (uint8_t)(wanted << 4 | digit(value));
		if (++since == 2) {
			packets_sent++;
			bad_packets += wanted != total;
			inside = false;
			since = -1;
		}
	} else if (value == '$') {
		bad_packets += inside;
		inside = true;
		total = 0;
	} else if (inside && value == '#') {
		since = wanted = 0;
	} else if (inside) {
		total += value;
	} else {
		bad_packets += value != '+' && value != '-';
	}
}

/* ---- what the stub calls ---- */

volatile bool need_resched;

void
irq_register(unsigned line, void (*handler)(void *), void *arg)
{
}

uint64_t
clock_ns(void)
{
	return 0;
}

const char *
cmdline_get(const char *key, const char *otherwise)
{
	return "com2";
}

void
panic(const char *fmt, ...)
{
	abort();
}

/* It may print much. */
void
monitor_run_for(char *command, void (*put_char)(char c))
{
	for (uint32_t n = draw(16) ? draw(100) : draw(3 * GDB_PACKET); n; n--)
		put_char((char)drawn());
}

/* ---- the target: two processes, whose threads come and go ---- */

static bool there[THREADS];
static uint8_t memory[BYTES];
static uint64_t registers[THREADS][20];

static struct gdb_thread
thread(unsigned n)
{
	return (struct gdb_thread){ (int)n / 3 + 1, (int)n % 3 + 1 };
}

static int
number(struct gdb_thread t)
{
	for (int n = 0; n < THREADS; n++)
		if (thread(n).pid == t.pid && thread(n).tid == t.tid && there[n])
			return n;
	return -1;
}

static bool
target_next(struct gdb_thread *t)
{
	int n = t->pid ? (t->pid - 1) * 3 + t->tid : 0;

	for (; n < THREADS; n++)
		if (n >= 0 && there[n]) {
			*t = thread(n);
			return true;
		}
	return false;
}

static const char *
target_description(struct gdb_thread t)
{
	return "<target><architecture>i386</architecture></target>";
}

static unsigned
target_get(struct gdb_thread t, unsigned n, uint8_t value[8], bool *known)
{
	int i = number(t);

	*known = i >= 0;
	if (i < 0 || n >= 20)
		return n < 20 ? 4 : 0;
	memcpy(value, &registers[i][n], 8);
	return n % 2 ? 8 : 4;
}

static int
target_set(struct gdb_thread t, unsigned n, uint64_t value)
{
	int i = number(t);

	if (i < 0 || n >= 20)
		return -22;
	registers[i][n] = value;
	return 0;
}

static size_t
target_read(struct gdb_thread t, uint64_t addr, void *buf, size_t len)
{
	size_t at = addr - BASE;

	if (addr < BASE || at >= BYTES)
		return 0;
	len = len < BYTES - at ? len : BYTES - at;
	memcpy(buf, memory + at, len);
	return len;
}

static int
target_write(struct gdb_thread t, uint64_t addr, const void *buf, size_t len)
{
	size_t at = addr - BASE;

	if (addr < BASE || at >= BYTES || len > BYTES - at)
		return -14;
	memcpy(memory + at, buf, len);
	return 0;
}

static int
target_breakpoint(struct gdb_thread t, uint64_t addr, bool insert)
{
	return draw(2) ? 0 : -14;
}

static void
target_hold(bool everything)
{
}

static void
target_resume(struct gdb_thread t, bool step)
{
}

static int
target_attach(int pid)
{
	if (pid > 2)
		return -3;
	for (unsigned n = 0; n < THREADS; n++)
		there[n] |= draw(2);
	return pid < 0 ? 1 : pid;
}

static void
target_detach(int pid)
{
	for (unsigned n = 0; n < THREADS; n++)
		if (pid < 0 || thread(n).pid == pid)
			there[n] = false;
}

static int
target_kill(int pid)
{
	target_detach(pid);
	return 0;
}

static void
target_describe(struct gdb_thread t, char *buf, size_t size)
{
	snprintf(buf, size, "thread %d.%d", t.pid, t.tid);
}

static const struct gdb_target target = {
	.next = target_next,
	.description = target_description,
	.get_register = target_get,
	.set_register = target_set,
	.read = target_read,
	.write = target_write,
	.breakpoint = target_breakpoint,
	.hold = target_hold,
	.resume = target_resume,
	.attach = target_attach,
	.detach = target_detach,
	.kill = target_kill,
	.describe = target_describe,
};

/* ---- packets ---- */

static const char *const starts[] = {
	"g",
	"G",
	"p",
	"P",
	"m",
	"M",
	"X",
	"Z0,",
	"z0,",
	"Z1,",
	"Z2,",
	"H",
	"Hg",
	"Hc",
	"T",
	"s",
	"c",
	"vCont;s:p1.1",
	"vCont;c",
	"vCont;",
	"vCont?",
	"vAttach;",
	"vKill;",
	"D;",
	"k",
	"?",
	"!",
	"qXfer:features:read:target.xml:",
	"qXfer:",
	"qRcmd,",
	"qThreadExtraInfo,",
	"qSupported:",
	"R",
	"qfThreadInfo",
	"qsThreadInfo",
	"qC",
	"qAttached:",
	"q",
	"v",
	"QStartNoAckMode",
	"",
};

static void
type(uint8_t c)
{
	if (typed_length < sizeof(typed))
		typed[typed_length++] = c;
}

static void
type_packet(void)
{
	static const char few[] = "0123456789abcdef,;:.-p10";
	const char *start = starts[draw(sizeof(starts) / sizeof(starts[0]))];
	unsigned n = draw(64) ? draw(48) : draw(GDB_PACKET + 64), noise = !draw(4);
	size_t from;
	uint8_t check = 0;
	char tail[4];

	for (unsigned i = draw(8) ? 1 : draw(3); i; i--)
		type('$');
	from = typed_length;
	for (; *start; start++)
		type((uint8_t)*start);
	if (!draw(4))
		for (const char *p = draw(2) ? "1000,10" : "p1.1"; *p; p++)
			type((uint8_t)*p);
	while (n--)
		type(noise ? (uint8_t)drawn() : (uint8_t)few[draw(sizeof(few) - 1)]);
	for (size_t i = from; i < typed_length; i++)
		check += typed[i];
	snprintf(tail, sizeof(tail), "#%02x", draw(16) ? check : (unsigned)draw(256));
	for (const char *p = tail; *p; p++)
		type((uint8_t)*p);
	if (!draw(8))
		type((uint8_t) "+-\003"[draw(3)]);
}

/* What happens to a target without the debugger. */
static void
happen(void)
{
	unsigned n = draw(THREADS);

	switch (draw(6)) {
	case 0:
		there[n] = !there[n];
		break;
	case 1:
		if (number(thread(n)) >= 0)
			gdb_stopped(thread(n), GDB_SIGTRAP, draw(2) ? "swbreak:;" : "");
		break;
	case 2:
		target_detach((int)n / 3 + 1);
		gdb_exited((int)n / 3 + 1, (int)draw(3), draw(2) ? GDB_SIGSEGV : 0);
		break;
	default:
		break;
	}
}

int
main(void)
{
	plan(4);
	gdb_line_init();
	gdb_enabled = true;
	gdb_register(&target);
	for (unsigned n = 0; n < ROUNDS; n++) {
		typed_length = typed_at = 0;
		for (unsigned i = 1 + draw(3); i; i--)
			type_packet();
		for (unsigned polls = 0; typed_at < typed_length && polls < 1000; polls++)
			gdb_poll();
		if (typed_at < typed_length)
			break;
		happen();
	}
	ok(typed_at == typed_length, "%u rounds of packets are all taken in", ROUNDS);
	ok(!bad_packets, "what is sent are packets with their sums, and acknowledgements");
	ok(packets_sent > ROUNDS / 4, "many are answered: %zu", packets_sent);
	ok(bytes_sent / ROUNDS < 3 * GDB_PACKET, "and none without end");
	return tap.failed != 0;
}
