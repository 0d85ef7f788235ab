/*
 * What an exit costs, in instructions: under QEMU's -icount the time stamp counter counts them. Each operation is
 * measured RUNS times from guest code to guest code; a line gives minimum, median and maximum.
 *
 * `int=1` on the command line adds a round trip through its own IDT; on the bare machine that is the floor of any world
 * switch.
 */
#include <guest/lib/guest.h>

#define RUNS 1000

struct operation {
	const char *name; /* NULL ends the table */
	void (*run)(void);
};
extern const struct operation operations[];

void load_tables(void *gdt, uint32_t gdt_limit, void *idt, uint32_t idt_limit);
/* The time stamp counter before and after one call of run(), less what the two reads themselves cost. */
uint32_t measure(void (*run)(void));
void interrupt_return(void);
void nothing(void);

/* A page of its own: what shares a page with a GDT is slow to write. */
uint64_t bench_gdt[512] __attribute__((aligned(4096)));
static uint64_t idt[0x41];
static uint32_t samples[RUNS];

static void
print_number(uint32_t n)
{
	char digits[10];
	int i = 0;

	do
		digits[i++] = (char)('0' + n % 10);
	while (n /= 10);
	while (i)
		put(digits[--i]);
}

static void
sort(uint32_t *a, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		uint32_t x = a[i], j = i;

		for (; j && a[j - 1] > x; j--)
			a[j] = a[j - 1];
		a[j] = x;
	}
}

static void
report(const struct operation *o, uint32_t floor)
{
	for (int i = 0; i < RUNS; i++)
		samples[i] = measure(o->run) - floor;
	sort(samples, RUNS);
	print(o->name);
	print(": ");
	print_number(samples[0]);
	put(' ');
	print_number(samples[RUNS / 2]);
	put(' ');
	print_number(samples[RUNS - 1]);
	put('\n');
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	uint32_t handler = (uint32_t)interrupt_return, floor = ~0u;

	(void)magic;
	console_init();
	bench_gdt[1] = 0x00cf9b000000ffffull;
	bench_gdt[2] = 0x00cf93000000ffffull;
	idt[0x40] =
		(handler & 0xffff) | 8ull << 16 | 0x8eull << 40 | (uint64_t)(handler >> 16) << 48;
	load_tables(bench_gdt, 23, idt, sizeof(idt) - 1);
	for (int i = 0; i < 10; i++) {
		uint32_t t = measure(nothing);

		floor = t < floor ? t : floor;
	}
	for (const struct operation *o = operations; o->name; o++)
		if (o[1].name || option_is(option(info, "int"), "1"))
			report(o, floor);
	return 0;
}
