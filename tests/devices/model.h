/*
 * What a script is made of, and the machine that model.c plays it on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <vmm/dev/i8042.h>
#include <vmm/dev/pic.h>
#include <vmm/dev/pit.h>
#include <vmm/dev/uart.h>

enum op { OP_END, OP_OUT, OP_IN, OP_LINE, OP_TAKE, OP_WAIT };

struct step {
	uint8_t op, pad;
	uint16_t port; /* or line */
	uint32_t value;
};

struct answer {
	uint64_t before, after; /* ns */
	uint32_t value, pad;
};

struct machine {
	struct uart uart;
	struct pic pic;
	struct pit pit;
	struct i8042 i8042;
};

/* model.c. Plays one step at `now`; the answer, or 0. */
uint32_t play(struct machine *x, const struct step *s, uint64_t now);
void reset(struct machine *x);

/* script.c. A random script for "pic", "uart", "pit" or "keyboard" goes to standard output. */
int generate(const char *kind, uint64_t seed, unsigned long steps);
