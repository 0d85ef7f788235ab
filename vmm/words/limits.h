/*
 * What a guest may not expect, once: the code refuses by these words, and handouts/limits.md is
 * made of them (tools/transcripts.py).
 */
#pragma once

#include <vmm/exit.h>

struct vcpu;

#define LIMITS_HARDWARE "limits.md#hardware" /* where a handler for any engine points to */

/* LIMIT(name, what the guest does, the words that end it): "te has no real mode: ...". */
#define LIMITS(LIMIT)                                                                             \
	LIMIT(REAL_MODE, "clears CR0.PE", "has no real mode: it cleared CR0.PE")                  \
	LIMIT(LONG_MODE, "sets EFER.LME", "has no long mode: it set EFER.LME")                    \
	LIMIT(SYSCALL, "sets EFER.SCE",                                                           \
	      "has no syscall: it set EFER.SCE, and syscall would enter ring 0 on its own stack") \
	LIMIT(SYSENTER, "writes SYSENTER_CS with anything but 0",                                 \
	      "has no sysenter: it set SYSENTER_CS")                                              \
	LIMIT(TSC_WRITE, "writes the time-stamp counter", "does not move the TSC")                \
	LIMIT(SEGMENT_MSR, "moves the base of FS or GS by an MSR",                                \
	      "does not move the base of FS or GS by an MSR")                                     \
	LIMIT(GENERAL_DETECT, "sets DR7.GD", "has no general detect: it set DR7.GD")              \
	LIMIT(PORT_BREAKPOINT, "enables a breakpoint on a port (CR4.DE)",                         \
	      "has no breakpoints on ports")

/* NO_EFFECT(name, why nothing comes of it): bits of CR0 and CR4 that are kept and read back. */
#define CR0_WITHOUT_EFFECT(NO_EFFECT)                                           \
	NO_EFFECT(CR0_NE, "an x87 error is #MF always, and never an interrupt") \
	NO_EFFECT(CR0_NW, "there is no cache of the guest's own")               \
	NO_EFFECT(CR0_CD, "there is no cache of the guest's own")
#define CR4_WITHOUT_EFFECT(NO_EFFECT)                              \
	NO_EFFECT(CR4_VME, "there is no virtual-8086 mode")        \
	NO_EFFECT(CR4_PVI, "cli and sti of ring 3 ask IOPL alone") \
	NO_EFFECT(CR4_MCE, "no machine check ever comes")          \
	NO_EFFECT(CR4_PCE, "there is no performance counter: rdpmc is #UD")

enum limit {
#define LIMIT(name, does, words) LIMIT_##name,
	LIMITS(LIMIT)
#undef LIMIT
};

/* Ends the guest, in the words of the limit. */
enum verdict limit_refuse(struct vcpu *v, const struct exit *e, enum limit limit);
/*
 * CR4 or DR7 has been written: ends the guest if it has a breakpoint on a port now, else RESUME.
 * The caller has asked for STATE_DR and STATE_CR.
 */
enum verdict limit_ports(struct vcpu *v, const struct exit *e);
