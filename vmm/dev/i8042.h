/*
 * The keyboard controller, with a keyboard and no mouse (i8042.c).
 *
 * PC/AT = IBM Personal Computer AT Technical Reference, "Keyboard Controller (8042)".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <vmm/dev/keyboard.h>

#define I8042_DATA   0x60
#define I8042_STATUS 0x64 /* reads; writes are commands */
#define FAST_A20     0x92 /* PS/2 "System Control Port A": bit 1 is A20, bit 0 a reset */

/* All of it; zeros are no state: i8042_init(). */
struct i8042 {
	uint8_t status, data;
	uint8_t mode;   /* the controller's "command byte" */
	uint8_t output; /* the output port: bit 1 is A20, bit 0 at 0 a reset */
	uint8_t waits;  /* the command whose second byte comes next; 0: none */
	uint8_t answer; /* the controller's own */
	bool answers;   /* ... is there */
	bool own;       /* what waits at port 60 is it, and nothing of the keyboard's */
	struct keyboard keyboard;
};

#define I8042_IRQ    1
#define I8042_KEY_NS 1000000ul /* from key to key: a guest must come to them, firmware keeps 15 */

void i8042_init(struct i8042 *k);
uint8_t i8042_read(struct i8042 *k, uint16_t port);
/* NULL, or what of the machine the guest has changed that can't be done for it. */
const char *i8042_write(struct i8042 *k, uint16_t port, uint8_t value);
/*
 * The next byte may come to port 60. It does not by itself, so that the line of IRQ 1 (i8042_irq())
 * is seen low between two bytes.
 */
void i8042_update(struct i8042 *k);
bool i8042_irq(const struct i8042 *k);
bool i8042_is_idle(const struct i8042 *k); /* no byte waits */
/* A key comes to the guest, and all before have. */
bool i8042_takes_keys(const struct i8042 *k);
void i8042_type(struct i8042 *k, uint8_t c); /* what types this character; keyboard.h */
