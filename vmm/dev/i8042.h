/*
 * The keyboard controller, with nothing plugged in (i8042.c).
 *
 * PC/AT = IBM Personal Computer AT Technical Reference, "Keyboard Controller (8042)".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define I8042_DATA   0x60
#define I8042_STATUS 0x64 /* reads; writes are commands */
#define FAST_A20     0x92 /* PS/2 "System Control Port A": bit 1 is A20, bit 0 a reset */

/* All of it; zeros are no state: i8042_init(). */
struct i8042 {
	uint8_t status, data;
	uint8_t mode;   /* the controller's "command byte" */
	uint8_t output; /* the output port: bit 1 is A20, bit 0 at 0 a reset */
	uint8_t waits;  /* the command whose second byte comes next; 0: none */
	uint8_t pad[3];
};

void i8042_init(struct i8042 *k);
uint8_t i8042_read(struct i8042 *k, uint16_t port);
/* NULL, or what of the machine the guest has changed that can't be done for it. */
const char *i8042_write(struct i8042 *k, uint16_t port, uint8_t value);
