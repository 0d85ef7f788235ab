/*
 * What the decoder says of instructions, as a table for tests/decode/guest.asm: 16 bytes each, the
 * first of which is the length, 0x80 for 16-bit code, 0x40 where it refuses them. `table SEED
 * EVERY` takes one in EVERY.
 *
 * All four maps, each prefix alone and in pairs, and ModR/M bytes of every kind. No instruction is
 * left out for being one that Zeno does not know: the machine says what its CPU takes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <inc/errno.h>
#include <vmm/x86/insn.h>

#define ROOM   15
#define FILLER 0x60

static const uint8_t prefixes[][2] = {
	{ 0 },          { 0x66 },       { 0x67 },       { 0xf2 },
	{ 0xf3 },       { 0xf0 },       { 0x2e },       { 0x64 },
	{ 0x3e },       { 0x66, 0x67 }, { 0x66, 0xf2 }, { 0x66, 0xf3 },
	{ 0x67, 0xf3 }, { 0xf2, 0xf3 }, { 0x36, 0x66 }, { 0xf0, 0x66 },
};
static const uint8_t maps[][2] = { { 0 }, { 0x0f }, { 0x0f, 0x38 }, { 0x0f, 0x3a } };
/* mod and rm; the second is a SIB byte, where 32-bit addressing has one */
static const uint8_t modrms[][2] = { { 0x00, FILLER }, { 0x04, 0x25 },   { 0x04, 0x65 },
				     { 0x05, FILLER }, { 0x06, FILLER }, { 0x41, FILLER },
				     { 0x44, 0x24 },   { 0x82, FILLER }, { 0x84, 0x60 },
				     { 0xc1, FILLER }, { 0xc5, FILLER } };
static uint32_t state;

static uint32_t
next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void
record(const uint8_t *bytes, unsigned bits)
{
	uint8_t out[16];
	struct insn i;
	int err = decode(&i, bytes, ROOM, bits == 16 ? MODE16 : MODE32);

	if (err == -ENODATA || err == -E2BIG) /* the table's own limits */
		return;
	/*
	 * QEMU lets LOCK stand where it must not, and 66, f2, f3 before movnti and fences (SDM 2A
	 * 3.1.1.1, "NP").
	 */
	if (err && (memchr(bytes, 0xf0, 3) || i.opcode == 0xc3 || i.opcode == 0xae))
		return;
	if (!err && i.map == MAP_1BYTE && (i.opcode | 1) == 0xf7 &&
	    i.reg == 1) /* QEMU has no second TEST */
		return;
	if (i.map == MAP_0F38 &&
	    ((i.opcode & 0xfc) == 0x2c ||
	     (i.opcode & 0xfd) == 0x8c)) /* VEX alone has them; QEMU reads on */
		return;
	out[0] = (err ? ROOM | 0x40 : i.len) | (bits == 16 ? 0x80 : 0);
	memcpy(out + 1, bytes, ROOM);
	fwrite(out, sizeof(out), 1, stdout);
}

static void
put(uint8_t *bytes, const uint8_t *two, unsigned *n)
{
	for (unsigned i = 0; i < 2 && two[i]; i++)
		bytes[(*n)++] = two[i];
}

/* An opcode with a prefix, and with every kind of byte behind it. */
static void
opcode(unsigned map, unsigned op, unsigned prefix, unsigned every)
{
	for (unsigned m = 0; m < sizeof(modrms) / 2; m++)
		for (unsigned reg = 0; reg < 8; reg++) {
			uint8_t bytes[ROOM];
			unsigned n = 0;

			if (next() % every)
				continue;
			memset(bytes, FILLER, sizeof(bytes));
			put(bytes, prefixes[prefix], &n);
			put(bytes, maps[map], &n);
			bytes[n++] = (uint8_t)op;
			bytes[n++] = modrms[m][0] | reg << 3;
			bytes[n++] = modrms[m][1];
			record(bytes, 32);
			record(bytes, 16);
		}
}

int
main(int argc, char **argv)
{
	unsigned every = argc > 2 ? atoi(argv[2]) : 1;

	state = (argc > 1 ? atoi(argv[1]) : 1) * 2654435761u | 1;
	for (unsigned map = 0; map < sizeof(maps) / 2; map++)
		for (unsigned op = 0; op < 256; op++)
			for (unsigned p = 0; p < sizeof(prefixes) / 2; p++)
				opcode(map, op, p, map < 2 ? every : 4 * every);
	return 0;
}
