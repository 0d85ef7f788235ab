/*
 * The GDB stub's commands that look at a thread: registers, memory, breakpoints, its description.
 *
 * RSP = "Debugging with GDB", GDB 13, appendix E "GDB Remote Serial Protocol".
 */
#include <inc/errno.h>
#include <kern/gdb/packet.h>

static bool
reply_register(unsigned n)
{
	uint8_t value[8] = { 0 };
	bool known = true;
	unsigned size = gdb_target->get_register(gdb_current, n, value, &known);

	for (unsigned i = 0; i < size; i++)
		reply(known ? "%02x" : "xx", i < sizeof(value) ? value[i] : 0);
	return size != 0;
}

void
do_read_registers(const char *p)
{
	(void)p;
	for (unsigned n = 0; reply_register(n); n++)
		;
}

void
do_read_register(const char *p)
{
	uint64_t n;

	if (!take_hex(&p, &n) || n > 0xff || !reply_register((unsigned)n))
		reply("E01");
}

/* G is not offered: GDB writes register by register, and one that can't be written is said so. */
void
do_write_register(const char *p)
{
	uint8_t value[8] = { 0 };
	uint64_t n, number = 0;
	bool known;
	unsigned size;

	if (!take_hex(&p, &n) || !take(&p, '=') || n > 0xff) {
		reply("E01");
		return;
	}
	size = gdb_target->get_register(gdb_current, (unsigned)n, value, &known);
	if (!size || size > sizeof(value) || !take_bytes(&p, value, size)) {
		reply("E01");
		return;
	}
	for (unsigned i = 0; i < size; i++)
		number |= (uint64_t)value[i] << (8 * i);
	reply_error(gdb_target->set_register(gdb_current, (unsigned)n, number));
}

static uint8_t memory[GDB_PACKET / 2];

void
do_read_memory(const char *p)
{
	uint64_t addr, count;

	if (!take_hex(&p, &addr) || !take(&p, ',') || !take_hex(&p, &count)) {
		reply("E01");
		return;
	}
	if (count > sizeof(memory) - 1)
		count = sizeof(memory) - 1;
	if (count)
		count = gdb_target->read(gdb_current, addr, memory, count);
	if (count)
		reply_bytes(memory, count);
	else
		reply_error(-EFAULT);
}

void
do_write_memory(const char *p)
{
	uint64_t addr, count;

	if (!take_hex(&p, &addr) || !take(&p, ',') || !take_hex(&p, &count) || !take(&p, ':') ||
	    count > sizeof(memory) || !take_bytes(&p, memory, count))
		reply("E01");
	else
		reply_error(gdb_target->write(gdb_current, addr, memory, count));
}

/* Only type 0, software: an empty answer says that there are no others. */
static void
breakpoint(const char *p, bool insert)
{
	uint64_t addr;

	if (!take(&p, '0'))
		return;
	if (!take(&p, ',') || !take_hex(&p, &addr))
		reply("E01");
	else
		reply_error(gdb_target->breakpoint(gdb_current, addr, insert));
}

void
do_insert(const char *p)
{
	breakpoint(p, true);
}

void
do_remove(const char *p)
{
	breakpoint(p, false);
}

void
do_features(const char *p)
{
	const char *text = gdb_target ? gdb_target->description(gdb_current) : "";
	uint64_t at, count, length = strlen(text);

	if (strncmp(p, "target.xml:", 11)) {
		reply("E00");
		return;
	}
	p += 11;
	if (!take_hex(&p, &at) || !take(&p, ',') || !take_hex(&p, &count) || at > length) {
		reply("E01");
		return;
	}
	if (count > GDB_PACKET - 2)
		count = GDB_PACKET - 2;
	/* The text has none of # $ } *, so that it needs no escapes. */
	if (at + count < length)
		reply("m%.*s", (int)count, text + at);
	else
		reply("l%s", text + at);
}
