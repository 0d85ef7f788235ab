/*
 * Rounds whose end is told: the same on the bare machine and on every engine. Ring 3 alone, on
 * memory, flags and an FPU that are made anew for each.
 *
 * Left out is what is known to differ: instructions that tell of the descriptor tables
 * (handouts/lab1b.md#ex-1-9), the time, fast system calls; and what bare QEMU does otherwise than
 * the manuals: cmpxchg8b, and setcc, rcl and rcr that fault, leave rubbish in the flags
 * (handouts/emulators.md#cmpxchg8b), LOCK and the middle of c6 and c7 are not checked, and a
 * program's iret may go to virtual-8086 mode.
 */
#include "fuzz.h"

#define FLAG_RF 0x10000u
#define FLAG_VM 0x20000u

static uint32_t sum;

static void
mix(uint32_t value)
{
	sum = (sum ^ value) * 16777619u;
}

/* The second byte of an opcode that is left out. */
static int
is_left_out(uint8_t second)
{
	static const uint8_t some[] = {
		0x00, 0x01, 0x02, 0x03, 0x05, 0x07, 0x31, 0x34, 0x35, 0xc7
	};

	for (unsigned i = 0; i < sizeof(some); i++)
		if (some[i] == second)
			return 1;
	return second >> 4 == 9;
}

/* Wherever an instruction may begin. */
static void
leave_out(void)
{
	for (volatile uint8_t *p = (volatile uint8_t *)CODE; p < (volatile uint8_t *)PLAY - 1;
	     p++) {
		if (*p == 0xf0)
			*p = 0x90;
		if ((*p & 0xfe) == 0xc6)
			p[1] &= 0xc7;
		if ((*p & 0xfe) == 0xc0 || (*p & 0xfc) == 0xd0)
			p[1] |= 0x20; /* rcl and rcr become shifts */
		if (*p == 0x0f && is_left_out(p[1]))
			p[1] = 0x0b; /* ud2 */
	}
}

/* SDM 1 table 10-2: the FXSAVE area, as after power-up. */
static void
new_fpu(void)
{
	static uint32_t area[128] __attribute__((aligned(16)));

	area[0] = 0x037f;
	area[6] = 0x1f80;
	__asm__ volatile("fxrstor %0" : : "m"(area));
}

static void
fill_memory(void)
{
	uint32_t word = next();

	for (volatile uint32_t *p = (volatile uint32_t *)PLAY; p < (volatile uint32_t *)GDT; p++)
		*p = (word = word * 1664525u + 1013904223u) & ~FLAG_VM;
	/*
	 * Segments of all kinds, accessed already: te and bt don't mark a table that they keep a
	 * shadow of.
	 */
	for (unsigned i = 0; i < 8; i++)
		((volatile uint64_t *)LDT)[i] = 0x00cf11000000ffffull | (uint64_t)(next() & 0xee)
										<< 40;
	for (volatile uint32_t *p = (volatile uint32_t *)CODE; p < (volatile uint32_t *)PLAY; p++)
		*p = 0xcccccccc;
	flags_left_out = FLAG_VM;
	make_code();
	leave_out();
}

/* What a tick ended may have come to anywhere: it is told as that. */
static void
tell(uint32_t round)
{
	const uint32_t *words = &end.edi;

	print_hex(round);
	put(' ');
	print_hex(end.vector);
	sum = 2166136261u;
	end.unused = 0;
	end.eflags &= ~FLAG_RF;
	for (unsigned i = 0; i < sizeof(end) / 4; i++)
		mix(words[i]);
	if (end.vector == 14)
		mix(end_cr2);
	for (const uint32_t *p = (const uint32_t *)CODE; p < (const uint32_t *)GDT; p++)
		mix(*p);
	put(' ');
	print_hex(end.vector == TICK_VECTOR ? 0 : sum);
	put('\n');
}

/* All of the round's end, for a person. */
static void
tell_more(void)
{
	const uint32_t *words = &end.edi;

	for (unsigned i = 0; i < sizeof(end) / 4; i++)
		print_hex(words[i]), put(' ');
	print_hex(end_cr2), put('\n');
	for (unsigned i = 0; i < 64; i++)
		print_hex(((const uint32_t *)(CODE + 0x100))[i]), put(i % 16 == 15 ? '\n' : ' ');
}

void
same_rounds(uint32_t seed, uint32_t from, uint32_t count, int more)
{
	for (uint32_t n = from; n < from + count; n++) {
		struct start s = {
			.gs = UDATA, .fs = UDATA, .es = UDATA, .ds = UDATA, .cs = UCODE, .ss = UDATA
		};
		uint32_t *general = &s.edi;

		seed_round(seed, n);
		state_init();
		outb(0x43, 0x34), outb(0x40, 0xff), outb(0x40, 0xff); /* 18 ticks in a second */
		fill_memory();
		new_fpu();
		for (unsigned i = 0; i < 8; i++)
			general[i] = number();
		s.eip = CODE + 0x100;
		s.esp = STACK + 0xf00;
		s.eflags = 0x202 | (next() & 0xcd5);
		end.vector = 0;
		run_round(&s, 0);
		if (end.vector == TICK_VECTOR)
			outb(0x20, 0x20);
		tell(n);
		if (more)
			tell_more();
	}
}
