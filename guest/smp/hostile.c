/*
 * What nobody should do to an APIC. Each attack ends the machine with code 7, or has the hypervisor
 * end it with a line; the others must not notice.
 */
#include <guest/smp/smp.h>

#define AT(offset) ((volatile uint8_t *)LAPIC + (offset))

/* Narrow, wide and crossing accesses to registers, at any alignment. None is defined. */
static void
widths(void)
{
	for (uint32_t base = 0xfec00000; base <= 0xfee00000; base += 0x200000)
		for (uint32_t offset = 0; offset < 0x420; offset += 3) {
			volatile uint8_t *at = (volatile uint8_t *)(base + offset);

			(void)*at;
			(void)*(volatile uint16_t *)at;
			(void)*(volatile uint32_t *)at;
			if (offset / 16 == 0x30 ||
			    offset / 16 == 0x2f) /* ICR, and what crosses into it */
				continue;
			*at = 0x5a;
			*(volatile uint16_t *)at = 0x5a5a;
			*(volatile uint32_t *)at = 0xa5a5a5a5;
		}
	(void)*(volatile uint32_t *)AT(-2);
	(void)*(volatile uint32_t *)AT(0xffe);
	*(volatile uint32_t *)AT(-2) = 1;
	*(volatile uint32_t *)AT(0xffe) = 1;
}

/* Vectors below 16, by each way. */
static void
vectors(void)
{
	LAPIC[SVR] = 0x100 | SPURIOUS;
	for (uint32_t v = 0; v < 16; v++) {
		LAPIC[ICR] = 0x40000 | v;
		LAPIC[TIMER] = v;
		LAPIC[INITIAL] = 1;
		let_in();
	}
	LAPIC[ERROR] = 5;
	LAPIC[ICR] = 0x40001;
	let_in();
}

/* Every delivery mode to every kind of destination, but INIT, which is an attack of its own. */
static void
messages(void)
{
	LAPIC[SVR] = 0x100 | SPURIOUS;
	for (uint32_t i = 0; i < 0x1000; i++) {
		uint32_t mode = i >> 4 & 7;

		if (mode == 5 || mode == 4)
			continue;
		LAPIC[ICR_HIGH] = i << 28;
		LAPIC[ICR] = TO_BOTH | mode << 8 | (i >> 7 & 1) << 11 | (i >> 8 & 3) << 14 |
			     (i >> 10) << 18;
		let_in();
	}
}

/* A line that nobody lowers, and an interrupt that nobody ends. */
static void
level(void)
{
	LAPIC[SVR] = 0x100 | SPURIOUS;
	IOAPIC[0] = 0x11 + 2 * 4;
	IOAPIC[4] = 0;
	IOAPIC[0] = 0x10 + 2 * 4;
	IOAPIC[4] = TO_BOTH | LEVEL;
	outb(0x3fc, 0xb);
	outb(0x3f9, 2);
	enough = 1000; /* none of the code below runs any more */
	spin_until(&came[0][TO_BOTH], ~0u);
}

/* Each handler's EOI lets in the next of what its own handler has sent; a timer of a nanosecond. */
static void
storm(uint32_t count)
{
	enough = count;
	LAPIC[SVR] = 0x100 | SPURIOUS;
	LAPIC[DIVIDE] = 11;
	LAPIC[TIMER] = TIMER_TICK | PERIODIC;
	LAPIC[INITIAL] = 1;
	for (;;) {
		LAPIC[ICR] = 0x40000 | TO_BOTH;
		LAPIC[ICR] = 0x80000 | HIGH_ONE;
		let_in();
	}
}

/* A start-up IPI to each CPU, itself among them, though all run; to those that are not there. */
static void
start_ups(void)
{
	LAPIC[ICR] = 0x80000 | 0x4608;
	for (uint32_t to = 0; to < 256; to++)
		send(to, 0x4608);
}

void
hostile(const char *attack)
{
	if (option_is(attack, "widths"))
		widths();
	else if (option_is(attack, "vectors"))
		vectors();
	else if (option_is(attack, "messages"))
		messages();
	else if (option_is(attack, "level"))
		level();
	else if (option_is(attack, "storm"))
		storm(1000);
	else if (option_is(attack, "forever"))
		storm(0);
	else if (option_is(attack, "start-ups"))
		start_ups();
	else if (option_is(attack, "init-self"))
		LAPIC[ICR] = 0x84500; /* INIT to all: the first CPU, too */
	else if (option_is(attack, "base"))
		write_msr(0x1b, 0xfed00900, 0);
	else if (option_is(attack, "second"))
		second_dies();
	guest_exit(7);
}
