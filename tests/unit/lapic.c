/* BUILD: vmm/dev/apic/lapic.c */
/*
 * The local APIC by the manual: SDM = Intel SDM, June 2023, volume 3A, chapter 11. The section is
 * named at each group. Time is in ns, and the timer's clock has one pulse each.
 */
#include <string.h>

#include <vmm/dev/apic/lapic.h>

#include "tap.h"

static struct lapic l;
static struct apic_message m;

static uint32_t
in(unsigned offset)
{
	return lapic_read(&l, offset, 0);
}

static enum lapic_effect
out_at(unsigned offset, uint32_t value, uint64_t now)
{
	return lapic_write(&l, offset, value, now, &m);
}

static enum lapic_effect
out(unsigned offset, uint32_t value)
{
	return out_at(offset, value, 0);
}

static void
start(void)
{
	memset(&l, 0x5a, sizeof(l));
	lapic_init(&l, 3, false);
	out(LAPIC_REG_SVR, SVR_ENABLED | 0xff);
}

/* 11.4.7.1 "Local APIC State After Power-Up or Reset", table 11-1. */
static void
test_reset(void)
{
	memset(&l, 0x5a, sizeof(l));
	lapic_init(&l, 3, false);
	is_u64(l.version, LAPIC_STATE, "reset: the state carries its version");
	is_u64(in(0x20), 0x03000000, "reset: its ID");
	is_u64(in(0x30) & 0xff0000, 0x50000, "reset: six entries in the LVT");
	is_u64(in(0x80), 0, "reset: TPR");
	is_u64(in(0xd0), 0, "reset: LDR");
	is_u64(in(0xe0), 0xffffffff, "reset: DFR");
	is_u64(in(0xf0), 0xff, "reset: SVR, disabled");
	for (unsigned r = 0x320; r <= 0x370; r += 0x10)
		is_u64(in(r), 0x10000, "reset: an entry of the LVT is masked");
	for (unsigned r = 0x100; r < 0x280; r += 0x10)
		is_u64(in(r), 0, "reset: ISR, TMR, IRR");
	is_u64(in(0x380) | in(0x390) | in(0x3e0) | in(0x300) | in(0x310), 0, "reset: the others");
	is_u64(out(0x320, 0x20040), LAPIC_DONE, "disabled: an entry may be written");
	is_u64(in(0x320), 0x30040, "11.4.7.2: and stays masked");
	lapic_accept(&l, 0x40, false);
	is_u64(in(0x220), 0, "11.4.7.2: it accepts no interrupt");
}

/* 11.8.3.1 "Task and Processor Priorities"; 11.8.5 "Signaling Interrupt Servicing Completion". */
static void
test_priorities(void)
{
	start();
	is_u64((uint64_t)lapic_pending(&l), (uint64_t)LAPIC_NONE, "nothing is pending");
	lapic_accept(&l, 0x41, false);
	lapic_accept(&l, 0x62, false);
	lapic_accept(&l, 0x6f, false);
	is_u64(in(0x220), 2, "IRR 41");
	is_u64(in(0x230), 0x8004, "IRR 62, 6f");
	out(0x80, 0x60);
	is_u64((uint64_t)lapic_pending(&l), (uint64_t)LAPIC_NONE, "TPR 60 holds back class 6");
	is_u64(in(0xa0), 0x60, "PPR is TPR");
	out(0x80, 0x5f);
	is_u64((uint64_t)lapic_pending(&l), 0x6f, "TPR 5f does not; the highest vector first");
	is_u64(lapic_ack(&l), 0x6f, "acknowledged");
	is_u64(in(0x130), 0x8000, "in service");
	is_u64(in(0x230), 4, "no longer requested");
	is_u64(in(0xa0), 0x60, "PPR is the class in service, its low half 0");
	is_u64((uint64_t)lapic_pending(&l), (uint64_t)LAPIC_NONE, "its own class waits");
	lapic_accept(&l, 0x71, false);
	is_u64(lapic_ack(&l), 0x71, "a higher class nests");
	is_u64(out(0xb0, 0), LAPIC_DONE, "EOI of an edge");
	is_u64(in(0x130), 0x8000, "... of the highest in service");
	out(0xb0, 0);
	is_u64(lapic_ack(&l), 0x62, "then the next of the class");
	out(0xb0, 0);
	is_u64(lapic_ack(&l), 0xff, "11.9: TPR 5f holds back 41: the spurious one");
	is_u64(in(0x130) | in(0x170), 0, "... which is not in service");
	out(0x80, 0);
	is_u64(lapic_ack(&l), 0x41, "TPR 0 lets it in");
	is_u64(out(0xb0, 0), LAPIC_DONE, "EOI");
	is_u64(out(0xb0, 0), LAPIC_DONE, "EOI with nothing in service");
	lapic_accept(&l, 0x50, true);
	is_u64(in(0x180 + 0x20), 0x10000, "TMR of a level");
	lapic_ack(&l);
	is_u64(out(0xb0, 0), LAPIC_EOI, "its EOI goes to the I/O APIC");
	is_u64(m.vector, 0x50, "... with its vector");
	lapic_accept(&l, 0x50, false);
	is_u64(in(0x180 + 0x20), 0, "TMR of an edge");
}

/* 11.6.1 "Interrupt Command Register (ICR)". */
static void
test_send(void)
{
	start();
	out(0x310, 0x05ffffff);
	is_u64(in(0x310), 0x05000000, "ICR's destination");
	is_u64(out(0x300, 0x4041), LAPIC_SEND, "fixed");
	ok(m.vector == 0x41 && m.mode == APIC_FIXED && !m.logical && !m.level && !m.deassert &&
		   m.shorthand == APIC_NAMED && m.destination == 5,
	   "fixed, vector 41, to APIC 5");
	is_u64(out(0x300, 0xfff33941), LAPIC_SEND, "lowest priority, reserved bits set");
	ok(m.mode == APIC_LOWEST && m.logical, "lowest priority, logical");
	is_u64(in(0x300) & 0xfff33000, 0, "no reserved bit and no delivery status is kept");
	out(0x300, 0x00084500);
	ok(m.mode == APIC_INIT && m.shorthand == APIC_ALL && !m.deassert, "INIT to all");
	out(0x300, 0x000c8500);
	ok(m.mode == APIC_INIT && m.shorthand == APIC_OTHERS && m.deassert, "INIT de-assert");
	out(0x300, 0x4608);
	ok(m.mode == APIC_STARTUP && m.vector == 8, "start-up at 8000");
	is_u64(out(0x300, 0x4400), LAPIC_SEND, "NMI has no vector");
	is_u64(out(0x300, 0x400f), LAPIC_DONE, "vector 0f is not sent");
	is_u64(in(0x280), 0, "11.5.3: ESR shows nothing before it is written");
	out(0x280, 0);
	is_u64(in(0x280), 0x20, "send illegal vector");
	out(0x280, 0);
	is_u64(in(0x280), 0, "... once");
	lapic_accept(&l, 0x0f, false);
	in(0x3f0);
	out(0x280, 0);
	is_u64(in(0x280), 0xc0, "receive illegal vector, illegal register address");
	out(0x370, 0x66);
	lapic_accept(&l, 3, false);
	is_u64((uint64_t)lapic_pending(&l), 0x66, "LVT error is an interrupt");
}

static bool
meant(uint32_t dfr, uint32_t ldr, bool logical, uint8_t to)
{
	out(0xe0, dfr);
	out(0xd0, ldr << 24);
	return lapic_is_meant(&l, &(struct apic_message){ .logical = logical, .destination = to });
}

/* 11.6.2.1 "Physical Destination Mode", 11.6.2.2 "Logical Destination Mode". */
static void
test_destination(void)
{
	start();
	ok(meant(~0u, 0, false, 3), "physical: its ID");
	ok(!meant(~0u, 0, false, 2), "physical: another");
	ok(meant(~0u, 0, false, 0xff), "physical: broadcast");
	ok(meant(~0u, 0x08, true, 0x18), "flat: a common bit");
	ok(!meant(~0u, 0x08, true, 0xf7), "flat: none");
	ok(!meant(~0u, 0, true, 0xff), "flat: no bit of its own");
	ok(meant(0x0fffffff, 0x24, true, 0x2c), "cluster 2, a common bit");
	ok(!meant(0x0fffffff, 0x24, true, 0x28), "cluster 2, none");
	ok(!meant(0x0fffffff, 0x24, true, 0x34), "another cluster");
	ok(meant(0x0fffffff, 0x24, true, 0xff), "all clusters");
	is_u64(in(0xe0), 0x0fffffff, "DFR's low bits are ones");
}

/* 11.5.4 "APIC Timer", figure 11-10 "Divide Configuration Register". */
static void
test_timer(void)
{
	static const struct {
		uint32_t value;
		unsigned by;
	} divides[] = { { 0, 2 },  { 1, 4 },  { 2, 8 },    { 3, 16 },
			{ 8, 32 }, { 9, 64 }, { 10, 128 }, { 11, 1 } };

	for (unsigned i = 0; i < sizeof(divides) / sizeof(*divides); i++) {
		start();
		out_at(0x3e0, divides[i].value, 1000);
		out_at(0x380, 500, 1000);
		is_u64(lapic_read(&l, 0x390, 1000 + 100 * divides[i].by), 400, "divided by %u",
		       divides[i].by);
	}
	start();
	is_u64(lapic_deadline(&l), LAPIC_NEVER, "no count: it fires never");
	out(0x3e0, 11);
	out(0x320, 0x40);
	out_at(0x380, 100, 1000);
	is_u64(lapic_deadline(&l), 1100, "one shot: it fires when the count is over");
	lapic_tick(&l, 1099);
	is_u64(in(0x220), 0, "one shot: not before");
	lapic_tick(&l, 1100);
	is_u64(in(0x220), 1, "one shot: then");
	is_u64(lapic_read(&l, 0x390, 1200), 0, "one shot: the count stays 0");
	lapic_ack(&l);
	lapic_tick(&l, 90000);
	is_u64(in(0x220), 0, "one shot: once");
	is_u64(lapic_deadline(&l), LAPIC_NEVER, "one shot: never again");
	is_u64(in(0x380), 100, "one shot: the initial count can be read");
}

static void
served(void)
{
	lapic_ack(&l);
	out(0xb0, 0);
}

static void
test_periodic(void)
{
	start();
	out(0x3e0, 11);
	out(0x320, 0x20040);
	out_at(0x380, 100, 1000);
	lapic_tick(&l, 1100);
	is_u64(in(0x220), 1, "periodic: the first");
	is_u64(lapic_deadline(&l), LAPIC_NEVER, "while it waits there is nothing more to see");
	served();
	is_u64(lapic_deadline(&l), 1200, "the next");
	is_u64(lapic_read(&l, 0x390, 1130), 70, "it counts from the start again");
	lapic_tick(&l, 1950);
	is_u64(in(0x220), 1, "those that came meanwhile are one");
	served();
	is_u64(lapic_deadline(&l), 2000, "and it keeps its rhythm");
	out_at(0x3e0, 0, 1950);
	is_u64(lapic_read(&l, 0x390, 1950), 50, "the divisor changes: it counts on from there");
	is_u64(lapic_read(&l, 0x390, 1970), 40, "... at half the speed");
	is_u64(lapic_deadline(&l), 2050, "... to its end");
	out_at(0x3e0, 10, 1970);
	is_u64(lapic_read(&l, 0x390, 1970), 40, "128 times as slow, as if it had begun before 0");
	is_u64(lapic_read(&l, 0x390, 1970 + 30 * 128), 10, "... to the end of time, and on");
	is_u64(lapic_deadline(&l), 1970 + 40 * 128, "... to its end");
	lapic_tick(&l, 1970 + 40 * 128);
	is_u64(in(0x220), 1, "... which is one");
	served();
	out_at(0x380, 100, 1950);
	out_at(0x320, 0x30040, 2049);
	lapic_tick(&l, 3000);
	is_u64(in(0x220), 0, "masked: it counts, and says nothing");
	out_at(0x380, 0, 3000);
	out(0x320, 0x20040);
	lapic_tick(&l, 9000);
	is_u64(in(0x220), 0, "an initial count of 0 stops it");
	out_at(0x380, 1, 9000);
	lapic_tick(&l, UINT64_MAX);
	is_u64(in(0x220), 1, "584 years are one");
}

static void
test_entries(void)
{
	static const uint32_t kept[] = { 0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };

	start();
	for (unsigned i = 0; i < 6; i++) {
		out(0x320 + 0x10 * i, ~0u);
		is_u64(in(0x320 + 0x10 * i), kept[i], "11.5.1: what can be written of entry %u", i);
	}
	ok(!lapic_passes_8259(&l), "LINT0 is masked");
	out(0x350, 0x8700);
	ok(lapic_passes_8259(&l), "LINT0 is ExtINT");
	out(0x350, 0x8400);
	ok(!lapic_passes_8259(&l), "LINT0 is something else");
	out(0x350, 0x8700);
	out(0xf0, 0xff);
	ok(!lapic_passes_8259(&l), "11.4.7.2: disabled, all are masked");
	for (unsigned r = 0; r < 0x1000; r += 0x10) {
		in(r);
		out(r, 0x5a5a5a5a);
		out(r, ~0u);
	}
	is_u64(in(0x30), LAPIC_VERSION, "nothing is written that can't be");
}

int
main(void)
{
	test_reset();
	test_priorities();
	test_send();
	test_destination();
	test_timer();
	test_periodic();
	test_entries();
	return done_testing();
}
