/*
 * The architectural state of one virtual CPU: only what the guest would see on the bare machine.
 *
 * CS.RPL is 0 when the guest runs its kernel, whatever ring the engine really uses; RFLAGS.IF is
 * the guest's own; CR3 is the guest's. Engines convert at their boundary, so that exit handlers,
 * the GDB stub, save/restore and the comparison with the bare machine all see the same thing (one
 * truth).
 *
 * Fixed layout, no pointers: later this is the run page of the user-level device model and the
 * migration record. Grow it at the end only, and raise CPU_STATE_VERSION.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <inc/x86.h>
#include <vmm/x86/event.h>

#define CPU_STATE_VERSION 3

/* General registers in the order of their encoding (SDM 2B "ModR/M", table 2-2). */
enum gpr {
	RAX,
	RCX,
	RDX,
	RBX,
	RSP,
	RBP,
	RSI,
	RDI,
	R8,
	R9,
	R10,
	R11,
	R12,
	R13,
	R14,
	R15,
	GPR_COUNT,
};

/* Segment registers in the order of their encoding (SDM 2D B.1.4.2 "Reg Field, sreg3"). */
enum seg_reg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/*
 * A segment register with its hidden part. `attr` packs the descriptor's access byte in bits 7:0
 * (type, S, DPL, P) and its flags in bits 11:8 (AVL, L, D/B, G); `limit` is in bytes, already
 * scaled. The same packing as a VMCB's (APM 2 15.5.1), so the svm engine copies it.
 */
struct segment {
	uint16_t sel;
	uint16_t attr;
	uint32_t limit;
	uint64_t base;
};

#define ATTR_TYPE(a) ((a)&0xf)
#define ATTR_A       0x001 /* accessed */
#define ATTR_RW      0x002 /* data: writable; code: readable */
#define ATTR_EC      0x004 /* data: expand-down; code: conforming */
#define ATTR_CODE    0x008
#define ATTR_S       0x010 /* code or data, not system */
#define ATTR_DPL(a)  (((a) >> 5) & 3)
#define ATTR_P       0x080
#define ATTR_AVL     0x100
#define ATTR_L       0x200
#define ATTR_DB      0x400
#define ATTR_G       0x800

struct table_reg {
	uint64_t base;
	uint16_t limit; /* last valid byte offset */
	uint16_t pad[3];
};

/* What the CPU does when no event comes (SDM 3C 25.4.2 "Guest Non-Register State"). */
enum activity { ACTIVITY_RUNS, ACTIVITY_HALTED, ACTIVITY_SHUTDOWN, ACTIVITY_WAITS_FOR_SIPI };

struct cpu_state {
	uint32_t version;
	uint32_t pad;
	uint64_t gpr[GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
	struct segment seg[SEG_COUNT];
	struct segment ldtr, tr;
	struct table_reg gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t dr[8];
	uint64_t efer;
	uint64_t pdpte[4]; /* PAE paging: what the last load of CR3 read (SDM 3A 4.4.1) */
	/* version 3 */
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, apic_base, tsc_aux, tsc_offset;
	uint64_t xcr0;
	struct event event;     /* on its way to the guest; kind EVENT_NONE: nothing is */
	uint8_t activity;       /* enum activity */
	uint8_t sti_shadow;     /* interrupts stay off for one instruction: SDM 2B "STI" */
	uint8_t mov_ss_shadow;  /* ... and so do debug exceptions: SDM 3A 6.8.3 */
	uint8_t nmi_blocked;    /* an NMI's handler runs, up to its iret: SDM 3A 6.7.1 */
	uint32_t pending_debug; /* bits of DR6: this #DB comes before the next instruction */
};

_Static_assert(sizeof(struct segment) == 16, "segment is 16 bytes in every ABI that uses it");
_Static_assert(offsetof(struct cpu_state, rip) == 136, "layout is fixed");
_Static_assert(offsetof(struct cpu_state, star) == 456, "layout is fixed");
_Static_assert(sizeof(struct cpu_state) == 576, "layout is fixed");

/* A byte for each of eight memory types; 2, 3 and all above 7 are none (SDM 3A table 12-10). */
static inline bool
pat_is_valid(uint64_t pat)
{
	const uint64_t ones = 0x0101010101010101;

	return !(pat & ~(7 * ones)) && !(pat >> 1 & ~(pat >> 2) & ones);
}
