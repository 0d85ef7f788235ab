/*
 * The keyboard behind the controller (keyboard.c, i8042.c): commands, and keys as scan codes.
 *
 * PS2 = IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard (101- and
 * 102-Key)".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define KEYBOARD_QUEUE 16u

/* All of it; zeros are no state: keyboard_init(). */
struct keyboard {
	uint8_t queue[KEYBOARD_QUEUE]; /* what it sends next, first things first */
	uint8_t count;
	uint8_t replies; /* of these are the answer to the last command, not keys */
	uint8_t waits;   /* the command whose operand comes next; 0: none */
	uint8_t set;     /* of scan codes: 1 or 2 */
	uint8_t leds;
	bool scans;   /* keys are sent */
	bool enabled; /* ... and somebody has asked for them */
	uint8_t pad;
};

void keyboard_init(struct keyboard *k);
/* `translates`: the controller makes set 1 of what comes. */
void keyboard_write(struct keyboard *k, uint8_t value, bool translates);
uint8_t keyboard_take(struct keyboard *k); /* the next byte; there is one */
/* The American keys that type this character, down and up: they are in the queue, or lost. */
void keyboard_type(struct keyboard *k, uint8_t c, bool translates);
