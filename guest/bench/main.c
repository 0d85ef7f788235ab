/*
 * What an exit costs, in instructions: under QEMU's -icount the time stamp counter counts them.
 * Each operation is measured RUNS times from guest code to guest code; a line gives minimum, median
 * and maximum.
 *
 * `int=1` on the command line adds what goes through its own IDT, Lab 1B on te; on the bare machine
 * a round trip is the floor of any world switch. "out, interrupt" is an out to the UART that makes
 * it ask for an interrupt, up to the handler: less an out, that is an injected interrupt.
 */
#include <guest/lib/samples.h>

#define RUNS        1000
#define UART_VECTOR 0x24
#define PIC_UART    (1 << 4)
#define UART_MCR    0x3fc
#define MCR_OUT2    8 /* lets the UART's interrupt out of the chip */

struct operation {
	const char *name; /* NULL ends the table */
	void (*run)(void);
};
extern const struct operation operations[];

void load_tables(void *gdt, uint32_t gdt_limit, void *idt, uint32_t idt_limit);
/*
 * The time stamp counter before and after one call of run(), less what the two reads themselves
 * cost.
 */
uint32_t measure(void (*run)(void));
void interrupt_return(void);
void nothing(void);

/* What measures itself, the two reads included. */
uint32_t timed_nothing(void);
uint32_t timed_int(void);
uint32_t timed_iret(void);
uint32_t timed_irq(void);
void timed_int_handler(void);
void timed_irq_handler(void);

/* A page of its own: what shares a page with a GDT is slow to write. */
uint64_t bench_gdt[512] __attribute__((aligned(4096)));
static uint64_t idt[0x42];
static uint32_t samples[RUNS];

static void
report(const struct operation *o)
{
	uint32_t floor = ~0u;

	for (int i = 0; i < 10; i++) {
		uint32_t t = measure(nothing);

		floor = t < floor ? t : floor;
	}
	for (int i = 0; i < RUNS; i++)
		samples[i] = measure(o->run) - floor;
	print_samples(o->name, samples, RUNS, 0);
}

static void
report_timed(const char *name, uint32_t (*timed)(void))
{
	uint32_t floor = ~0u;

	for (int i = 0; i < 10; i++) {
		uint32_t t = timed_nothing();

		floor = t < floor ? t : floor;
	}
	for (int i = 0; i < RUNS; i++)
		samples[i] = timed() - floor;
	print_samples(name, samples, RUNS, 0);
}

static void
gate(uint32_t vector, void (*to)(void))
{
	uint32_t handler = (uint32_t)to;

	idt[vector] =
		(handler & 0xffff) | 8ull << 16 | 0x8eull << 40 | (uint64_t)(handler >> 16) << 48;
}

/* Interrupts go to vectors 0x20 and up, and only the UART's may come. */
static void
pic_init(void)
{
	outb(0x20, 0x11);
	outb(0x21, 0x20);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x21, (uint8_t)~PIC_UART);
	outb(0xa1, 0xff);
	outb(UART_MCR, 3 | MCR_OUT2);
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	int own_idt = option_is(option(info, "int"), "1");

	(void)magic;
	console_init();
	pic_init();
	bench_gdt[1] = 0x00cf9b000000ffffull;
	bench_gdt[2] = 0x00cf93000000ffffull;
	gate(0x40, interrupt_return);
	gate(0x41, timed_int_handler);
	gate(UART_VECTOR, timed_irq_handler);
	load_tables(bench_gdt, 23, idt, sizeof(idt) - 1);
	for (const struct operation *o = operations; o->name; o++)
		if (o[1].name || own_idt)
			report(o);
	if (own_idt) {
		report_timed("int", timed_int);
		report_timed("iret", timed_iret);
		report_timed("out, interrupt", timed_irq);
	}
	return 0;
}
