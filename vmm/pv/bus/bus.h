/*
 * The machine's PCI bus, as far as dom0 has devices on it: the disks' controller, and one network
 * card. Zeno has a driver for neither.
 *
 * Both are bus masters: they read and write memory by themselves, wherever they are told to, and no
 * table of Zeno's is asked. Who programs them can have all of memory written. So only dom0 may, who
 * is trusted with that. What Zeno does promise: when dom0 ends, they master the bus no more before
 * its frames are another's.
 *
 * PCI = PCI Local Bus Specification, revision 2.1; configuration mechanism #1 is its 3.2.2.3.2.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct domain;

struct pv_types;

/*
 * dom0 begins: which devices are there, and the network card's registers are frames that its tables
 * may lead to. It ends: nothing is written any more.
 */
void pv_bus_begin(struct pv_types *t);
void pv_bus_end(void);

/* Whether this line is that of a device on the bus that dom0 has. */
bool pv_bus_has_line(unsigned irq);
/* Where the disk controller masters the bus from: BUS_MASTER_PORTS from there on; 0: nowhere. */
#define BUS_MASTER_PORTS 8u /* of the first channel; those of the second one are nobody's */
uint16_t pv_bus_master(void);

/* Ports cf8 to cfb, and cfc to cff, as dom0 has them. */
uint32_t pv_bus_address_read(struct domain *d, uint16_t port, unsigned size);
void pv_bus_address_write(struct domain *d, uint16_t port, unsigned size, uint32_t value);
uint32_t pv_bus_data_read(struct domain *d, uint16_t port, unsigned size);
void pv_bus_data_write(struct domain *d, uint16_t port, unsigned size, uint32_t value);
#define BUS_ADDRESS 0xcf8u
#define BUS_DATA    0xcfcu
