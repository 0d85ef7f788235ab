/*
 * A guest that does everything at once: a program of random sensitive instructions with random
 * operands, from a seed (`seed=N` on the command line). Whatever comes of it, the host and the next
 * guest must not notice.
 */
#include <guest/lib/guest.h>

#define LENGTH 60 /* instructions */

void run_with_tables(const void *gdt, uint32_t limit, void (*program)(void));

static uint64_t gdt[32] __attribute__((aligned(4096)));
static uint8_t program[LENGTH * 32] __attribute__((aligned(4096)));
static uint8_t *at = program;
static uint32_t state;

static uint32_t
next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static uint32_t
below(uint32_t n)
{
	return next() % n;
}

static void
byte(uint32_t b)
{
	*at++ = (uint8_t)b;
}

static void
word(uint32_t w)
{
	for (int i = 0; i < 4; i++)
		byte(w >> 8 * i);
}

/* Mostly the guest's own; some of the host's, some of nobody's. */
static uint32_t
selector(void)
{
	switch (below(6)) {
	case 0:
		return 0xe000 + below(0x80);
	case 1:
		return next() & 0xffff;
	default:
		return below(32) * 8 + (below(4) ? 0 : below(8));
	}
}

static uint32_t
address(void)
{
	switch (below(6)) {
	case 0:
		return 0xffc00000 + below(0x3000);
	case 1:
		return (uint32_t)gdt + below(sizeof(gdt));
	case 2:
		return next();
	default:
		return 0x200000 + below(0x1000);
	}
}

/* A descriptor of any kind, half of them plain ones. */
static uint64_t
descriptor(void)
{
	uint64_t d = (uint64_t)next() << 32 | next();

	if (below(2))
		return 0x00cf93000000ffffull ^ (uint64_t)(below(4) << 3) << 40;
	return d | (below(4) ? 1ull << 47 : 0);
}

static void
mov_eax(uint32_t value)
{
	byte(0xb8);
	word(value);
}

static void
push(uint32_t value)
{
	byte(0x68);
	word(value);
}

static void
segment_load(void)
{
	static const uint8_t pops[] = { 0x07, 0x17, 0x1f };

	mov_eax(selector());
	if (below(3)) {
		byte(0x8e); /* mov sreg, eax */
		byte(0xc0 | below(6) << 3);
	} else {
		byte(0x50);
		byte(pops[below(3)]);
	}
}

static void
memory_access(void)
{
	static const uint8_t ops[] = { 0x01, 0x03, 0x31, 0x87, 0x89, 0x8b, 0x39, 0x29, 0x11, 0xff };

	if (!below(3))
		byte(0x26 | below(4) << 3); /* es cs ss ds */
	byte(ops[below(sizeof(ops))]);
	byte(0x05); /* [disp32], eax; for ff: inc */
	word(address());
}

static void
table_load(void)
{
	uint32_t limit = below(4) ? sizeof(gdt) - 1 : next() & 0xffff;
	uint32_t base = below(4) ? (uint32_t)gdt : address();

	push(base);
	push(limit << 16);
	byte(0x0f); /* lgdt or lidt [esp + 2] */
	byte(0x01);
	byte(below(4) ? 0x54 : 0x5c);
	byte(0x24);
	byte(2);
	byte(0x58);
	byte(0x58);
}

static void
far_transfer(void)
{
	uint32_t flags = next() & (below(2) ? 0x247fd7 : 0xffffffff);

	/* iret with VM=1 in long mode: QEMU's fault, see handouts/emulators.md */
	flags &= ~0x20000u;
	switch (below(3)) {
	case 0:
		byte(0xea);
		word((uint32_t)at + 6);
		byte(selector());
		byte(at[-1] >> 5 ? 0xe0 : 0);
		break;
	case 1:
		push(flags);
		push(selector());
		push((uint32_t)at + 6);
		byte(0xcf);
		break;
	default:
		push(selector());
		push((uint32_t)at + 6);
		byte(0xcb);
	}
}

static void
privileged(void)
{
	static const uint8_t ones[] = {
		0xfa, 0xfb, 0x90, 0x9c, 0xec, 0xed, 0xee, 0x6c, 0x6e, 0xfc
	};
	static const uint8_t twos[] = { 0x06, 0x08, 0x09, 0x30, 0x31, 0x32, 0xa2, 0x00, 0x01 };

	switch (below(4)) {
	case 0:
		mov_eax(next());
		byte(0x0f);
		byte(0x20 | below(4)); /* mov cr, dr */
		byte(0xc0 | below(8) << 3);
		break;
	case 1:
		byte(0x0f);
		byte(twos[below(sizeof(twos))]);
		byte(0xc0 | (next() & 0x3f));
		break;
	default:
		byte(ones[below(sizeof(ones))]);
	}
}

static void
flags(void)
{
	push(next() & 0x246dd7 & ~(below(8) ? 0x100 : 0)); /* seldom TF */
	byte(0x9d);
}

static void (*const kinds[])(void) = { segment_load, memory_access, table_load,
				       far_transfer, privileged,    privileged,
				       flags,        memory_access, segment_load };

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	const char *seed = option(info, "seed");

	(void)magic;
	for (; seed && *seed >= '0' && *seed <= '9'; seed++)
		state = state * 10 + (uint32_t)(*seed - '0');
	state = state * 2654435761u + 1;
	for (int i = 0; i < 8; i++)
		next();
	for (unsigned i = 3; i < sizeof(gdt) / sizeof(gdt[0]); i++)
		gdt[i] = descriptor();
	gdt[1] = 0x00cf9b000000ffffull;
	gdt[2] = 0x00cf93000000ffffull;
	for (int i = 0; i < LENGTH; i++)
		kinds[below(sizeof(kinds) / sizeof(kinds[0]))]();
	mov_eax(0); /* out 0xf4, al */
	byte(0xe6);
	byte(0xf4);
	/*
	 * Wherever it jumps by chance there is a hlt, not a slide of zeros through all of memory.
	 */
	for (uint32_t *p = (uint32_t *)0x200000; p < (uint32_t *)0x800000; p++)
		*p = 0xf4f4f4f4;
	run_with_tables(gdt, sizeof(gdt) - 1, (void (*)(void))(uintptr_t)program);
	return 0;
}
