/*
 * Traps: what the CPU and the stub push is alike for all 256 vectors (kern/trap.asm); what becomes
 * of it stands in kern/trap.c.
 *
 * A trap from ring 0 goes to trap_host(). A trap from an outer ring leaves through `ring_exit`,
 * which whoever runs code in outer rings sets (vmm/ in Lab 1, envs in Lab 5): TSS.RSP0 is the end
 * of a struct ring_frame that belongs to the thing that runs, so the CPU and the stub push straight
 * into it. General registers are still the outer ring's then: `ring_exit` puts them where they
 * belong.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lowest address first: the stub pushes upwards through this list. SDM 3A 6.14.2, figure 6-9. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector;
	uint64_t error; /* 0 where the CPU pushes none */
	uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(sizeof(struct trap_frame) == 176, "16-byte aligned: the CPU aligns RSP0 down to 16");
_Static_assert(offsetof(struct trap_frame, vector) == 120, "behind the registers of trap.inc");

/* The same from an outer ring, where no register is pushed. */
struct ring_frame {
	uint64_t scratch; /* room for one push of `ring_exit`'s */
	uint64_t vector;
	uint64_t error;
	uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(sizeof(struct ring_frame) == 64, "16-byte aligned: the CPU aligns RSP0 down to 16");

void trap_init(void);

/* C side of a trap that came from ring 0: exception table, IRQ, or panic. Returns to resume `f`. */
void trap_host(struct trap_frame *f);

/*
 * Where the stubs jump for a trap from ring 1-3, with rsp at `vector` of the filled struct
 * ring_frame. Asm label.
 */
extern void (*ring_exit)(void);
/* Where they jump while nothing runs there. */
void nobody_exits(void);

/* Sets TSS.RSP0, which must be 16-byte aligned. */
void tss_set_rsp0(uint64_t rsp0);

/* The LDT descriptor at HOST_LDT, and LDTR; limit 0: LDTR is null. */
void gdt_set_ldt(uint64_t base, uint32_t limit);

/* Lets `int vector` of ring `dpl` and the rings inside of it through; 0: the host only. */
void trap_gate_dpl(unsigned vector, unsigned dpl);

/*
 * #DB on a stack of its own, or where other traps from an outer ring go: while a guest's
 * breakpoints are in DR7.
 */
void trap_debug_stack(bool own);
extern bool trap_debug_late;     /* such a breakpoint came late, in a stub: it is in DR6 */
extern bool trap_debug_expected; /* one may come anywhere in ring 0: it is the guest's */

const char *vector_name(unsigned vector); /* "#GP general protection", "IRQ 0" for 0x20.. */

/* IRQs. Host IRQ n of the PIC arrives at vector IRQ_BASE + n. */
#define IRQ_BASE  0x20
#define IRQ_COUNT 16

/* The one way in for interrupts, from an IDT stub or from an exit. Acknowledges, calls the handler.
 */
void irq(unsigned vector);
void irq_register(unsigned line, void (*handler)(void *), void *arg);
/* Closed, as before irq_register(), its requests wait in the controller: one edge, or a level. */
void irq_open(unsigned line, bool open);
void irq_by_level(unsigned line, bool level); /* else by edge, as all ISA devices want it */

/* One entry per instruction in the host that may fault on a guest's account: see kern/trap.inc,
 * EXTABLE. */
struct extable {
	uint64_t fault_rip;
	uint64_t resume_rip;
};
