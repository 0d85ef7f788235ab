/* BUILD: vmm/dev/apic/acpi.c */
/*
 * ACPI's tables as a kernel reads them: from the RSDP on, by offsets of the specification (ACPI
 * 5.2), with checksums, for each number of CPUs. `acpi FILE` writes the DSDT there, for iasl.
 */
#include <stdio.h>
#include <string.h>

#include <vmm/dev/apic/acpi.h>

#include "tap.h"

#define AT 0x9fc40u

static uint8_t page[ACPI_SIZE + 64];
static size_t size;

static uint64_t
field(uint64_t at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && at - AT + i < ACPI_SIZE; i++)
		value |= (uint64_t)page[at - AT + i] << (8 * i);
	return value;
}

static uint8_t
sum(uint64_t at, uint64_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + field(at++, 1));
	return s;
}

/* A table of this name with a right sum, within what was written; 0: it is none. */
static uint64_t
table(uint64_t at, const char *name)
{
	bool good = at >= AT && at + 36 <= AT + size && !memcmp(page + (at - AT), name, 4) &&
		    at + field(at + 4, 4) <= AT + size && !sum(at, field(at + 4, 4));

	ok(good, "%s is whole and adds up to 0", name);
	return good ? at : 0;
}

static uint64_t
listed(const char *name)
{
	uint64_t xsdt = field(AT + 24, 8);

	for (uint64_t i = 36; i + 8 <= field(xsdt + 4, 4); i += 8)
		if (!memcmp(page + (field(xsdt + i, 8) - AT), name, 4))
			return table(field(xsdt + i, 8), name);
	ok(false, "the XSDT lists %s", name);
	return 0;
}

static void
test_fadt(void)
{
	uint64_t f = listed("FACP"), facs = field(f + 36, 4);

	is_u64(field(f + 46, 2), 9, "SCI is IRQ 9");
	is_u64(field(f + 48, 4), 0, "no SMI port: it is in ACPI mode");
	is_u64(field(f + 56, 4), 0x600, "PM1a event");
	is_u64(field(f + 64, 4), 0x604, "PM1a control");
	is_u64(field(f + 76, 4), 0x608, "the PM timer");
	is_u64(field(f + 88, 4), 0x04000204, "their lengths");
	is_u64(field(f + 148, 4), 0x2001, "the same as extended addresses: a port of 32 bits");
	is_u64(field(f + 152, 8), 0x600, "... PM1a event");
	is_u64(field(f + 176, 8), 0x604, "... control");
	is_u64(field(f + 212, 8), 0x608, "... timer");
	is_u64(field(f + 140, 8), field(f + 40, 4), "one DSDT");
	ok(!(facs & 63) && !memcmp(page + (facs - AT), "FACS", 4) && field(facs + 4, 4) == 64,
	   "a FACS, on a multiple of 64");
	table(field(f + 40, 4), "DSDT");
}

static void
test_madt(unsigned cpus)
{
	uint64_t m = listed("APIC"), end = m + field(m + 4, 4), at = m + 44;
	unsigned found[5] = { 0 }, wrong = 0;

	is_u64(field(m + 36, 4), 0xfee00000, "the local APICs' address");
	for (; at < end && field(at + 1, 1) >= 2; at += field(at + 1, 1)) {
		uint64_t type = field(at, 1);

		if (type < 5)
			found[type]++;
		if (type == 0)
			wrong += field(at + 3, 1) != found[0] - 1 || field(at + 4, 4) != 1;
		if (type == 1)
			wrong += field(at + 4, 4) != 0xfec00000 || field(at + 8, 4) != 0;
		if (type == 2 && field(at + 3, 1) == 0)
			wrong += field(at + 4, 4) != 2;
	}
	ok(at == end && !wrong, "%u CPUs: its entries fill it", cpus);
	ok(found[0] == cpus && found[1] == 1 && found[2] == 2 && found[4] == 1,
	   "each CPU once, one I/O APIC, two overrides, NMI");
}

static void
write_dsdt(const char *path)
{
	uint64_t dsdt = field(field(field(AT + 24, 8) + 36, 8) + 40, 4);
	FILE *f = fopen(path, "wb");

	if (f) {
		fwrite(page + (dsdt - AT), field(dsdt + 4, 4), 1, f);
		fclose(f);
	}
}

int
main(int argc, char **argv)
{
	for (unsigned cpus = 1; cpus <= 8; cpus++) {
		memset(page, 0xee, sizeof(page));
		size = acpi_build(page, AT, cpus);
		ok(size <= ACPI_SIZE && page[size] == 0xee, "%u CPUs: within ACPI_SIZE", cpus);
		ok(!memcmp(page, "RSD PTR ", 8) && !sum(AT, 20) && !sum(AT, 36) && page[15] == 2,
		   "the root pointer has both its sums");
		table(field(AT + 24, 8), "XSDT");
		test_fadt();
		test_madt(cpus);
	}
	if (argc > 1)
		write_dsdt(argv[1]);
	return done_testing();
}
