/*
 * Vectors and error codes in words.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023; APM = AMD APM 24593 rev 3.40.
 */
#include <inc/x86.h>
#include <kern/kern.h>
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
