/*
 * A guest that brings up a protected-mode kernel's state: its own GDT with selectors of its own
 * choice, segments with bases, CR0 and CR4, cli and sti (Lab 1A, exercises 1.4 and 1.5). It prints
 * what it sees of them.
 */
#include <guest/lib/guest.h>

#include "asm.h"

#define CODE     0x18
#define DATA     0x28
#define FAR_DATA 0x30 /* base 0x200000, 64 KiB */

#define PIC1_MASK 0x21 /* Intel 8259A "Operation Command Word 1" */
#define PIC2_MASK 0xa1

static uint64_t gdt[7];

static uint64_t
descriptor(uint32_t base, uint32_t limit_pages, uint8_t access)
{
	uint64_t d = limit_pages & 0xffff;

	d |= (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40;
	d |= (uint64_t)(0xc0 | (limit_pages >> 16 & 0xf)) << 48; /* G=1, D/B=1 */
	return d | (uint64_t)(base >> 24) << 56;
}

static void
say(const char *what, uint32_t value)
{
	print(what);
	print(" = ");
	print_hex(value);
	put('\n');
}

static void
control_registers(void)
{
	say("cr0", read_cr0());
	write_cr0(read_cr0() | 8);
	say("cr0 with TS", read_cr0());
	clear_ts();
	say("cr0 after clts", read_cr0());
	write_cr2(0xdeadb000);
	write_cr3(0x00345000);
	say("cr2", read_cr2());
	say("cr3", read_cr3());
	write_cr4(0x10);
	say("cr4", read_cr4());
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic, (void)info;
	console_init();
	print("a guest with tables of its own\n");
	interrupts_off();
	outb(PIC1_MASK, 0xff); /* it has no IDT, and the BIOS left the timer running */
	outb(PIC2_MASK, 0xff);
	gdt[CODE / 8] = descriptor(0, 0xfffff, 0x9b);
	gdt[DATA / 8] = descriptor(0, 0xfffff, 0x93);
	gdt[FAR_DATA / 8] = descriptor(0x200000, 0xf, 0x93);
	load_gdt(gdt, sizeof(gdt) - 1, CODE, DATA);
	print("its own gdt, cs and ss\n");

	*(volatile uint32_t *)0x200010 = 0xcafe0001;
	say("es:10 with base 200000", read_through_es(FAR_DATA, 0x10));
	gdt[FAR_DATA / 8] =
		descriptor(0x200010, 0xf, 0x93); /* the register keeps the old base ... */
	say("es:10 after an edit", read_es(0x10));
	say("es:0 loaded again", read_through_es(FAR_DATA, 0)); /* ... until it is loaded again */
	control_registers();
	interrupts_on();
	interrupts_off();
	print("interrupts on and off again\n");
	return 0;
}
