/*
 * Vectors and error codes in words, and the end of a host that has met a trap of its own.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023; APM = AMD APM 24593 rev 3.40.
 */
#include <kern/cpu.h>
#include <kern/kern.h>
#include <kern/paging.h>
#include <kern/traps.h>

/* SDM 3A table 6-1; 28 to 30 are AMD's: APM 2 table 8-1. */
static const char *const exceptions[32] = {
	[0] = "#DE divide error",
	[1] = "#DB debug",
	[2] = "NMI",
	[3] = "#BP breakpoint",
	[4] = "#OF overflow",
	[5] = "#BR bound range",
	[6] = "#UD invalid opcode",
	[7] = "#NM no FPU",
	[8] = "#DF double fault",
	[10] = "#TS invalid TSS",
	[11] = "#NP segment not present",
	[12] = "#SS stack segment",
	[13] = "#GP general protection",
	[14] = "#PF page fault",
	[16] = "#MF x87 error",
	[17] = "#AC alignment check",
	[18] = "#MC machine check",
	[19] = "#XM SIMD error",
	[20] = "#VE virtualization",
	[21] = "#CP control protection",
	[28] = "#HV hypervisor injection",
	[29] = "#VC VMM communication",
	[30] = "#SX security",
};

static const char *const irqs[IRQ_COUNT] = {
	"IRQ 0", "IRQ 1", "IRQ 2",  "IRQ 3",  "IRQ 4",  "IRQ 5",  "IRQ 6",  "IRQ 7",
	"IRQ 8", "IRQ 9", "IRQ 10", "IRQ 11", "IRQ 12", "IRQ 13", "IRQ 14", "IRQ 15",
};

const char *
vector_name(unsigned vector)
{
	if (vector < ARRAY_LEN(exceptions))
		return exceptions[vector] ? exceptions[vector] : "a reserved exception";
	if (vector - IRQ_BASE < IRQ_COUNT)
		return irqs[vector - IRQ_BASE];
	return "a vector that nothing uses";
}

/* SDM 3A 6.13, figure 6-7 */
static void
selector_words(uint64_t error, char *buf, size_t size)
{
	const char *table = error & 2 ? "IDT" : error & 4 ? "LDT" : "GDT";

	snprintf(buf, size, "%s entry 0x%lx%s", table, error >> 3 & 0x1fff,
		 error & 1 ? ", during an event from outside" : "");
}

/* SDM 3A 4.7, figure 4-12 */
static void
page_fault_words(uint64_t error, char *buf, size_t size)
{
	snprintf(buf, size, "%s by %s: %s%s",
		 error & PF_I   ? "fetch"
		 : error & PF_W ? "write"
				: "read",
		 error & PF_U ? "ring 3" : "a supervisor",
		 error & PF_P ? "not allowed there" : "no page there",
		 error & PF_RSVD ? ", a reserved bit is set in a table" : "");
}

void
error_code_words(unsigned vector, uint64_t error, char *buf, size_t size)
{
	*buf = '\0';
	if (vector == VEC_PF)
		page_fault_words(error, buf, size);
	else if (vector >= VEC_TS && vector <= VEC_GP && error)
		selector_words(error, buf, size);
}

static const char *
ring0_flags(uint64_t rflags, char *buf)
{
	static const struct {
		unsigned bit;
		char name[3];
	} flags[] = { { 0, "CF" },  { 2, "PF" },  { 4, "AF" },  { 6, "ZF" },  { 7, "SF" },
		      { 8, "TF" },  { 9, "IF" },  { 10, "DF" }, { 11, "OF" }, { 14, "NT" },
		      { 16, "RF" }, { 17, "VM" }, { 18, "AC" } };
	char *p = buf;

	for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
		if (rflags >> flags[i].bit & 1) {
			*p++ = ' ';
			*p++ = flags[i].name[0];
			*p++ = flags[i].name[1];
		}
	*p = '\0';
	return buf;
}

static void
print_frame(const struct trap_frame *f)
{
	char flags[64], words[96];

	error_code_words((unsigned)f->vector, f->error, words, sizeof(words));
	printf("\ntrap %lu, %s, error code %lx%s%s\n", f->vector, vector_name((unsigned)f->vector),
	       f->error, *words ? ": " : "", words);
	printf("rip %04lx:%016lx  rsp %04lx:%016lx\n", f->cs, f->rip, f->ss, f->rsp);
	printf("rflags %08lx%s  cr2 %016lx\n", f->rflags, ring0_flags(f->rflags, flags),
	       read_cr2());
	printf("rax %016lx  rbx %016lx  rcx %016lx\n", f->rax, f->rbx, f->rcx);
	printf("rdx %016lx  rsi %016lx  rdi %016lx\n", f->rdx, f->rsi, f->rdi);
	printf("rbp %016lx  r8  %016lx  r9  %016lx\n", f->rbp, f->r8, f->r9);
	printf("r10 %016lx  r11 %016lx  r12 %016lx\n", f->r10, f->r11, f->r12);
	printf("r13 %016lx  r14 %016lx  r15 %016lx\n", f->r13, f->r14, f->r15);
}

/* A second one while the first is printed gets no print of its own. */
void
trap_die(const struct trap_frame *f)
{
	static bool printing;
	const char *name = vector_name((unsigned)f->vector), *stack;
	uint64_t cr2 = read_cr2();
	char words[96];

	if (!printing) {
		printing = true;
		print_frame(f);
	}
	/* A push onto a guard page is a #PF that can't push either: SDM 3A 6.15 "#DF". CR2 is still
	 * the #PF's. */
	stack = f->vector == VEC_PF || f->vector == VEC_DF ? stack_guard_name(cr2) : NULL;
	if (stack)
		panic_at(f->rip, f->rbp,
			 "stack overflow: %016lx is in the guard page of %s's stack", cr2, stack);
	error_code_words((unsigned)f->vector, f->error, words, sizeof(words));
	if (f->vector == VEC_PF)
		panic_at(f->rip, f->rbp, "%s at %016lx: %s", name, cr2, words);
	panic_at(f->rip, f->rbp, "%s%s%s", name, *words ? ": " : "", words);
}

void
trap_nobody(struct trap_frame *f)
{
	print_frame(f);
	panic("a trap from ring %lu, but nothing runs there", f->cs & 3);
}
