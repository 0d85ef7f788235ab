/*
 * Traps: the clock, page faults, and programs' mistakes. System calls go on to syscall.c.
 */
#include <guest/os/os.h>

#define PIC1     0x20
#define PIC2     0xa0
#define PIC_EOI  0x20
#define PIT      0x40
#define PIT_MODE 0x43
#define PIT_HZ   1193182

#define VEC_BP    3
#define VEC_PF    14
#define VEC_CLOCK IRQ_BASE

volatile uint32_t ticks;
unsigned int_depth = 1; /* how often interrupts have been turned off; 0: they are on */

static const char *const words[] = {
	[0] = "divide error", [1] = "debug exception",
	[3] = "breakpoint",   [4] = "overflow",
	[5] = "bound range",  [6] = "invalid opcode",
	[7] = "no FPU",       [11] = "absent segment",
	[12] = "stack fault", [13] = "general protection",
	[14] = "page fault",
};

void
int_off(void)
{
	cli();
	int_depth++;
}

void
int_on(void)
{
	if (!--int_depth)
		sti();
}

/* The two 8259s at vectors 0x20 and 0x28 with only the clock open; the 8254 as a rate generator. */
void
trap_init(uint32_t hz)
{
	const uint32_t count = PIT_HZ / hz;
	const uint32_t script[][2] = {
		{ PIC1, 0x11 },      { PIC1 + 1, IRQ_BASE }, { PIC1 + 1, 4 },
		{ PIC1 + 1, 1 },     { PIC2, 0x11 },         { PIC2 + 1, 0x28 },
		{ PIC2 + 1, 2 },     { PIC2 + 1, 1 },        { PIC1 + 1, 0xfe },
		{ PIC2 + 1, 0xff },  { PIT_MODE, 0x34 },     { PIT, count & 0xff },
		{ PIT, count >> 8 },
	};

	for (unsigned i = 0; i < sizeof(script) / sizeof(script[0]); i++)
		outb(script[i][0], script[i][1]);
}

uint32_t
clock_count(void)
{
	uint32_t low;

	outb(PIT_MODE, 0); /* latch counter 0 */
	low = inb(PIT);
	return low | inb(PIT) << 8;
}

static void
clock_tick(void)
{
	ticks++;
	resched = 1;
	sched_wake((const void *)&ticks);
	console_poll();
	outb(PIC1, PIC_EOI);
}

/*
 * The program is at fault, and ends. Nothing is printed that depends on compilers or on the size of
 * memory.
 */
static void
invalidate_current(const struct trapframe *f, const char *why)
{
	print(current->name);
	print(": killed: ");
	print(f->vector < sizeof(words) / sizeof(words[0]) && words[f->vector] ? words[f->vector]
									       : "exception");
	if (f->vector == VEC_PF && (why == stack_full || why == no_memory)) {
		print(", ");
		print(why);
	} else if (f->vector == VEC_PF) {
		print((f->error & ERR_W) ? ", write to " : ", read of ");
		print_hex(read_cr2());
		print(", ");
		print(why);
	}
	put('\n');
	proc_exit(-1);
}

/*
 * A fault of the kernel's own on a program's page is a copy to or from it (space_may has let it
 * pass), and is served like the program's. If memory has run out, the process ends here: the kernel
 * holds nothing across such a copy.
 */
static void
page_fault(struct trapframe *f)
{
	const char *why = NULL;
	uint32_t va = read_cr2();

	if (!current)
		panic("page fault without a process");
	if (!(f->cs & 3) && va >= KB)
		panic("page fault in the kernel");
	why = space_fault(&current->space, va, f->error);
	if (why)
		invalidate_current(f, why);
}

static void
dispatch(struct trapframe *f)
{
	if (f->vector == VEC_CLOCK)
		clock_tick();
	else if (f->vector == VEC_PF)
		page_fault(f);
	else if (f->vector >= IRQ_BASE)
		; /* IRQ 7 and 15 can come from nowhere, and want no EOI (8259A data sheet) */
	else if (f->cs & 3)
		invalidate_current(f, NULL);
	else
		panic("exception in the kernel");
}

/*
 * Called by the stubs (trap.asm). A gate of an interrupt or a fault has turned interrupts off: that
 * counts.
 */
void
trap(struct trapframe *f)
{
	if (f->vector == SYSCALL_INT) {
		syscall(f);
	} else {
		int_depth++;
		dispatch(f);
		int_depth--;
	}
	if (!(f->cs & 3))
		return;
	if (current->killed)
		proc_exit(-1);
	if (resched)
		sched_yield();
}
