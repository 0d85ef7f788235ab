/*
 * The other way in which a 32-bit payload is started: by coreboot. Debian's GRUB is built for it,
 * and wants flat 32-bit protected mode and a table that says where memory is.
 *
 * The format is that of libpayload's and coreboot's "coreboot_tables.h": a header at 0x500 and one
 * memory record.
 */
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>

#define TABLE_GPA     0x500
#define LB_TAG_MEMORY 1
#define LB_MEM_RAM    1

struct lb_header {
	char signature[4]; /* "LBIO" */
	uint32_t header_bytes;
	uint32_t header_checksum;
	uint32_t table_bytes;
	uint32_t table_checksum;
	uint32_t table_entries;
};
_Static_assert(sizeof(struct lb_header) == 24, "the format's");

struct lb_range {
	uint64_t start, size;
	uint32_t type;
} __attribute__((packed));

struct lb_memory {
	uint32_t tag, size;
	struct lb_range map[2];
};
_Static_assert(sizeof(struct lb_memory) == 48, "the format's");

/* The Internet checksum (RFC 1071) of an even number of bytes. */
static uint32_t
checksum(const void *p, size_t size)
{
	const uint16_t *w = p;
	uint32_t sum = 0;

	for (size_t i = 0; i < size / 2; i++)
		sum += w[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* Writes the table into guest RAM. Nothing of the guest's image may lie there. */
void
coreboot_table(struct domain *d)
{
	struct {
		struct lb_header header;
		struct lb_memory memory;
	} table = {
		.header = { .signature = { 'L', 'B', 'I', 'O' },
			    .header_bytes = sizeof(struct lb_header),
			    .table_bytes = sizeof(struct lb_memory),
			    .table_entries = 1 },
		.memory = { .tag = LB_TAG_MEMORY,
			    .size = sizeof(struct lb_memory),
			    .map = { { 0, LOW_RAM_END, LB_MEM_RAM },
				     { HIGH_RAM, d->ram - HIGH_RAM, LB_MEM_RAM } } },
	};

	table.header.table_checksum = checksum(&table.memory, sizeof(table.memory));
	table.header.header_checksum = checksum(&table.header, sizeof(table.header));
	gpa_write(d, gpa(TABLE_GPA), &table, sizeof(table));
}
