/*
 * Sequences from `from=` on, `count=` of them, by `seed=`. `plain=1` leaves out what te can't hide
 * (handouts/lab1b.md#ex-1-9); `checks=1` uses segments whose rights QEMU does not check; `more=1`
 * tells all. A line is the sequence's number, how many ticks fell into it, the vector that ended
 * it, its error code, where, and a sum of all that came of it.
 */
#include "sequences.h"

#define FLAG_RF 0x10000u

int plain, checks;

static int more;
static uint32_t sum, seed;

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

static void
mix(const char *name, uint32_t value)
{
	sum = (sum ^ value) * 16777619u;
	if (more)
		print(name), put('='), print_hex(value), put('\n');
}

static void
mix_memory(const char *name, uint32_t from, uint32_t to)
{
	int told = more;

	more = 0;
	for (; from < to; from += 4)
		mix("", *(const volatile uint32_t *)from);
	more = told;
	if (more)
		print(name), put('='), print_hex(sum), put('\n');
}

static void
mix_registers(void)
{
	static const char *const names[] = { "edi", "esi", "ebp", "", "ebx", "edx", "ecx", "eax" };

	for (unsigned i = 0; i < 8; i++)
		if (i != 3)
			mix(names[i], (&end.edi)[i]);
	mix("cs", (uint16_t)end.cs);
	mix("eflags", end.eflags & ~FLAG_RF);
	mix("cr0", after.cr0), mix("cr3", after.cr3), mix("cr4", after.cr4);
	if (end.vector == 14)
		mix("cr2", after.cr2);
	for (unsigned i = 0; i < 4; i++)
		mix("dr", after.dr[i]);
	mix("dr6", after.dr6), mix("dr7", after.dr7), mix("efer", after.efer);
	if (plain)
		return;
	mix("ds", (uint16_t)end.ds), mix("es", (uint16_t)end.es);
	mix("fs", (uint16_t)end.fs), mix("gs", (uint16_t)end.gs);
	mix("gdt", end.gdtr.base), mix("limit", end.gdtr.limit);
	mix("idt", end.idtr.base), mix("limit", end.idtr.limit);
	mix("tr", after.tr), mix("ldtr", after.ldtr);
}

/* The words above the stack pointer; what is below it is ticks' as well. */
static void
mix_stack(void)
{
	uint32_t esp = end.cs & 3 ? end.esp : after.frame + 12;

	mix("esp", esp);
	if (esp > STACK && esp <= STACK + 0x1000)
		mix_memory("stack", esp & ~3u, STACK + 0x1000);
}

static void
tell_code(uint32_t stop)
{
	print("code");
	for (const uint8_t *p = (const uint8_t *)CODE + 0x100; (uint32_t)p < stop; p++) {
		put(' ');
		put("0123456789abcdef"[*p >> 4]);
		put("0123456789abcdef"[*p & 15]);
	}
	put('\n');
}

/*
 * QEMU reports the read of a read-modify-write first: whether it was to write is not told of what
 * is not there.
 */
static void
mask_error(void)
{
	if (end.vector == 14 && !(end.error & 1))
		end.error &= ~2u;
}

static void
tell(uint32_t round)
{
	const uint32_t *end_words = &end.vector;
	uint32_t ticks = *(volatile uint32_t *)STACK;

	mask_error();
	sum = 2166136261u;
	mix_registers();
	mix_stack();
	mix_memory("memory", PLAY, STACK);
	mix_memory("tables", GDT, POINTERS);
	print_hex(round), put(' ');
	print_hex(ticks), put(' ');
	for (unsigned i = 0; i < 3; i++) /* vector, error, eip */
		print_hex(end_words[i]), put(' ');
	print_hex(sum), put('\n');
}

static void
one_sequence(uint32_t round)
{
	struct start s = { .gs = KDATA, .fs = UDATA, .es = KDATA, .ds = KDATA, .cs = KCODE };
	uint32_t *general = &s.edi, word, stop;

	seed_round(seed, round);
	word = next();
	for (volatile uint32_t *p = (volatile uint32_t *)(CODE + 0x100);
	     p < (volatile uint32_t *)(CODE + 0x400); p++)
		if (*p != 0xcccccccc)
			*p = 0xcccccccc;
	for (volatile uint32_t *p = (volatile uint32_t *)PLAY; p < (volatile uint32_t *)STACK; p++)
		if ((uint32_t)p >> 12 != READ_ONLY >> 12)
			*p = word = word * 1664525u + 1013904223u;
	memset((void *)STACK, 0, 0x1000);
	tables_fresh();
	for (unsigned i = 0; i < 8; i++)
		general[i] = number();
	s.eflags = 2 | (next() & 0xcd5) | (below(4) ? 0x200 : 0);
	s.eip = CODE + 0x100;
	stop = make_sequence();
	if (more)
		tell_code(stop);
	run_sequence(&s);
	tell(round);
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	uint32_t from = parse(info, "from", 0), count = parse(info, "count", 100);

	(void)magic;
	seed = parse(info, "seed", 1);
	plain = (int)parse(info, "plain", 0);
	checks = (int)parse(info, "checks", 0);
	more = (int)parse(info, "more", 0);
	console_init();
	memset((void *)READ_ONLY, 0xaa, 0x1000);
	memset((void *)GDT, 0, POINTERS - GDT);
	memset((void *)CODE, 0xcc, PLAY - CODE);
	paging_on();
	tables_init();
	tables_fresh();
	timer_init();
	for (uint32_t n = from; n < from + count; n++)
		one_sequence(n);
	print("that is all\n");
	return 0;
}
