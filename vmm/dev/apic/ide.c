/*
 * An ATA disk's registers and commands; ide.h says what is simpler than a disk, and names the
 * manual.
 */
#include <string.h>

#include <vmm/dev/apic/ide.h>

#define DEVICE_1   0x10 /* in the device register */
#define DEVICE_LBA 0x40
#define READY      (IDE_DRDY | IDE_DSC)
#define GOOD       0x01 /* in the error register: the diagnosis of device 0 */

static void
interrupt(struct ide *i)
{
	i->irq = i->edge = 1;
	i->bm_status |= BM_IRQ;
}

void
ide_end(struct ide *i, uint8_t error)
{
	i->transfer = IDE_IDLE;
	i->error = error;
	i->status = READY | (error ? IDE_ERR : 0);
	interrupt(i);
}

/* ATA 9.12 "Signature and persistence". */
static void
signature(struct ide *i)
{
	memset(i->reg, 0, sizeof(i->reg));
	memset(i->before, 0, sizeof(i->before));
	i->reg[IDE_COUNT] = i->reg[IDE_LBA_LOW] = 1;
	i->error = GOOD;
	i->transfer = IDE_IDLE;
	i->status = READY;
}

void
ide_init(struct ide *i)
{
	memset(i, 0, sizeof(*i));
	i->version = IDE_STATE;
	i->write_cache = 1;
	signature(i);
}

/* The sectors that the command means; false: it has been refused. */
static bool
addressed(struct ide *i, bool ext, const struct ide_host *host)
{
	const uint8_t *r = i->reg, *b = i->before;

	i->lba = r[IDE_LBA_LOW] | r[IDE_LBA_MID] << 8 | r[IDE_LBA_HIGH] << 16;
	i->sectors = r[IDE_COUNT];
	if (ext) {
		i->lba |= (uint64_t)b[IDE_LBA_LOW] << 24 | (uint64_t)b[IDE_LBA_MID] << 32 |
			  (uint64_t)b[IDE_LBA_HIGH] << 40;
		i->sectors |= (uint32_t)b[IDE_COUNT] << 8;
	} else {
		i->lba |= (uint64_t)(r[IDE_DEVICE] & 0xf) << 24;
	}
	if (!i->sectors)
		i->sectors = ext ? 0x10000 : 0x100;
	if (r[IDE_DEVICE] & DEVICE_LBA && i->lba + i->sectors <= host->sectors)
		return true;
	ide_end(i, r[IDE_DEVICE] & DEVICE_LBA ? IDE_IDNF : IDE_ABRT);
	return false;
}

/* The first sector, or room for it. */
static void
transfer(struct ide *i, enum ide_transfer what, bool ext, const struct ide_host *host)
{
	bool has_it = what < IDE_DMA_IN || host->read_ram;

	if (!has_it)
		ide_end(i, IDE_ABRT);
	if (!has_it || !addressed(i, ext, host))
		return;
	i->transfer = what;
	i->at = 0;
	if (what == IDE_PIO_IN || what == IDE_DMA_IN)
		host->load(host->ctx, i->lba, i->buffer);
	i->status = what >= IDE_DMA_IN ? IDE_BSY | IDE_DRDY : READY | IDE_DRQ;
	if (what == IDE_PIO_IN)
		interrupt(i);
}

static void
identify(struct ide *i, const struct ide_host *host)
{
	ide_identify(i, host, i->buffer);
	i->transfer = IDE_PIO_IN;
	i->at = 0;
	i->sectors = 1;
	i->status = READY | IDE_DRQ;
	interrupt(i);
}

/* ATA 8.46: the mode of transfers, PIO to 4 or multiword DMA to 2, and the write cache. */
static void
set_features(struct ide *i, const struct ide_host *host)
{
	uint8_t count = i->reg[IDE_COUNT];

	switch (i->reg[IDE_ERROR]) {
	case 0x03:
		if (count > 1 && !(count >= 0x08 && count <= 0x0c) &&
		    !(host->read_ram && count >= 0x20 && count <= 0x22))
			break;
		i->mode = count;
		ide_end(i, 0);
		return;
	case 0x02:
	case 0x82:
		i->write_cache = i->reg[IDE_ERROR] == 0x02;
		ide_end(i, 0);
		return;
	}
	ide_end(i, IDE_ABRT);
}

/* Commands that move no data, by their names in ATA 8. */
static void
other_command(struct ide *i, uint8_t command, const struct ide_host *host)
{
	switch (command) {
	case 0x40: /* READ VERIFY SECTOR(S), and EXT */
	case 0x41:
	case 0x42:
		if (addressed(i, command == 0x42, host))
			ide_end(i, 0);
		break;
	case 0x90: /* EXECUTE DEVICE DIAGNOSTIC */
		signature(i);
		interrupt(i);
		break;
	case 0xe5: /* CHECK POWER MODE */
		i->reg[IDE_COUNT] = 0xff;
		ide_end(i, 0);
		break;
	case 0x10: /* RECALIBRATE */
	case 0x91: /* INITIALIZE DEVICE PARAMETERS */
	case 0xe0: /* STANDBY IMMEDIATE, IDLE IMMEDIATE */
	case 0xe1:
	case 0xe7: /* FLUSH CACHE, and EXT: what was written is on the disk */
	case 0xea:
		ide_end(i, 0);
		break;
	case 0xef:
		set_features(i, host);
		break;
	default:
		ide_end(i, IDE_ABRT);
	}
}

static void
start(struct ide *i, uint8_t command, const struct ide_host *host)
{
	if (i->status & IDE_BSY || i->control & IDE_SRST)
		return;
	i->irq = 0;
	switch (command) {
	case 0x20: /* READ SECTOR(S), and EXT */
	case 0x21:
	case 0x24:
		transfer(i, IDE_PIO_IN, command == 0x24, host);
		break;
	case 0x30: /* WRITE SECTOR(S), and EXT */
	case 0x31:
	case 0x34:
		transfer(i, IDE_PIO_OUT, command == 0x34, host);
		break;
	case 0xc8: /* READ DMA, and EXT */
	case 0xc9:
	case 0x25:
		transfer(i, IDE_DMA_IN, command == 0x25, host);
		break;
	case 0xca: /* WRITE DMA, and EXT */
	case 0xcb:
	case 0x35:
		transfer(i, IDE_DMA_OUT, command == 0x35, host);
		break;
	case 0xec:
		identify(i, host);
		break;
	default:
		other_command(i, command, host);
	}
}

/* The buffer's end: the next sector, or the command's. */
static void
buffer_done(struct ide *i, const struct ide_host *host)
{
	bool out = i->transfer == IDE_PIO_OUT;

	if (out)
		host->store(host->ctx, i->lba, i->buffer);
	i->lba++;
	i->at = 0;
	if (--i->sectors) {
		if (!out)
			host->load(host->ctx, i->lba, i->buffer);
		interrupt(i);
	} else if (out) {
		ide_end(i, 0);
	} else {
		i->transfer = IDE_IDLE;
		i->status = READY;
	}
}

static uint32_t
data(struct ide *i, unsigned size, uint32_t value, bool write, const struct ide_host *host)
{
	if (i->transfer != (write ? IDE_PIO_OUT : IDE_PIO_IN))
		return ~0u;
	for (unsigned n = 0; n < size && i->transfer; n++) {
		uint8_t *byte = &i->buffer[i->at++];

		if (write)
			*byte = (uint8_t)(value >> (8 * n));
		else
			value = (value & ~(0xffu << (8 * n))) | (uint32_t)*byte << (8 * n);
		if (i->at == IDE_SECTOR)
			buffer_done(i, host);
	}
	return value;
}

/* Device 0 answers for device 1, which is not there: its status is 0 (ATA 9.16.1). */
uint8_t
ide_alternate(const struct ide *i, const struct ide_host *host)
{
	if (!host->sectors)
		return 0xff;
	if (i->reg[IDE_DEVICE] & DEVICE_1)
		return 0;
	return i->control & IDE_SRST ? IDE_BSY : i->status;
}

uint32_t
ide_read(struct ide *i, enum ide_register r, unsigned size, const struct ide_host *host)
{
	if (!host->sectors)
		return ~0u;
	switch (r) {
	case IDE_DATA:
		return data(i, size, 0, false, host);
	case IDE_ERROR:
		return i->error;
	case IDE_DEVICE:
		return i->reg[IDE_DEVICE] | 0xa0;
	case IDE_STATUS:
		i->irq = 0;
		return ide_alternate(i, host);
	default:
		return i->control & IDE_HOB ? i->before[r] : i->reg[r];
	}
}

void
ide_write(struct ide *i, enum ide_register r, unsigned size, uint32_t value,
	  const struct ide_host *host)
{
	if (!host->sectors)
		return;
	if (r == IDE_DATA) {
		data(i, size, value, true, host);
		return;
	}
	i->control &= (uint8_t)~IDE_HOB;
	if (r == IDE_STATUS) {
		if (!(i->reg[IDE_DEVICE] & DEVICE_1) || value == 0x90)
			start(i, (uint8_t)value, host);
		return;
	}
	i->before[r] = i->reg[r];
	i->reg[r] = (uint8_t)value;
}

/* A reset lasts as long as its bit is set, and ends what was going on (ATA 9.2). */
void
ide_control(struct ide *i, uint8_t value)
{
	if (value & IDE_SRST) {
		i->irq = 0;
		signature(i);
	}
	i->control = value & (IDE_HOB | IDE_SRST | IDE_NIEN);
}
