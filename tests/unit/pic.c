/* BUILD: vmm/dev/pic.c */
/*
 * The pair of 8259As by the datasheet: 8259A = Intel 8259A, order no. 231468-003, December 1988.
 * The section is named at each group. Vectors are 0x20 and 0x28 as in most kernels.
 */
#include <string.h>

#include <vmm/dev/pic.h>

#include "tap.h"

#define M   PIC_MASTER
#define S   PIC_SLAVE
#define EOI 0x20

static struct pic p;

static void
out(uint16_t port, uint8_t value)
{
	pic_write(&p, port, value);
}

static uint8_t
in(uint16_t port)
{
	return pic_read(&p, port);
}

static void
raise_line(unsigned line)
{
	pic_set_irq(&p, line, false);
	pic_set_irq(&p, line, true);
}

static uint8_t
irr(uint16_t chip)
{
	out(chip, 0x0a);
	return in(chip);
}

static uint8_t
isr(uint16_t chip)
{
	out(chip, 0x0b);
	return in(chip);
}

/* The usual sequence; nothing masked. */
static void
start(uint8_t icw1, uint8_t icw4)
{
	pic_init(&p);
	out(M, icw1);
	out(M + 1, 0x20);
	out(M + 1, 0x04);
	out(M + 1, icw4);
	out(S, icw1);
	out(S + 1, 0x28);
	out(S + 1, 0x02);
	out(S + 1, icw4 & ~0x12); /* AEOI is for masters, and so is SFNM */
}

/* "Initialization Command Words (ICW1, ICW2)", "(ICW3)", "(ICW4)". */
static void
test_init(void)
{
	memset(&p, 0x5a, sizeof(p));
	pic_init(&p);
	is_u64(p.version, PIC_VERSION, "init: the state carries its version");
	is_u64(in(M + 1), 0xff, "init: the master is masked");
	is_u64(in(S + 1), 0xff, "init: the slave is masked");
	out(M + 1, 0xa5);
	is_u64(in(M + 1), 0xa5, "OCW1 is IMR");
	pic_set_irq(&p, 3, true);
	out(M, 0x11);
	is_u64(in(M + 1), 0, "ICW1 c: IMR is cleared");
	is_u64(in(M), 0, "ICW1 a: a line that is high is no request before it falls");
	out(M + 1, 0x47);
	out(M + 1, 0x04);
	out(M + 1, 0x01);
	out(M + 1, 0xf0);
	is_u64(in(M + 1), 0xf0, "ICW1-4: four writes, the next is OCW1");
	raise_line(1);
	is_u64(pic_ack(&p), 0x41, "ICW2: the lower three bits are the IR");
	out(M, 0x12);
	out(M + 1, 0x20);
	out(M + 1, 0x0f);
	is_u64(in(M + 1), 0x0f, "ICW1: with SNGL and without IC4 there is ICW2 only");
	out(M, 0x13);
	out(M + 1, 0x20);
	out(M + 1, 0x03);
	raise_line(1);
	pic_ack(&p);
	is_u64(isr(M), 0, "ICW4: AEOI after a sequence without ICW3");
	out(M, 0x12);
	out(M + 1, 0x20);
	raise_line(1);
	pic_ack(&p);
	is_u64(isr(M), 2, "ICW1 f: without IC4 the functions of ICW4 are off");
	out(M, 0x11);
	is_u64(in(M), 0, "ICW1 e: status read is IRR, and ISR is clear");
}

/* "Interrupt Sequence", "Fully Nested Mode", "Reading the 8259A Status". */
static void
test_nested(void)
{
	start(0x11, 1);
	ok(!pic_pending(&p), "nested: quiet");
	raise_line(5);
	raise_line(3);
	is_u64(irr(M), 0x28, "nested: IRR has both");
	ok(pic_pending(&p), "nested: INT");
	is_u64(pic_ack(&p), 0x23, "nested: IR3 comes first");
	is_u64(irr(M), 0x20, "nested: its IRR bit is reset");
	is_u64(isr(M), 0x08, "nested: its ISR bit is set");
	ok(!pic_pending(&p), "nested: IR5 waits");
	raise_line(3);
	ok(!pic_pending(&p), "nested: and so does IR3 itself");
	raise_line(1);
	is_u64(pic_ack(&p), 0x21, "nested: IR1 is more urgent");
	is_u64(isr(M), 0x0a, "nested: two in service");
	out(M, EOI);
	is_u64(isr(M), 0x08, "non-specific EOI: ends the most urgent");
	out(M, 0x60 | 3);
	is_u64(isr(M), 0, "specific EOI: ends the one named");
	is_u64(pic_ack(&p), 0x23, "nested: the second IR3");
	out(M, EOI);
	is_u64(pic_ack(&p), 0x25, "nested: at last IR5");
	out(M, 0x60 | 6);
	is_u64(isr(M), 0x20, "specific EOI: of one not in service does nothing");
	out(M, EOI);
	out(M, EOI);
	is_u64(isr(M), 0, "EOI: one too many does nothing");
	out(M + 1, 0x10);
	raise_line(4);
	ok(!pic_pending(&p), "mask: IR4 is held back");
	is_u64(irr(M), 0x10, "mask: IRR shows it all the same");
	out(M + 1, 0);
	is_u64(pic_ack(&p), 0x24, "mask: it comes when unmasked");
}

/* "Cascade Mode". */
static void
test_cascade(void)
{
	start(0x11, 1);
	raise_line(12);
	is_u64(irr(M), 0x04, "cascade: the slave's INT is the master's IR2");
	is_u64(pic_ack(&p), 0x2c, "cascade: the slave gives the vector");
	is_u64(isr(M), 0x04, "cascade: ISR of the master");
	is_u64(isr(S), 0x10, "cascade: ISR of the slave");
	raise_line(8);
	ok(!pic_pending(&p), "cascade: a more urgent one of the same slave waits in the master");
	raise_line(1);
	is_u64(pic_ack(&p), 0x21, "cascade: IR1 is more urgent than the slave");
	out(M, EOI);
	out(S, EOI);
	out(M, EOI);
	is_u64(isr(M) | isr(S), 0, "cascade: two EOIs");
	is_u64(pic_ack(&p), 0x28, "cascade: then IRQ 8");
	out(S, 0x60 | 0);
	out(M, 0x60 | 2);
	out(M + 1, 0x04);
	raise_line(15);
	ok(!pic_pending(&p), "cascade: masking IR2 masks the slave");
	out(M + 1, 0);
	raise_line(9);
	is_u64(pic_ack(&p), 0x29, "cascade: two waiting, the more urgent one");
	out(S, EOI);
	out(M, EOI);
	is_u64(pic_ack(&p), 0x2f, "cascade: and the other has an edge of its own");
	out(S, EOI);
	out(M, EOI);
	ok(!pic_pending(&p), "cascade: none is left");
}

/*
 * "Interrupt Sequence": no request at INTA "is responded with IR7"; "Edge and Level ...": default
 * IR7.
 */
static void
test_spurious(void)
{
	start(0x11, 1);
	raise_line(4);
	ok(pic_pending(&p), "spurious: a request");
	pic_set_irq(&p, 4, false);
	ok(!pic_pending(&p), "spurious: withdrawn when the line falls");
	is_u64(pic_ack(&p), 0x27, "spurious: acknowledged all the same, it is IR7");
	is_u64(isr(M), 0, "spurious: with no ISR bit, so that it is told from a true one");
	raise_line(7);
	is_u64(pic_ack(&p), 0x27, "spurious: a true IR7");
	is_u64(isr(M), 0x80, "spurious: has its bit");
	out(M, EOI);
	pic_set_irq(&p, 2, true);
	is_u64(pic_ack(&p), 0x2f, "spurious: noise at the cascade is IRQ 15");
	is_u64(isr(S), 0, "spurious: with no bit in the slave");
	is_u64(isr(M), 0x04, "spurious: but the master wants its EOI");
	out(M, EOI);
	pic_set_irq(&p, 2, false);
	raise_line(10);
	pic_set_irq(&p, 10, false);
	is_u64(pic_ack(&p), 0x27, "spurious: a slave's withdrawn request frees IR2 too");
}

/* "Automatic End of Interrupt (AEOI) Mode", "Automatic Rotation". */
static void
test_aeoi(void)
{
	start(0x11, 3);
	raise_line(3);
	is_u64(pic_ack(&p), 0x23, "AEOI: the vector");
	is_u64(isr(M), 0, "AEOI: nothing stays in service");
	out(M, 0x80);
	raise_line(3);
	pic_ack(&p);
	raise_line(3);
	raise_line(4);
	is_u64(pic_ack(&p), 0x24, "rotate in AEOI: the one served went to the end");
	is_u64(pic_ack(&p), 0x23, "rotate in AEOI: so that it comes last");
	out(M, 0x00);
	raise_line(5);
	is_u64(pic_ack(&p), 0x25, "rotate in AEOI, cleared");
	raise_line(5);
	raise_line(4);
	is_u64(pic_ack(&p), 0x24, "rotate in AEOI, cleared: the order stays");
}

/* "Automatic Rotation (Equal Priority Devices)", "Specific Rotation". */
static void
test_rotation(void)
{
	start(0x11, 1);
	raise_line(4);
	pic_ack(&p);
	raise_line(6);
	out(M, 0xa0);
	is_u64(isr(M), 0, "rotate on non-specific EOI: it is an EOI");
	raise_line(4);
	is_u64(pic_ack(&p), 0x26, "rotate on non-specific EOI: IR4 is the last now");
	raise_line(5);
	is_u64(pic_ack(&p), 0x25, "rotated: IR5 is the first, and nests into IR6");
	out(M, EOI);
	is_u64(isr(M), 0x40, "rotated: a non-specific EOI follows the order");
	out(M, EOI);
	out(M, 0xc0 | 7);
	raise_line(0);
	is_u64(pic_ack(&p), 0x20, "set priority: IR7 last, IR0 first");
	out(M, 0xe0 | 0);
	is_u64(isr(M), 0, "rotate on specific EOI: it is an EOI");
	raise_line(0);
	raise_line(7);
	is_u64(pic_ack(&p), 0x24, "rotate on specific EOI: IR4 is before IR7");
	out(M, EOI);
	is_u64(pic_ack(&p), 0x27, "rotate on specific EOI: and IR7 before IR0");
	out(M, 0x40 | 7);
	is_u64(isr(M), 0x80, "OCW2 010: no operation");
}

/* "Special Mask Mode". */
static void
test_special_mask(void)
{
	start(0x11, 1);
	raise_line(2 + 1);
	pic_ack(&p);
	raise_line(6);
	out(M + 1, 0x08);
	ok(!pic_pending(&p), "special mask: off, masking IR3 frees nothing");
	out(M, 0x68);
	ok(pic_pending(&p), "special mask: on, all levels that are not masked come");
	is_u64(pic_ack(&p), 0x26, "special mask: IR6 during IR3");
	raise_line(7);
	ok(!pic_pending(&p), "special mask: IR6 holds back what is below it");
	out(M, EOI);
	is_u64(isr(M), 0x08, "special mask: a non-specific EOI ends IR6");
	out(M, EOI);
	is_u64(isr(M), 0x08, "special mask: but not IR3, which is masked");
	out(M, 0x60 | 3);
	is_u64(isr(M), 0x00, "special mask: a specific EOI does");
	out(M, 0x08);
	raise_line(1);
	pic_ack(&p);
	out(M + 1, 0x02);
	ok(pic_pending(&p), "special mask: ESMM=0 changes nothing");
	out(M, 0x48);
	ok(!pic_pending(&p), "special mask: ESMM=1, SMM=0 ends it");
}

/* "Special Fully Nested Mode". */
static void
test_special_nested(void)
{
	start(0x11, 0x11);
	raise_line(12);
	is_u64(pic_ack(&p), 0x2c, "special fully nested: IRQ 12");
	raise_line(9);
	is_u64(pic_ack(&p), 0x29, "special fully nested: IRQ 9 of the same slave nests");
	is_u64(isr(S), 0x12, "special fully nested: both are in service");
	raise_line(14);
	ok(!pic_pending(&p), "special fully nested: a less urgent one waits");
	raise_line(3);
	ok(pic_pending(&p), "special fully nested: the master's IR3 isn't held back by IR2");
}

/* "Poll Command". */
static void
test_poll(void)
{
	start(0x11, 1);
	out(M, 0x0c);
	is_u64(in(M), 0, "poll: no request");
	raise_line(5);
	out(M, 0x0c);
	is_u64(in(M), 0x85, "poll: the request's level");
	is_u64(isr(M), 0x20, "poll: it is in service");
	is_u64(in(M), 0x20, "poll: lasts for one read");
	out(M, EOI);
	raise_line(14);
	out(M, 0x0c);
	is_u64(in(M), 0x82, "poll: a slave's request is IR2");
	out(S, 0x0c);
	is_u64(in(S), 0x86, "poll: the slave is polled itself");
	ok(!pic_pending(&p), "poll: no INT is left");
	out(M, EOI);
	out(S, EOI);
	is_u64(isr(M) | isr(S), 0, "poll: EOIs as always");
}

/* "Edge and Level Triggered Modes"; ELCR is the chipset's (82371AB 4.2.5.4 and 4.2.5.5). */
static void
test_level(void)
{
	start(0x11, 1);
	pic_set_irq(&p, 5, true);
	pic_ack(&p);
	out(M, EOI);
	ok(!pic_pending(&p), "edge: a line that stays high is one request");
	out(PIC_ELCR, 0xff);
	out(PIC_ELCR + 1, 0xff);
	is_u64(in(PIC_ELCR), 0xf8, "ELCR: IRQ 0-2 are edges");
	is_u64(in(PIC_ELCR + 1), 0xde, "ELCR: IRQ 8 and 13 are edges");
	is_u64(irr(M), 0x20, "level: the line that is high is a request");
	is_u64(pic_ack(&p), 0x25, "level: served");
	is_u64(irr(M), 0x20, "level: and still a request");
	out(M, EOI);
	is_u64(pic_ack(&p), 0x25, "level: again after EOI");
	pic_set_irq(&p, 5, false);
	out(M, EOI);
	ok(!pic_pending(&p), "level: until the line falls");
	pic_set_irq(&p, 11, true);
	is_u64(pic_ack(&p), 0x2b, "level: slave");
	out(S, EOI);
	out(M, EOI);
	is_u64(pic_ack(&p), 0x2b, "level: slave, again after the EOIs");
	start(0x19, 1);
	pic_set_irq(&p, 0, true);
	pic_ack(&p);
	out(M, EOI);
	is_u64(pic_ack(&p), 0x20, "LTIM: every line is level triggered");
}

static void
test_ports(void)
{
	start(0x11, 1);
	is_u64(in(0x22), 0xff, "a port that is not ours reads as ones");
	is_u64(in(0x4d2), 0xff, "so does the one after ELCR");
	out(0x22, 0x11);
	out(0x23, 0x55);
	is_u64(in(M + 1), 0, "and swallows writes");
}

/* Any writes: an acknowledge gives a byte, and none that is pending is spurious. */
static void
test_random(void)
{
	static const uint16_t port[6] = { M, M + 1, S, S + 1, PIC_ELCR, PIC_ELCR + 1 };
	uint64_t x = 7;
	bool bytes = true, causes = true;

	pic_init(&p);
	for (unsigned i = 0; i < 200000; i++) {
		uint8_t in_service;
		int vector;

		x = x * 6364136223846793005u + 1442695040888963407u;
		out(port[(x >> 40) % 6], x >> 32);
		pic_set_irq(&p, x >> 56 & 15, x >> 60 & 1);
		in(port[(x >> 44) % 6]);
		pic_set_irq(&p, 2, false);
		if (!pic_pending(&p))
			continue;
		in_service = p.chip[0].isr;
		vector = pic_ack(&p);
		bytes &= vector >= 0 && vector < 256;
		/* AEOI leaves nothing in service; SFNM serves IR2 while it is in service. */
		causes &= p.chip[0].isr != in_service || (p.chip[0].icw4 & 0x12);
	}
	ok(bytes, "random writes: a vector is a byte");
	ok(causes, "random writes: what is pending goes into service");
}

int
main(void)
{
	test_init();
	test_nested();
	test_cascade();
	test_spurious();
	test_aeoi();
	test_rotation();
	test_special_mask();
	test_special_nested();
	test_poll();
	test_level();
	test_ports();
	test_random();
	return done_testing();
}
