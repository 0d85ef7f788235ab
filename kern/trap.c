/*
 * Traps: the IDT, and what becomes of a trap that hits the host itself.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <kern/cpu.h>
#include <kern/fpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/traps.h>

#define GATE_INTERRUPT 0x8e00u /* P, DPL 0, 64-bit interrupt gate: SDM 3A figure 6-8 */
#define GATE_DPL3      0x6000u

_Static_assert(KB == 0xffff828000000000 && GDT_WINDOW == 0xffff820000000000, "kern/map.inc");
_Static_assert(FLAG_VM == 1u << 17, "kern/map.inc");
_Static_assert(offsetof(struct ring_frame, vector) == 8, "kern/map.inc");
_Static_assert(offsetof(struct ring_frame, rip) == 24, "kern/map.inc");
_Static_assert(offsetof(struct ring_frame, ss) == 56, "kern/map.inc");
_Static_assert(DIRECT_MAP == 0xffff830000000000, "kern/map.inc");

/* kern/kernel.ld; filled by EXTABLE of kern/trap.inc */
extern const struct extable __start___extable[], __stop___extable[];

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint16_t ist_type; /* IST in bits 2:0; type, DPL, P in the high byte */
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM 3A figure 6-8");

static struct gate idt[256] __attribute__((aligned(4096)));

void (*ring_exit)(void) = nobody_exits;
bool trap_debug_late, trap_debug_expected;

static const uint8_t ist_of[32] = {
	[VEC_NMI] = IST_NMI,
	[VEC_DB] = IST_DB,
	[VEC_DF] = IST_DF,
	[VEC_MC] = IST_MC,
};

/* DPL 3 for int3 and into, so that they stay what they are for a guest. All other `int n` of an
 * outer ring are #GP, and decoded (DESIGN). */
static struct gate
make_gate(unsigned vector)
{
	uint64_t stub = (uint64_t)trap_stubs[vector];
	unsigned dpl = vector == VEC_BP || vector == VEC_OF ? GATE_DPL3 : 0;

	return (struct gate){
		.offset_low = (uint16_t)stub,
		.selector = HOST_CS64,
		.ist_type = (uint16_t)(GATE_INTERRUPT | dpl |
				       (vector < ARRAY_LEN(ist_of) ? ist_of[vector] : IST_NONE)),
		.offset_middle = (uint16_t)(stub >> 16),
		.offset_high = (uint32_t)(stub >> 32),
	};
}

void
trap_init(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

	gdt_init();
	for (unsigned v = 0; v < ARRAY_LEN(idt); v++)
		idt[v] = make_gate(v);
	__asm__ volatile("lidt %0" : : "m"(idtr) : "memory");
	wrmsr(MSR_SYSENTER_CS, 0); /* sysenter is a #GP: SDM 2B, SYSENTER */
	fpu_init();
	debug_registers_clear();
}

/*
 * While a guest's breakpoints are in DR7, one of them may come late, at the first instruction of a
 * stub (see late_debug_trap). If that is #DB's own, its frame must not lie where the next one goes.
 */
void
trap_debug_stack(bool own)
{
	idt[VEC_DB].ist_type = (uint16_t)((idt[VEC_DB].ist_type & ~7) | (own ? IST_DB : IST_NONE));
}

void
trap_gate_dpl(unsigned vector, unsigned dpl)
{
	idt[vector].ist_type = (uint16_t)((idt[vector].ist_type & ~GATE_DPL3) | dpl << 13);
}

/* Whether an instruction may fault on a guest's account; then the host goes on where it says. */
static bool
resume(struct trap_frame *f)
{
	if (f->vector >= IRQ_BASE || ist_of[f->vector])
		return false;
	for (const struct extable *e = __start___extable; e < __stop___extable; e++)
		if (e->fault_rip == f->rip) {
			f->rax = f->vector;
			f->rdx = f->error;
			f->rip = e->resume_rip;
			return true;
		}
	return false;
}

/*
 * A #DB in ring 0 that is the guest's: `mov ss` with a data breakpoint on it, then int3
 * (CVE-2018-8897). The breakpoint waits for the end of the next instruction (SDM 3A 6.8.3), and
 * that is the first one of our stub; on QEMU one that is met under TF comes there, too. The stub
 * goes on, and the engine finds the breakpoint in DR6. An engine whose exits are no traps expects
 * one where its guest's run ends. Any other #DB in ring 0 is the host's, which sets no breakpoints.
 */
static bool
late_debug_trap(const struct trap_frame *f)
{
	bool lost = f->rip == (uint64_t)trap_stubs[VEC_DB] && idt[VEC_DB].ist_type & 7;

	bool in_stub = f->rip >= (uint64_t)trap_text_start && f->rip < (uint64_t)trap_text_end;

	if (f->vector != VEC_DB || !(in_stub || trap_debug_expected) || f->rflags & FLAG_TF || lost)
		return false;
	trap_debug_late = true;
	return true;
}

void
trap_host(struct trap_frame *f)
{
	if (f->vector - IRQ_BASE < IRQ_COUNT)
		irq((unsigned)f->vector);
	else if (f->vector == VEC_NMI && watchdog_fired())
		; /* the host was busy for so long, and the next tick starts it again */
	else if (f->vector == VEC_NMI)
		printf("NMI at %016lx\n", f->rip);
	else if (!late_debug_trap(f) && !resume(f))
		trap_die(f);
}
