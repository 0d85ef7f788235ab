/*
 * Numbers of the x86 architecture that the host kernel, the hypervisor and the guests' tests share:
 * flags, control registers, MSRs, exception vectors.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

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
#define CR4_LA57       (1u << 12)
#define CR4_VMXE       (1u << 13)
#define CR4_FSGSBASE   (1u << 16)
#define CR4_PCIDE      (1u << 17)
#define CR4_OSXSAVE    (1u << 18)
#define CR4_SMEP       (1u << 20)
#define CR4_SMAP       (1u << 21)
#define CR4_PKE        (1u << 22)
#define CR4_CET        (1u << 23)
#define CR4_PKS        (1u << 24)
#define DR6_HITS       0xfu /* B0 to B3: SDM 3B 17.2.3 "Debug Status Register (DR6)" */
#define DR6_BD         (1u << 13)
#define DR6_BS         (1u << 14)
#define DR6_RESET      0xffff0ff0ul /* SDM 3A table 10-1: reserved bits are 1 */
#define DR7_RESET      0x400u
#define DR7_GD         (1ul << 13)
#define DR7_ANY        0xffu /* L0 to G3: SDM 3B 17.2.4 "Debug Control Register (DR7)" */
#define EFER_SCE       (1u << 0)
#define EFER_LME       (1u << 8)
#define EFER_LMA       (1u << 10)
#define EFER_NXE       (1u << 11)
#define EFER_SVME      (1u << 12)
#define EFER_FFXSR     (1u << 14)
#define EFER_TCE       (1u << 15)

/* What breakpoint n is, by DR7 (SDM 3B 17.2.4). */
#define DR7_ENABLED(dr7, n) ((dr7) >> 2 * (n)&3)
#define DR7_KIND(dr7, n)    ((dr7) >> (16 + 4 * (n)) & 3)
enum dr7_kind { DR7_EXECUTE, DR7_WRITE, DR7_IO, DR7_ACCESS };

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

/* The error code of a #PF: SDM 3A 4.7, figure 4-12. */
#define PF_P    1u /* 0: an entry was not present */
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

/* Model-specific registers (SDM 4, tables 2-2 and 2-21). */
#define MSR_TSC         0x10
#define MSR_SYSENTER_CS 0x174
#define MSR_APIC_BASE   0x1b
#define MSR_PAT         0x277
#define MSR_EFER        0xc0000080
#define MSR_STAR        0xc0000081
#define MSR_LSTAR       0xc0000082
#define MSR_CSTAR       0xc0000083
#define MSR_SFMASK      0xc0000084
#define MSR_TSC_AUX     0xc0000103
