/*
 * dom0's own console: a ring, as any PV kernel has one, whose other end is Zeno's.
 */
#include <guest/dom0/dom0.h>

static volatile struct xen_console_ring *ring;
static bool unsent;
const struct domu *speaker;

void
out_init(void)
{
	ring = pv_machine_page(pv_info->console_mfn);
}

void
out_flush(void)
{
	if (unsent)
		pv_send(pv_info->console_evtchn);
	unsent = false;
}

static void
put(char c)
{
	uint32_t at = ring->out_prod;

	while (at - ring->out_cons >= sizeof(ring->out)) /* Zeno takes all of it at once */
		pv_send(pv_info->console_evtchn);
	ring->out[at % sizeof(ring->out)] = (uint8_t)c;
	ring->out_prod = at + 1;
	unsent = true;
}

void
out_bytes(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		put(bytes[i]);
}

void
say(const char *fmt, ...)
{
	char line[400];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	speaker = NULL;
	out_bytes(line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

int
key_next(void)
{
	uint32_t at = ring->in_cons;
	int key;

	if (ring->in_prod == at)
		return -1;
	key = ring->in[at % sizeof(ring->in)];
	ring->in_cons = at + 1;
	return key;
}

/* Where no key has room any more all are gone, too, as a terminal's are. */
bool
key_skip_to(int key)
{
	uint32_t end = ring->in_prod, at = ring->in_cons;
	bool full = end - at >= sizeof(ring->in);

	for (; at != end; at++)
		if (ring->in[at % sizeof(ring->in)] == key) {
			ring->in_cons = at + 1;
			return true;
		}
	if (full)
		ring->in_cons = end;
	return false;
}
