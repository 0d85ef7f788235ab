/*
 * Seven nanobenchmarks, after Adams and Agesen ("A Comparison of Software and Hardware Techniques
 * for x86 Virtualization", 2006), and `cpuid`: what is dear to a hypervisor, one at a time, in a
 * kernel with paging and a ring 3.
 *
 * Under QEMU's -icount the time stamp counter counts instructions. Each operation is measured RUNS
 * times from guest code to guest code, less the measuring itself; a line gives minimum, median and
 * maximum.
 */
#include <guest/lib/samples.h>

#define RUNS  1000
#define CLOCK 0x20 /* the vector of its interrupt */
#define P     1u
#define W     2u
#define U     4u
#define PCD   0x10u
#define APIC  0xfee00000u
#define MMIO  0xfed00000u /* in the same page table */
#define FRESH 0x800000u   /* memory that nobody has touched */

struct idtr {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

void load_tables(const struct idtr *idtr);
void paging_on(const void *directory);
uint32_t measure(void (*run)(void), uint32_t eax);
void run_user(const void *code, uint32_t *samples);
void do_nothing(void), do_in(void), do_port(void), do_cpuid(void), do_cr3(void), do_call(void);
void do_fault(void), do_divide(void), do_write(void), do_touch(void);
void do_apic_read(void), do_apic_eoi(void);
void do_hypercall(void), do_pic(void), do_mmio(void), do_bell(void), do_first(void);
void sleep(uint32_t times);
void on_undefined(void), on_clock(void), on_divide(void), on_fault(void), on_syscall(void),
	on_done(void);
extern const char user_nothing[], user_nothing_end[], user_syscall[], user_syscall_end[];

#define PAGE __attribute__((aligned(4096)))
static uint32_t directory[1024] PAGE, low[1024] PAGE, high[1024] PAGE, fresh[1024] PAGE;
uint32_t table[1024] PAGE;   /* of the addresses from `window` on */
static char user[4096] PAGE; /* ring 3's code */
static uint32_t samples[1024] PAGE, pages[2][1024] PAGE;
static uint64_t idt[0x82];

/* Symbols for the operations: linear addresses, no memory of the image. */
__asm__(".globl window, absent; window = 0x40000000; absent = 0x40001000");
#define WINDOW 0x40000000u

static void
report(const char *name, uint32_t floor)
{
	print_samples(name, samples, RUNS, floor);
}

static uint32_t
kernel_floor(void)
{
	for (int i = 0; i < RUNS; i++)
		samples[i] = measure(do_nothing, 0);
	sort(samples, RUNS);
	return samples[0];
}

static void
nano(const char *name, void (*run)(void), uint32_t eax)
{
	uint32_t floor = kernel_floor();

	for (int i = 0; i < RUNS; i++)
		samples[i] = measure(run, eax);
	report(name, floor);
}

/* One page and the other, so that each write changes where `window` leads. */
static uint32_t
entry_for(int i)
{
	return (uint32_t)pages[i % 2] | W | P;
}

/* A page table that is written and not used in between is no page table for long, so it is used. */
static void
page_table(void)
{
	uint32_t floor = kernel_floor();

	for (int i = 0; i < RUNS; i++) {
		samples[i] = measure(do_write, entry_for(i));
		measure(do_touch, 0);
	}
	report("page-table write", floor);
	for (int i = 0; i < RUNS; i++) {
		measure(do_write, entry_for(i));
		samples[i] = measure(do_touch, 0);
	}
	report("invlpg and touch", floor);
}

static uint32_t
ring_3(const char *code, const char *end)
{
	memcpy(user, code, (size_t)(end - code));
	run_user(user, samples);
	sort(samples, RUNS);
	return samples[0];
}

static void
gate(uint32_t vector, void (*to)(void), uint64_t access)
{
	uint32_t handler = (uint32_t)to;

	idt[vector] =
		(handler & 0xffff) | 8ull << 16 | access << 40 | (uint64_t)(handler >> 16) << 48;
}

static void
kernel_init(void)
{
	const struct idtr idtr = { sizeof(idt) - 1, (uint32_t)idt };

	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	gate(0, on_divide, 0x8e);
	gate(6, on_undefined, 0x8e);
	gate(14, on_fault, 0x8e);
	gate(CLOCK, on_clock, 0x8e);
	gate(0x80, on_syscall, 0xee);
	gate(0x81, on_done, 0xee);
	load_tables(&idtr);
	for (uint32_t i = 0; i < 1024; i++)
		low[i] = i << 12 | W | P, fresh[i] = (FRESH + (i << 12)) | W | P;
	low[(uint32_t)user >> 12] |= U;
	low[(uint32_t)samples >> 12] |= U;
	directory[0] = (uint32_t)low | U | W | P;
	directory[WINDOW >> 22] = (uint32_t)table | W | P;
	table[0] = entry_for(0);
	directory[APIC >> 22] = (uint32_t)high | W | P;
	high[APIC >> 12 & 1023] = APIC | PCD | W | P;
	high[MMIO >> 12 & 1023] = MMIO | PCD | W | P;
	directory[FRESH >> 22] = (uint32_t)fresh | W | P;
	paging_on(directory);
}

/* The tables' entries have been used before, so that what is new is the memory alone. */
static void
first_touch(void)
{
	uint32_t floor = kernel_floor();

	for (uint32_t i = 0; i < RUNS; i++)
		samples[i] = measure(do_first, FRESH + (i << 12));
	report("first touch", floor);
}

/* The 8254's counter 0 at a kilohertz, and the line 0 of the master 8259 at CLOCK. */
static void
halts(uint32_t times)
{
	outb(0x20, 0x11);
	outb(0x21, CLOCK);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x21, 0xfe);
	outb(0x43, 0x34);
	outb(0x40, 0xa9);
	outb(0x40, 0x04);
	sleep(times);
	outb(0x21, 0xff);
	print("halts: ");
	print_number(times);
	put('\n');
}

/*
 * What `make bench PEERS=1` asks of a peer, too: "user" are devices of programs, "all" is "user"
 * and what others have.
 */
static void
peers(const uint32_t *info)
{
	const char *which = option(info, "peers"), *times = option(info, "halts");
	uint32_t n = 0;

	if (!option_is(which, "user")) {
		nano("cpuid", do_cpuid, 0);
		nano("vmmcall", do_hypercall, 0);
		nano("in, 8259", do_pic, 0);
		nano("APIC EOI", do_apic_eoi, 0);
		first_touch();
	}
	if (!option_is(which, "1")) {
		nano("port write, program", do_port, 0);
		nano("MMIO write, program", do_mmio, 0);
		nano("doorbell, program", do_bell, 0);
	}
	for (; times && *times >= '0' && *times <= '9'; times++)
		n = 10 * n + (uint32_t)(*times - '0');
	if (n)
		halts(n);
}

/* What the CPU says of itself, for a peer's to say the same: leaf, sub-leaf, EAX, EBX, ECX, EDX. */
static void
cpuid_leaf(uint32_t leaf, uint32_t sub)
{
	uint32_t word[6] = { leaf, sub };

	__asm__ volatile("cpuid"
			 : "=a"(word[2]), "=b"(word[3]), "=c"(word[4]), "=d"(word[5])
			 : "a"(leaf), "c"(sub));
	print("cpuid:");
	for (int i = 0; i < 6; i++) {
		put(' ');
		print_hex(word[i]);
	}
	put('\n');
}

/* All leaves, and of each some more sub-leaves than there are. */
static void
cpuid_leaves(void)
{
	static const uint32_t first[] = { 0, 0x80000000 };
	uint32_t last, b, c, d;

	for (int i = 0; i < 2; i++) {
		__asm__ volatile("cpuid" : "=a"(last), "=b"(b), "=c"(c), "=d"(d) : "a"(first[i]));
		for (uint32_t leaf = first[i]; leaf <= last; leaf++)
			for (uint32_t sub = 0;
			     sub < (leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd ? 4 : 1);
			     sub++)
				cpuid_leaf(leaf, sub);
	}
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	uint32_t floor;

	(void)magic;
	console_init();
	kernel_init();
	if (option(info, "peers")) {
		peers(info);
		return 0;
	}
	if (option(info, "cpuid")) {
		cpuid_leaves();
		return 0;
	}
	if (option(info, "port")) {
		nano("port write", do_port, 0);
		return 0;
	}
	if (option(info, "apic")) {
		nano("APIC read", do_apic_read, 0);
		nano("APIC EOI", do_apic_eoi, 0);
		return 0;
	}
	floor = ring_3(user_nothing, user_nothing_end);
	ring_3(user_syscall, user_syscall_end);
	report("system call", floor);
	nano("in", do_in, 0);
	nano("cpuid", do_cpuid, 0);
	nano("cr3 write", do_cr3, (uint32_t)directory);
	nano("call and ret", do_call, 0);
	nano("page fault", do_fault, 0);
	nano("divide error", do_divide, 1);
	page_table();
	return 0;
}
