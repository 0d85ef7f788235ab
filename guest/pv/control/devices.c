/*
 * Devices of dom0's that it gives to a domain: as a whole, to one at a time, and back with its end.
 */
#include <guest/pv/control/control.h>
#include <guest/pv/lib/events.h>

#define LINE 14u

/* dom0 itself has the disk's line, or not any more. */
static int64_t
map(void)
{
	struct xen_physdev_map_pirq m = {
		.domid = XEN_DOMID_SELF, .type = XEN_MAP_PIRQ_TYPE_GSI, .index = LINE, .pirq = -1
	};

	return pv_call(XEN_physdev_op, XEN_PHYSDEVOP_map_pirq, (uint64_t)&m, 0, 0);
}

static int64_t
unmap(void)
{
	struct xen_physdev_unmap_pirq u = { .domid = XEN_DOMID_SELF, .pirq = LINE };

	return pv_call(XEN_physdev_op, XEN_PHYSDEVOP_unmap_pirq, (uint64_t)&u, 0, 0);
}

void
devices(uint64_t id, uint64_t other)
{
	static const uint64_t none[][2] = { { 0x1f0, 0x1f6 },     { 0x1f1, 0x1f7 },
					    { 0x1f0, 0x1f8 },     { 0xcf8, 0xcfb },
					    { 0xcfc, 0xcff },     { 0x3f8, 0x3ff },
					    { 0, 0xffff },        { 0x3f6, 0 },
					    { 0x100003f6, 0x3f6 } };

	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++)
		REFUSES(EPERM, "what is no device",
			control(ZENO_PORTS, id, none[n][0], none[n][1]));
	for (uint64_t line = 0; line < 70; line++)
		if (line != LINE)
			REFUSES(EPERM, "a line that is none", control(ZENO_LINE, id, line, 0));
	REFUSES(0, "the disk's ports", control(ZENO_PORTS, id, 0x1f0, 0x1f7));
	REFUSES(0, "... twice", control(ZENO_PORTS, id, 0x1f0, 0x1f7));
	REFUSES(EBUSY, "... to two", control(ZENO_PORTS, other, 0x1f0, 0x1f7));
	REFUSES(0, "the line is dom0's", map());
	REFUSES(EBUSY, "... and so nobody else's", control(ZENO_LINE, id, LINE, 0));
	REFUSES(0, "... until it lets go", unmap());
	REFUSES(0, "then it is", control(ZENO_LINE, id, LINE, 0));
	REFUSES(EBUSY, "... one's", control(ZENO_LINE, other, LINE, 0));
	REFUSES(EPERM, "... and not dom0's", map());
}

/* Both have ended. */
void
devices_are_back(void)
{
	REFUSES(0, "the line is dom0's again", map());
	REFUSES(0, "... and it lets go", unmap());
}
