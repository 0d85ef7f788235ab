/*
 * The audit of Lab 1B, exercise 1.9: the eighteen instructions of the x86 that are sensitive but
 * not privileged (Robin and Irvine, "Analysis of the Intel Pentium's Ability to Support a Secure
 * Virtual Machine Monitor", 2000), each in ring 0 and in ring 3. A line says what one of them has
 * shown:
 *
 *     pushf.kernel: IF 0
 *
 * Values that differ from run to run or from machine to machine by nature are reduced to facts. The
 * same image runs on the bare machine and under te: where the two lines differ, virtualization has
 * a hole.
 */
#include <guest/lib/guest.h>

#include "asm.h"

#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS   0x1b
#define USER_DS   0x23
#define TSS       0x28
#define LDT       0x30
#define GATE      0x30
#define BACK      0x80
#define PROBE     0x81
#define NO_TRAP   0xffff

static uint64_t gdt[512] __attribute__((aligned(4096)));
static uint64_t idt[256] __attribute__((aligned(4096)));
static uint64_t ldt[512] __attribute__((aligned(4096))); /* a page of its own: te traces it */
static uint32_t tss[26];
static uint32_t user_stack[256];
static uint8_t kernel_stack[4096] __attribute__((aligned(16)));
static volatile uint32_t trapped, trap_error;

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
tables(void)
{
	for (unsigned i = 0; i < 256; i++)
		set_gate(i, 0x8e);
	set_gate(BACK, 0xee);
	set_gate(PROBE, 0xef);
	gdt[1] = descriptor(0, 0xfffff, 0x9b, 0xc);
	gdt[2] = descriptor(0, 0xfffff, 0x93, 0xc);
	gdt[3] = descriptor(0, 0xfffff, 0xfb, 0xc);
	gdt[4] = descriptor(0, 0xfffff, 0xf3, 0xc);
	gdt[5] = descriptor((uint32_t)tss, sizeof(tss) - 1, 0x89, 0);
	gdt[6] = descriptor((uint32_t)ldt, 31, 0x82, 0);
	tss[1] = (uint32_t)(kernel_stack + sizeof(kernel_stack));
	tss[2] = KERNEL_DS;
	load_tables(gdt, 0x37, idt, sizeof(idt) - 1, TSS, LDT);
}

/* Called by the stubs. */
void
handle(struct frame *f)
{
	if (f->vector == BACK)
		leave_user();
	if (f->vector == PROBE) {
		seen[0] = f->eflags & 0x3200;
		f->eflags &= ~0x200u;
		return;
	}
	if (f->vector == GATE) {
		seen[0] = f->cs;
		return;
	}
	trapped = f->vector;
	trap_error = f->error;
	f->eip = resume_at;
}

static void
field(const char *name, uint32_t value)
{
	print(name);
	put(' ');
	print_hex(value);
	put(' ');
}

static void
fact(const char *name, int holds)
{
	print(name);
	print(holds ? " yes " : " no ");
}

/* A table's register. */
static void
say_gdt(void)
{
	fact("my base", seen[1] == (uint32_t)gdt);
	fact("my limit", seen[0] == 0x37);
}

static void
say_idt(void)
{
	fact("my base", seen[1] == (uint32_t)idt);
	fact("my limit", seen[0] == sizeof(idt) - 1);
}

static void
say_ldt(void)
{
	fact("my selector", seen[0] == LDT);
}

static void
say_tr(void)
{
	fact("my selector", seen[0] == TSS);
}

static void
say_msw(void)
{
	field("PE MP EM TS ET NE", seen[0] & 0x3f);
}

static void
say_flags(void)
{
	field("IF", seen[0] >> 9 & 1);
	field("IOPL", seen[0] >> 12 & 3);
}

/*
 * Bits 19:16 of what LAR loads are undefined (SDM 2A "LAR"), and one emulator puts the limit's
 * there.
 */
static void
say_rights(void)
{
	static const char *const names[] = { "kernel code", "kernel data", "user data" };

	for (unsigned i = 0; i < 3; i++)
		if (seen[i] == ~0u)
			fact(names[i], 0);
		else
			field(names[i], seen[i] & 0xf0ff00);
}

static void
say_limits(void)
{
	field("kernel code", seen[0]);
	field("kernel data", seen[1]);
	field("user data", seen[2]);
}

static void
say_verified(void)
{
	field("kernel data with RPL 0, 1, 2, 3", seen[0]);
}

static void
say_done(void)
{
	fact("done", seen[0] == 1);
}

static void
say_selectors(void)
{
	field("CS", seen[0]);
	field("SS", seen[1]);
}

static void
say_pushed(void)
{
	field("pushed CS", seen[0]);
}

static void
say_cpu(void)
{
	field("signature", seen[0]);
	field("features", seen[1]);
	field("OSXSAVE", seen[2]);
}

static void
say_value(void)
{
	field("value", seen[0]);
}

static const struct row {
	const char *name;
	void (*run)(void);
	void (*say)(void);
} rows[] = {
	{ "sgdt", do_sgdt, say_gdt },
	{ "sidt", do_sidt, say_idt },
	{ "sldt", do_sldt, say_ldt },
	{ "smsw", do_smsw, say_msw },
	{ "pushf", do_pushf, say_flags },
	{ "popf", do_popf, say_flags },
	{ "lar", do_lar, say_rights },
	{ "lsl", do_lsl, say_limits },
	{ "verr", do_verr, say_verified },
	{ "verw", do_verw, say_verified },
	{ "pop", do_pop, say_done },
	{ "push", do_push, say_selectors },
	{ "call", do_call, say_pushed },
	{ "jmp", do_jmp, say_done },
	{ "int", do_int, say_pushed },
	{ "ret", do_ret, say_done },
	{ "str", do_str, say_tr },
	{ "mov", do_mov, say_selectors },
	/*
	 * Not among the eighteen: shown for comparison. That ring 3 is reached at all is by an
	 * outward iret.
	 */
	{ "cpuid", do_cpuid, say_cpu },
	{ "rdtsc", do_rdtsc, say_value },
	{ "xgetbv", do_xgetbv, say_value },
};

static void
audit(const struct row *r, int user)
{
	for (unsigned i = 0; i < 8; i++)
		seen[i] = 0;
	asked[0] = asked[1] = KERNEL_DS;
	asked[2] = USER_DS;
	asked[3] = user ? USER_CS : KERNEL_CS | 1;
	if (r->run == do_lar || r->run == do_lsl)
		asked[0] = KERNEL_CS;
	own_code = user ? USER_CS : KERNEL_CS;
	trapped = NO_TRAP;
	user_target = r->run;
	if (user)
		enter_user(user_run, USER_CS, user_stack + 250, USER_DS);
	else
		r->run();
	print(r->name);
	print(user ? ".user: " : ".kernel: ");
	if (trapped != NO_TRAP) {
		field("trap", trapped);
		field("error", trap_error);
	} else {
		r->say();
	}
	put('\n');
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic;
	(void)info;
	console_init();
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	tables();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		audit(&rows[i], 0);
		audit(&rows[i], 1);
	}
	return 0;
}
