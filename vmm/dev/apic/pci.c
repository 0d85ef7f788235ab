/*
 * Configuration mechanism #1 and three functions behind it; pci.h says which, and from which
 * manuals.
 */
#include <stdbool.h>
#include <string.h>

#include <vmm/dev/apic/pci.h>

#define ADDRESS_ENABLED           0x80000000u
#define ADDRESS_WRITABLE          0x80fffffcu
#define BUS_AND_FUNCTION(address) ((address) >> 8 & 0xffff)
#define RESET_CPU                 (1u << 2) /* RC: its rising edge */
#define RESET_WRITABLE            0x06u     /* RCPU, SRST */

/* A register: where, how wide, what it holds behind a reset, and the bits that software writes. */
struct field {
	uint8_t at, size;
	uint32_t reset, writable;
};

/* 440FX 3.2 "PCI Configuration Registers"; the subsystem is a virtual machine's. */
static const struct field host_bridge[] = {
	{ 0x00, 4, 0x12378086, 0 },  /* VID, DID */
	{ 0x04, 2, 0x0006, 0x0140 }, /* PCICMD: SERRE, PERRE; memory and bus master are on always */
	{ 0x06, 2, 0x0280, 0 },      /* PCISTS */
	{ 0x08, 4, 0x06000002, 0 },  /* RID, CLASSC: a host bridge */
	{ 0x0d, 1, 0, 0xf8 },        /* MLT */
	{ 0x2c, 4, 0x11001af4, 0 },  /* subsystem */
	{ 0x50, 2, 0, 0xffff },      /* PMCCFG */
	{ 0x53, 1, 0x80, 0xff },     /* DBC */
	{ 0x54, 1, 0, 0xff },        /* AXC */
	{ 0x55, 2, 0, 0xffff },      /* DRT */
	{ 0x57, 1, 0x01, 0xff },     /* DRAMC */
	{ 0x58, 1, 0x10, 0xff },     /* DRAMT */
	{ 0x59, 1, 0, 0x30 },        /* PAM0: f0000-fffff; the low half is reserved */
	{ 0x5a, 2, 0, 0x3333 },      /* PAM1, PAM2: RE and WE of two segments each */
	{ 0x5c, 4, 0, 0x33333333 },  /* PAM3 to PAM6 */
	{ 0x60, 4, 0x01010101, ~0u }, /* DRB0 to DRB3 */
	{ 0x64, 4, 0x01010101, ~0u }, /* DRB4 to DRB7 */
	{ 0x68, 1, 0, 0xc0 },         /* FDHC */
	{ 0x70, 1, 0, 0xf8 },         /* MTT */
	{ 0x71, 1, 0x10, 0xff },      /* CLT */
	{ 0x72, 1, 0x02, 0 },         /* SMRAM */
	{ 0 },
};

/* PIIX3 2.2 "PCI to ISA Bridge Configuration Registers". */
static const struct field isa_bridge[] = {
	{ 0x00, 4, 0x70008086, 0 },          /* VID, DID */
	{ 0x04, 2, 0x0007, 0x0008 },         /* PCICMD: special cycles; the rest is on always */
	{ 0x06, 2, 0x0200, 0 },              /* PCISTS */
	{ 0x08, 4, 0x06010000, 0 },          /* RID, CLASSC: an ISA bridge */
	{ 0x0e, 1, 0x80, 0 },                /* HEDT: there are more functions */
	{ 0x4c, 1, 0x4d, 0x7f },             /* IORT */
	{ 0x4e, 2, 0x0003, 0x01ff },         /* XBCS */
	{ 0x60, 4, 0x80808080, 0x8f8f8f8f }, /* PIRQRC[A:D]: off, IRQ */
	{ 0x69, 1, 0x02, 0xfe },             /* TOM */
	{ 0x6a, 2, 0, 0x8004 },              /* MSTAT */
	{ 0x70, 1, 0x80, 0xef },             /* MBIRQ0: PIIX3 has no other */
	{ 0x76, 2, 0x0c0c, 0x8f8f },         /* MBDMA */
	{ 0x78, 2, 0x0002, 0xffff },         /* PCSC */
	{ 0x80, 1, 0, 0x7f },                /* APICBASE */
	{ 0x82, 1, 0, 0x0f },                /* DLC */
	{ 0 },
};

/* PIIX3 2.3 "IDE Configuration Registers". */
static const struct field ide[] = {
	{ 0x00, 4, 0x70108086, 0 },          /* VID, DID */
	{ 0x04, 2, 0, 0x0005 },              /* PCICMD: I/O, bus master */
	{ 0x06, 2, 0x0280, 0 },              /* PCISTS */
	{ 0x08, 4, 0x01018000, 0 },          /* RID, CLASSC: IDE, its ports fixed, bus master */
	{ 0x0d, 1, 0, 0xf0 },                /* MLT */
	{ 0x20, 4, 0x00000001, 0xfffffff0 }, /* BMIBA: 16 ports; SeaBIOS asks all 32 bits */
	{ 0x40, 4, 0, 0xf3fff3ff },          /* IDETIM of both channels */
	{ 0x44, 1, 0, 0xff },                /* SIDETIM */
	{ 0 },
};

/* Bits of CONFADD 15:8, and who is there. */
static const struct {
	uint8_t number; /* device << 3 | function */
	const struct field *fields;
} functions[PCI_FUNCTIONS] = {
	[PCI_HOST_BRIDGE] = { 0 << 3 | 0, host_bridge },
	[PCI_ISA_BRIDGE] = { 1 << 3 | 0, isa_bridge },
	[PCI_IDE] = { 1 << 3 | 1, ide },
};

void
pci_init(struct pci *p)
{
	memset(p, 0, sizeof(*p));
	p->version = PCI_STATE;
	for (unsigned f = 0; f < PCI_FUNCTIONS; f++)
		for (const struct field *r = functions[f].fields; r->size; r++)
			memcpy(&p->config[f][r->at], &r->reset, r->size);
}

/* One byte of a function's space: what is no register stays 0. */
static void
write_byte(struct pci *p, enum pci_function f, unsigned at, uint8_t value)
{
	uint8_t *byte = &p->config[f][at];

	for (const struct field *r = functions[f].fields; r->size; r++) {
		if (at < r->at || at - r->at >= r->size)
			continue;
		uint8_t writable = (uint8_t)(r->writable >> (8 * (at - r->at)));

		*byte = (uint8_t)((*byte & ~writable) | (value & writable));
	}
}

static void
write_config(struct pci *p, enum pci_function f, unsigned at, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++)
		write_byte(p, f, at + i, (uint8_t)(value >> (8 * i)));
}

void
pci_as_firmware(struct pci *p, uint16_t bmiba)
{
	write_config(p, PCI_IDE, PCI_BMIBA, 4, bmiba);
	write_config(p, PCI_IDE, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	write_config(p, PCI_IDE, PCI_IDETIM, 2, PCI_IDETIM_DECODE);
}

uint32_t
pci_config(const struct pci *p, enum pci_function f, unsigned at, unsigned size)
{
	uint32_t value = 0;

	memcpy(&value, &p->config[f][at], size);
	return value;
}

/* The function that CONFADD means; PCI_FUNCTIONS: nobody answers (PCI 3.2.2.3.2). */
static enum pci_function
meant(const struct pci *p)
{
	unsigned f = 0;

	if (!(p->address & ADDRESS_ENABLED))
		return PCI_FUNCTIONS;
	while (f < PCI_FUNCTIONS && BUS_AND_FUNCTION(p->address) != functions[f].number)
		f++;
	return f;
}

/* Of the four bytes of the data port, those that the access has. */
static unsigned
config_at(const struct pci *p, uint16_t port)
{
	return (p->address & 0xfc) + (port & 3);
}

uint32_t
pci_read(const struct pci *p, uint16_t port, unsigned size)
{
	enum pci_function f = meant(p);

	if (port >= PCI_DATA_PORT)
		return f < PCI_FUNCTIONS ? pci_config(p, f, config_at(p, port), size) : ~0u;
	if (size == 4)
		return p->address;
	return port == PCI_RESET_PORT && size == 1 ? p->reset : ~0u;
}

/* CONFADD is reached by 32 bits only; narrower accesses go by, to RC (PIIX3 2.4.1.4). */
enum pci_effect
pci_write(struct pci *p, uint16_t port, unsigned size, uint32_t value)
{
	enum pci_function f = meant(p);
	bool was = p->reset & RESET_CPU;

	if (port >= PCI_DATA_PORT) {
		if (f < PCI_FUNCTIONS)
			write_config(p, f, config_at(p, port), size, value);
	} else if (size == 4) {
		p->address = value & ADDRESS_WRITABLE;
	} else if (port == PCI_RESET_PORT && size == 1) {
		p->reset = value & RESET_WRITABLE;
		return p->reset & RESET_CPU && !was ? PCI_RESET : PCI_NOTHING;
	}
	return PCI_NOTHING;
}
