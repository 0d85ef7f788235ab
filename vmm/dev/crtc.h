/*
 * The part of a PC's display that text-mode kernels talk to: the registers of a 6845, and a status
 * port (crtc.c).
 */
#pragma once

#include <stdint.h>

#define CRTC_INDEX     0x3d4
#define CRTC_DATA      0x3d5
#define CRTC_STATUS    0x3da
#define CRTC_REGISTERS 25u /* a VGA's: 0 to 18h */

struct crtc {
	uint8_t index, status;
	uint8_t reg[CRTC_REGISTERS];
	uint8_t pad;
};

uint8_t crtc_read(struct crtc *c, uint16_t port);
void crtc_write(struct crtc *c, uint16_t port, uint8_t value);
