/* BUILD: vmm/dev/apic/pci.c */
/*
 * Configuration mechanism #1, and three configuration spaces by their data sheets: what each byte
 * holds behind a reset, and which of its bits software can change. Manuals: see pci.h.
 */
#include <string.h>

#include <vmm/dev/apic/pci.h>

#include "tap.h"

static struct pci p;

static uint32_t
in(unsigned port, unsigned size)
{
	return pci_read(&p, (uint16_t)port, size);
}

static enum pci_effect
out(unsigned port, unsigned size, uint32_t value)
{
	return pci_write(&p, (uint16_t)port, size, value);
}

static void
point(unsigned device, unsigned function, unsigned at)
{
	out(0xcf8, 4, 0x80000000 | device << 11 | function << 8 | (at & 0xfc));
}

static uint32_t
config(unsigned device, unsigned function, unsigned at, unsigned size)
{
	point(device, function, at);
	return in(0xcfc + (at & 3), size);
}

static void
set(unsigned device, unsigned function, unsigned at, unsigned size, uint32_t value)
{
	point(device, function, at);
	out(0xcfc + (at & 3), size, value);
}

/*
 * By words of 32 bits: behind a reset, after ones, after zeros. Where no line is, all three are 0.
 */
static const struct line {
	uint8_t device, function, at;
	uint32_t reset, ones, zeros;
} sheet[] = {
	/* 440FX 3.2 */
	{ 0, 0, 0x00, 0x12378086, 0x12378086, 0x12378086 },
	{ 0, 0, 0x04, 0x02800006, 0x02800146, 0x02800006 },
	{ 0, 0, 0x08, 0x06000002, 0x06000002, 0x06000002 },
	{ 0, 0, 0x0c, 0x00000000, 0x0000f800, 0x00000000 },
	{ 0, 0, 0x2c, 0x11001af4, 0x11001af4, 0x11001af4 },
	{ 0, 0, 0x50, 0x80000000, 0xff00ffff, 0x00000000 },
	{ 0, 0, 0x54, 0x01000000, 0xffffffff, 0x00000000 },
	{ 0, 0, 0x58, 0x00000010, 0x333330ff, 0x00000000 },
	{ 0, 0, 0x5c, 0x00000000, 0x33333333, 0x00000000 },
	{ 0, 0, 0x60, 0x01010101, 0xffffffff, 0x00000000 },
	{ 0, 0, 0x64, 0x01010101, 0xffffffff, 0x00000000 },
	{ 0, 0, 0x68, 0x00000000, 0x000000c0, 0x00000000 },
	{ 0, 0, 0x70, 0x00021000, 0x0002fff8, 0x00020000 },
	/* PIIX3 2.2 */
	{ 1, 0, 0x00, 0x70008086, 0x70008086, 0x70008086 },
	{ 1, 0, 0x04, 0x02000007, 0x0200000f, 0x02000007 },
	{ 1, 0, 0x08, 0x06010000, 0x06010000, 0x06010000 },
	{ 1, 0, 0x0c, 0x00800000, 0x00800000, 0x00800000 },
	{ 1, 0, 0x4c, 0x0003004d, 0x01ff007f, 0x00000000 },
	{ 1, 0, 0x60, 0x80808080, 0x8f8f8f8f, 0x00000000 },
	{ 1, 0, 0x68, 0x00000200, 0x8004fe00, 0x00000000 },
	{ 1, 0, 0x70, 0x00000080, 0x000000ef, 0x00000000 },
	{ 1, 0, 0x74, 0x0c0c0000, 0x8f8f0000, 0x00000000 },
	{ 1, 0, 0x78, 0x00000002, 0x0000ffff, 0x00000000 },
	{ 1, 0, 0x80, 0x00000000, 0x000f007f, 0x00000000 },
	/* PIIX3 2.3: a base address is sized by ones (PCI 6.2.5.1) */
	{ 1, 1, 0x00, 0x70108086, 0x70108086, 0x70108086 },
	{ 1, 1, 0x04, 0x02800000, 0x02800005, 0x02800000 },
	{ 1, 1, 0x08, 0x01018000, 0x01018000, 0x01018000 },
	{ 1, 1, 0x0c, 0x00000000, 0x0000f000, 0x00000000 },
	{ 1, 1, 0x20, 0x00000001, 0xfffffff1, 0x00000001 },
	{ 1, 1, 0x40, 0x00000000, 0xf3fff3ff, 0x00000000 },
	{ 1, 1, 0x44, 0x00000000, 0x000000ff, 0x00000000 },
};

static const uint8_t there[][2] = { { 0, 0 }, { 1, 0 }, { 1, 1 } };

static void
test_sheet(void)
{
	for (unsigned f = 0; f < sizeof(there) / sizeof(there[0]); f++) {
		const unsigned device = there[f][0], function = there[f][1];

		for (unsigned at = 0; at < 256; at += 4) {
			struct line want = { 0 };

			for (unsigned i = 0; i < sizeof(sheet) / sizeof(sheet[0]); i++)
				if (sheet[i].device == device && sheet[i].function == function &&
				    sheet[i].at == at)
					want = sheet[i];
			is_u64(config(device, function, at, 4), want.reset, "%u.%u %02x: reset",
			       device, function, at);
			set(device, function, at, 4, ~0u);
			is_u64(config(device, function, at, 4), want.ones, "... after ones");
			set(device, function, at, 4, 0);
			is_u64(config(device, function, at, 4), want.zeros, "... after zeros");
		}
	}
}

static void
test_nobody(void)
{
	unsigned wrong = 0;

	for (unsigned n = 0; n < 1u << 16; n++) { /* buses, devices, functions */
		bool is_there = n == 0 || n == 0x08 || n == 0x09;

		out(0xcf8, 4, 0x80000000 | n << 8);
		wrong += (in(0xcfc, 4) != ~0u) != is_there;
		if (!is_there)
			out(0xcfc, 4, ~0u);
	}
	ok(!wrong, "three functions of 65,536 answer");
	out(0xcf8, 4, 0);
	is_u64(in(0xcfc, 4), ~0u, "none while CONFADD is not enabled");
	out(0xcfc, 4, 0);
}

/* PCI 3.2.2.3.2: 32 bits at once reach CONFADD, all else goes by. */
static void
test_address(void)
{
	out(0xcf8, 4, ~0u);
	is_u64(in(0xcf8, 4), 0x80fffffc, "CONFADD has reserved bits");
	for (unsigned port = 0xcf8; port < 0xcfc; port++) {
		out(port, 1, port == 0xcf9 ? 0 : 0x55);
		is_u64(in(port, 1), port == 0xcf9 ? 0 : 0xffffffff, "a byte at %x", port);
	}
	out(0xcf8, 2, 0x1234);
	out(0xcfa, 2, 0x1234);
	is_u64(in(0xcf8, 4), 0x80fffffc, "... which it does not change");
}

static void
test_widths(void)
{
	point(1, 1, 0x20);
	out(0xcfc, 4, 0xc000);
	is_u64(in(0xcfc, 4), 0xc001, "32 bits");
	out(0xcfd, 1, 0xd1);
	is_u64(in(0xcfc, 4), 0xd101, "a byte within");
	out(0xcfe, 2, 0xffff);
	is_u64(in(0xcfc, 4), 0xffffd101, "the high half, where no port is");
	is_u64(in(0xcfd, 1), 0xd1, "a byte");
	is_u64(in(0xcfc, 2), 0xd101, "a word");
	is_u64(config(1, 1, 0xff, 1), 0, "the last byte");
}

static void
test_reset(void)
{
	is_u64(out(0xcf9, 1, 0x02), PCI_NOTHING, "RC: what sort of a reset");
	is_u64(in(0xcf9, 1), 0x02, "... is kept");
	is_u64(out(0xcf9, 1, 0x06), PCI_RESET, "... and its other bit's rising edge is one");
	is_u64(out(0xcf9, 1, 0x06), PCI_NOTHING, "... not its level");
	is_u64(out(0xcf9, 1, 0xf9), PCI_NOTHING, "... nor other bits");
	is_u64(in(0xcf9, 1), 0, "... which are not there");
	is_u64(out(0xcf8, 2, 0x0600), PCI_NOTHING, "a word does not reach it");
}

int
main(void)
{
	memset(&p, 0x5a, sizeof(p));
	pci_init(&p);
	is_u64(p.version, PCI_STATE, "the state carries its version");
	test_sheet();
	test_nobody();
	test_address();
	test_widths();
	test_reset();
	pci_init(&p);
	pci_as_firmware(&p, 0xc000);
	is_u64(config(1, 1, 0x04, 2), 0x0005,
	       "firmware: the IDE controller decodes and is a master");
	is_u64(config(1, 1, 0x20, 4), 0xc001, "... its ports");
	is_u64(config(1, 1, 0x40, 4), 0x00008000, "... and its first channel is on");
	return done_testing();
}
