/*
 * The machine's PCI bus: dom0 sees all of it, and may have the disks' controller master it, which
 * is over when dom0 is. It moves no device, and touches no other one's command. Nobody else has it.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <inc/errno.h>

void bus_of_nobody(void);
void bus_of_dom0(void);

#define ADDRESS 0xcf8u
#define DATA    0xcfcu
#define ENABLE  0x80000000u
#define COMMAND 0x04u
#define CLASS   0x08u
#define MASTER  4u
#define DISKS   0x0101u
#define NETWORK 0x0200u
#define BASE    0x10u
#define BYTES   0x20000u /* of a card's registers */
#define STATUS  8u       /* one of them, which is not 0 */
#define SEEN    (PTE_P | PTE_U | PTE_NX)

static uint8_t pages[2][4096] __attribute__((aligned(4096)));

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
	for (uint64_t at = 0xfe000000; at < 0xff000000; at += 4096)
		check(pv_map(pages, at | SEEN) == -EINVAL, "a device's registers", at);
}

/* ---- registers in memory ---- */

/* Where the entry of a page of its own lies, as machines have it. */
static uint64_t
entry_of(const void *page)
{
	uint64_t *table = (uint64_t *)pv_info->pt_base, va = (uint64_t)page;

	for (unsigned shift = 39; shift > 12; shift -= 9)
		table = pv_machine_page(table[va >> shift & 511] >> 12 & 0xffffffffff);
	return pv_page(table) << 12 | (va >> 12 & 511) * 8;
}

static void
refused(uint64_t at)
{
	check(pv_map(pages, at | SEEN) == -EINVAL, "what is no register", at);
	check(pv_update(entry_of(pages), at | SEEN | PTE_W) == -EINVAL, "... by mmu_update", at);
}

/* They are mapped when it ends, too. */
static void
registers(unsigned function)
{
	uint64_t at = config(function, BASE) & ~15u;
	volatile uint32_t *status = (volatile uint32_t *)(pages[0] + STATUS);
	int64_t got;

	check(at && !pv_map(pages, at | SEEN), "a card's registers, to read", at);
	check(*status && *status != ~0u, "... of which this is one", *status);
	check(!pv_update(entry_of(pages), at | SEEN | PTE_W), "... to write, by mmu_update", at);
	check(!pv_map(pages, (at + BYTES - 4096) | SEEN | PTE_W), "the last of them", at);
	refused(at - 4096);
	refused(at + BYTES);
	refused(0xfee00000);
	refused(0xa0000);
	got = pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, at >> 12);
	check(got == -EINVAL, "registers as a page table", (uint64_t)got);
	got = pv_update(at + STATUS, 0);
	check(got == -EINVAL, "... or as one that is written", (uint64_t)got);
	got = pv_call(XEN_console_io, XEN_CONSOLEIO_write, 12, (uint64_t)(pages[1] - 6), 0);
	check(got == -EFAULT, "... or as what is said", (uint64_t)got);
	check(!pv_map(pages, at | SEEN | PTE_W), "registers", at);
	check(*status && *status != ~0u, "... are still there", *status);
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
		} else if (config(f, CLASS) >> 16 == NETWORK) {
			command(f, 2); /* its registers are memory */
			registers(f);
		} else if ((uint16_t)config(f, 0) != 0xffff) {
			uint32_t before = config(f, COMMAND);

			command(f, (uint16_t)(before ^ MASTER));
			check(config(f, COMMAND) == before, "the command of none of its", f);
			keeps(f, 0x10, 0x28);
		}
	}
	check(found, "the disks' controller", found);
}
