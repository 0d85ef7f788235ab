/*
 * The virtual machine control structure: a page whose layout is the CPU's secret. Software reads
 * and writes its fields by number, with VMREAD and VMWRITE.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023: 3D appendix B
 * "Field Encoding in VMCS".
 */
#pragma once

#include <stdint.h>

#include <kern/kern.h>

/* SDM 3C 25.11.2, table 25-21: bits 14:13 are the width, 11:10 what it is of, 9:1 the index. */
enum vmcs_field {
	VPID = 0x0000,
	GUEST_ES = 0x0800, /* the six segments, LDTR and TR, each 2 behind the one before */
	GUEST_LDTR = 0x080c,
	GUEST_TR = 0x080e,
	HOST_ES_SELECTOR = 0x0c00,
	HOST_CS_SELECTOR = 0x0c02,
	HOST_SS_SELECTOR = 0x0c04,
	HOST_DS_SELECTOR = 0x0c06,
	HOST_FS_SELECTOR = 0x0c08,
	HOST_GS_SELECTOR = 0x0c0a,
	HOST_TR_SELECTOR = 0x0c0c,

	IO_BITMAP_A = 0x2000,
	IO_BITMAP_B = 0x2002,
	MSR_BITMAP = 0x2004,
	EXIT_MSR_STORE = 0x2006,
	EXIT_MSR_LOAD = 0x2008,
	ENTRY_MSR_LOAD = 0x200a,
	TSC_OFFSET = 0x2010,
	VIRTUAL_APIC = 0x2012,
	APIC_ACCESS = 0x2014,
	EPT_POINTER = 0x201a,
	GUEST_PHYSICAL_ADDRESS = 0x2400,
	LINK_POINTER = 0x2800,
	GUEST_DEBUGCTL = 0x2802,
	GUEST_PAT = 0x2804,
	GUEST_EFER = 0x2806,
	GUEST_PDPTE = 0x280a, /* four of them */
	HOST_PAT = 0x2c00,
	HOST_EFER = 0x2c02,

	PIN_CONTROLS = 0x4000,
	PRIMARY_CONTROLS = 0x4002,
	EXCEPTION_BITMAP = 0x4004,
	PAGE_FAULT_MASK = 0x4006,
	PAGE_FAULT_MATCH = 0x4008,
	CR3_TARGET_COUNT = 0x400a,
	EXIT_CONTROLS = 0x400c,
	EXIT_MSR_STORE_COUNT = 0x400e,
	EXIT_MSR_LOAD_COUNT = 0x4010,
	ENTRY_CONTROLS = 0x4012,
	ENTRY_MSR_LOAD_COUNT = 0x4014,
	ENTRY_EVENT = 0x4016,
	ENTRY_EVENT_ERROR = 0x4018,
	ENTRY_EVENT_LENGTH = 0x401a,
	TPR_THRESHOLD = 0x401c,
	SECONDARY_CONTROLS = 0x401e,
	INSTRUCTION_ERROR = 0x4400,
	EXIT_REASON = 0x4402,
	EXIT_EVENT = 0x4404,
	EXIT_EVENT_ERROR = 0x4406,
	VECTORING_EVENT = 0x4408,
	VECTORING_EVENT_ERROR = 0x440a,
	EXIT_INSTRUCTION_LENGTH = 0x440c,
	EXIT_INSTRUCTION_INFO = 0x440e,
	GUEST_ES_LIMIT = 0x4800,
	GUEST_GDTR_LIMIT = 0x4810,
	GUEST_IDTR_LIMIT = 0x4812,
	GUEST_ES_RIGHTS = 0x4814,
	GUEST_INTERRUPTIBILITY = 0x4824,
	GUEST_ACTIVITY = 0x4826,
	GUEST_SYSENTER_CS = 0x482a,
	PREEMPTION_TIMER = 0x482e,
	HOST_SYSENTER_CS = 0x4c00,

	CR0_MASK = 0x6000,
	CR4_MASK = 0x6002,
	CR0_SHADOW = 0x6004,
	CR4_SHADOW = 0x6006,
	EXIT_QUALIFICATION = 0x6400,
	GUEST_LINEAR_ADDRESS = 0x640a,
	GUEST_CR0 = 0x6800,
	GUEST_CR3 = 0x6802,
	GUEST_CR4 = 0x6804,
	GUEST_ES_BASE = 0x6806,
	GUEST_GDTR_BASE = 0x6816,
	GUEST_IDTR_BASE = 0x6818,
	GUEST_DR7 = 0x681a,
	GUEST_RSP = 0x681c,
	GUEST_RIP = 0x681e,
	GUEST_RFLAGS = 0x6820,
	GUEST_PENDING_DEBUG = 0x6822,
	GUEST_SYSENTER_ESP = 0x6824,
	GUEST_SYSENTER_EIP = 0x6826,
	HOST_CR0 = 0x6c00,
	HOST_CR3 = 0x6c02,
	HOST_CR4 = 0x6c04,
	HOST_FS_BASE = 0x6c06,
	HOST_GS_BASE = 0x6c08,
	HOST_TR_BASE = 0x6c0a,
	HOST_GDTR_BASE = 0x6c0c,
	HOST_IDTR_BASE = 0x6c0e,
	HOST_SYSENTER_ESP = 0x6c10,
	HOST_SYSENTER_EIP = 0x6c12,
	HOST_RIP = 0x6c16, /* HOST_RSP: enter.asm */
};

/* Segment n's share of the four arrays that begin with ES's (enum seg_reg; LDTR 6, TR 7). */
#define SEGMENT_FIELD(es, n) ((enum vmcs_field)((es) + 2 * (n)))
#define SEGMENT_LDTR         6u
#define SEGMENT_TR           7u

/* SDM 3C table 25-2 "Format of Access Rights". */
#define RIGHTS_TYPE(r)  ((unsigned)(r)&15)
#define RIGHTS_S        (1u << 4)
#define RIGHTS_DPL(r)   ((unsigned)(r) >> 5 & 3)
#define RIGHTS_P        (1u << 7)
#define RIGHTS_L        (1u << 13)
#define RIGHTS_DB       (1u << 14)
#define RIGHTS_G        (1u << 15)
#define RIGHTS_UNUSABLE (1u << 16)

/* SDM 3C 25.6 to 25.8: what the CPU controls; capability.c has which of them Zeno wants. */
#define PIN_EXTERNAL_INTERRUPT       (1u << 0)
#define PIN_NMI                      (1u << 3)
#define PIN_VIRTUAL_NMIS             (1u << 5)
#define PIN_TIMER                    (1u << 6)
#define PRIMARY_IRQ_WINDOW           (1u << 2)
#define PRIMARY_TSC_OFFSET           (1u << 3)
#define PRIMARY_CR3_LOAD             (1u << 15)
#define PRIMARY_CR3_STORE            (1u << 16)
#define PRIMARY_TPR_SHADOW           (1u << 21)
#define PRIMARY_NMI_WINDOW           (1u << 22)
#define PRIMARY_IO_BITMAPS           (1u << 25)
#define PRIMARY_MONITOR_TRAP         (1u << 27)
#define PRIMARY_MSR_BITMAPS          (1u << 28)
#define PRIMARY_SECONDARY            (1u << 31)
#define SECONDARY_APIC_ACCESSES      (1u << 0)
#define SECONDARY_EPT                (1u << 1)
#define SECONDARY_RDTSCP             (1u << 3)
#define SECONDARY_X2APIC             (1u << 4)
#define SECONDARY_VPID               (1u << 5)
#define SECONDARY_UNRESTRICTED       (1u << 7)
#define SECONDARY_APIC_REGISTERS     (1u << 8)
#define SECONDARY_VIRTUAL_INTERRUPTS (1u << 9)
#define EXIT_SAVE_DEBUG              (1u << 2)
#define EXIT_HOST_LONG               (1u << 9)
#define EXIT_LOAD_PAT                (1u << 19)
#define EXIT_SAVE_EFER               (1u << 20)
#define EXIT_LOAD_EFER               (1u << 21)
#define EXIT_SAVE_TIMER              (1u << 22)
#define ENTRY_LOAD_DEBUG             (1u << 2)
#define ENTRY_IA32E                  (1u << 9)
#define ENTRY_TO_SMM                 (1u << 10)
#define ENTRY_END_DUAL_MONITOR       (1u << 11)
#define ENTRY_LOAD_PAT               (1u << 14)
#define ENTRY_LOAD_EFER              (1u << 15)

/* SDM 3C table 25-3 "Format of Interruptibility State". */
#define SHADOW_STI    1u
#define SHADOW_MOV_SS 2u
#define SHADOW_SMI    4u
#define SHADOW_NMI    8u

/*
 * SDM 3C table 25-4 "Format of Pending-Debug-Exceptions": B0 to B3, BS, and whether one is armed.
 */
#define PENDING_ENABLED (1u << 12)

/* SDM 3C tables 25-15 "VM-Exit Interruption-Information", 25-17, 25-18: one form for all three. */
enum vmx_event {
	VMX_EVENT_INTERRUPT = 0,
	VMX_EVENT_NMI = 2,
	VMX_EVENT_EXCEPTION = 3,
	VMX_EVENT_SOFTWARE = 4,
	VMX_EVENT_INT1 = 5,
	VMX_EVENT_SOFTWARE_EXCEPTION = 6, /* int3, into */
	VMX_EVENT_OTHER = 7,              /* the monitor trap flag */
};
#define VMX_EVENT_TYPE(e)   ((unsigned)(e) >> 8 & 7)
#define VMX_EVENT_HAS_ERROR (1u << 11)
#define VMX_EVENT_VALID     (1u << 31)

/* SDM 3D appendix C "VMX Basic Exit Reasons". */
enum vmx_reason {
	VMX_EXCEPTION = 0,
	VMX_EXTERNAL_INTERRUPT = 1,
	VMX_TRIPLE_FAULT = 2,
	VMX_INIT = 3,
	VMX_SIPI = 4,
	VMX_SMI = 6,
	VMX_IRQ_WINDOW = 7,
	VMX_NMI_WINDOW = 8,
	VMX_TASK_SWITCH = 9,
	VMX_CPUID = 10,
	VMX_HLT = 12,
	VMX_INVD = 13,
	VMX_VMCALL = 18,
	VMX_CR = 28,
	VMX_DR = 29,
	VMX_IO = 30,
	VMX_RDMSR = 31,
	VMX_WRMSR = 32,
	VMX_MONITOR_TRAP = 37,
	VMX_PAUSE = 40,
	VMX_TPR_BELOW = 43,
	VMX_VIRTUAL_EOI = 45,
	VMX_EPT_VIOLATION = 48,
	VMX_EPT_MISCONFIGURATION = 49,
	VMX_PREEMPTION_TIMER = 52,
	VMX_WBINVD = 54,
	VMX_XSETBV = 55,
	VMX_APIC_WRITE = 56,
	VMX_LOG_FULL = 62,
	VMX_REASONS = 64,
};
#define VMX_REASON_BASIC(r) ((unsigned)(r)&0xffff)
#define VMX_ENTRY_FAILED    (1u << 31)

/* SDM 3C tables 28-3, 28-4, 28-5, 28-7 "Exit Qualification for ...", 28-13 for string I/O. */
#define CR_NUMBER(q)       ((unsigned)(q)&15)
#define CR_ACCESS(q)       ((unsigned)(q) >> 4 & 3)
#define CR_GPR(q)          ((uint8_t)((q) >> 8 & 15))
#define CR_LMSW_SOURCE(q)  ((uint16_t)((q) >> 16))
#define DR_NUMBER(q)       ((unsigned)(q)&7)
#define DR_READ            (1u << 4)
#define IO_SIZE(q)         ((uint8_t)(((q)&7) + 1))
#define IO_IN              (1u << 3)
#define IO_STRING          (1u << 4)
#define IO_REP             (1u << 5)
#define IO_PORT(q)         ((uint16_t)((q) >> 16))
#define IO_ADDRESS_SIZE(i) ((uint8_t)(2u << ((i) >> 7 & 3)))
#define IO_SEGMENT(i)      ((uint8_t)((i) >> 15 & 7))
#define EPT_WRITE          (1u << 1)
#define EPT_FETCH          (1u << 2)
#define EPT_ALLOWED        (7u << 3) /* what the entries allow */
#define EPT_HAS_LINEAR     (1u << 7)
#define EPT_FINAL          (1u << 8) /* of that address, and not of a table on its way */

/* Zeno's own, where vmx_enter() came back and no VMCS was current: no CPU says so. */
#define VMX_NO_ENTRY 0x7fffffffu

/* SDM 4 table 2-2; SDM 3D appendix A. */
#define MSR_FS_BASE          0xc0000100
#define MSR_GS_BASE          0xc0000101
#define MSR_KERNEL_GS        0xc0000102
#define MSR_FEATURE_CONTROL  0x3a
#define FEATURE_LOCKED       (1u << 0)
#define FEATURE_VMX          (1u << 2) /* outside of SMX */
#define MSR_VMX_BASIC        0x480
#define MSR_VMX_CR0_FIXED0   0x486
#define MSR_VMX_CR0_FIXED1   0x487
#define MSR_VMX_CR4_FIXED0   0x488
#define MSR_VMX_CR4_FIXED1   0x489
#define MSR_VMX_EPT_VPID_CAP 0x48c

#define EPTP_WRITE_BACK  6ul /* SDM 3C table 25-9 */
#define EPTP_FOUR_LEVELS (3ul << 3)
#define EPTP_MARKS       (1ul << 6) /* accessed and dirty bits */

/* SDM 3D appendix A.10: MSR_VMX_EPT_VPID_CAP. */
#define EPT_HAS_2_MIB       (1ul << 16)
#define EPT_HAS_1_GIB       (1ul << 17)
#define EPT_HAS_MARKS       (1ul << 21)
#define EPT_HAS_INVEPT_ONE  (1ul << 25)
#define EPT_HAS_INVVPID     (1ul << 32)
#define EPT_HAS_INVVPID_ONE (1ul << 41)
#define EPT_HAS_INVVPID_ALL (1ul << 42)

/*
 * SDM 3C 31.2 "Conventions": each of these says in CF or ZF that it failed. Which fields and frames
 * there are is Zeno's to know, so that is the host's bug, and looked at here alone.
 */
#define VMX_CHECK(failed, ...)              \
	do {                                \
		if (failed)                 \
			panic(__VA_ARGS__); \
	} while (0)

static inline uint64_t
vmcs_read(enum vmcs_field field)
{
	uint64_t value;
	bool failed;

	__asm__ volatile("vmread %2, %0" : "=r"(value), "=@ccbe"(failed) : "r"((uint64_t)field));
	VMX_CHECK(failed, "no VMCS is current, or it has no field %04x to read", field);
	return value;
}

static inline bool
vmcs_has(enum vmcs_field field)
{
	uint64_t value;
	bool failed;

	__asm__ volatile("vmread %2, %0" : "=r"(value), "=@ccbe"(failed) : "r"((uint64_t)field));
	return !failed;
}

/* Of a field that this CPU may not have; then 0. */
static inline uint64_t
vmcs_peek(enum vmcs_field field)
{
	return vmcs_has(field) ? vmcs_read(field) : 0;
}

static inline void
vmcs_write(enum vmcs_field field, uint64_t value)
{
	bool failed;

	__asm__ volatile("vmwrite %1, %2" : "=@ccbe"(failed) : "r"(value), "r"((uint64_t)field));
	VMX_CHECK(failed, "no VMCS is current, or it has no field %04x to write", field);
}

/* Those that take the address of a variable with a machine address in it. */
#define VMX_OF_ADDRESS(name)                                                           \
	static inline void vmx_##name(uint64_t at)                                     \
	{                                                                              \
		bool failed;                                                           \
                                                                                       \
		__asm__ volatile(#name " %1" : "=@ccbe"(failed) : "m"(at) : "memory"); \
		VMX_CHECK(failed, #name " of %lx failed", at);                         \
	}
VMX_OF_ADDRESS(vmxon)
VMX_OF_ADDRESS(vmclear)
VMX_OF_ADDRESS(vmptrld)

static inline void
vmx_vmxoff(void)
{
	bool failed;

	__asm__ volatile("vmxoff" : "=@ccbe"(failed) : : "memory");
	VMX_CHECK(failed, "vmxoff failed");
}

/*
 * SDM 3C 31.3 "INVEPT", "INVVPID": what the CPU has kept of the tables below an EPT pointer, or of
 * a VPID (type 1), or of all (type 2; of VPIDs, all but the host's).
 */
enum vmx_invalidate { INVALIDATE_ONE = 1, INVALIDATE_ALL };
#define VMX_INVALIDATE(name)                                                 \
	static inline void vmx_##name(enum vmx_invalidate type, uint64_t of) \
	{                                                                    \
		const uint64_t descriptor[2] = { of, 0 };                    \
		bool failed;                                                 \
                                                                             \
		__asm__ volatile(#name " %1, %2"                             \
				 : "=@ccbe"(failed)                          \
				 : "m"(descriptor), "r"((uint64_t)type)      \
				 : "memory");                                \
		VMX_CHECK(failed, #name " failed");                          \
	}
VMX_INVALIDATE(invept)
VMX_INVALIDATE(invvpid)
