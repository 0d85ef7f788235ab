/*
 * The first IDE channel: ide.h.
 */
#include <guest/dom0/ide.h>
#include <guest/dom0/pci.h>
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/text.h>

#define PAGE 4096u
#define LINE 14u
#define IDE  0x0101u /* its class on the bus */

/* The command block: ATA 7. */
#define DATA    0x1f0u
#define COUNT   0x1f2u
#define LBA     0x1f3u /* three of them */
#define DEVICE  0x1f6u
#define STATUS  0x1f7u /* read: the interrupt is over; written: a command */
#define CONTROL 0x3f6u /* read: the status, and the interrupt stays */
#define NIEN    2u     /* CONTROL: no interrupts */
#define SRST    4u     /* ... whatever it does, it stops */
#define BSY     0x80u
#define DF      0x20u
#define DRQ     0x08u
#define ERR     0x01u
#define BY_LBA  0xe0u /* DEVICE: and 4 bits of the sector's number, if it has 28 */

#define IDENTIFY  0xecu
#define LBA_28    (1ul << 28) /* sectors that are reached with so many bits */
#define WORD_28   60u         /* IDENTIFY: how many sectors there are, by 28 bits; by 48 */
#define WORD_48   100u
#define WORD_SETS 83u /* what it can */
#define HAS_48    (1u << 10)
#define PATIENCE  1000000000ul /* ns that a drive may take to say what it is */
#define SRST_HELD 5000ul       /* ns */

/* The bus master's ports: 82371SB 2.7. */
#define BM_COMMAND 0u
#define BM_STATUS  2u
#define BM_TABLE   4u
#define BM_START   1u
#define BM_TO_RAM  8u
#define BM_ACTIVE  1u /* BM_STATUS; the other two are cleared by writing them */
#define BM_ERROR   2u
#define BM_IRQ     4u
#define LAST       (1u << 31) /* of a table's entries */

uint8_t ide_buffer[IDE_BUFFER] __attribute__((aligned(4096)));
uint32_t ide_port;
static struct {
	uint32_t at, bytes;
} table[IDE_BUFFER / PAGE] __attribute__((aligned(4096))); /* within 64 KiB of memory */
static unsigned master; /* its first port; 0: there is none, or nobody has looked */
static uint64_t size[IDE_DRIVES];
static bool big[IDE_DRIVES]; /* it takes numbers of 48 bits */
static enum ide_state state;
static bool came, by_dma, found;
static struct {
	uint8_t *at;
	unsigned left; /* sectors to move; 0: none, or by DMA */
	bool to_drive;
} pio;

/* ---- what is there ---- */

/* The status, when it is not busy any more; 0xff: it is for ever, or there is none. */
static uint8_t
settled(void)
{
	uint64_t until = pv_now() + PATIENCE;
	uint8_t status;

	while ((status = in8(CONTROL)) & BSY && status != 0xff)
		if (pv_now() > until)
			return 0xff;
	return status;
}

/* Who had it before may have ended with a command half told. ATA "Software reset protocol". */
static void
calm_down(void)
{
	if (!(settled() & (BSY | DRQ)))
		return;
	out8(CONTROL, SRST | NIEN);
	for (uint64_t until = pv_now() + SRST_HELD; pv_now() < until;)
		;
	out8(CONTROL, NIEN);
	settled();
}

static void
identify(unsigned drive)
{
	static uint16_t word[IDE_SECTOR / 2];
	uint16_t *to = word;
	uint64_t words = IDE_SECTOR / 2;
	uint8_t status;

	out8(DEVICE, (uint8_t)(BY_LBA | drive << 4));
	status = settled();
	if (!status || status == 0xff)
		return;
	out8(STATUS, IDENTIFY);
	status = settled();
	if (status & (ERR | DF) || !(status & DRQ))
		return; /* none, or one that takes packets */
	__asm__ volatile("rep insw" : "+D"(to), "+c"(words) : "d"(DATA) : "memory");
	big[drive] = word[WORD_SETS] & HAS_48;
	size[drive] = word[WORD_28] | (uint64_t)word[WORD_28 + 1] << 16;
	if (big[drive])
		size[drive] = word[WORD_48] | (uint64_t)word[WORD_48 + 1] << 16 |
			      (uint64_t)word[WORD_48 + 2] << 32;
}

/* The channel has whoever may map its line; who has not the PCI bus, too, finds nobody there. */
static void
find(void)
{
	int function;

	if (found)
		return;
	function = pci_find(IDE);
	ide_port = line_bind(LINE, false);
	if (!ide_port)
		return;
	found = true;
	if (function >= 0 && pci_read(function, PCI_BASE(4)) & 1) {
		pci_command(function, PCI_PORTS | PCI_MASTER);
		master = pci_read(function, PCI_BASE(4)) & 0xfff0;
	}
	out8(CONTROL, NIEN);
	calm_down();
	for (unsigned drive = 0; drive < IDE_DRIVES; drive++)
		identify(drive);
	out8(DEVICE, BY_LBA);
	in8(STATUS);
	out8(CONTROL, 0);
}

uint64_t
ide_sectors(unsigned drive)
{
	find();
	return found ? size[drive] : 0;
}

void
ide_let_go(void)
{
	if (!found)
		return;
	line_let_go(LINE, ide_port);
	found = false;
	ide_port = master = 0;
	memset(size, 0, sizeof(size));
}

/* ---- commands ---- */

static uint8_t
command_of(enum ide_op op, bool wide)
{
	static const uint8_t commands[][2] = { [IDE_READ] = { 0xc8, 0x25 },
					       [IDE_WRITE] = { 0xca, 0x35 },
					       [IDE_FLUSH] = { 0xe7, 0xea } };
	static const uint8_t pio_commands[][2] = {
		[IDE_READ] = { 0x20, 0x24 }, [IDE_WRITE] = { 0x30, 0x34 }
	};

	return op == IDE_FLUSH || by_dma ? commands[op][wide] : pio_commands[op][wide];
}

/* A sector, through the data register. */
static void
move_sector(void)
{
	uint64_t count = IDE_SECTOR / 4; /* each is an exit: by two words at a time */

	if (pio.to_drive)
		__asm__ volatile("rep outsl" : "+S"(pio.at), "+c"(count) : "d"(DATA) : "memory");
	else
		__asm__ volatile("rep insl" : "+D"(pio.at), "+c"(count) : "d"(DATA) : "memory");
	pio.left--;
}

static void
fill_table(unsigned bytes)
{
	unsigned n = 0;

	for (unsigned at = 0; at < bytes; at += PAGE, n++) {
		table[n].at = (uint32_t)pv_page(ide_buffer + at) << 12;
		table[n].bytes = bytes - at < PAGE ? bytes - at : PAGE;
	}
	table[n - 1].bytes |= LAST;
}

/* With 48 bits each register takes the upper half first. */
static void
tell(unsigned drive, uint64_t sector, unsigned sectors, bool wide)
{
	out8(DEVICE, (uint8_t)(BY_LBA | drive << 4 | (wide ? 0 : sector >> 24)));
	if (wide) {
		out8(COUNT, 0);
		for (unsigned n = 0; n < 3; n++)
			out8(LBA + n, (uint8_t)(sector >> (24 + 8 * n)));
	}
	out8(COUNT, (uint8_t)sectors);
	for (unsigned n = 0; n < 3; n++)
		out8(LBA + n, (uint8_t)(sector >> 8 * n));
}

void
ide_begin(unsigned drive, enum ide_op op, uint64_t sector, unsigned sectors)
{
	bool wide = big[drive] && (op == IDE_FLUSH || sector + sectors > LBA_28);
	uint8_t way = op == IDE_READ ? BM_TO_RAM : 0;

	state = IDE_BUSY;
	came = false;
	by_dma = op != IDE_FLUSH && master;
	pio.at = ide_buffer;
	pio.left = op != IDE_FLUSH && !master ? sectors : 0;
	pio.to_drive = op == IDE_WRITE;
	tell(drive, sector, sectors, wide);
	if (by_dma) {
		fill_table(sectors * IDE_SECTOR);
		out32(master + BM_TABLE, (uint32_t)pv_page(table) << 12);
		out8(master + BM_STATUS, BM_ERROR | BM_IRQ);
		out8(master + BM_COMMAND, way);
	}
	out8(STATUS, command_of(op, wide));
	if (by_dma)
		out8(master + BM_COMMAND, way | BM_START);
	else if (pio.to_drive && settled() & DRQ) /* ATA "PIO data-out": the first comes unasked */
		move_sector();
}

/* It may also be the end of what nobody waits for. */
void
ide_interrupted(void)
{
	came = true;
}

static bool
is_over(uint8_t *how)
{
	*how = in8(CONTROL);
	if (!(*how & (BSY | ERR)) && *how & DRQ && pio.left) {
		move_sector();
		if (pio.left || pio.to_drive) /* another interrupt comes */
			return false;
		*how = 0; /* the last that was read: none does */
	}
	if (pio.left && !(*how & (ERR | DF)))
		return false;
	if (*how & (BSY | DRQ))
		return false;
	if (!by_dma)
		return true;
	*how |= in8(master + BM_STATUS) & BM_ERROR ? ERR : 0;
	return *how & ERR || !(in8(master + BM_STATUS) & BM_ACTIVE);
}

enum ide_state
ide_look(void)
{
	uint8_t how;

	if (!came)
		return state;
	came = false;
	in8(STATUS); /* first: what is over behind this interrupts again */
	line_done(LINE);
	if (state != IDE_BUSY || !is_over(&how))
		return state;
	state = IDE_IDLE;
	if (by_dma)
		out8(master + BM_COMMAND, 0);
	return how & (ERR | DF) ? IDE_BAD : IDE_GOOD;
}

enum ide_state
ide_wait(void)
{
	enum ide_state now;

	while ((now = ide_look()) == IDE_BUSY) {
		pv_poll(ide_port, 0);
		came |= pv_shared->pending[ide_port / 64] >> ide_port % 64 & 1;
	}
	return now;
}
