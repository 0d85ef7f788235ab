/*
 * Rounds of random code, from `round=` on `count=` of them, by `seed=`; see fuzz.h. `same=1` prints
 * how each ends (same.c).
 */
#include "fuzz.h"

#define MENDED 8 /* rounds after which what the handler does not mend is set up anew */

static uint32_t
parse(const uint32_t *info, const char *key, uint32_t otherwise)
{
	const char *s = option(info, key);
	uint32_t value = 0;

	if (!s)
		return otherwise;
	for (; *s >= '0' && *s <= '9'; s++)
		value = value * 10 + (uint32_t)(*s - '0');
	return value;
}

/* The flags that a round starts with: most have interrupts on, few TF. */
static uint32_t
flags(void)
{
	uint32_t f = 2 | (next() & 0xcd5);

	if (below(8))
		f |= 0x200;
	if (!below(16))
		f |= next() & 0x47100; /* TF NT RF AC IOPL */
	return f;
}

static void
fill(struct start *s)
{
	uint32_t *general = &s->edi;
	int user = below(2);

	for (unsigned i = 0; i < 8; i++)
		general[i] = number();
	s->gs = below(4) ? UDATA : selector();
	s->fs = below(4) ? 0 : selector();
	s->es = below(8) ? UDATA : selector();
	s->ds = below(8) ? UDATA : selector();
	s->eip = below(8) ? CODE + 0x100 : CODE + 0x1000 - below(32);
	s->cs = user ? UCODE : KCODE;
	s->eflags = flags();
	s->esp = below(8) ? STACK + 0xf00 : address();
	s->ss = UDATA;
	if (!below(8)) { /* a frame that is no good, or that nobody has thought of */
		s->cs = selector();
		s->ss = below(2) ? selector() : s->ss;
		s->eflags = below(2) ? next() : s->eflags;
		s->eip = below(2) ? address() : s->eip;
	}
}

static void
one_round(uint32_t n)
{
	struct start start;

	if (n % MENDED == 0) {
		state_init();
		good_descriptors();
	}
	edit_tables(below(3));
	edit_descriptors(below(4));
	make_code();
	fill(&start);
	end.vector = 0;
	run_round(&start, below(2) ? SELS * 8 - 1 : 0);
	if (end.vector == TICK_VECTOR)
		outb(0x20, 0x20); /* end of interrupt */
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	uint32_t seed = parse(info, "seed", 1), from = parse(info, "round", 0);
	uint32_t count = parse(info, "count", 64);

	(void)magic;
	pae = seed & 1;
	seed_round(seed, from);
	memset((void *)CODE, 0xcc, TABLES - CODE);
	make_spaces(!option(info, "same"));
	tables_init(cr3_of(1));
	if (option(info, "same")) {
		console_init();
		same_rounds(seed, from, count, option_is(option(info, "same"), "more"));
		return 0;
	}
	for (uint32_t n = 0; n < count; n++) {
		seed_round(seed, from + n);
		one_round(n);
		*(volatile uint32_t *)REPORT = n + 1;
	}
	return 0;
}
