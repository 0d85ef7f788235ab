/*
 * The bus master of an IDE channel (BMIDE, see ide.h): a table of regions in the guest's memory,
 * and sectors that go there or come from there, so many bytes at a time.
 *
 * The guest writes the table, and may have it lead anywhere: what is not RAM ends the transfer with
 * the error bit, as a target that does not answer does.
 */
#include <string.h>

#include <vmm/dev/apic/ide.h>

#define REGION_MAX 0x10000u
#define TABLE_MAX  0x10000u /* a table does not cross a multiple of 64 KiB */
#define TOP        (1ull << 32)
#define PIECE      64u /* bytes that a smaller piece counts for: it takes as long */

bool
ide_dma_runs(const struct ide *i)
{
	return i->transfer >= IDE_DMA_IN && i->bm_status & BM_ACTIVE;
}

static bool
failed(struct ide *i)
{
	i->bm_status = (uint8_t)((i->bm_status & ~BM_ACTIVE) | BM_ERROR);
	ide_end(i, IDE_ABRT);
	return false;
}

/* BMIDE 1.2: address, then a count of which 0 is 64 KiB; bit 31 is in the last one. */
static bool
next_region(struct ide *i, const struct ide_host *host)
{
	uint32_t entry[2];

	if (i->region_last) { /* the disk goes on waiting for a reset */
		i->bm_status &= (uint8_t)~BM_ACTIVE;
		return false;
	}
	if ((i->bm_table % TABLE_MAX) + i->prd + sizeof(entry) > TABLE_MAX ||
	    !host->read_ram(host->ctx, (uint64_t)i->bm_table + i->prd, entry, sizeof(entry)))
		return failed(i);
	i->prd += sizeof(entry);
	i->region = entry[0] & ~1u;
	i->region_size = entry[1] & 0xfffe;
	if (!i->region_size)
		i->region_size = REGION_MAX;
	i->region_last = !!(entry[1] & BM_LAST);
	return true;
}

/* As much as lies in one region and one sector. */
static bool
move(struct ide *i, unsigned size, const struct ide_host *host)
{
	uint8_t *buf = &i->buffer[i->at];
	bool done = false;

	if (i->region + (uint64_t)size <= TOP)
		done = i->transfer == IDE_DMA_IN ? host->write_ram(host->ctx, i->region, buf, size)
						 : host->read_ram(host->ctx, i->region, buf, size);
	if (!done)
		return failed(i);
	i->at += size;
	i->region += size;
	i->region_size -= size;
	return true;
}

static void
sector_done(struct ide *i, const struct ide_host *host)
{
	if (i->transfer == IDE_DMA_OUT)
		host->store(host->ctx, i->lba, i->buffer);
	i->lba++;
	i->at = 0;
	if (--i->sectors) {
		if (i->transfer == IDE_DMA_IN)
			host->load(host->ctx, i->lba, i->buffer);
		return;
	}
	if (!i->region_size && i->region_last)
		i->bm_status &= (uint8_t)~BM_ACTIVE; /* else the table is for more than that */
	ide_end(i, 0);
}

void
ide_dma(struct ide *i, unsigned bytes, const struct ide_host *host)
{
	if (!ide_dma_runs(i))
		return;
	if ((i->transfer == IDE_DMA_IN) != !!(i->bm_command & BM_TO_RAM)) {
		failed(i);
		return;
	}
	while (ide_dma_runs(i) && bytes) {
		unsigned size = IDE_SECTOR - i->at;

		if (!i->region_size && !next_region(i, host))
			return;
		size = size < i->region_size ? size : i->region_size;
		size = size < bytes ? size : bytes;
		if (!move(i, size, host))
			return;
		size = size < PIECE ? PIECE : size;
		bytes -= size < bytes ? size : bytes;
		if (i->at == IDE_SECTOR)
			sector_done(i, host);
	}
}

uint8_t
ide_bm_read(const struct ide *i, unsigned offset)
{
	switch (offset) {
	case BM_COMMAND:
		return i->bm_command;
	case BM_STATUS:
		return i->bm_status;
	default:
		return offset >= BM_TABLE ? (uint8_t)(i->bm_table >> (8 * (offset - BM_TABLE))) : 0;
	}
}

/* A start begins with the table's first region, whatever was there. */
static void
command(struct ide *i, uint8_t value)
{
	bool starts = value & BM_START && !(i->bm_command & BM_START);

	i->bm_command = value & (BM_START | BM_TO_RAM);
	if (!(value & BM_START))
		i->bm_status &= (uint8_t)~BM_ACTIVE;
	if (!starts)
		return;
	i->prd = i->region_size = i->region_last = 0;
	i->bm_status |= BM_ACTIVE;
}

void
ide_bm_write(struct ide *i, unsigned offset, uint8_t value)
{
	unsigned shift = 8 * (offset - BM_TABLE);

	if (offset == BM_COMMAND) {
		command(i, value);
	} else if (offset == BM_STATUS) {
		i->bm_status &= (uint8_t) ~(BM_CAPABLE | (value & (BM_ERROR | BM_IRQ)));
		i->bm_status |= value & BM_CAPABLE;
	} else if (offset >= BM_TABLE) {
		i->bm_table &= ~(0xffu << shift);
		i->bm_table |= (uint32_t)value << shift & ~3u;
	}
}
