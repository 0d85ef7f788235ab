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

#define CPU_STATE_VERSION 2

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
};

_Static_assert(sizeof(struct segment) == 16, "segment is 16 bytes in every ABI that uses it");
_Static_assert(offsetof(struct cpu_state, rip) == 136, "layout is fixed");
_Static_assert(sizeof(struct cpu_state) == 456, "layout is fixed");

/* RFLAGS (SDM 1 3.4.3). Bit 1 reads as one. */
#define FLAG_CF   (1u << 0)
#define FLAG_ONE  (1u << 1)
#define FLAG_PF   (1u << 2)
#define FLAG_AF   (1u << 4)
#define FLAG_ZF   (1u << 6)
#define FLAG_SF   (1u << 7)
#define FLAG_TF   (1u << 8)
#define FLAG_IF   (1u << 9)
#define FLAG_DF   (1u << 10)
#define FLAG_OF   (1u << 11)
#define FLAG_IOPL (3u << 12)
#define FLAG_NT   (1u << 14)
#define FLAG_RF   (1u << 16)
#define FLAG_VM   (1u << 17)
#define FLAG_AC   (1u << 18)
#define FLAG_VIF  (1u << 19)
#define FLAG_VIP  (1u << 20)
#define FLAG_ID   (1u << 21)

/* Control registers (SDM 3A 2.5) and EFER (SDM 3A 2.2.1). */
#define CR0_PE         (1u << 0)
#define CR0_MP         (1u << 1)
#define CR0_EM         (1u << 2)
#define CR0_TS         (1u << 3)
#define CR0_ET         (1u << 4)
#define CR0_NE         (1u << 5)
#define CR0_WP         (1u << 16)
#define CR0_AM         (1u << 18)
#define CR0_NW         (1u << 29)
#define CR0_CD         (1u << 30)
#define CR0_PG         (1u << 31)
#define CR4_VME        (1u << 0)
#define CR4_PVI        (1u << 1)
#define CR4_TSD        (1u << 2)
#define CR4_DE         (1u << 3)
#define CR4_PSE        (1u << 4)
#define CR4_PAE        (1u << 5)
#define CR4_MCE        (1u << 6)
#define CR4_PGE        (1u << 7)
#define CR4_PCE        (1u << 8)
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP       (1u << 11)
#define CR4_SMEP       (1u << 20)
#define CR4_SMAP       (1u << 21)
#define EFER_SCE       (1u << 0)
#define EFER_LME       (1u << 8)
#define EFER_LMA       (1u << 10)
#define EFER_NXE       (1u << 11)

/* Exception vectors (SDM 3A 6.3.1, table 6-1). */
enum vector {
	VEC_DE = 0,
	VEC_DB = 1,
	VEC_NMI = 2,
	VEC_BP = 3,
	VEC_OF = 4,
	VEC_BR = 5,
	VEC_UD = 6,
	VEC_NM = 7,
	VEC_DF = 8,
	VEC_TS = 10,
	VEC_NP = 11,
	VEC_SS = 12,
	VEC_GP = 13,
	VEC_PF = 14,
	VEC_MF = 16,
	VEC_AC = 17,
	VEC_MC = 18,
	VEC_XM = 19,
	VEC_CP = 21,
};
