/*
 * A guest with page tables, as small as can be: an identity map, a page at a high address, one that
 * its handler maps when it is wanted, and a second address space (Lab 2). It prints what it sees.
 */
#include <guest/lib/guest.h>

#include "asm.h"

#define PAGE      4096u
#define PRESENT   0x1u
#define WRITABLE  0x2u
#define ENTRIES   1024u
#define HIGH      0xc0000000u
#define PIC1_MASK 0x21 /* Intel 8259A "Operation Command Word 1" */
#define PIC2_MASK 0xa1
#define TURNS     100

typedef uint32_t table[ENTRIES] __attribute__((aligned(PAGE)));

static table directory[2], low, high[2];
static uint8_t frames[4][PAGE] __attribute__((aligned(PAGE)));

static uint32_t
entry(const void *frame)
{
	return (uint32_t)(uintptr_t)frame | PRESENT | WRITABLE;
}

static void
say(const char *what, uint32_t value)
{
	print(what);
	print_hex(value);
	put('\n');
}

static volatile uint32_t *
at(uint32_t address)
{
	return (volatile uint32_t *)(uintptr_t)address;
}

void page_fault(uint32_t address, uint32_t error);

/* Maps what was missing; then the instruction runs again. */
void
page_fault(uint32_t address, uint32_t error)
{
	print("page fault at ");
	print_hex(address);
	say(", error ", error);
	high[0][address / PAGE % ENTRIES] = entry(frames[1]);
}

static void
make_tables(void)
{
	for (uint32_t i = 0; i < ENTRIES; i++)
		low[i] = i * PAGE | PRESENT | WRITABLE;
	for (uint32_t i = 0; i < 2; i++) {
		directory[i][0] = entry(low);
		directory[i][HIGH / PAGE / ENTRIES] = entry(high[i]);
		high[i][0] = entry(frames[2 * i]);
	}
	*at((uint32_t)(uintptr_t)frames[0]) = 0x600d600d;
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic, (void)info;
	console_init();
	outb(PIC1_MASK, 0xff); /* the BIOS left the timer running */
	outb(PIC2_MASK, 0xff);
	load_tables();
	make_tables();
	print("a guest with page tables\n");
	paging_on((uint32_t)(uintptr_t)directory[0]);
	print("paging is on\n");
	say("c0000000 holds ", *at(HIGH));
	*at(HIGH + PAGE) = 0x11111111;
	say("c0001000 holds ", *at(HIGH + PAGE));
	say("the flags of its entry are ", high[0][1] % PAGE);
	*at((uint32_t)(uintptr_t)frames[3]) = 0x33333333;
	high[0][1] = entry(frames[3]);
	flush_page(HIGH + PAGE);
	say("on another frame it holds ", *at(HIGH + PAGE));
	for (uint32_t i = 0; i < TURNS; i++) {
		load_cr3((uint32_t)(uintptr_t)directory[i % 2]);
		*at(HIGH) += 1;
	}
	say("c0000000 of the other space holds ", *at(HIGH));
	return 0;
}
