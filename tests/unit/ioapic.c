/* BUILD: vmm/dev/apic/ioapic.c */
/*
 * The I/O APIC by the datasheet: 82093AA = Intel 82093AA, order no. 290566-001, May 1996.
 */
#include <string.h>

#include <vmm/dev/apic/ioapic.h>

#include "tap.h"

static struct ioapic io;
static struct apic_message m;

static uint32_t
in(unsigned which)
{
	ioapic_write(&io, 0x00, which);
	return ioapic_read(&io, 0x10);
}

static void
out(unsigned which, uint32_t value)
{
	ioapic_write(&io, 0x00, which);
	ioapic_write(&io, 0x10, value);
}

static void
entry(unsigned pin, uint32_t low)
{
	out(0x11 + 2 * pin, 0x02000000);
	out(0x10 + 2 * pin, low);
}

static void
pulse(unsigned pin)
{
	ioapic_set(&io, pin, true);
	ioapic_set(&io, pin, false);
}

/* 3.2.1 to 3.2.4. */
static void
test_registers(void)
{
	memset(&io, 0x5a, sizeof(io));
	ioapic_init(&io);
	is_u64(io.version, IOAPIC_STATE, "the state carries its version");
	is_u64(in(0), 0, "ID after reset");
	is_u64(in(1) >> 16, 23, "24 entries");
	for (unsigned pin = 0; pin < 24; pin++) {
		is_u64(in(0x10 + 2 * pin), 0x10000, "entry %u is masked", pin);
		is_u64(in(0x11 + 2 * pin), 0, "... and goes to nobody");
	}
	out(0, ~0u);
	is_u64(in(0), 0x0f000000, "ID has four bits");
	is_u64(in(2), 0x0f000000, "and is the arbitration ID");
	out(1, ~0u);
	is_u64(in(1) >> 16, 23, "the version is read-only");
	out(0x10, ~0u);
	is_u64(in(0x10), 0x1afff, "delivery status and remote IRR are read-only");
	out(0x11, ~0u);
	is_u64(in(0x11), 0xff000000, "the destination has eight bits");
	is_u64(in(0x40), 0, "no entry 24");
	out(0x40, ~0u);
	is_u64(in(0xff), 0, "no such register");
	ioapic_write(&io, 0x00, 0x110);
	is_u64(ioapic_read(&io, 0x00), 0x10, "the select register has eight bits");
	is_u64(ioapic_read(&io, 0x20), 0, "nothing else in memory");
	ioapic_write(&io, 0x20, ~0u);
}

/* 3.2.4 "Interrupt Mask", "Trigger Mode". */
static void
test_edges(void)
{
	ioapic_init(&io);
	pulse(5);
	ok(!ioapic_next(&io, &m), "masked: nothing is sent");
	entry(5, 0x45);
	ok(!ioapic_next(&io, &m), "an edge while masked is lost");
	pulse(5);
	ok(ioapic_next(&io, &m), "an edge is sent");
	ok(m.vector == 0x45 && m.mode == APIC_FIXED && !m.logical && !m.level &&
		   m.destination == 2 && m.shorthand == APIC_NAMED,
	   "vector 45, fixed, to APIC 2");
	ok(!ioapic_next(&io, &m), "once");
	ioapic_set(&io, 5, true);
	ioapic_set(&io, 5, true);
	ok(ioapic_next(&io, &m) && !ioapic_next(&io, &m), "a line that stays up is one edge");
	ioapic_set(&io, 5, false);
	entry(6, 0x946);
	pulse(6);
	ok(ioapic_next(&io, &m) && m.mode == APIC_LOWEST && m.logical, "lowest priority, logical");
	pulse(5);
	pulse(6);
	ok(ioapic_next(&io, &m) && ioapic_next(&io, &m) && !ioapic_next(&io, &m),
	   "each pin has its own");
	pulse(5);
	entry(5, 0x10045);
	ok(!ioapic_next(&io, &m), "masked before it was sent: it waits");
	entry(5, 0x45);
	ok(ioapic_next(&io, &m), "... until it is unmasked");
}

/* 3.2.4 "Remote IRR". */
static void
test_levels(void)
{
	ioapic_init(&io);
	ioapic_set(&io, 9, true);
	entry(9, 0x8049);
	ok(ioapic_next(&io, &m), "a level that was up before is sent");
	ok(m.level && m.vector == 0x49, "as a level");
	is_u64(in(0x10 + 18), 0xc049, "remote IRR");
	ok(!ioapic_next(&io, &m), "it does not come before its EOI");
	ioapic_eoi(&io, 0x48);
	ok(!ioapic_next(&io, &m), "nor by another vector's");
	ioapic_eoi(&io, 0x49);
	ok(ioapic_next(&io, &m), "the line is still up: it comes again");
	ioapic_set(&io, 9, false);
	ioapic_write(&io, 0x40, 0x49);
	is_u64(in(0x10 + 18), 0x8049, "the EOI register ends it, too");
	ok(!ioapic_next(&io, &m), "the line is down");
	ioapic_set(&io, 9, true);
	ioapic_set(&io, 9, false);
	ok(!ioapic_next(&io, &m), "a level that fell before it was sent is none");
	ioapic_set(&io, 9, true);
	ioapic_next(&io, &m);
	entry(9, 0x10049);
	is_u64(in(0x10 + 18), 0x10049, "an edge has no remote IRR");
	entry(9, 0x8049);
	ok(ioapic_next(&io, &m), "and as a level it is asked again");
	entry(9, 0x49);
	ok(!ioapic_next(&io, &m), "a level that becomes an edge is none that has risen");
}

int
main(void)
{
	test_registers();
	test_edges();
	test_levels();
	return done_testing();
}
