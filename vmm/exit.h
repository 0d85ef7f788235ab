/*
 * An exit: why an engine gave the CPU back, in words that all engines share.
 *
 * The engine translates (a #GP on `out` under te, exit reason 30 under vmx, exit code 0x7b under
 * svm are all EXIT_IO), the handler in vmm/ or in a lab decides. The raw code is kept for whoever
 * debugs. Fixed layout, no pointers: later this is part of the user-level device model's run page.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* List once: EXIT(name, what it is). The order is ABI: add at the end. */
#define EXIT_REASONS(EXIT)                                          \
	EXIT(NONE, "nothing")                                       \
	EXIT(IRQ, "host interrupt")                                 \
	EXIT(EXCEPTION, "the guest's own exception")                \
	EXIT(MMU, "memory access that the MMU refused")             \
	EXIT(IO, "port I/O")                                        \
	EXIT(CLI, "cli")                                            \
	EXIT(STI, "sti")                                            \
	EXIT(HLT, "hlt")                                            \
	EXIT(CR, "control register")                                \
	EXIT(DR, "debug register")                                  \
	EXIT(LGDT, "lgdt")                                          \
	EXIT(LIDT, "lidt")                                          \
	EXIT(LLDT, "lldt")                                          \
	EXIT(LTR, "ltr")                                            \
	EXIT(SEGMENT, "segment register load")                      \
	EXIT(FAR, "far transfer")                                   \
	EXIT(IRET, "iret")                                          \
	EXIT(INT, "software interrupt")                             \
	EXIT(MSR, "model-specific register")                        \
	EXIT(CACHE, "cache or TLB control")                         \
	EXIT(SYSCALL, "syscall or sysenter")                        \
	EXIT(OTHER, "another privileged instruction")               \
	EXIT(ENTRY_FAILED, "failed entry")                          \
	EXIT(V86, "virtual-8086 mode")                              \
	EXIT(UMIP, "sgdt, sidt, sldt, str or smsw, caught by UMIP") \
	EXIT(EMULATE, "instruction that Zeno does for the guest")   \
	EXIT(CPUID, "cpuid")                                        \
	EXIT(RDTSC, "rdtsc or rdtscp")                              \
	EXIT(HYPERCALL, "hypercall")                                \
	EXIT(TRIPLE, "triple fault")                                \
	EXIT(WINDOW_IRQ, "the guest takes interrupts now")          \
	EXIT(WINDOW_NMI, "the guest takes NMIs now")                \
	EXIT(TASK, "task switch")                                   \
	EXIT(PAUSE, "pause")                                        \
	EXIT(XSETBV, "xsetbv")                                      \
	EXIT(INIT, "INIT signal")                                   \
	EXIT(SIPI, "start-up IPI")                                  \
	EXIT(PREEMPTION, "preemption timer")
enum exit_reason {
#define EXIT(name, words) EXIT_##name,
	EXIT_REASONS(EXIT)
#undef EXIT
		EXIT_COUNT
};

#define EXIT_INSN_MAX  15
#define CALLOUT_VECTOR 0xe0 /* bt: its gate has DPL 1 while a vCPU of bt is loaded */
#define NO_TRAP        0xff /* as a vector: nothing of the guest's brought us here */

/* EXIT_IO. A string instruction moves one element of `size` bytes, or as many as its count says. */
struct exit_io {
	uint16_t port;
	uint8_t size; /* 1, 2, 4 */
	uint8_t in;   /* else out */
	uint8_t string;
	uint8_t rep;
	uint8_t seg;       /* string: enum seg_reg of the memory operand */
	uint8_t addr_size; /* string: of its count and index, 2, 4, 8 */
};

/* EXIT_CR, EXIT_DR: what is done to which register, and the general register at the other end. */
enum reg_access { REG_WRITE, REG_READ, REG_CLTS, REG_LMSW, REG_SMSW };
struct exit_reg {
	uint8_t number;
	uint8_t gpr;    /* enum gpr; REG_LMSW: none, `value` is the operand; REG_SMSW: none */
	uint8_t access; /* enum reg_access */
	uint8_t pad;
	uint16_t value;
	uint16_t pad2;
};

/* EXIT_MSR: rdmsr or wrmsr; the value is in EDX:EAX. */
struct exit_msr {
	uint32_t number;
	uint8_t write;
	uint8_t pad[3];
};

/* EXIT_MMU under nested paging: what the CPU says beside the address and the kind of access. */
struct exit_nested {
	uint64_t linear; /* the guest's address, if has_linear */
	uint8_t has_linear;
	uint8_t by_walk;   /* it was reading (or marking) the guest's own page tables */
	uint8_t was_there; /* an entry maps it, and does not allow this */
	uint8_t is_bad;    /* an entry on the way is none that the CPU takes */
	uint8_t pad[4];
};

/*
 * An exit is a description, and stays what it was: nobody rewrites it into something to be done.
 * What the guest is to receive is an event (event.h).
 */
struct exit {
	uint16_t reason;  /* enum exit_reason */
	uint8_t insn_len; /* bytes of the instruction at rip; 0: not decoded */
	uint8_t vector;   /* te, bt: the trap that brought us here */
	uint32_t error;   /* its error code */
	uint64_t raw;     /* the engine's own code: vector, VMX basic reason, SVM EXITCODE */
	uint64_t rip;
	uint64_t gva;     /* EXIT_MMU, #PF: linear address */
	uint16_t insn_op; /* enum insn_op */
	uint8_t access;   /* EXIT_MMU: ACCESS_ bits (vmm/mem/mmu.h) */
	uint8_t pad[5];
	uint64_t gpa; /* EXIT_MMU under nested paging: guest-physical address, and no gva */
	union {       /* the qualification, by reason */
		struct exit_io io;
		struct exit_reg cr, dr;
		struct exit_msr msr;
		struct exit_nested nested;
		uint64_t qualification[2];
	};
};

_Static_assert(offsetof(struct exit, gva) == 24, "layout is fixed");
_Static_assert(offsetof(struct exit, io) == 48, "layout is fixed");
_Static_assert(sizeof(struct exit) == 64, "layout is fixed");

/*
 * An exit of the engines that know a vector and an address first; the rest is empty. Field by
 * field, for this is on every exit's way: a literal would be cleared by a loop.
 */
static inline void
exit_begin(struct exit *e, enum exit_reason reason, uint8_t vector, uint32_t error, uint64_t rip)
{
	e->reason = reason;
	e->insn_len = 0;
	e->vector = vector;
	e->error = error;
	e->raw = vector;
	e->rip = rip;
	e->gva = 0;
	e->insn_op = 0;
	e->access = 0;
	for (unsigned i = 0; i < sizeof(e->pad); i++)
		e->pad[i] = 0;
	e->gpa = 0;
	e->qualification[0] = e->qualification[1] = 0;
}

/* What a handler decides. */
enum verdict {
	RESUME,  /* enter the guest again */
	FAULTED, /* enter it again, in its own handler: nothing of the instruction was done */
	BLOCK,   /* nothing to do until thread_wake() */
	STOP,    /* the domain has ended; domain_stop() has said why */
};
