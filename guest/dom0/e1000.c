/*
 * The network card: e1000.h. It reads and writes dom0's memory by itself: rings of descriptors, and
 * a buffer for each, of which it is told the machine addresses.
 */
#include <guest/dom0/bridge.h>
#include <guest/dom0/e1000.h>
#include <guest/dom0/pci.h>
#include <guest/pv/lib/pv.h>
#include <guest/pv/lib/text.h>

#define PAGE     4096u
#define NETWORK  0x0200u     /* its class on the bus */
#define CARD     0x100e8086u /* 82540EM */
#define PAGES    6u          /* of its registers: those that are used lie in so many */
#define PATIENCE 1000000u

/* Registers: SDM table 13-2. */
#define CTRL   0x0000u
#define STATUS 0x0008u
#define EERD   0x0014u
#define ICR    0x00c0u
#define IMS    0x00d0u
#define IMC    0x00d8u
#define RCTL   0x0100u
#define TCTL   0x0400u
#define TIPG   0x0410u
#define RX     0x2800u /* a ring's: */
#define TX     0x3800u
#define BAL    0x00u
#define BAH    0x04u
#define LEN    0x08u
#define HEAD   0x10u
#define TAIL   0x18u
#define MTA    0x5200u
#define MTAS   128u
#define RAL    0x5400u
#define RAH    0x5404u

#define CTRL_ASDE  (1u << 5) /* speed by itself; link up; reset */
#define CTRL_SLU   (1u << 6)
#define CTRL_RST   (1u << 26)
#define STATUS_LU  (1u << 1)
#define EERD_START 1u
#define EERD_DONE  (1u << 4) /* the word is the upper half; which one, from bit 8 on */
#define RAH_VALID  (1u << 31)
#define CAUSES     0xd4u /* frames have come; few buffers are left, none; the link is another */
#define RCTL_EN    (1u << 1)
#define RCTL_UPE   (1u << 3) /* whoever a frame is for: a bridge is behind it */
#define RCTL_MPE   (1u << 4)
#define RCTL_BAM   (1u << 15)
#define RCTL_SECRC (1u << 26) /* without its check sequence; buffers are of 2,048 bytes */
#define TCTL_EN    (1u << 1)
#define TCTL_PSP   (1u << 3)                  /* short ones are padded */
#define TCTL_TIMES (0x10u << 4 | 0x40u << 12) /* as SDM 14.5 has it for full duplex ... */
#define TIPG_TIMES (10u | 8u << 10 | 6u << 20)

struct descriptor {
	uint64_t at;
	uint16_t len;
	uint8_t rest; /* received: a sum; sent: where one goes */
	uint8_t command;
	uint8_t status, errors;
	uint16_t special;
};
_Static_assert(sizeof(struct descriptor) == 16, "SDM 3.2.3 and 3.3.3");
#define DONE      1u /* status: the card is done with it; received: its frame ends here */
#define LAST      2u
#define SEND_LAST 1u /* command: its frame ends here; a check sequence; say when it is done */
#define SEND_FCS  2u
#define SEND_TELL 8u

#define RING   64u
#define BUFFER 2048u

struct e1000_counts e1000_counts;
static uint8_t window[PAGES * PAGE] __attribute__((aligned(4096))); /* its registers are there */
static volatile struct descriptor rx[RING] __attribute__((aligned(4096)));
static volatile struct descriptor tx[RING] __attribute__((aligned(4096)));
static uint8_t in_buffer[RING][BUFFER] __attribute__((aligned(4096)));
static uint8_t out_buffer[RING][BUFFER] __attribute__((aligned(4096)));
static unsigned rx_next, tx_next; /* whom the card is done with next; whom it gets next */
static bool held;                 /* rx_next's frame is somebody's until he asks for the next */

/* What memory holds is so for the card, and what it has written there for us. */
static inline void
settle(void)
{
	__asm__ volatile("" : : : "memory");
}

static uint32_t
get(unsigned at)
{
	return *(volatile uint32_t *)(window + at);
}

static void
set(unsigned at, uint32_t value)
{
	settle();
	*(volatile uint32_t *)(window + at) = value;
}

static uint64_t
address(const void *p)
{
	return pv_page(p) << 12 | (uint64_t)p % PAGE;
}

/* ---- it begins ---- */

/* In place of pages of dom0's own. */
static const char *
map(int function)
{
	uint64_t at = pci_read(function, PCI_BASE(0)), flags = PTE_P | PTE_W | PTE_U | PTE_NX;

	if (at & 1)
		return "its registers are ports";
	for (unsigned n = 0; n < PAGES; n++)
		if (pv_map(window + n * PAGE, ((at & ~15ul) + n * PAGE) | flags))
			return "Zeno does not let dom0 have its registers";
	return NULL;
}

static const char *
reset(void)
{
	unsigned n = 0;

	set(IMC, ~0u);
	set(CTRL, get(CTRL) | CTRL_RST);
	while (get(CTRL) & CTRL_RST)
		if (n++ == PATIENCE)
			return "it does not come out of its reset";
	set(IMC, ~0u);
	get(ICR);
	set(CTRL, get(CTRL) | CTRL_SLU | CTRL_ASDE);
	return NULL;
}

/* As its memory has it, two bytes a word (SDM 5.6.1): a reset need not put it where it is used. */
static bool
read_address(uint8_t *mac)
{
	for (unsigned word = 0; word < MAC_SIZE / 2; word++) {
		unsigned n = 0;
		uint32_t got;

		set(EERD, EERD_START | word << 8);
		while (!((got = get(EERD)) & EERD_DONE))
			if (n++ == PATIENCE)
				return false;
		mac[2 * word] = (uint8_t)(got >> 16);
		mac[2 * word + 1] = (uint8_t)(got >> 24);
	}
	set(RAL, mac[0] | mac[1] << 8 | mac[2] << 16 | (uint32_t)mac[3] << 24);
	set(RAH, mac[4] | mac[5] << 8 | RAH_VALID);
	return true;
}

static void
ring(unsigned which, const volatile struct descriptor *d)
{
	uint64_t at = address((const void *)d);

	set(which + BAL, (uint32_t)at);
	set(which + BAH, (uint32_t)(at >> 32));
	set(which + LEN, RING * sizeof(*d));
	set(which + HEAD, 0);
	set(which + TAIL, 0);
}

static void
rings(void)
{
	for (unsigned n = 0; n < RING; n++) {
		rx[n] = (struct descriptor){ .at = address(in_buffer[n]) };
		tx[n] = (struct descriptor){ .at = address(out_buffer[n]), .status = DONE };
	}
	for (unsigned n = 0; n < MTAS; n++)
		set(MTA + 4 * n, 0);
	ring(RX, rx);
	ring(TX, tx);
	set(RX + TAIL, RING - 1); /* one is never the card's, by which full is not empty */
	set(TIPG, TIPG_TIMES);
	set(TCTL, TCTL_EN | TCTL_PSP | TCTL_TIMES);
	set(RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC);
	set(IMS, CAUSES);
}

const char *
e1000_begin(uint8_t *mac, unsigned *line)
{
	int function = pci_find(NETWORK);
	const char *wrong;

	if (function < 0)
		return "the machine has none";
	if (pci_read(function, PCI_ID) != CARD)
		return "it is none that dom0 has a driver for";
	pci_command(function, PCI_MEMORY);
	wrong = map(function);
	if (!wrong)
		wrong = reset();
	if (!wrong && !read_address(mac))
		wrong = "it has no address";
	if (wrong)
		return wrong;
	pci_command(function, PCI_MEMORY | PCI_MASTER); /* it knows of nobody's rings by now */
	*line = pci_read(function, PCI_LINE) & 0xff;
	rings();
	return NULL;
}

bool
e1000_link(void)
{
	return get(STATUS) & STATUS_LU;
}

void
e1000_quiet(void)
{
	get(ICR);
}

/* ---- frames ---- */

bool
e1000_send(const void *frame, size_t len)
{
	volatile struct descriptor *d = &tx[tx_next];
	unsigned after = (tx_next + 1) % RING; /* which is never the card's, too */

	if (!(tx[after].status & DONE) || len < FRAME_MIN || len > FRAME_MAX) {
		e1000_counts.dropped++;
		return false;
	}
	memcpy(out_buffer[tx_next], frame, len);
	d->status = 0;
	d->len = (uint16_t)len;
	d->command = SEND_LAST | SEND_FCS | SEND_TELL;
	tx_next = after;
	set(TX + TAIL, tx_next);
	e1000_counts.sent++;
	return true;
}

/* It is the card's again. */
static void
give_back(void)
{
	rx[rx_next].status = 0;
	set(RX + TAIL, rx_next);
	rx_next = (rx_next + 1) % RING;
	held = false;
}

const void *
e1000_receive(size_t *len)
{
	volatile struct descriptor *d;
	bool good;

	if (held)
		give_back();
	d = &rx[rx_next];
	if (!(d->status & DONE))
		return NULL;
	settle();
	held = true;
	good = d->status & LAST && !d->errors && d->len >= FRAME_MIN && d->len <= FRAME_MAX;
	*len = good ? d->len : 0;
	e1000_counts.received += good;
	e1000_counts.dropped += !good;
	return in_buffer[rx_next];
}
