/*
 * A PCI bus as a plain state machine, no pointers in the state: configuration mechanism #1, and the
 * configuration spaces of a host bridge, an ISA bridge and an IDE controller.
 *
 * PCI    = PCI Local Bus Specification, revision 2.1; 3.2.2.3.2 is mechanism #1.
 * 440FX  = Intel 82441FX PCI and Memory Controller, order no. 290549-001.
 * PIIX3  = Intel 82371SB PCI ISA IDE Xcelerator, order no. 290550-002.
 *
 * What is simpler than the chips: there is one bus. Registers that set up DRAM, ISA timing and
 * power are kept where the data sheets let software write them, and do nothing; of what PAM's show
 * vmm/dev/firmware knows. Nothing asserts an error, so status registers stay as they are after
 * reset. There is no SMRAM.
 */
#pragma once

#include <stdint.h>

#define PCI_STATE 1 /* the layout's version */

#define PCI_ADDRESS_PORT 0xcf8
#define PCI_RESET_PORT   0xcf9 /* PIIX3 2.4.1.4: by bytes; nobody else sees those */
#define PCI_DATA_PORT    0xcfc
#define PCI_SPACE        256u

enum pci_function { PCI_HOST_BRIDGE, PCI_ISA_BRIDGE, PCI_IDE, PCI_FUNCTIONS };

#define PCI_COMMAND        0x04
#define PCI_COMMAND_IO     (1u << 0)
#define PCI_COMMAND_MASTER (1u << 2)
#define PCI_BMIBA          0x20 /* PIIX3 2.3.9 */
#define PCI_BMIBA_SIZE     16u
#define PCI_IDETIM         0x40 /* PIIX3 2.3.10: bit 15, the channel decodes its ports */
#define PCI_IDETIM_DECODE  (1u << 15)

struct pci {
	uint32_t version; /* PCI_STATE */
	uint32_t address; /* CONFADD */
	uint8_t reset;    /* RC */
	uint8_t pad[3];
	uint8_t config[PCI_FUNCTIONS][PCI_SPACE];
};
_Static_assert(sizeof(struct pci) == 12 + PCI_FUNCTIONS * PCI_SPACE,
	       "the migration record depends on it");

enum pci_effect { PCI_NOTHING, PCI_RESET };

/* As the data sheets have it behind a reset. */
void pci_init(struct pci *p);
/* ... and as firmware leaves it: the IDE controller's primary channel is on, its ports are here. */
void pci_as_firmware(struct pci *p, uint16_t bmiba);
/* Ports cf8 to cff; size is 1, 2 or 4, and the port a multiple of it. */
uint32_t pci_read(const struct pci *p, uint16_t port, unsigned size);
enum pci_effect pci_write(struct pci *p, uint16_t port, unsigned size, uint32_t value);

/* A register of a function, 1, 2 or 4 bytes. */
uint32_t pci_config(const struct pci *p, enum pci_function f, unsigned at, unsigned size);
