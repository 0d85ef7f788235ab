/*
 * A guest with an IDT: exceptions with and without error codes, software interrupts, handlers that
 * fault, a ring 3 and the ways into and out of it, timer and UART interrupts (Lab 1B). It prints
 * each frame that it is given.
 *
 * RF of the pushed flags is not printed: the emulators differ in it (handouts/emulators.md).
 */
#include <guest/lib/guest.h>

#include "asm.h"

#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS   0x1b
#define USER_DS   0x23
#define TSS       0x28
#define ABSENT    0x30

static uint64_t gdt[512] __attribute__((aligned(4096)));
static uint64_t idt[256] __attribute__((aligned(4096)));
static uint32_t tss[26];
static uint32_t user_stack[256];
static uint8_t kernel_stack[4096] __attribute__((aligned(16)));
static volatile uint32_t ticks, characters;
static char typed[16];

static uint64_t
descriptor(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

static void
set_gate(unsigned vector, uint32_t access)
{
	uint32_t offset = stubs[vector];

	idt[vector] = (offset & 0xffff) | (uint64_t)KERNEL_CS << 16 | (uint64_t)access << 40 |
		      (uint64_t)(offset >> 16) << 48;
}

static void
show(const struct frame *f)
{
	print(" vector ");
	print_hex(f->vector);
	print(" error ");
	print_hex(f->error);
	print(" cs ");
	print_hex(f->cs);
	print(" flags ");
	print_hex(f->eflags & 0x7fd5);
	print((f->cs & 3) ? " from ring 3\n" : "\n");
}

static void
timer(void)
{
	ticks++;
	outb(0x20, 0x20);
}

static void
uart_interrupt(void)
{
	while (inb(0x3fd) & 1) {
		char c = (char)inb(0x3f8);

		if (characters < sizeof(typed) - 1)
			typed[characters] = c;
		characters++;
	}
	outb(0x20, 0x20);
}

/*
 * Called by the stubs. Faults go on after the instruction, whose length the place knows
 * (resume_at).
 */
void
handle(struct frame *f)
{
	static int depth;

	if (f->vector == 0x40) {
		timer();
		return;
	}
	if (f->vector == 0x44) {
		uart_interrupt();
		return;
	}
	show(f);
	if (f->vector == 0x31 && ++depth < 4) {
		raise_31(); /* a handler in a handler in a handler */
		depth--;
	}
	if (f->vector == 0x32)
		divide_by_zero(); /* a fault in a handler */
	if (f->vector == 0x80 && f->eax == 0xdead)
		leave_user(); /* never returns to ring 3 */
	if (resume_at) {
		f->eip = resume_at;
		resume_at = 0;
	}
}

static void
tables(void)
{
	for (unsigned i = 0; i < 256; i++)
		set_gate(i, 0x8e);
	set_gate(3, 0xee);
	set_gate(0x33, 0x8f); /* a trap gate: IF stays */
	set_gate(0x80, 0xee);
	set_gate(0x34, 0x0e); /* not present */
	idt[0x35] = gdt[1];   /* no gate at all */
	gdt[1] = descriptor(0, 0xfffff, 0x9b, 0xc);
	gdt[2] = descriptor(0, 0xfffff, 0x93, 0xc);
	gdt[3] = descriptor(0, 0xfffff, 0xfb, 0xc);
	gdt[4] = descriptor(0, 0xfffff, 0xf3, 0xc);
	gdt[5] = descriptor((uint32_t)tss, sizeof(tss) - 1, 0x89, 0);
	gdt[6] = descriptor(0, 0xfffff, 0x13, 0xc); /* not present */
	tss[1] = (uint32_t)(kernel_stack + sizeof(kernel_stack));
	tss[2] = KERNEL_DS;
	load_tables(gdt, 0x37, idt, sizeof(idt) - 1, TSS);
}

static void
exceptions(void)
{
	print("divide error:");
	divide_by_zero();
	print("undefined opcode:");
	undefined();
	print("breakpoint:");
	breakpoint();
	print("general protection, a selector beyond the table:");
	load_gs(0x1230);
	print("segment not present:");
	load_gs(ABSENT);
	print("int 30:");
	raise_30();
	print("int 33, a trap gate:");
	raise_33();
	print("int 34, a gate that is not present:");
	raise_34();
	print("int 35, no gate:");
	raise_35();
	print("nested:\n");
	raise_31();
	print("a fault in a handler:\n");
	raise_32();
	print("single step:");
	single_step();
}

static void
user_mode(void)
{
	print("ring 3, int 80:");
	enter_user(user_call, USER_CS, user_stack + 250, USER_DS);
	print("ring 3, cli:");
	enter_user(user_cli, USER_CS, user_stack + 250, USER_DS);
	print("ring 3, out:");
	enter_user(user_out, USER_CS, user_stack + 250, USER_DS);
	print("ring 3, int 30, whose gate is the kernel's:");
	enter_user(user_int30, USER_CS, user_stack + 250, USER_DS);
	print("ring 3, ring 0's data:");
	enter_user(user_load, USER_CS, user_stack + 250, USER_DS);
}

/* 8259s at 0x40 and 0x48, the 8254 at 1,000 Hz, the UART with received-data interrupts. */
static void
interrupts(int typing)
{
	static const uint8_t script[][2] = { { 0x20, 0x11 }, { 0x21, 0x40 }, { 0x21, 4 },
					     { 0x21, 1 },    { 0xa0, 0x11 }, { 0xa1, 0x48 },
					     { 0xa1, 2 },    { 0xa1, 1 },    { 0xa1, 0xff },
					     { 0x43, 0x34 }, { 0x40, 0xa9 }, { 0x40, 0x04 } };

	for (unsigned i = 0; i < sizeof(script) / 2; i++)
		outb(script[i][0], script[i][1]);
	outb(0x21, 0xfe);
	while (ticks < 20)
		wait_for_interrupt();
	print("twenty timer interrupts\n");
	outb(0x21, 0xff);
	if (!typing)
		return;
	outb(0x3fc, 0x0b);
	outb(0x3f9, 1);
	outb(0x21, 0xef);
	while (characters < 5)
		wait_for_interrupt();
	outb(0x3f9, 0);
	print("typed: ");
	print(typed);
	put('\n');
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic;
	console_init();
	tables();
	exceptions();
	user_mode();
	interrupts(option(info, "input") != NULL);
	return 0;
}
