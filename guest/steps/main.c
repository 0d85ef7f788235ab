/*
 * A guest that steps itself, sets breakpoints, and asks for what its CPU model promises. It prints
 * where each trap came, counted from the start of the sequence, and DR6; not RF, in which the
 * emulators differ (handouts/emulators.md).
 */
#include <guest/lib/guest.h>

#include "asm.h"

#define KERNEL_CS    0x08
#define KERNEL_DS    0x10
#define USER_CS      0x1b
#define USER_DS      0x23
#define TSS          0x28
#define LOG_MAX      64
#define LARGE_AT     0x40000000u
#define RING_WATCHED 0x100 /* of a sequence's ring: a breakpoint is on `watched` */
#define FLAG_RF      0x10000u
#define DR6_HITS     0xfu
#define DR6_SHOWN    0xe00fu /* B0 to B3, BD, BS, BT */

struct table_register {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

static struct {
	uint32_t vector, error, eip, dr6;
} log[LOG_MAX];
static unsigned logged;

volatile uint32_t resume_at;
uint32_t gdt[1024] __attribute__((aligned(4096)));
uint32_t idt[512] __attribute__((aligned(4096)));
struct table_register gdt_register = { 9 * 8 - 1, 0 }, idt_register = { sizeof(idt) - 1, 0 };
static uint32_t tss[26];
static uint32_t user_stack[256];
static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint8_t kernel_stack[4096] __attribute__((aligned(16)));

static void
set_descriptor(unsigned i, uint32_t base, uint32_t limit, uint32_t access, uint32_t flags)
{
	gdt[2 * i] = (limit & 0xffff) | base << 16;
	gdt[2 * i + 1] = (base >> 16 & 0xff) | access << 8 | (limit & 0xf0000) | flags << 20 |
			 (base & 0xff000000);
}

static void
tables(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t access = i == 0x80 || i == 0x40 ? 0xee00 : 0x8e00;

		idt[2 * i] = (stubs[i] & 0xffff) | KERNEL_CS << 16;
		idt[2 * i + 1] = access | (stubs[i] & 0xffff0000);
	}
	set_descriptor(1, 0, 0xfffff, 0x9b, 0xc);
	set_descriptor(2, 0, 0xfffff, 0x93, 0xc);
	set_descriptor(3, 0, 0xfffff, 0xfb, 0xc);
	set_descriptor(4, 0, 0xfffff, 0xf3, 0xc);
	set_descriptor(5, (uint32_t)tss, sizeof(tss) - 1, 0x89, 0);
	set_descriptor(6, 0, 0xfffff, 0x9f, 0xc);           /* conforming, readable */
	set_descriptor(8, (uint32_t)code16, 0x7f, 0x9b, 0); /* 128 bytes of 16-bit code */
	tss[1] = (uint32_t)(kernel_stack + sizeof(kernel_stack));
	tss[2] = KERNEL_DS;
	tss[25] = sizeof(tss) << 16; /* no I/O permission bit map */
	gdt_register.base = (uint32_t)gdt;
	idt_register.base = (uint32_t)idt;
	load_tables(&gdt_register, &idt_register, TSS);
}

/* Called by the stubs. */
void
handle(struct frame *f)
{
	uint32_t dr6 = 0;

	if (f->vector == 0x80)
		leave_user();
	if (f->vector == 1) {
		dr6 = read_dr6() & DR6_SHOWN;
		write_dr6(0);
		if (dr6 & DR6_HITS)
			f->eflags |= FLAG_RF; /* or a breakpoint on an instruction comes again */
	}
	if (logged < LOG_MAX) {
		log[logged].vector = f->vector;
		log[logged].error = f->error;
		log[logged].eip = f->eip;
		log[logged].dr6 = dr6;
	}
	logged++;
	if (resume_at && f->vector != 1) {
		f->eip = resume_at;
		resume_at = 0;
	}
}

static void
print_short(uint32_t value)
{
	for (int shift = value > 0xfff  ? 12
			 : value > 0xff ? 8
			 : value > 0xf  ? 4
					: 0;
	     shift >= 0; shift -= 4)
		put("0123456789abcdef"[value >> shift & 0xf]);
}

/* A trap is `vector(error)@place:dr6`. */
static void
show(const struct sequence *s)
{
	print(s->name);
	print(" = ");
	for (unsigned i = 0; i < logged && i < LOG_MAX; i++) {
		print_short(log[i].vector);
		if (log[i].error) {
			put('(');
			print_short(log[i].error);
			put(')');
		}
		put('@');
		print_short((log[i].eip - (uint32_t)s->code) & 0xffff);
		if (log[i].dr6) {
			put(':');
			print_short(log[i].dr6);
		}
		put(' ');
	}
	put('\n');
}

/* 4 MiB at `at`, in one page. */
static void
map_large(uint32_t at, uint32_t frame)
{
	directory[at >> 22] = frame | 0x83;
}

/* One invlpg ends all of a large page, not 4 KiB of it. */
static void
large_pages(void)
{
	volatile uint32_t *page = (uint32_t *)LARGE_AT, *low = (uint32_t *)0x2000;

	*low = 0x11111111;
	low[0x400000 / 4] = 0x22222222;
	map_large(0, 0);
	map_large(0x400000, 0x400000);
	map_large(LARGE_AT, 0);
	paging_on(directory);
	print("large pages =");
	for (unsigned i = 0; i < 2; i++) {
		print(page[0] + page[0x1000 / 4] + page[0x2000 / 4] ? " " : "  ");
		print_hex(page[0x2000 / 4]);
		map_large(LARGE_AT, 0x400000);
		invalidate(LARGE_AT);
	}
	print(" \n");
	paging_off();
}

/* Ports that nobody has, then a page fault without a gate: what are its last words? */
static void
die(void)
{
	for (unsigned i = 0; i < 3; i++)
		outb(0x1234, i);
	inb(0x99);
	map_large(0, 0);
	paging_on(directory);
	idt_register.limit = 0;
	load_tables(&gdt_register, &idt_register, 0);
	*(volatile uint32_t *)0xbeef0000 = 1;
}

static void
run(const struct sequence *s)
{
	logged = 0;
	resume_at = 0;
	write_dr6(0);
	if (s->ring & RING_WATCHED)
		watch(watched);
	if (s->ring & 3)
		enter_user(s->code, USER_CS, user_stack + 250, USER_DS, 2 | (s->ring & 0x30) << 8);
	else
		s->code();
	write_dr7(0);
	show(s);
}

static void
run_all(const struct sequence *s, const char *only)
{
	for (; s->name; s++)
		if (!only || option_is(only, s->name))
			run(s);
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	const char *only = option(info, "only");

	(void)magic;
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	console_init();
	tables();
	if (option(info, "die") && option_is(option(info, "die"), "detect"))
		write_dr7(0x2000); /* DR7.GD */
	else if (option(info, "die") && option_is(option(info, "die"), "port")) {
		write_dr7(0x00020001); /* kind 2 means nothing yet */
		set_de();
	} else if (option(info, "die"))
		die();
	run_all(sequences, only);
	run_all(break_sequences, only);
	if (!only)
		large_pages();
	return 0;
}
