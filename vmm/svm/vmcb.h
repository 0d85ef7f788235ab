/*
 * The virtual machine control block: a page that the CPU reads at VMRUN and writes at #VMEXIT.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40: appendix B "VMCB Layout".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vmm/x86/state.h>

/* APM 2 15.5.1: the control area, then the guest's state. Names are the manual's, in small. */
struct vmcb {
	uint16_t cr_reads, cr_writes; /* intercepts: a bit per register */
	uint16_t dr_reads, dr_writes;
	uint32_t exceptions;    /* ... per vector */
	uint32_t intercepts[3]; /* enum svm_intercept */
	uint8_t pad0[0x3c - 0x18];
	uint16_t pause_threshold, pause_count;
	uint64_t iopm_base, msrpm_base; /* hpa of the permission maps */
	uint64_t tsc_offset;
	uint32_t asid;
	uint32_t tlb_control;
	uint64_t vintr;
	uint64_t interrupt_shadow;
	uint64_t exitcode, exitinfo1, exitinfo2;
	uint64_t exitintinfo; /* the event that was being delivered */
	uint64_t np_enable;
	uint8_t pad1[0xa8 - 0x98];
	uint64_t eventinj;
	uint64_t n_cr3; /* hpa of the nested tables' root */
	uint64_t lbr;
	uint64_t clean;
	uint64_t nrip;
	uint8_t fetched_count, fetched[15];
	uint8_t pad2[0x400 - 0xe0];

	struct segment es, cs, ss, ds, fs, gs;
	struct vmcb_table {
		uint32_t pad;
		uint32_t limit;
		uint64_t base;
	} gdtr;
	struct segment ldtr;
	struct vmcb_table idtr;
	struct segment tr;
	uint8_t pad3[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t pad4;
	uint64_t efer;
	uint8_t pad5[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t pad6[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t pad7[0x5f8 - 0x5e0];
	uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	uint8_t pad8[0x668 - 0x648];
	uint64_t pat;
	uint8_t pad9[4096 - 0x670];
};
#define SVM_VMCB_USED offsetof(struct vmcb, pad9)
_Static_assert(offsetof(struct vmcb, iopm_base) == 0x40, "APM 2 table B-1");
_Static_assert(offsetof(struct vmcb, exitcode) == 0x70, "APM 2 table B-1");
_Static_assert(offsetof(struct vmcb, eventinj) == 0xa8, "APM 2 table B-1");
_Static_assert(offsetof(struct vmcb, nrip) == 0xc8, "APM 2 table B-1");
_Static_assert(offsetof(struct vmcb, es) == 0x400, "APM 2 table B-2");
_Static_assert(offsetof(struct vmcb, tr) == 0x490, "APM 2 table B-2");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "APM 2 table B-2");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "APM 2 table B-2");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "APM 2 table B-2");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "APM 2 table B-2");
_Static_assert(sizeof(struct vmcb) == 4096, "a VMCB is a page");

/*
 * Bits of intercepts[], counted through from 0: vectors 3 to 5 of the manual's table B-1. Their
 * order is that of exit codes from 60 on.
 */
enum svm_intercept {
	SVM_INTR,
	SVM_NMI,
	SVM_SMI,
	SVM_INIT,
	SVM_VINTR,
	SVM_CR0_SEL_WRITE,
	SVM_IDTR_READ,
	SVM_GDTR_READ,
	SVM_LDTR_READ,
	SVM_TR_READ,
	SVM_IDTR_WRITE,
	SVM_GDTR_WRITE,
	SVM_LDTR_WRITE,
	SVM_TR_WRITE,
	SVM_RDTSC,
	SVM_RDPMC,
	SVM_PUSHF,
	SVM_POPF,
	SVM_CPUID,
	SVM_RSM,
	SVM_IRET,
	SVM_SWINT,
	SVM_INVD,
	SVM_PAUSE,
	SVM_HLT,
	SVM_INVLPG,
	SVM_INVLPGA,
	SVM_IOIO,
	SVM_MSR,
	SVM_TASK_SWITCH,
	SVM_FERR_FREEZE,
	SVM_SHUTDOWN,
	SVM_VMRUN,
	SVM_VMMCALL,
	SVM_VMLOAD,
	SVM_VMSAVE,
	SVM_STGI,
	SVM_CLGI,
	SVM_SKINIT,
	SVM_RDTSCP,
	SVM_ICEBP,
	SVM_WBINVD,
	SVM_MONITOR,
	SVM_MWAIT,
	SVM_MWAIT_ARMED,
	SVM_XSETBV,
	SVM_RDPRU,
};

/* APM 2 appendix C "SVM Intercept Exit Codes". */
#define SVM_EXIT_CODE(b)   ((uint32_t)(b)->exitcode)
#define SVM_EXIT_CR_READ   0x00u
#define SVM_EXIT_CR_WRITE  0x10u
#define SVM_EXIT_DR_READ   0x20u
#define SVM_EXIT_DR_WRITE  0x30u
#define SVM_EXIT_EXCEPTION 0x40u
#define SVM_EXIT_FIRST     0x60u /* that of SVM_INTR; the others follow in enum svm_intercept */
#define SVM_EXIT_NPF       0x400u
#define SVM_EXIT_INVALID   (~0u)       /* -1; QEMU 7.2 writes only its low half */
#define SVM_EXIT_NONE      0x7fffffffu /* Zeno's own, before the first VMRUN: no CPU says so */

/* APM 2 15.21.1 "VINTR": the virtual interrupt, which here only asks for an exit. */
#define VINTR_TPR     15ul /* what CR8 reads as */
#define VINTR_IRQ     (1ul << 8)
#define VINTR_PRIO    (15ul << 16)
#define VINTR_IGN_TPR (1ul << 20)
#define VINTR_MASKING (1ul << 24)

/* APM 2 15.20 "Event Injection": EVENTINJ, and EXITINTINFO, which has the same form. */
#define SVM_EVENT_INTERRUPT 0u
#define SVM_EVENT_NMI       2u
#define SVM_EVENT_EXCEPTION 3u
#define SVM_EVENT_SOFTWARE  4u
#define SVM_EVENT_TYPE(e)   ((unsigned)((e) >> 8) & 7)
#define SVM_EVENT_HAS_ERROR (1ul << 11)
#define SVM_EVENT_VALID     (1ul << 31)

/* APM 2 15.10.2, figure 15-2: EXITINFO1 of an I/O instruction. */
#define IOIO_IN         (1u << 0)
#define IOIO_STRING     (1u << 2)
#define IOIO_REP        (1u << 3)
#define IOIO_SIZE(info) ((unsigned)((info) >> 4) & 7)
#define IOIO_PORT(info) ((uint16_t)((info) >> 16))

/* APM 2 15.25.6 "Nested versus Guest Page Faults": EXITINFO1 is a #PF's error code, and more. */
#define NPF_WALK (1ul << 33) /* the CPU was walking the guest's tables */

#define TLB_CONTROL_FLUSH_ALL 1u

#define CPUID_SVM       0x8000000au
#define MSR_VM_CR       0xc0010114
#define VM_CR_SVMDIS    (1u << 4)
#define MSR_VM_HSAVE_PA 0xc0010117
