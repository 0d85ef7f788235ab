/* BUILD: vmm/dev/apic/ide.c vmm/dev/apic/ide_dma.c vmm/dev/apic/ide_identify.c */
/*
 * An ATA disk and its bus master, by the manuals that ide.h names: commands of 28 and 48 bits,
 * counts of 0, addresses beyond the end, data registers of each width, tables of regions that end
 * early, late, never, or lead nowhere, resets in the middle; and 200,000 random accesses.
 */
#include <stdlib.h>
#include <string.h>

#include <vmm/dev/apic/ide.h>

#include "gen.h"
#include "tap.h"

#define SECTORS 0x10010u
#define RAM     0x40000u

static struct ide i;
static uint8_t ram[RAM];
static struct {
	uint64_t lba;
	unsigned loads, stores, beyond;
	uint8_t first; /* byte of what was stored last */
} disk;

/* Each sector holds its number, and was written to nowhere. */
static void
load(void *ctx, uint64_t lba, uint8_t buf[IDE_SECTOR])
{
	disk.loads++;
	disk.beyond += lba >= SECTORS;
	for (unsigned n = 0; n < IDE_SECTOR; n += 4)
		memcpy(buf + n, &(uint32_t){ (uint32_t)lba }, 4);
}

static void
store(void *ctx, uint64_t lba, const uint8_t buf[IDE_SECTOR])
{
	disk.stores++;
	disk.beyond += lba >= SECTORS;
	disk.lba = lba;
	disk.first = buf[0];
}

static bool
read_ram(void *ctx, uint64_t at, void *buf, size_t size)
{
	if (at > RAM || size > RAM - at)
		return false;
	memcpy(buf, ram + at, size);
	return true;
}

static bool
write_ram(void *ctx, uint64_t at, const void *buf, size_t size)
{
	if (at > RAM || size > RAM - at)
		return false;
	memcpy(ram + at, buf, size);
	return true;
}

static struct ide_host host = { SECTORS, load, store, read_ram, write_ram, NULL };

static void
reset(void)
{
	memset(&i, 0x5a, sizeof(i));
	ide_init(&i);
	memset(&disk, 0, sizeof(disk));
	memset(ram, 0xee, sizeof(ram));
}

static void
out(unsigned r, uint8_t value)
{
	ide_write(&i, r, 1, value, &host);
}

static uint32_t
in(unsigned r)
{
	return ide_read(&i, r, 1, &host) & 0xff;
}

static void
command(uint8_t which, uint64_t lba, unsigned count, bool ext)
{
	for (int high = ext; high >= 0; high--) {
		out(IDE_COUNT, (uint8_t)(count >> 8 * high));
		out(IDE_LBA_LOW, (uint8_t)(lba >> 24 * high));
		out(IDE_LBA_MID, (uint8_t)(lba >> (24 * high + 8)));
		out(IDE_LBA_HIGH, (uint8_t)(lba >> (24 * high + 16)));
	}
	out(IDE_DEVICE, (uint8_t)(0xe0 | (ext ? 0 : lba >> 24 & 0xf)));
	out(IDE_STATUS, which);
}

static void
test_registers(void)
{
	reset();
	is_u64(i.version, IDE_STATE, "the state carries its version");
	is_u64(in(IDE_STATUS), 0x50, "behind a reset: ready");
	is_u64(in(IDE_ERROR), 1, "... diagnosis");
	is_u64(in(IDE_COUNT) | in(IDE_LBA_LOW) << 8 | in(IDE_LBA_MID) << 16, 0x0101,
	       "... signature");
	out(IDE_COUNT, 0x12);
	out(IDE_COUNT, 0x34);
	is_u64(in(IDE_COUNT), 0x34, "what was written last");
	ide_control(&i, IDE_HOB);
	is_u64(in(IDE_COUNT), 0x12, "HOB: and before that");
	out(IDE_LBA_LOW, 1);
	is_u64(in(IDE_COUNT), 0x34, "... until something is written");
	out(IDE_DEVICE, 0xf0);
	is_u64(in(IDE_STATUS), 0, "there is no device 1");
	out(IDE_STATUS, 0xec);
	is_u64(i.transfer, IDE_IDLE, "... and it does nothing");
	out(IDE_DEVICE, 0xe0);
	ide_control(&i, IDE_SRST);
	is_u64(ide_alternate(&i, &host), 0x80, "busy as long as SRST is set");
	out(IDE_STATUS, 0xec);
	ide_control(&i, 0);
	is_u64(in(IDE_STATUS), 0x50, "ready behind it, and nothing has begun");
	is_u64(ide_read(&i, IDE_STATUS, 1, &(struct ide_host){ 0 }) & 0xff, 0xff, "no disk: ones");
}

static void
test_identify(void)
{
	uint16_t word[256];

	reset();
	out(IDE_STATUS, 0xec);
	ok(i.irq && in(IDE_STATUS) == 0x58 && !i.irq, "IDENTIFY: data, with an interrupt");
	for (unsigned n = 0; n < 256; n++)
		word[n] = (uint16_t)ide_read(&i, IDE_DATA, 2, &host);
	is_u64(in(IDE_STATUS), 0x50, "... 512 bytes of it");
	is_u64(word[60] | (uint32_t)word[61] << 16, SECTORS, "sectors in 28 bits");
	is_u64(word[100] | (uint32_t)word[101] << 16 | (uint64_t)word[102] << 32, SECTORS, "in 48");
	ok(word[49] & 0x300 && word[83] & 0x400 && (word[83] & 0xc000) == 0x4000,
	   "LBA, DMA, 48 bits");
	ok(!memcmp(&word[27], "eZond si k", 10), "its name, in ATA's order");
	out(IDE_ERROR, 3);
	out(IDE_COUNT, 0x22);
	out(IDE_STATUS, 0xef);
	is_u64(in(IDE_STATUS), 0x50, "SET FEATURES: multiword DMA 2");
	out(IDE_STATUS, 0xec);
	for (unsigned n = 0; n < 64; n++)
		word[n] = (uint16_t)ide_read(&i, IDE_DATA, 2, &host);
	is_u64(word[63], 0x407, "... is what it has");
	ide_control(&i, IDE_SRST);
	ide_control(&i, 0);
	out(IDE_ERROR, 3);
	out(IDE_COUNT, 0x45);
	out(IDE_STATUS, 0xef);
	is_u64(in(IDE_STATUS) << 8 | in(IDE_ERROR), 0x5104, "Ultra DMA is refused");
	out(IDE_STATUS, 0xa1);
	is_u64(in(IDE_STATUS) << 8 | in(IDE_ERROR), 0x5104, "so is what it has not");
	out(IDE_STATUS, 0xea);
	is_u64(in(IDE_STATUS), 0x50, "FLUSH CACHE EXT");
}

static void
test_pio(void)
{
	reset();
	command(0x20, 0x1234, 2, false);
	for (unsigned n = 0; n < 128; n++)
		is_u64(ide_read(&i, IDE_DATA, 4, &host), 0x1234, "the sector's");
	is_u64(in(IDE_STATUS), 0x58, "then the next");
	is_u64(ide_read(&i, IDE_DATA, 1, &host), 0x35, "by a byte");
	is_u64(ide_read(&i, IDE_DATA, 2, &host) & 0xffff, 0x0012, "by a word across two numbers");
	out(IDE_DATA, 1);
	is_u64(i.at, 3, "a write is none of a read's");
	command(0x24, SECTORS - 1, 1, true);
	is_u64(in(IDE_STATUS), 0x58, "the last sector");
	command(0x24, SECTORS, 1, true);
	is_u64(in(IDE_STATUS) << 8 | in(IDE_ERROR), 0x5110, "beyond the end there is none");
	command(0x24, 0xffffffffffff, 0, true);
	is_u64(in(IDE_STATUS) << 8 | in(IDE_ERROR), 0x5110, "nor at the end of 48 bits");
	command(0x20, SECTORS - 255, 0, false);
	is_u64(in(IDE_STATUS) << 8 | in(IDE_ERROR), 0x5110, "a count of 0 is 256: one too many");
	command(0x20, SECTORS - 256, 0, false);
	ok(in(IDE_STATUS) == 0x58 && i.sectors == 256, "... and all that there are");
	command(0x24, 16, 0, true);
	ok(in(IDE_STATUS) == 0x58 && i.sectors == 65536, "in 48 bits 65,536");
	out(IDE_DEVICE, 0xa0);
	out(IDE_STATUS, 0x20);
	is_u64(in(IDE_STATUS) << 8 | in(IDE_ERROR), 0x5104, "no cylinders");
	command(0x34, 77, 1, true);
	ok(in(IDE_STATUS) == 0x58 && !i.irq, "a write waits for data, without an interrupt");
	for (unsigned n = 0; n < 256; n++)
		ide_write(&i, IDE_DATA, 2, 0xabcd, &host);
	ok(disk.stores == 1 && disk.lba == 77 && disk.first == 0xcd && i.irq, "... and is done");
	ide_write(&i, IDE_DATA, 2, 0xabcd, &host);
	is_u64(ide_read(&i, IDE_DATA, 4, &host), ~0u, "no data, no register");
	is_u64(disk.stores, 1, "... and nothing more is written");
}

/* A table at 0x1000 of (address, count) with the bit for the last one; the bus master starts. */
static void
master(uint32_t table, const uint32_t (*entry)[2], unsigned count, bool to_ram)
{
	for (unsigned n = 0; n < count && table + 8ull * n + 8 <= RAM; n++)
		memcpy(ram + table + 8 * n, entry[n], 8);
	ide_bm_write(&i, BM_COMMAND, 0);
	ide_bm_write(&i, BM_STATUS, BM_ERROR | BM_IRQ);
	for (unsigned n = 0; n < 4; n++)
		ide_bm_write(&i, BM_TABLE + n, (uint8_t)(table >> (8 * n)));
	ide_bm_write(&i, BM_COMMAND, BM_START | (to_ram ? BM_TO_RAM : 0));
}

/* What the status register of the bus master and that of the disk say in the end. */
static unsigned
ended(void)
{
	for (unsigned n = 0; n < 100000 && ide_dma_runs(&i); n++)
		ide_dma(&i, 1000, &host);
	return (unsigned)ide_bm_read(&i, BM_STATUS) << 8 | ide_alternate(&i, &host);
}

static void
test_dma(void)
{
	reset();
	command(0xc8, 0x55, 3, false);
	is_u64(in(IDE_STATUS), 0xc0, "busy, until the bus master starts");
	is_u64(ended(), 0x00c0, "... nothing moves before");
	master(0x1000, (const uint32_t[][2]){ { 0x2000, 600 }, { 0x3001, 0x80000000 | 936 } }, 2,
	       true);
	is_u64(ended(), 0x0450, "two regions for three sectors: done, an interrupt, not active");
	ok(ram[0x2000] == 0x55 && ram[0x2000 + 512] == 0x56 && ram[0x3000 + 424] == 0x57 &&
		   ram[0x2000 + 600] == 0xee && ram[0x3000 + 936] == 0xee,
	   "... each where its region says, which is even");
	command(0x25, 1, 1, true);
	master(0x1000, (const uint32_t[][2]){ { 0x10000, 0x80000000 } }, 1, true);
	is_u64(ended(), 0x0550, "a count of 0 is 64 KiB: it is active still");
	command(0x35, 9, 2, true);
	master(0x1000, (const uint32_t[][2]){ { 0x2000, 0x80000000 | 512 } }, 1, false);
	is_u64(ended(), 0x00c0, "a table that ends early: the disk waits, without an interrupt");
	is_u64(disk.stores, 1, "... for its second sector");
	ide_control(&i, IDE_SRST);
	ide_control(&i, 0);
	is_u64(in(IDE_STATUS), 0x50, "... until it is reset");
	command(0xca, 9, 1, false);
	master(0x1000, (const uint32_t[][2]){ { 0x2000, 0x80000000 | 512 } }, 1, true);
	is_u64(ended(), 0x0651, "the other direction is an error");
}

static void
test_hostile_dma(void)
{
	static const struct {
		const char *what;
		uint32_t table, entry[2];
	} wild[] = {
		{ "a table beyond RAM", 0xfffffff8, { 0, 0 } },
		{ "a region beyond RAM", 0x1000, { 0xfee00000, 0x80000200 } },
		{ "a region over RAM's end", 0x1000, { RAM - 256, 0x80000200 } },
		{ "a region over 4 GiB", 0x1000, { 0xffffff00, 0x80000200 } },
		{ "a table over a multiple of 64 KiB", 0x1fffc, { 0x2000, 0x100 } },
	};

	for (unsigned n = 0; n < sizeof(wild) / sizeof(wild[0]); n++) {
		reset();
		command(0xc8, 5, 8, false);
		master(wild[n].table, &wild[n].entry, 1, true);
		is_u64(ended(), 0x0651, "%s: an error, an interrupt, and the command is refused",
		       wild[n].what);
	}
	/* each entry is the table's next one: 8,191 times 2 bytes, and then the table's end */
	reset();
	for (unsigned at = 0x10000; at < 0x20000; at += 8)
		memcpy(ram + at, (const uint32_t[]){ 0x2000, 2 }, 8);
	command(0x25, 0, 0, true);
	master(0x10000, NULL, 0, true);
	is_u64(ended(), 0x0651, "a table without an end ends at 64 KiB");
	is_u64(disk.loads, 0x10000 / 8 * 2 / 512 + 1, "... behind 8,192 regions");
	reset();
	command(0xc8, 5, 8, false);
	master(0x1000, (const uint32_t[][2]){ { 0x1000, 0x80001000 } }, 1, true);
	is_u64(ended(), 0x0450, "a region over its own table, which has been read");
	reset();
	command(0x25, 0, 0, true);
	master(0x1000, (const uint32_t[][2]){ { 0x2000, 0 } }, 1, true);
	ide_dma(&i, 1000, &host);
	ide_control(&i, IDE_SRST);
	ok(!ide_dma_runs(&i) && ram[0x2000 + 999] != 0xee && ram[0x2000 + 1000] == 0xee,
	   "a reset in the middle: nothing more moves");
	ide_control(&i, 0);
	command(0xc8, 5, 1, false);
	out(IDE_STATUS, 0xec);
	is_u64(in(IDE_STATUS), 0xc0, "busy: commands are not heard");
}

/* Whatever is written: no byte beyond the buffer (the sanitizers look), and no sector beyond. */
static void
test_random(void)
{
	static const uint8_t commands[] = { 0x20, 0x24, 0x30, 0x34, 0xc8, 0x25,
					    0xca, 0x35, 0xec, 0xef, 0x42, 0x90 };
	struct rng rng = { 20261129 };

	reset();
	for (unsigned n = 0; n < 200000; n++) {
		unsigned r = rng_below(&rng, 8), value = (unsigned)rng_next(&rng);

		switch (rng_below(&rng, 8)) {
		case 0:
			ide_read(&i, r, r ? 1 : 1u << rng_below(&rng, 3), &host);
			break;
		case 1:
			ide_bm_write(&i, r, (uint8_t)(r > 5 ? 0 : value));
			break;
		case 2:
			ide_control(&i, value % 50 ? 0 : (uint8_t)value);
			break;
		case 3:
			out(IDE_STATUS, commands[value % sizeof(commands)]);
			break;
		case 4:
			ide_dma(&i, value % 5000, &host);
			break;
		case 5:
			out(r ? r : IDE_DEVICE,
			    r && r < IDE_DEVICE ? (uint8_t)(value & value >> 8) : 0xe0);
			break;
		default:
			for (unsigned k = value % 300; k; k--)
				if (i.transfer == IDE_PIO_OUT)
					ide_write(&i, IDE_DATA, 2, value, &host);
				else
					ide_read(&i, IDE_DATA, 4, &host);
		}
	}
	ok(!disk.beyond && disk.loads > 100 && disk.stores > 100,
	   "random accesses: %u sectors read, %u written, none beyond the end", disk.loads,
	   disk.stores);
}

/* A controller that reaches no RAM: no word of DMA, and who tries it hears so at once. */
static void
test_without_ram(void)
{
	static const uint8_t commands[] = { 0xc8, 0xc9, 0x25, 0xca, 0xcb, 0x35 };
	uint16_t words[IDE_SECTOR / 2];

	host.read_ram = NULL;
	host.write_ram = NULL;
	for (unsigned n = 0; n < sizeof(commands); n++) {
		reset();
		command(commands[n], 1, 1, commands[n] < 0x40);
		ok(i.irq && !ide_dma_runs(&i) && !disk.stores,
		   "without RAM DMA does not begin, and an interrupt says so");
		is_u64(in(IDE_STATUS) << 8 | in(IDE_ERROR), (0x51 << 8) | IDE_ABRT, "... aborted");
	}
	reset();
	out(IDE_STATUS, 0xec);
	for (unsigned n = 0; n < IDE_SECTOR / 2; n++)
		words[n] = (uint16_t)ide_read(&i, IDE_DATA, 2, &host);
	is_u64(words[49] & 3u << 8, 1u << 9, "IDENTIFY: LBA, and no DMA");
	is_u64(words[63], 0, "... of no mode");
	out(IDE_ERROR, 3);
	out(IDE_COUNT, 0x22);
	out(IDE_STATUS, 0xef);
	is_u64(in(IDE_ERROR), IDE_ABRT, "... and none can be chosen");
	host.read_ram = read_ram;
	host.write_ram = write_ram;
}

int
main(void)
{
	test_registers();
	test_identify();
	test_pio();
	test_dma();
	test_hostile_dma();
	test_without_ram();
	test_random();
	return done_testing();
}
