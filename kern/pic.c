/*
 * The host's two 8259 interrupt controllers, and the one way in for interrupts.
 *
 * 8259A = Intel 8259A data sheet, order no. 231468-003.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/trap.h>

/* The master's and the slave's command port; data is the next one. */
#define MASTER          0x20
#define SLAVE           0xa0
#define ICW1_INIT       0x11 /* edge, cascade, ICW4 follows */
#define ICW4_8086       0x01
#define CASCADE_LINE    2
#define OCW2_EOI        0x20 /* non-specific */
#define OCW3_READ_ISR   0x0b
#define ELCR            0x4d0 /* and the next: a bit for each line that is one by level */
#define SPURIOUS_IN_ONE 7 /* a line that goes away before INTA arrives as IR7: 8259A, "IR0-IR7" */

static struct {
	void (*handler)(void *);
	void *arg;
	uint64_t count;
} lines[IRQ_COUNT];

static uint16_t masked = 0xffff;
static uint64_t spurious;

static void
write_masks(void)
{
	outb(MASTER + 1, (uint8_t)masked);
	outb(SLAVE + 1, (uint8_t)(masked >> 8));
}

/* 8259A, "Programming the 8259A", ICW1-ICW4 in order. Everything is masked until it is claimed. */
void
host_pic_init(void)
{
	outb(MASTER, ICW1_INIT);
	outb(SLAVE, ICW1_INIT);
	outb(MASTER + 1, IRQ_BASE);
	outb(SLAVE + 1, IRQ_BASE + 8);
	outb(MASTER + 1, 1 << CASCADE_LINE);
	outb(SLAVE + 1, CASCADE_LINE);
	outb(MASTER + 1, ICW4_8086);
	outb(SLAVE + 1, ICW4_8086);
	masked &= (uint16_t) ~(1 << CASCADE_LINE);
	write_masks();
}

void
irq_register(unsigned line, void (*handler)(void *), void *arg)
{
	ASSERT(line < IRQ_COUNT && !lines[line].handler);
	lines[line].handler = handler;
	lines[line].arg = arg;
	masked &= (uint16_t) ~(1 << line);
	write_masks();
}

void
irq_open(unsigned line, bool open)
{
	ASSERT(line < IRQ_COUNT && line != CASCADE_LINE);
	masked = (uint16_t)(open ? masked & ~(1u << line) : masked | 1u << line);
	write_masks();
}

void
irq_by_level(unsigned line, bool level)
{
	uint16_t at = (uint16_t)(ELCR + line / 8);
	uint8_t bit = (uint8_t)(1u << line % 8), old = inb(at);

	outb(at, level ? old | bit : old & (uint8_t)~bit);
}

/* IR7 of either chip without its in-service bit: nobody asked, and no EOI may be sent for it. */
static bool
is_spurious(unsigned line)
{
	uint16_t chip = line < 8 ? MASTER : SLAVE;

	if ((line & 7) != SPURIOUS_IN_ONE)
		return false;
	outb(chip, OCW3_READ_ISR);
	return !(inb(chip) & 1 << SPURIOUS_IN_ONE);
}

void
irq(unsigned vector)
{
	unsigned line = vector - IRQ_BASE;

	ASSERT(vector >= IRQ_BASE && line < IRQ_COUNT);
	if (is_spurious(line)) {
		spurious++;
		if (line >= 8) /* the master did see its cascade line go up */
			outb(MASTER, OCW2_EOI);
		return;
	}
	if (line >= 8)
		outb(SLAVE, OCW2_EOI);
	outb(MASTER, OCW2_EOI);
	lines[line].count++;
	if (lines[line].handler)
		lines[line].handler(lines[line].arg);
}

static int
command_irqs(int argc, char **argv)
{
	for (unsigned line = 0; line < IRQ_COUNT; line++)
		if (lines[line].handler || lines[line].count)
			printf("  IRQ %-2u %9lu times%s\n", line, lines[line].count,
			       lines[line].handler ? "" : ", but nobody asked for it");
	printf("  spurious %6lu times\n", spurious);
	return 0;
}
MONITOR_COMMAND(command_irqs, "irqs", "", "how often each interrupt has come");
