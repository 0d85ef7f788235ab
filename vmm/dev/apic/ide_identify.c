/*
 * What an ATA disk says of itself (ATA 8.15 "IDENTIFY DEVICE", table 26).
 */
#include <string.h>

#include <vmm/dev/apic/ide.h>

#define LBA28_MAX   0x0fffffffu
#define HEADS       16u
#define PER_TRACK   63u
#define CYLINDERS   16383u /* at most */
#define WRITE_CACHE (1u << 5)

static void
put(uint8_t *buf, unsigned word, uint32_t value)
{
	buf[2 * word] = (uint8_t)value;
	buf[2 * word + 1] = (uint8_t)(value >> 8);
}

/* Two characters a word, the first one in its high byte; blanks behind. */
static void
put_text(uint8_t *buf, unsigned word, unsigned words, const char *text)
{
	size_t size = strlen(text);

	for (unsigned i = 0; i < 2 * words; i++)
		buf[2 * word + (i ^ 1)] = i < size ? (uint8_t)text[i] : ' ';
}

static void
put_sectors(uint8_t *buf, unsigned word, unsigned words, uint64_t sectors)
{
	for (unsigned i = 0; i < words; i++)
		put(buf, word + i, (uint32_t)(sectors >> (16 * i)) & 0xffff);
}

void
ide_identify(const struct ide *i, const struct ide_host *host, uint8_t buf[IDE_SECTOR])
{
	uint64_t sectors = host->sectors, cylinders = sectors / (HEADS * PER_TRACK);

	memset(buf, 0, IDE_SECTOR);
	put(buf, 0, 1u << 6); /* not removable */
	put(buf, 1, cylinders < CYLINDERS ? (uint32_t)cylinders : CYLINDERS);
	put(buf, 3, HEADS);
	put(buf, 6, PER_TRACK);
	put_text(buf, 10, 10, "1");
	put_text(buf, 23, 4, "1");
	put_text(buf, 27, 20, "Zeno disk");
	put(buf, 47, 0x8000);                                              /* no READ MULTIPLE */
	put(buf, 49, 1u << 11 | 1u << 9 | (host->read_ram ? 1u << 8 : 0)); /* IORDY; LBA, DMA */
	put(buf, 50, 1u << 14);
	put(buf, 53, 1u << 1); /* words 64 to 70 say something */
	put_sectors(buf, 60, 2, sectors < LBA28_MAX ? sectors : LBA28_MAX);
	if (host->read_ram)
		put(buf, 63,
		    7u | (i->mode >> 3 == 4 ? 1u << (8 + (i->mode & 7)) : 0)); /* multiword DMA */
	put(buf, 64, 3);                                                       /* PIO 3 and 4 */
	for (unsigned word = 65; word <= 68; word++)
		put(buf, word, 120); /* ns a cycle */
	put(buf, 80, 0x78);          /* ATA 3 to 6 */
	put(buf, 82, WRITE_CACHE);
	put(buf, 83, 0x7400); /* FLUSH CACHE (EXT), 48 bits */
	put(buf, 84, 1u << 14);
	put(buf, 85, i->write_cache ? WRITE_CACHE : 0);
	put(buf, 86, 0x3400);
	put(buf, 87, 1u << 14);
	put_sectors(buf, 100, 4, sectors);
}
