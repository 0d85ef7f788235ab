/*
 * The machine's PCI bus: dom0 sees all of it, and may have the disks' controller master it, which
 * is over when dom0 is. It moves no device, and touches no other one's command. Nobody else has it.
 */
#include <guest/pv/lib/check.h>

void bus_of_nobody(void);
void bus_of_dom0(void);

#define ADDRESS 0xcf8u
#define DATA    0xcfcu
#define ENABLE  0x80000000u
#define COMMAND 0x04u
#define CLASS   0x08u
#define MASTER  4u
#define DISKS   0x0101u

static uint32_t
in(uint16_t from)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "d"(from));
	return value;
}

static void
out(uint16_t to, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "d"(to));
}

static void
out_word(uint16_t to, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "d"(to));
}

static uint32_t
config(unsigned function, unsigned at)
{
	out(ADDRESS, ENABLE | function << 8 | at);
	return in(DATA);
}

static void
command(unsigned function, uint16_t value)
{
	config(function, COMMAND);
	out_word(DATA, value);
}

void
bus_of_nobody(void)
{
	out(ADDRESS, ENABLE);
	check(in(ADDRESS) == ~0u, "the bus's address", in(ADDRESS));
	check(in(DATA) == ~0u, "the bus", in(DATA));
}

/* All ones are written there, four bytes at a time, and nothing is another one for it. */
static void
keeps(unsigned function, unsigned from, unsigned to)
{
	for (unsigned at = from; at < to; at += 4) {
		uint32_t before = config(function, at);

		out(DATA, ~0u);
		check(config(function, at) == before, "a register that is nobody's", at);
		out(DATA, before);
	}
}

static void
disks(unsigned function)
{
	uint16_t before = (uint16_t)config(function, COMMAND);

	check(!(before & MASTER), "nobody masters the bus", before);
	command(function, (uint16_t)(before | MASTER));
	check(config(function, COMMAND) & MASTER, "dom0's disks master the bus", before);
	keeps(function, COMMAND, 256);
}

/* It is left as it is: who comes behind it finds that over. */
void
bus_of_dom0(void)
{
	unsigned found = 0;

	check(config(0, 0) != ~0u, "a bus", 0);
	for (unsigned f = 0; f < 256; f++) {
		if (config(f, CLASS) >> 16 == DISKS && !found++) {
			disks(f);
		} else if ((uint16_t)config(f, 0) != 0xffff) {
			uint32_t before = config(f, COMMAND);

			command(f, (uint16_t)(before ^ MASTER));
			check(config(f, COMMAND) == before, "the command of none of its", f);
			keeps(f, 0x10, 0x28);
		}
	}
	check(found, "the disks' controller", found);
}
