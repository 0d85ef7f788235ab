/*
 * A guest that goes the same ways between its rings again and again, and then changes one of the
 * values that a way is made from: the gate, a descriptor, the TSS, the frame that iret takes. Each
 * time it prints what came of it, and that the old way is there again when the old value is.
 */
#include <stdbool.h>

#include <guest/lib/guest.h>

#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS   0x1b
#define USER_DS   0x23
#define EVENT     0x30
#define OTHER     0x31
#define DONE      0x40 /* and the one behind it */
#define UD        6
#define PF        14
#define IRQ       0x50
/* Of the ways alone, so that what is done to them harms no other handler. */
#define WAY_CS   0x38
#define WAY_DS   0x40
#define WAY_UCS  0x4b
#define WAY_UDS  0x53
#define WAY_CONF 0x58 /* conforming code */
#define FLAT     0x00cf00000000ffffull
#define DESC(a)  (FLAT | (uint64_t)(a) << 40)

#define GDT_SIZE (16 * sizeof(uint64_t))
#define RF       0x10000u /* of a fault: neither QEMU nor Zeno sets it (SDM 3A 6.12.1.3) */
#define RIGHTS   7u       /* P, W, U */

struct table {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

extern const uint32_t stubs[256];
extern struct taken {
	uint32_t flags, cs, ss, esp;
	uint32_t vector, error, eip, frame_cs, frame_flags, frame_esp, frame_ss, rest[5];
	uint32_t eax, ecx, cr2;
} taken;
extern const char code_int[], code_ud2[], user_stack[];
void run(uint32_t cs, uint32_t ss, const char *code);
void back(uint32_t cs, const uint32_t *frame);
void nested(const uint32_t *frame);
void load_tables(const struct table *gdtr, const struct table *idtr, uint32_t directory);
uint32_t take_down(void);

static uint32_t page_tables[2][1024] __attribute__((aligned(4096)));
static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint64_t own_page[512] __attribute__((aligned(4096))), idt[256];
static uint64_t *gdt = own_page;
static uint32_t tss[26];
static uint32_t stacks[2][1024] __attribute__((aligned(4096)));
static uint32_t cut_stack[2048] __attribute__((aligned(4096)));

/*
 * What is changed, and when: before the event, or while it is handled. A line that begins with ~ is
 * not compared: QEMU 7.2 has #NP where #SS is due (SDM 2A "IRET").
 */
enum what { GATE, GDT, TSS, FRAME_CS, FRAME_SS, FRAME_FLAGS, LIMIT };
static const struct change {
	const char *name;
	enum what what;
	uint32_t index, late;
	uint64_t value;
} changes[] = {
	{ "nothing", FRAME_FLAGS, 0, 1, 2 },
	{ "another handler", GATE, 0, 0, 0xee },
	{ "a trap gate", GATE, 1, 0, 0xef },
	{ "a gate of DPL 0", GATE, 1, 0, 0x8e },
	{ "an absent gate", GATE, 1, 0, 0x6e },
	{ "no gate", GATE, 1, 0, 0xe8 },
	{ "a gate to data", GATE, 2, 0, KERNEL_DS },
	{ "a gate to nothing", GATE, 2, 0, 0 },
	{ "a gate to other code", GATE, 2, 0, KERNEL_CS },
	{ "absent code", GDT, WAY_CS / 8, 0, DESC(0x1b) },
	{ "code of DPL 3", GDT, WAY_CS / 8, 0, DESC(0xfb) },
	{ "conforming code", GDT, WAY_CS / 8, 0, DESC(0x9f) },
	{ "data for code", GDT, WAY_CS / 8, 0, DESC(0x93) },
	{ "another stack", TSS, 1, 0, 0 },
	{ "another stack segment", TSS, 2, 0, KERNEL_DS },
	{ "a stack with a base", GDT, WAY_DS / 8, 0, DESC(0x93) | 16 << 16 },
	{ "a short GDT", LIMIT, 0, 1, (WAY_UDS & ~7u) - 1 },
	{ "absent code to go back to", GDT, WAY_UCS / 8, 1, DESC(0x7b) },
	{ "data to go back to", GDT, WAY_UCS / 8, 1, DESC(0xf3) },
	{ "ring 0 to go back to", GDT, WAY_UCS / 8, 1, DESC(0x9b) },
	{ "conforming code to go back to", GDT, WAY_UCS / 8, 1, DESC(0xff) },
	{ "code with a base to go back to", GDT, WAY_UCS / 8, 1, DESC(0xfb) | 16 << 16 },
	{ "~ an absent stack", GDT, WAY_UDS / 8, 1, DESC(0x73) },
	{ "absent code of the handler's own", GDT, WAY_CS / 8, 1, DESC(0x1b) },
	{ "a base for the handler's own code", GDT, WAY_CS / 8, 1, DESC(0x9b) | 16 << 16 },
	{ "a stack that is read only", GDT, WAY_UDS / 8, 1, DESC(0xf1) },
	{ "code for a stack", GDT, WAY_UDS / 8, 1, DESC(0xfb) },
	{ "a stack of ring 0", GDT, WAY_UDS / 8, 1, DESC(0x93) },
	{ "back to other code", FRAME_CS, 0, 1, USER_CS },
	{ "back to ring 0", FRAME_CS, 0, 1, KERNEL_CS },
	{ "back to nothing", FRAME_CS, 0, 1, 0 },
	{ "back to the LDT", FRAME_CS, 0, 1, WAY_UCS | 4 },
	{ "back to ring 1", FRAME_CS, 0, 1, WAY_UCS & ~2u },
	{ "back to ring 0's code in ring 1", FRAME_CS, 0, 1, KERNEL_CS | 1 },
	{ "back to conforming code", FRAME_CS, 0, 1, WAY_CONF | 3 },
	{ "back beyond the GDT", FRAME_CS, 0, 1, 0xfffb },
	{ "back with another stack", FRAME_SS, 0, 1, USER_DS },
	{ "back with no stack", FRAME_SS, 0, 1, 0 },
	{ "back with ring 0's stack", FRAME_SS, 0, 1, KERNEL_DS },
	{ "back with IOPL 3", FRAME_FLAGS, 0, 1, 0x3002 },
	{ "back with IF", FRAME_FLAGS, 0, 1, 0x202 },
	{ "back with TF", FRAME_FLAGS, 0, 1, 0x102 },
	{ "back with NT", FRAME_FLAGS, 0, 1, 0x4002 },
	{ "back with AC and ID", FRAME_FLAGS, 0, 1, 0x240002 },
	{ "back with DF and all results", FRAME_FLAGS, 0, 1, 0xcd7 },
};

static const struct change *current; /* NULL: as always */
static uint32_t vector;

static uint64_t
gate(uint32_t offset, uint32_t cs, uint32_t access)
{
	return (offset & 0xffff) | (uint64_t)cs << 16 | (uint64_t)access << 40 |
	       (uint64_t)(offset >> 16) << 48;
}

static void
load_gdt(uint32_t limit)
{
	const struct table gdtr = { (uint16_t)limit, (uint32_t)gdt };

	__asm__ volatile("lgdt %0" : : "m"(gdtr));
}

static void
as_always(void)
{
	idt[vector] = gate(stubs[vector], WAY_CS, 0xee);
	gdt[WAY_CS / 8] = DESC(0x9b);
	gdt[WAY_DS / 8] = DESC(0x93);
	gdt[WAY_UCS / 8] = DESC(0xfb);
	gdt[WAY_UDS / 8] = DESC(0xf3);
	tss[1] = (uint32_t)&stacks[0][1000];
	tss[2] = WAY_DS;
}

static void
change(void)
{
	const struct change *c = current;

	switch (c->what) {
	case GATE:
		idt[vector] = gate(stubs[c->index ? vector : OTHER],
				   c->index == 2 ? (uint32_t)c->value : WAY_CS,
				   c->index == 2 ? 0xee : (uint32_t)c->value);
		break;
	case GDT:
		gdt[c->index] = c->value;
		break;
	case TSS:
		tss[c->index] = c->index == 1 ? (uint32_t)&stacks[1][1000] : (uint32_t)c->value;
		break;
	case FRAME_CS:
		taken.frame_cs = (uint32_t)c->value;
		break;
	case FRAME_SS:
		taken.frame_ss = (uint32_t)c->value;
		break;
	case FRAME_FLAGS:
		taken.frame_flags = (uint32_t)c->value;
		break;
	case LIMIT:
		load_gdt((uint32_t)c->value);
	}
}

static void
tell(const char *what, uint32_t value)
{
	print(what);
	print_hex(value);
}

/*
 * An event has come: where, and with what on its stack. Gives whether its handler goes back; the
 * frame is taken's then.
 */
uint32_t
take_down(void)
{
	bool way = taken.vector == vector || taken.vector == OTHER;

	if (taken.vector == PF) {
		/*
		 * Not which word: QEMU reads them in turn (SDM 2A "IRET"), and Bochs the flags
		 * first.
		 */
		tell(" at page ", (taken.cr2 - (uint32_t)cut_stack) >> 12);
		tell(" with ", taken.eax);
		tell(" and ", taken.ecx);
	}
	if (taken.vector == IRQ)
		tell(" bytes run: ", taken.eip - (uint32_t)code_int);
	if (current) {
		tell(" ", taken.vector);
		tell("/", taken.error & ~1u); /* QEMU 7.2 never sets EXT (SDM 3A 6.13) */
		tell(" from ", taken.frame_cs);
		tell(" flags ", taken.frame_flags & ~RF);
		tell(" to ", taken.cs);
		tell(" flags ", taken.flags);
		if (taken.frame_cs & 3 && !(taken.cs & 3)) {
			tell(" stack ", taken.ss);
			tell(":", taken.esp & 0xfff);
			tell(" for ", taken.frame_ss);
			tell(":", taken.frame_esp);
		}
		put(';');
	}
	if (way && vector == UD)
		taken.eip += 2;
	if (way && current && current->late)
		change();
	return way;
}

/* Twice as always, which is what Zeno may remember; then with the change; then as always again. */
static void
go(const struct change *c, bool user, bool fault)
{
	const char *code = fault ? code_ud2 : code_int;
	uint32_t cs = user ? WAY_UCS : WAY_CS, ss = user ? WAY_UDS : WAY_DS;

	vector = fault ? UD : EVENT;
	as_always();
	for (unsigned i = 0; i < 4; i++) {
		current = i < 2 ? NULL : c;
		stacks[0][999] = stacks[0][1003] = stacks[1][999] = 0;
		if (i == 2) {
			print(c->name);
			print(fault ? ", ud2 in ring " : ", int in ring ");
			print(user ? "3:" : "0:");
			if (!c->late)
				change();
		}
		if (i == 3) {
			current = NULL;
			as_always();
			load_gdt(GDT_SIZE - 1);
		}
		run(cs, ss, code);
		if (i < 2)
			continue;
		print(taken.vector == DONE ? " done" : " no way back");
		tell(" stack ", stacks[0][999] ^ stacks[0][1003] << 8 ^ stacks[1][999] << 16);
	}
	put('\n');
}

/* The second page of the stack whose end it may be. */
static void
there(bool is)
{
	uint32_t page = (uint32_t)(cut_stack + 1024) >> 12;
	uint32_t *entry = &page_tables[page / 1024][page % 1024];

	*entry = is ? *entry | 1 : *entry & ~1u;
	__asm__ volatile("invlpg %0" : : "m"(cut_stack[1024]) : "memory");
}

/* iret by a frame of which only so many words are on a page that is there: five, or three. */
static void
cut(uint32_t cs, uint32_t words)
{
	uint32_t *frame = cut_stack + 1024 - words;

	vector = EVENT;
	as_always();
	there(true);
	frame[0] = (uint32_t)code_int;
	frame[1] = cs;
	frame[2] = 2;
	frame[3] = (uint32_t)user_stack;
	frame[4] = WAY_UDS;
	there(words == 5);
	current = changes;
	tell("iret to ", cs);
	tell(" by a frame of words: ", words);
	print(" in ring 0:");
	back(KERNEL_CS, frame);
	put('\n');
	tell("read first: ", taken.cr2 - (uint32_t)cut_stack);
	put('\n');
}

/* From the code segment to itself in ring 3. */
static void
conforming(void)
{
	const uint32_t frame[] = { (uint32_t)code_int, WAY_CONF | 3, 2, (uint32_t)user_stack,
				   WAY_UDS };

	print("iret from conforming code in ring 0:");
	back(WAY_CONF, frame);
	put('\n');
}

/* With NT set, which no exit has told of: there is no other task. */
static void
inside_task(void)
{
	uint32_t *frame = cut_stack + 512;

	frame[0] = (uint32_t)code_int;
	frame[1] = KERNEL_CS;
	frame[2] = 2;
	print("iret with NT set in ring 0:");
	nested(frame);
	put('\n');
}

/* An interrupt waits, and there is where it may come: before anything else there. */
static void
waiting(uint32_t cs)
{
	uint32_t *frame = cut_stack + 512;

	for (unsigned i = 0; i < 4; i++)
		outb(i ? 0x21 : 0x20, (const uint8_t[]){ 0x11, IRQ, 4, 1 }[i]);
	outb(0x21, 0xfe);
	outb(0x43, 0x30); /* the PIT's counter 0, once */
	outb(0x40, 0xff);
	outb(0x40, 0);
	outb(0x20, 0x0a); /* reads are of IRR */
	while (!(inb(0x20) & 1))
		;
	frame[0] = (uint32_t)code_int;
	frame[1] = cs;
	frame[2] = 0x202;
	frame[3] = (uint32_t)user_stack;
	frame[4] = WAY_UDS;
	tell("iret with an interrupt that waits, to ", cs);
	print(" in ring 0:");
	back(KERNEL_CS, frame);
	put('\n');
	outb(0x21, 0xff);
}

static void
tables(void)
{
	const struct table gdtr = { GDT_SIZE - 1, (uint32_t)gdt };
	const struct table idtr = { sizeof(idt) - 1, (uint32_t)idt };

	gdt[1] = DESC(0x9b);
	gdt[2] = DESC(0x93);
	gdt[3] = DESC(0xfb);
	gdt[4] = DESC(0xf3);
	gdt[WAY_CONF / 8] = DESC(0x9f);
	gdt[5] = 0x890000000067ull | (uint64_t)((uint32_t)tss & 0xffffff) << 16 |
		 (uint64_t)((uint32_t)tss >> 24) << 56;
	tss[25] = sizeof(tss) << 16;
	for (unsigned i = 0; i < 256; i++)
		idt[i] = gate(stubs[i], KERNEL_CS, (i & ~1u) == DONE ? 0xee : 0x8e);
	as_always();
	for (unsigned i = 0; i < 2048; i++)
		page_tables[i / 1024][i % 1024] = i << 12 | RIGHTS;
	for (unsigned i = 0; i < 2; i++)
		directory[i] = (uint32_t)page_tables[i] | RIGHTS;
	load_tables(&gdtr, &idtr, (uint32_t)directory);
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic;
	console_init();
	if (option(info, "gdt")) /* =beside: on the page of ring 0's stack */
		gdt = (uint64_t *)stacks[0];
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	vector = EVENT;
	tables();
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		for (unsigned n = 0; n < 4; n++)
			go(&changes[i], !(n & 1), n & 2);
	for (unsigned words = 0; words <= 5; words++)
		cut(WAY_UCS, words);
	for (unsigned words = 0; words <= 3; words++)
		cut(KERNEL_CS, words);
	conforming();
	inside_task();
	waiting(WAY_UCS);
	waiting(KERNEL_CS);
	print("that is all\n");
	return 0;
}
