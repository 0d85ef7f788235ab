/*
 * Compares what QEMU's own devices answered with what vmm/dev/ answers: `model gen KIND SEED STEPS
 * > script`, `model check KIND SCRIPT ANSWERS`.
 *
 * bare.asm plays a script on QEMU. QEMU is not the datasheet: where the two differ, the generator
 * (script.c) stays away or the comparison masks the bits, with EXCEPTION in a comment. There are no
 * others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define NOTHING_TAKEN 0x100
#define PULSE         839 /* ns, rounded up */
#define VARIANTS      4

static bool
is_uart(uint16_t port)
{
	return (port & ~7u) == UART_COM1_BASE;
}

static bool
is_pic(uint16_t port)
{
	return (port & ~1u) == PIC_MASTER || (port & ~1u) == PIC_SLAVE || (port & ~1u) == PIC_ELCR;
}

static bool
is_i8042(uint16_t port)
{
	return port == I8042_DATA || port == I8042_STATUS;
}

/* Plays one step at `now`; the answer, or 0. */
uint32_t
play(struct machine *x, const struct step *s, uint64_t now)
{
	switch (s->op) {
	case OP_OUT:
		if (is_uart(s->port))
			uart_write(&x->uart, s->port - UART_COM1_BASE, s->value, NULL);
		else if (is_pic(s->port))
			pic_write(&x->pic, s->port, s->value);
		else if (is_i8042(s->port))
			i8042_write(&x->i8042, s->port, s->value);
		else
			pit_write(&x->pit, s->port, s->value, now);
		return 0;
	case OP_IN:
		if (is_uart(s->port))
			return uart_read(&x->uart, s->port - UART_COM1_BASE);
		if (is_pic(s->port))
			return pic_read(&x->pic, s->port);
		if (is_i8042(s->port))
			return i8042_read(&x->i8042, s->port);
		return pit_read(&x->pit, s->port, now);
	case OP_LINE:
		pic_set_irq(&x->pic, s->port, s->value);
		return 0;
	case OP_TAKE:
		return pic_pending(&x->pic) ? (uint32_t)pic_ack(&x->pic) : NOTHING_TAKEN;
	default:
		return 0;
	}
}

void
reset(struct machine *x)
{
	uart_init(&x->uart);
	pic_init(&x->pic);
	pit_init(&x->pit, 0);
	i8042_init(&x->i8042);
}

/*
 * The bits of an answer that QEMU gets from the datasheet, too. `x` is our machine before the step.
 */
static uint32_t
compared(const struct machine *x, const struct step *s)
{
	const struct pit_channel *c = &x->pit.ch[2];

	/* EXCEPTION: QEMU's bit that says where the last byte came to never changes. */
	if (s->port == I8042_STATUS)
		return 0xf7;
	/* EXCEPTION: no deltas in loopback. */
	if (s->port == UART_COM1_BASE + UART_MSR)
		return 0xf0;
	/*
	 * EXCEPTION: at or above the trigger level QEMU says timeout after a while, for received
	 * data.
	 */
	if (s->port == UART_COM1_BASE + UART_IIR && (x->uart.fcr & UART_FCR_ENABLE))
		return x->uart.rx_count ? 0xff & ~0x08 : 0xff;
	/* EXCEPTION: QEMU's refresh bit toggles at each read; OUT is inverted in modes 2 and 4. */
	if (s->port == PIT_PORT_B)
		return c->mode == 2 || c->mode == 4 ? 0x03 : 0x23;
	/* The same, and EXCEPTION: QEMU has no null count. */
	if (s->port >= PIT_BASE && s->port < PIT_CONTROL && c->status_latched)
		return c->mode == 2 || c->mode == 4 ? 0x3f : 0xbf;
	return 0xffff;
}

/*
 * EXCEPTION: QEMU loads a count at once, an 8254 at the next pulse. QEMU's answer lies between
 * those of four machines of ours: the time before or after the access, and its reads a pulse later
 * or not.
 */
static uint64_t
variant_time(const struct step *s, const struct answer *a, unsigned variant)
{
	bool count_or_gate = s->op == OP_OUT && (s->port != PIT_CONTROL || (s->value & 0x30)) &&
			     !(s->port == PIT_CONTROL && s->value >= 0xc0);
	uint64_t t = variant & 1 ? a->after : a->before;

	return variant & 2 && !count_or_gate ? t + PULSE : t;
}

static const char *
op_name(const struct step *s)
{
	static const char *const names[] = { "end", "out", "in", "line", "take", "wait" };

	return names[s->op];
}

static bool
agree(struct machine *v, const struct step *s, const struct answer *a, uint32_t *ours)
{
	uint32_t mask = compared(&v[0], s);
	bool same = s->op != OP_IN && s->op != OP_TAKE;

	for (unsigned i = 0; i < VARIANTS; i++) {
		ours[i] = play(&v[i], s, variant_time(s, a, i));
		same |= !((ours[i] ^ a->value) & mask);
	}
	return same;
}

static int
check(FILE *script, FILE *answers)
{
	struct machine v[VARIANTS];
	unsigned long n, wrong = 0, values = 0;
	uint32_t ours[VARIANTS];
	struct answer a;
	struct step s;

	for (unsigned i = 0; i < VARIANTS; i++)
		reset(&v[i]);
	for (n = 1; fread(&s, sizeof(s), 1, script) == 1 && s.op != OP_END; n++) {
		if (fread(&a, sizeof(a), 1, answers) != 1) {
			printf("QEMU's answers end at step %lu\n", n);
			return 1;
		}
		values += s.op == OP_IN || s.op == OP_TAKE;
		if (agree(v, &s, &a, ours) || wrong++ >= 5)
			continue;
		printf("step %lu: %s %#x: QEMU %#" PRIx32 ", ours %#" PRIx32 " %#" PRIx32
		       " %#" PRIx32 " %#" PRIx32 "\n",
		       n, op_name(&s), s.port, a.value, ours[0], ours[1], ours[2], ours[3]);
	}
	if (fread(&a, 1, 1, answers))
		printf("QEMU has more answers than there are steps\n"), wrong++;
	printf("%lu steps, %lu values, %lu wrong\n", n - 1, values, wrong);
	return wrong || !values;
}

int
main(int argc, char **argv)
{
	FILE *script, *answers;

	if (argc == 5 && !strcmp(argv[1], "gen"))
		return generate(argv[2], strtoull(argv[3], NULL, 0), strtoul(argv[4], NULL, 0));
	if (argc != 5 || strcmp(argv[1], "check")) {
		fprintf(stderr,
			"usage: model gen KIND SEED STEPS | model check KIND SCRIPT ANSWERS\n");
		return 2;
	}
	script = fopen(argv[3], "rb");
	answers = fopen(argv[4], "rb");
	if (!script || !answers) {
		perror("model");
		return 2;
	}
	return check(script, answers);
}
