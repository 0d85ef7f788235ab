/*
 * The first CPU: what the APICs of a PC do for it, then what it does with a second CPU. Nothing
 * that is printed depends on time.
 */
#include <guest/smp/smp.h>

#define PAGE   0x8000u
#define MASTER 0x20u
#define SLAVE  0xa0u
#define COM1   0x3f8u

volatile uint32_t task, done, alive;
volatile uint32_t came[CPUS][256];
uint32_t lock, sum, enough;

static const uint64_t gdt[]
	__attribute__((aligned(8))) = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
static uint64_t idt[256] __attribute__((aligned(8)));
static char order[64];
static uint32_t ordered;

void
say(const char *what, uint32_t value)
{
	print(what);
	print(" = ");
	print_hex(value);
	put('\n');
}

static void
note(char c)
{
	if (ordered < sizeof(order) - 1)
		order[ordered++] = c;
}

static void
say_order(const char *what)
{
	order[ordered] = 0;
	ordered = 0;
	print(what);
	print(": ");
	print(order);
	put('\n');
}

/* ---- what comes ---- */

/* The UART's line stays up: it comes again behind its EOI until the third time. */
static void
level_came(uint32_t times)
{
	IOAPIC[0] = 0x10 + 2 * 4;
	note((IOAPIC[4] & 0x4000) ? 'r' : '-');
	note(LAPIC[TMR + 4 * (PIN_LEVEL / 32)] >> PIN_LEVEL % 32 & 1 ? 't' : '-');
	if (times == 3)
		outb(COM1 + 1, 0);
}

/*
 * In the first one's handler the second one waits, up to the next iret (SDM 3A 6.7.1): that of a
 * fault which comes before it, here one that a hypervisor raises. Neither may be lost.
 */
static void
nmi_came(uint32_t times)
{
	if (times > 1)
		return;
	send(0, 0x4400);
	read_no_msr();
}

void
handle(struct frame *f)
{
	uint32_t who = me() & 1, times = ++came[who][f->vector];

	if (f->vector == 2 && who == 0)
		nmi_came(times);
	if (f->vector == 13 && f->eip == (uint32_t)no_msr) {
		f->eip += 2;
		return;
	}
	if (f->vector == 2 || f->vector == SPURIOUS)
		return;
	if (f->vector < 32 && f->vector != 2) {
		say("exception", f->vector);
		say("  at", f->eip);
		guest_exit(1);
	}
	if (f->vector == PIC_FIRST) {
		outb(MASTER, 0x20);
		return;
	}
	if (f->vector == PIN_LEVEL)
		level_came(times);
	if (f->vector == LOW_ONE)
		note('l');
	if (f->vector == HIGH_ONE)
		note('h');
	if (f->vector == TO_SECOND && who == 1)
		send(0, TO_FIRST);
	LAPIC[EOI] = 0;
	if (enough && !--enough)
		guest_exit(7);
}

static void
gates(void)
{
	for (uint32_t v = 0; v < 256; v++)
		idt[v] = (stubs[v] & 0xffff) | 8u << 16 | (uint64_t)0x8e00 << 32 |
			 (uint64_t)(stubs[v] & 0xffff0000) << 32;
	load_tables(gdt, sizeof(gdt) - 1, idt, sizeof(idt) - 1);
}

/* The second CPU has the same tables. */
void
second_tables(void)
{
	load_tables(gdt, sizeof(gdt) - 1, idt, sizeof(idt) - 1);
}

void
send(uint32_t to, uint32_t command)
{
	LAPIC[ICR_HIGH] = to << 24;
	LAPIC[ICR] = command;
}

/* ---- one CPU ---- */

static void
registers(void)
{
	say("cpuid says APIC", cpuid_word(1, 3) >> 9 & 1);
	say("its number", cpuid_word(1, 1) >> 24);
	say("APIC base", read_msr(0x1b));
	say("ID", LAPIC[ID]);
	say("version", LAPIC[VERSION]);
	say("SVR", LAPIC[SVR]);
	say("DFR", LAPIC[DFR]);
	say("TPR", LAPIC[TPR]);
	say("LINT0", LAPIC[LINT0]);
	say("LINT1", LAPIC[LINT1]);
	say("timer", LAPIC[TIMER]);
	LAPIC[TPR] = 0x12345678;
	say("TPR written", LAPIC[TPR]);
	say("PPR", LAPIC[PPR]);
	LAPIC[TPR] = 0;
	LAPIC[DIVIDE] = ~0u;
	say("divide written", LAPIC[DIVIDE]);
	LAPIC[LDR] = 0x01020304;
	say("LDR written", LAPIC[LDR]);
}

/* A kernel that knows no APIC: 8259s, and the first CPU's LINT0 lets them through. */
static void
virtual_wire(void)
{
	static const uint8_t setup[] = { 0x11, PIC_FIRST, 4, 1 },
			     slave[] = { 0x11, PIC_FIRST + 8, 2, 1 };

	for (uint32_t i = 0; i < 4; i++) {
		outb(MASTER + (i > 0), setup[i]);
		outb(SLAVE + (i > 0), slave[i]);
	}
	outb(SLAVE + 1, 0xff);
	outb(MASTER + 1, 0xfe);
	outb(0x43, 0x34);
	/* 100 Hz: on Bochs a tick of 1 kHz is 10,000 instructions, and so may be its handler. */
	outb(0x40, 0x9c);
	outb(0x40, 0x2e);
	for (uint32_t n = 1; n <= 3; n++)
		wait_until(&came[0][PIC_FIRST], n);
	outb(MASTER + 1, 0xff);
	let_in();
	say("by the 8259 came at least 3", came[0][PIC_FIRST] >= 3);
	LAPIC[LINT0] = MASKED;
}

static void
timer(void)
{
	uint32_t first, second;

	LAPIC[SVR] = 0x100 | SPURIOUS;
	LAPIC[DIVIDE] = 3; /* by 16 */
	LAPIC[TIMER] = MASKED;
	LAPIC[INITIAL] = 0xffffffff;
	first = LAPIC[CURRENT];
	second = LAPIC[CURRENT];
	say("it counts down", first >= second && first > 0xf0000000);
	LAPIC[INITIAL] = 0;
	say("and stops", LAPIC[CURRENT]);
	LAPIC[TIMER] = TIMER_TICK;
	LAPIC[INITIAL] = 50000;
	wait_until(&came[0][TIMER_TICK], 1);
	say("one shot: count", LAPIC[CURRENT]);
	say("one shot: initial", LAPIC[INITIAL]);
	LAPIC[TIMER] = TIMER_TICK | PERIODIC;
	LAPIC[INITIAL] = 60000;
	for (uint32_t n = 2; n <= 6; n++)
		wait_until(&came[0][TIMER_TICK], n);
	LAPIC[TIMER] = TIMER_TICK | PERIODIC | MASKED;
	let_in();
	say("ticks came", came[0][TIMER_TICK] >= 6);
	LAPIC[INITIAL] = 0;
}

/* A tick each millisecond comes on time, though the CPU never sleeps. */
static void
busy(void)
{
	uint32_t before = came[0][TIMER_TICK];
	uint64_t one, many;

	LAPIC[TIMER] = TIMER_TICK;
	LAPIC[INITIAL] = 62500;
	one = spin_until(&came[0][TIMER_TICK], before + 1);
	LAPIC[TIMER] = TIMER_TICK | PERIODIC;
	LAPIC[INITIAL] = 62500;
	many = spin_until(&came[0][TIMER_TICK], before + 31);
	LAPIC[INITIAL] = 0;
	LAPIC[TIMER] = MASKED;
	say("30 ticks are 30 times one", many >> 5 < one && one >> 4 < many);
}

/* What waits comes by its class, and none that TPR holds back. */
static void
priorities(void)
{
	LAPIC[TPR] = 0x50;
	send(0, LOW_ONE);
	send(0, HIGH_ONE);
	say("IRR", LAPIC[IRR + 4 * 2]);
	say("IRR above", LAPIC[IRR + 4 * 3]);
	let_in();
	say_order("with TPR 50 came");
	LAPIC[TPR] = 0;
	let_in();
	say_order("with TPR 0 came");
	send(0, LOW_ONE);
	LAPIC[ICR] = 0x40000 | HIGH_ONE; /* self */
	LAPIC[ICR] = 0x40000 | HIGH_ONE; /* as if once */
	let_in();
	say_order("by priority");
	say("IRR is empty", LAPIC[IRR + 4 * 2] | LAPIC[IRR + 4 * 3]);
}

static void
entry(uint32_t pin, uint32_t low)
{
	IOAPIC[0] = 0x11 + 2 * pin;
	IOAPIC[4] = 0; /* to the first CPU */
	IOAPIC[0] = 0x10 + 2 * pin;
	IOAPIC[4] = low;
}

static void
io_apic(void)
{
	IOAPIC[0] = 1;
	say("I/O APIC's version", IOAPIC[4] & 0xff00ff);
	IOAPIC[0] = 0x10 + 2 * 5;
	say("an entry at first", IOAPIC[4]);
	IOAPIC[4] = ~0u;
	say("an entry written", IOAPIC[4] & 0x1ffff); /* QEMU keeps reserved bits */
	entry(5, MASKED);
	entry(2, PIN_EDGE);
	for (uint32_t n = 1; n <= 3; n++)
		wait_until(&came[0][PIN_EDGE], n);
	entry(2, MASKED);
	let_in();
	say("by pin 2 came at least 3", came[0][PIN_EDGE] >= 3);
	entry(4, PIN_LEVEL | LEVEL);
	outb(COM1 + 4, 0xb); /* OUT2 */
	outb(COM1 + 1, 2);   /* the transmitter is empty: the line goes up, and nobody reads IIR */
	wait_until(&came[0][PIN_LEVEL], 3);
	let_in();
	say("by pin 4 came", came[0][PIN_LEVEL]);
	say_order("remote IRR, TMR");
	IOAPIC[0] = 0x10 + 2 * 4;
	say("entry behind it", IOAPIC[4]);
	entry(4, MASKED);
}

/* SDM 3A 11.5.3: ESR shows it behind a write. */
static void
errors(void)
{
	LAPIC[ESR] = 0;
	say("no error", LAPIC[ESR]);
}

/* ---- two ---- */

/* A millisecond, asleep: the other one has the machine. */
static void
delay(void)
{
	LAPIC[TIMER] = TIMER_TICK;
	LAPIC[INITIAL] = 62500;
	wait_until(&came[0][TIMER_TICK], came[0][TIMER_TICK] + 1);
}

/* The second one has done what it was told. */
static void
tell(uint32_t what)
{
	uint32_t before = done;

	task = what;
	while (done == before)
		__asm__ volatile("pause");
}

static void
nmis(void)
{
	send(0, 0x4400);
	delay();
	say("NMIs, one of them behind a fault", came[0][2]);
}

static void
start_second(uint32_t page)
{
	uint32_t before = alive;

	memcpy((void *)page, trampoline, (uint32_t)(trampoline_end - trampoline));
	fill_trampoline((void *)page, gdt, sizeof(gdt) - 1);
	send(1, 0x4500); /* INIT */
	delay();
	send(1, 0x4600 | page >> 12);
	while (alive == before)
		__asm__ volatile("pause");
}

/* It ends the machine, while the first one waits for it. */
void
second_dies(void)
{
	LAPIC[SVR] = 0x100 | SPURIOUS;
	LAPIC[DIVIDE] = 3;
	start_second(PAGE);
	tell(DIE);
}

static void
talk(void)
{
	task = LISTEN;
	for (uint32_t n = 1; n <= ROUNDS; n++) {
		send(1, TO_SECOND);
		wait_until(&came[0][TO_FIRST], n);
	}
	say("sent and answered", came[1][TO_SECOND] << 16 | came[0][TO_FIRST]);
	LAPIC[LDR] = 1u << 24;
	send(3, 0x800 | TO_BOTH); /* logical: both */
	wait_until(&came[0][TO_BOTH], 1);
	while (!came[1][TO_BOTH])
		__asm__ volatile("pause");
	send(2, 0x800 | TO_BOTH);
	while (came[1][TO_BOTH] < 2)
		__asm__ volatile("pause");
	LAPIC[ICR] = 0xc0000 | TO_BOTH; /* all but itself */
	while (came[1][TO_BOTH] < 3)
		__asm__ volatile("pause");
	LAPIC[ICR] = 0x80000 | TO_BOTH; /* all */
	wait_until(&came[0][TO_BOTH], 2);
	while (came[1][TO_BOTH] < 4)
		__asm__ volatile("pause");
	say("to both", came[1][TO_BOTH] << 16 | came[0][TO_BOTH]);
}

static void
two(void)
{
	start_second(PAGE);
	say("second's number", alive >> 16);
	say("second's CR0", first_cr0((void *)PAGE));
	send(1, 0x4600 | 1); /* a start-up IPI to one that runs is nothing */
	talk();
	task = ADD;
	add_locked(&lock, &sum, ADDED);
	while (!done)
		__asm__ volatile("pause");
	say("added under a lock", sum);
	tell(TICK);
	say("second's own ticks", came[1][TIMER_TICK] >= 3);
	task = SLEEP;
	while (!came[1][0]) /* it says so there, before its hlt */
		__asm__ volatile("pause");
	while (done < 3) {       /* one may come before its hlt */
		send(1, 0x4400); /* NMI */
		delay();
	}
	say("an NMI woke it", came[1][2] > 0);
	start_second(PAGE + 0x1000);
	say("started again", alive);
	send(1, 0x4500);
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic;
	console_init();
	gates();
	if (option(info, "attack"))
		hostile(option(info, "attack"));
	if (option(info, "deadlines")) {
		deadlines(option(info, "deadlines"));
		return 0;
	}
	registers();
	virtual_wire();
	timer();
	busy();
	priorities();
	io_apic();
	errors();
	nmis();
	if (!option_is(option(info, "cpus"), "1"))
		two();
	return 0;
}
