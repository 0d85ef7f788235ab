/*
 * A display that shows nothing: its registers remember, and its status port has a retrace every
 * other time, so that nobody waits for one, or for its end. The text itself is memory (create.c).
 */
#include <vmm/dev/crtc.h>

#define STATUS_RETRACES 0x09 /* horizontal or vertical, and vertical */

uint8_t
crtc_read(struct crtc *c, uint16_t port)
{
	if (port == CRTC_INDEX)
		return c->index;
	if (port == CRTC_DATA)
		return c->index < CRTC_REGISTERS ? c->reg[c->index] : 0;
	return c->status ^= STATUS_RETRACES;
}

void
crtc_write(struct crtc *c, uint16_t port, uint8_t value)
{
	if (port == CRTC_INDEX)
		c->index = value;
	else if (port == CRTC_DATA && c->index < CRTC_REGISTERS)
		c->reg[c->index] = value;
}
