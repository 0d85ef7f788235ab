/*
 * The words of GDB packets: a reply is put together here, a request is taken apart.
 *
 * RSP = "Debugging with GDB", GDB 13, appendix E "GDB Remote Serial Protocol".
 */
#include <kern/gdb/packet.h>

static char out[GDB_PACKET];
static size_t out_length;

void
reply(const char *fmt, ...)
{
	size_t room = sizeof(out) - out_length;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out + out_length, room, fmt, ap);
	va_end(ap);
	out_length += (size_t)n < room ? (size_t)n : room - 1;
}

void
reply_bytes(const void *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		reply("%02x", ((const uint8_t *)bytes)[i]);
}

void
reply_send(void)
{
	gdb_line_send(out, out_length);
	out_length = 0;
}

/* Any number means no (RSP E.1); E14 is what GDB's own server says of memory that is not there. */
void
reply_error(int err)
{
	if (err < 0)
		reply("E%02d", -err);
	else
		reply("OK");
}

static int
digit(char c)
{
	c |= 0x20;
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
take_hex(const char **p, uint64_t *value)
{
	const char *start = *p;

	for (*value = 0; digit(**p) >= 0 && *p - start < 16; ++*p)
		*value = *value << 4 | (unsigned)digit(**p);
	return *p != start;
}

bool
take(const char **p, char c)
{
	if (**p != c)
		return false;
	++*p;
	return true;
}

bool
take_bytes(const char **p, uint8_t *bytes, size_t count)
{
	for (; count; count--, *p += 2) {
		if (digit((*p)[0]) < 0 || digit((*p)[1]) < 0)
			return false;
		*bytes++ = (uint8_t)(digit((*p)[0]) << 4 | digit((*p)[1]));
	}
	return true;
}

static bool
take_id(const char **p, int *id)
{
	uint64_t value;

	if (take(p, '-'))
		return take(p, '1') && (*id = -1);
	if (!take_hex(p, &value) || value > 0xffff)
		return false;
	*id = (int)value;
	return true;
}

bool
take_thread(const char **p, struct gdb_thread *t)
{
	*t = (struct gdb_thread){ -1, -1 };
	if (!take(p, 'p'))
		return take_id(p, &t->tid);
	return take_id(p, &t->pid) && (!take(p, '.') || take_id(p, &t->tid));
}
