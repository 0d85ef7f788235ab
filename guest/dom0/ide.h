/*
 * The disks of the first IDE channel, by DMA: PIIX's bus master (Intel 82371SB, order no.
 * 290550-002), which QEMU and Bochs have. A domain that has the channel's own ports and line, and
 * no bus master, moves each word itself (PIO): so nobody has to trust it with memory that is not
 * its. One command at a time.
 *
 * ATA = AT Attachment with Packet Interface - 6, T13/1410D revision 3b.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define IDE_SECTOR  512u
#define IDE_BUFFER  (11u * 4096u) /* as much as a request of the ring's may have */
#define IDE_DRIVES  2u
#define IDE_SECTORS (IDE_BUFFER / IDE_SECTOR)

/* What is written, or was read. The device knows its pages by their machine frames. */
extern uint8_t ide_buffer[IDE_BUFFER];

/* hda is drive 0, hdb 1: its sectors; 0: there is none, or no bus master. */
uint64_t ide_sectors(unsigned drive);

enum ide_op { IDE_READ, IDE_WRITE, IDE_FLUSH };
enum ide_state { IDE_IDLE, IDE_BUSY, IDE_GOOD, IDE_BAD };

/* Where the channel is idle. Sectors that are the drive's; none for a flush. */
void ide_begin(unsigned drive, enum ide_op op, uint64_t sector, unsigned sectors);
/* How it stands. What is told as good or bad is told once, and then the channel is idle. */
enum ide_state ide_look(void);
/* Until it is no more busy; what ide_look() would say. */
enum ide_state ide_wait(void);

/* What is idle is not ours any more, until we look for it again: another domain may have it. */
void ide_let_go(void);

extern uint32_t ide_port;   /* of its interrupts; 0: none yet */
void ide_interrupted(void); /* one has come */
