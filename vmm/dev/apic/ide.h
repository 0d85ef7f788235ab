/*
 * An IDE channel with one ATA disk, and the bus master that moves its data: a plain state machine,
 * no pointers in the state.
 *
 * ATA   = AT Attachment with Packet Interface - 6, T13/1410D revision 3b.
 * BMIDE = Programming Interface for Bus Master IDE Controller, revision 1.0, Intel, 1994.
 *
 * What is simpler than the hardware: a command that moves no data has ended when it was written.
 * Sectors are addressed by LBA only, in 28 or 48 bits; one beyond the disk's end refuses the
 * command before it moves anything. Of DMA modes there is no Ultra DMA. There is no device 1.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDE_STATE 1 /* the layout's version */

#define IDE_PORTS   0x1f0 /* eight: the command block */
#define IDE_CONTROL 0x3f6
#define IDE_IRQ     14
#define IDE_SECTOR  512u

enum ide_register {
	IDE_DATA,
	IDE_ERROR, /* reads; the features, if written */
	IDE_COUNT,
	IDE_LBA_LOW,
	IDE_LBA_MID,
	IDE_LBA_HIGH,
	IDE_DEVICE,
	IDE_STATUS, /* reads; the command, if written */
	IDE_REGISTERS
};
#define IDE_BSY  0x80
#define IDE_DRDY 0x40
#define IDE_DSC  0x10
#define IDE_DRQ  0x08
#define IDE_ERR  0x01
#define IDE_IDNF 0x10 /* in the error register */
#define IDE_ABRT 0x04
#define IDE_NIEN 0x02 /* device control */
#define IDE_SRST 0x04
#define IDE_HOB  0x80

/* BMIDE: offsets, and bits of the command and the status. */
#define BM_COMMAND 0
#define BM_STATUS  2
#define BM_TABLE   4
#define BM_START   0x01
#define BM_TO_RAM  0x08
#define BM_ACTIVE  0x01
#define BM_ERROR   0x02
#define BM_IRQ     0x04
#define BM_CAPABLE 0x60 /* software's own notes */
#define BM_LAST    0x80000000u

enum ide_transfer { IDE_IDLE, IDE_PIO_IN, IDE_PIO_OUT, IDE_DMA_IN, IDE_DMA_OUT };

struct ide {
	uint32_t version;              /* IDE_STATE */
	uint8_t reg[IDE_REGISTERS];    /* as written last; [IDE_ERROR]: the features */
	uint8_t before[IDE_REGISTERS]; /* ... and before that: the high half of 48 bits */
	uint8_t status, error, control;
	uint8_t transfer;  /* enum ide_transfer */
	uint8_t irq, edge; /* INTRQ; it has risen since somebody looked */
	uint8_t bm_command, bm_status;
	uint32_t bm_table;            /* BMIDTP */
	uint32_t prd;                 /* of the table, bytes that have been fetched */
	uint32_t region, region_size; /* where the next byte goes, how many there are left */
	uint32_t region_last;         /* no other one follows */
	uint32_t at;                  /* in the buffer; IDE_SECTOR: it is done */
	uint64_t lba;                 /* of the sector in the buffer */
	uint32_t sectors;             /* that are left, with that one */
	uint8_t mode, write_cache;    /* what SET FEATURES has chosen */
	uint8_t pad[2];
	uint8_t buffer[IDE_SECTOR];
};
_Static_assert(sizeof(struct ide) == 584, "the migration record depends on it");

/*
 * What it needs from outside. RAM: false, if there is none in a part of that range; NULL, if it
 * reaches none at all: then the disk has no DMA, and says so.
 */
struct ide_host {
	uint64_t sectors; /* 0: no disk */
	void (*load)(void *ctx, uint64_t lba, uint8_t buf[IDE_SECTOR]);
	void (*store)(void *ctx, uint64_t lba, const uint8_t buf[IDE_SECTOR]);
	bool (*read_ram)(void *ctx, uint64_t at, void *buf, size_t size);
	bool (*write_ram)(void *ctx, uint64_t at, const void *buf, size_t size);
	void *ctx;
};

void ide_init(struct ide *i);
/* size is 1 for all but the data register: there 1, 2 or 4. */
uint32_t ide_read(struct ide *i, enum ide_register r, unsigned size, const struct ide_host *host);
void ide_write(struct ide *i, enum ide_register r, unsigned size, uint32_t value,
	       const struct ide_host *host);
uint8_t ide_alternate(const struct ide *i, const struct ide_host *host);
void ide_control(struct ide *i, uint8_t value);
/* A byte of the bus master's eight ports. */
uint8_t ide_bm_read(const struct ide *i, unsigned offset);
void ide_bm_write(struct ide *i, unsigned offset, uint8_t value);

/* There are bytes to be moved by DMA, now; up to so many of them. */
bool ide_dma_runs(const struct ide *i);
void ide_dma(struct ide *i, unsigned bytes, const struct ide_host *host);
/* ide_identify.c: what IDENTIFY DEVICE reads. */
void ide_identify(const struct ide *i, const struct ide_host *host, uint8_t buf[IDE_SECTOR]);
/* ide.c: the command has ended, with these bits in the error register, or well. */
void ide_end(struct ide *i, uint8_t error);
