/*
 * The network card at the bridge: nic.h.
 */
#include <guest/dom0/bridge.h>
#include <guest/dom0/dom0.h>
#include <guest/dom0/e1000.h>
#include <guest/dom0/nic.h>
#include <guest/dom0/pci.h>

#define ROUND 32u /* frames, before others have their turn */

uint32_t nic_port;
static unsigned line;
static bool came;

static void
send(struct port *p, const void *frame, size_t len)
{
	e1000_send(frame, len);
}

static void echo(struct port *p, const void *frame, size_t len);
static struct port uplink = { .uplink = true, .send = send }, own = { .send = echo };

static void
echo(struct port *p, const void *frame, size_t len)
{
	if (!bridge_return(p, frame, len))
		migrate_hears(frame, len);
}

const uint8_t *
nic_address(void)
{
	return own.mac;
}

void
nic_send(const void *frame, size_t len)
{
	bridge_receive(&own, frame, len);
}

const char *
nic_begin(void)
{
	static const char *wrong;
	static bool begun;

	if (begun)
		return wrong;
	begun = true;
	wrong = e1000_begin(own.mac, &line);
	if (!wrong) {
		nic_port = line_bind(line, true);
		wrong = nic_port ? NULL : "Zeno does not let dom0 have its line";
	}
	if (!wrong) {
		bridge_join(&uplink);
		bridge_join(&own);
	}
	return wrong;
}

void
nic_interrupted(void)
{
	came = true;
}

bool
nic_serve(void)
{
	const void *frame;
	unsigned n = 0;
	size_t len;

	if (!came)
		return false;
	e1000_quiet(); /* first: what comes behind it interrupts again */
	line_done(line);
	for (; n < ROUND && (frame = e1000_receive(&len)); n++)
		bridge_receive(&uplink, frame, len);
	came = n == ROUND;
	return true;
}

void
nic_show(void)
{
	const char *wrong = nic_begin();
	const uint8_t *m = own.mac;

	if (wrong) {
		say("no network card: %s\n", wrong);
		return;
	}
	say("Address            Line Link  Received      Sent   Dropped\n");
	say("%x%x:%x%x:%x%x:%x%x:%x%x:%x%x %5u %-4s %9lu %9lu %9lu\n", m[0] >> 4, m[0] & 15,
	    m[1] >> 4, m[1] & 15, m[2] >> 4, m[2] & 15, m[3] >> 4, m[3] & 15, m[4] >> 4, m[4] & 15,
	    m[5] >> 4, m[5] & 15, line, e1000_link() ? "up" : "down", e1000_counts.received,
	    e1000_counts.sent, e1000_counts.dropped);
}
