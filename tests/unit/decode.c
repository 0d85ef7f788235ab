/* BUILD: vmm/x86/decode.c vmm/x86/decode_operand.c vmm/x86/decode_table.c */
/*
 * Story: encodings from the manual, written down by hand: what the decoder must make of each.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <string.h>

#include <inc/errno.h>
#include <vmm/x86/insn.h>

#include "tap.h"

#define B(...) { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ })

static const struct encoding {
	const char *what;
	enum cpu_mode mode;
	uint8_t bytes[16];
	uint8_t n;
	int error;
	uint16_t op;
	uint8_t opsize, addrsize;
} encodings[] = {
	/* clang-format off */
	/* What te lives on. */
	{ "cli", MODE32, B(0xfa), 0, INSN_CLI, 4, 4 },
	{ "sti", MODE32, B(0xfb), 0, INSN_STI, 4, 4 },
	{ "hlt", MODE32, B(0xf4), 0, INSN_HLT, 4, 4 },
	{ "in al, 0x60", MODE32, B(0xe4, 0x60), 0, INSN_IN, 4, 4 },
	{ "in eax, dx", MODE32, B(0xed), 0, INSN_IN, 4, 4 },
	{ "in ax, dx", MODE32, B(0x66, 0xed), 0, INSN_IN, 2, 4 },
	{ "out dx, al", MODE32, B(0xee), 0, INSN_OUT, 4, 4 },
	{ "out 0xf4, eax", MODE32, B(0xe7, 0xf4), 0, INSN_OUT, 4, 4 },
	{ "rep insd", MODE32, B(0xf3, 0x6d), 0, INSN_INS, 4, 4 },
	{ "rep outsb", MODE32, B(0xf3, 0x6e), 0, INSN_OUTS, 4, 4 },
	{ "pushfd", MODE32, B(0x9c), 0, INSN_PUSHF, 4, 4 },
	{ "popfw", MODE32, B(0x66, 0x9d), 0, INSN_POPF, 2, 4 },
	{ "popfq", MODE64, B(0x9d), 0, INSN_POPF, 8, 8 },
	{ "iretd", MODE32, B(0xcf), 0, INSN_IRET, 4, 4 },
	{ "iretq", MODE64, B(0x48, 0xcf), 0, INSN_IRET, 8, 8 },
	{ "int 0x80", MODE32, B(0xcd, 0x80), 0, INSN_INT, 4, 4 },
	{ "int3", MODE32, B(0xcc), 0, INSN_INT3, 4, 4 },
	{ "into", MODE32, B(0xce), 0, INSN_INTO, 4, 4 },
	{ "into in 64-bit mode", MODE64, B(0xce), -EINVAL, 0, 0, 0 },
	{ "int1", MODE32, B(0xf1), 0, INSN_INT1, 4, 4 },
	{ "lgdt [eax]", MODE32, B(0x0f, 0x01, 0x10), 0, INSN_LGDT, 4, 4 },
	{ "lgdt eax", MODE32, B(0x0f, 0x01, 0xd2), -EINVAL, 0, 0, 0 },
	{ "lidt [disp32]", MODE32, B(0x0f, 0x01, 0x1d, 1, 2, 3, 4), 0, INSN_LIDT, 4, 4 },
	{ "lgdt [rax] with 66", MODE64, B(0x66, 0x0f, 0x01, 0x10), 0, INSN_LGDT, 8, 8 },
	{ "sgdt [bx+si]", MODE16, B(0x0f, 0x01, 0x00), 0, INSN_SGDT, 2, 2 },
	{ "sidt [esp]", MODE32, B(0x0f, 0x01, 0x0c, 0x24), 0, INSN_SIDT, 4, 4 },
	{ "lldt ax", MODE32, B(0x0f, 0x00, 0xd0), 0, INSN_LLDT, 4, 4 },
	{ "ltr [eax]", MODE32, B(0x0f, 0x00, 0x18), 0, INSN_LTR, 4, 4 },
	{ "sldt eax", MODE32, B(0x0f, 0x00, 0xc0), 0, INSN_SLDT, 4, 4 },
	{ "str ax", MODE32, B(0x66, 0x0f, 0x00, 0xc8), 0, INSN_STR, 2, 4 },
	{ "verr ax", MODE32, B(0x0f, 0x00, 0xe0), 0, INSN_VERR, 4, 4 },
	{ "verw ax", MODE32, B(0x0f, 0x00, 0xe8), 0, INSN_VERW, 4, 4 },
	{ "smsw eax", MODE32, B(0x0f, 0x01, 0xe0), 0, INSN_SMSW, 4, 4 },
	{ "lmsw ax", MODE32, B(0x0f, 0x01, 0xf0), 0, INSN_LMSW, 4, 4 },
	{ "clts", MODE32, B(0x0f, 0x06), 0, INSN_CLTS, 4, 4 },
	{ "mov eax, cr0", MODE32, B(0x0f, 0x20, 0xc0), 0, INSN_MOV_FROM_CR, 4, 4 },
	{ "mov eax, cr0, mod 0", MODE32, B(0x0f, 0x20, 0x05), 0, INSN_MOV_FROM_CR, 4, 4 },
	{ "mov cr3, eax", MODE32, B(0x0f, 0x22, 0xd8), 0, INSN_MOV_TO_CR, 4, 4 },
	{ "mov cr1, eax", MODE32, B(0x0f, 0x22, 0xc8), -EINVAL, 0, 0, 0 },
	{ "mov cr8, rax", MODE64, B(0x44, 0x0f, 0x22, 0xc0), 0, INSN_MOV_TO_CR, 8, 8 },
	{ "mov eax, dr7", MODE32, B(0x0f, 0x21, 0xf8), 0, INSN_MOV_FROM_DR, 4, 4 },
	{ "mov dr0, eax", MODE32, B(0x0f, 0x23, 0xc0), 0, INSN_MOV_TO_DR, 4, 4 },
	{ "invlpg [eax+8]", MODE32, B(0x0f, 0x01, 0x78, 8), 0, INSN_INVLPG, 4, 4 },
	{ "invd", MODE32, B(0x0f, 0x08), 0, INSN_INVD, 4, 4 },
	{ "wbinvd", MODE32, B(0x0f, 0x09), 0, INSN_WBINVD, 4, 4 },
	{ "rdmsr", MODE32, B(0x0f, 0x32), 0, INSN_RDMSR, 4, 4 },
	{ "wrmsr", MODE32, B(0x0f, 0x30), 0, INSN_WRMSR, 4, 4 },
	{ "rdtsc", MODE32, B(0x0f, 0x31), 0, INSN_RDTSC, 4, 4 },
	{ "rdtscp", MODE32, B(0x0f, 0x01, 0xf9), 0, INSN_RDTSCP, 4, 4 },
	{ "rdpmc", MODE32, B(0x0f, 0x33), 0, INSN_RDPMC, 4, 4 },
	{ "cpuid", MODE32, B(0x0f, 0xa2), 0, INSN_CPUID, 4, 4 },
	{ "mov ds, ax", MODE32, B(0x8e, 0xd8), 0, INSN_MOV_TO_SEG, 4, 4 },
	{ "mov cs, ax", MODE32, B(0x8e, 0xc8), -EINVAL, 0, 0, 0 },
	{ "mov eax, ds", MODE32, B(0x8c, 0xd8), 0, INSN_MOV_FROM_SEG, 4, 4 },
	{ "mov eax, segment 7", MODE32, B(0x8c, 0xf8), -EINVAL, 0, 0, 0 },
	{ "push cs", MODE32, B(0x0e), 0, INSN_PUSH_SEG, 4, 4 },
	{ "pop ss", MODE32, B(0x17), 0, INSN_POP_SEG, 4, 4 },
	{ "push fs", MODE64, B(0x0f, 0xa0), 0, INSN_PUSH_SEG, 8, 8 },
	{ "les eax, [ecx]", MODE32, B(0xc4, 0x01), 0, INSN_LES, 4, 4 },
	{ "lds eax, [ecx]", MODE32, B(0xc5, 0x01), 0, INSN_LDS, 4, 4 },
	{ "lss esp, [ecx]", MODE32, B(0x0f, 0xb2, 0x21), 0, INSN_LSS, 4, 4 },
	{ "lfs eax, [ecx]", MODE32, B(0x0f, 0xb4, 0x01), 0, INSN_LFS, 4, 4 },
	{ "lgs eax, [ecx]", MODE32, B(0x0f, 0xb5, 0x01), 0, INSN_LGS, 4, 4 },
	{ "jmp 8:0x12345678", MODE32,
	  B(0xea, 0x78, 0x56, 0x34, 0x12, 8, 0), 0, INSN_JMP_FAR, 4, 4 },
	{ "call 0x8:0x1234", MODE16, B(0x9a, 0x34, 0x12, 8, 0), 0, INSN_CALL_FAR, 2, 2 },
	{ "jmp far [eax]", MODE32, B(0xff, 0x28), 0, INSN_JMP_FAR_IND, 4, 4 },
	{ "call far [eax]", MODE32, B(0xff, 0x18), 0, INSN_CALL_FAR_IND, 4, 4 },
	{ "call far eax", MODE32, B(0xff, 0xd8), -EINVAL, 0, 0, 0 },
	{ "retf", MODE32, B(0xcb), 0, INSN_RETF, 4, 4 },
	{ "retf 4", MODE32, B(0xca, 4, 0), 0, INSN_RETF, 4, 4 },
	{ "lar eax, ax", MODE32, B(0x0f, 0x02, 0xc0), 0, INSN_LAR, 4, 4 },
	{ "lsl eax, ax", MODE32, B(0x0f, 0x03, 0xc0), 0, INSN_LSL, 4, 4 },
	{ "arpl ax, cx", MODE32, B(0x63, 0xc8), 0, INSN_ARPL, 4, 4 },
	{ "movsxd rax, ecx", MODE64, B(0x48, 0x63, 0xc1), 0, INSN_MOVSX, 8, 8 },
	{ "syscall", MODE32, B(0x0f, 0x05), 0, INSN_SYSCALL, 4, 4 },
	{ "sysret", MODE64, B(0x48, 0x0f, 0x07), 0, INSN_SYSRET, 8, 8 },
	{ "sysenter", MODE32, B(0x0f, 0x34), 0, INSN_SYSENTER, 4, 4 },
	{ "sysexit", MODE32, B(0x0f, 0x35), 0, INSN_SYSEXIT, 4, 4 },
	{ "vmcall", MODE32, B(0x0f, 0x01, 0xc1), 0, INSN_VMCALL, 4, 4 },
	{ "vmmcall", MODE32, B(0x0f, 0x01, 0xd9), 0, INSN_VMMCALL, 4, 4 },
	{ "vmrun", MODE64, B(0x0f, 0x01, 0xd8), 0, INSN_SVM, 4, 8 },
	{ "vmxon [rax]", MODE64, B(0xf3, 0x0f, 0xc7, 0x30), 0, INSN_VMX, 4, 8 },
	{ "vmread rax, rcx", MODE64, B(0x0f, 0x78, 0xc8), 0, INSN_VMX, 8, 8 },
	{ "invept rax, [rcx]", MODE64, B(0x66, 0x0f, 0x38, 0x80, 0x01), 0, INSN_VMX, 8, 8 },
	{ "invpcid eax, [ecx]", MODE32, B(0x66, 0x0f, 0x38, 0x82, 0x01), 0, INSN_INVPCID, 2, 4 },
	{ "xgetbv", MODE32, B(0x0f, 0x01, 0xd0), 0, INSN_XGETBV, 4, 4 },
	{ "xsetbv", MODE32, B(0x0f, 0x01, 0xd1), 0, INSN_XSETBV, 4, 4 },
	{ "monitor", MODE32, B(0x0f, 0x01, 0xc8), 0, INSN_MONITOR, 4, 4 },
	{ "mwait", MODE32, B(0x0f, 0x01, 0xc9), 0, INSN_MWAIT, 4, 4 },
	{ "rsm", MODE32, B(0x0f, 0xaa), 0, INSN_RSM, 4, 4 },
	{ "swapgs", MODE64, B(0x0f, 0x01, 0xf8), 0, INSN_SWAPGS, 4, 8 },
	{ "swapgs in 32-bit mode", MODE32, B(0x0f, 0x01, 0xf8), -EINVAL, 0, 0, 0 },
	{ "clac", MODE32, B(0x0f, 0x01, 0xca), 0, INSN_CLAC, 4, 4 },
	{ "stac", MODE32, B(0x0f, 0x01, 0xcb), 0, INSN_STAC, 4, 4 },
	{ "ud2", MODE32, B(0x0f, 0x0b), 0, INSN_UD, 4, 4 },
	{ "rdfsbase rax", MODE64, B(0xf3, 0x48, 0x0f, 0xae, 0xc0), 0, INSN_FSGSBASE, 8, 8 },
	{ "rdpid rax", MODE64, B(0xf3, 0x0f, 0xc7, 0xf8), 0, INSN_RDPID, 4, 8 },
	{ "xsaves [eax]", MODE32, B(0x0f, 0xc7, 0x28), 0, INSN_XSAVES, 4, 4 },

	/* Sizes, prefixes, addressing. */
	{ "mov eax, imm32", MODE32, B(0xb8, 1, 2, 3, 4), 0, INSN_MOV, 4, 4 },
	{ "mov ax, imm16", MODE32, B(0x66, 0xb8, 1, 2), 0, INSN_MOV, 2, 4 },
	{ "mov rax, imm64", MODE64, B(0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8), 0, INSN_MOV, 8, 8 },
	{ "W beats 66", MODE64, B(0x66, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8), 0, INSN_MOV, 8, 8 },
	{ "REX before 66 is lost", MODE64, B(0x48, 0x66, 0xb8, 1, 2), 0, INSN_MOV, 2, 8 },
	{ "mov al, [moffs64]", MODE64, B(0xa0, 1, 2, 3, 4, 5, 6, 7, 8), 0, INSN_MOV, 4, 8 },
	{ "mov al, [moffs32]", MODE64, B(0x67, 0xa0, 1, 2, 3, 4), 0, INSN_MOV, 4, 4 },
	{ "mov al, [moffs16]", MODE32, B(0x67, 0xa0, 1, 2), 0, INSN_MOV, 4, 2 },
	{ "add [bp+2], ax", MODE16, B(0x01, 0x46, 2), 0, INSN_ADD, 2, 2 },
	{ "add [disp16], ax", MODE16, B(0x01, 0x06, 2, 3), 0, INSN_ADD, 2, 2 },
	{ "add [eax*8+disp32], ecx", MODE32, B(0x01, 0x0c, 0xc5, 1, 2, 3, 4), 0, INSN_ADD, 4, 4 },
	{ "sib with disp8", MODE32, B(0x01, 0x4c, 0x24, 4), 0, INSN_ADD, 4, 4 },
	{ "test byte [eax], imm8", MODE32, B(0xf6, 0x00, 1), 0, INSN_TEST, 4, 4 },
	{ "not byte [eax]", MODE32, B(0xf6, 0x10), 0, INSN_NOT, 4, 4 },
	{ "test dword [eax], imm32", MODE32, B(0xf7, 0x08, 1, 2, 3, 4), 0, INSN_TEST, 4, 4 },
	{ "enter 8, 1", MODE32, B(0xc8, 8, 0, 1), 0, INSN_ENTER, 4, 4 },
	{ "push qword", MODE64, B(0x68, 1, 2, 3, 4), 0, INSN_PUSH, 8, 8 },
	{ "push word", MODE64, B(0x66, 0x68, 1, 2), 0, INSN_PUSH, 2, 8 },
	{ "call with 66 on Intel", MODE64, B(0x66, 0xe8, 1, 2, 3, 4), 0, INSN_CALL, 8, 8 },
	{ "call with 66 on AMD", MODE64_AMD, B(0x66, 0xe8, 1, 2), 0, INSN_CALL, 2, 8 },
	{ "call with 66", MODE32, B(0x66, 0xe8, 1, 2), 0, INSN_CALL, 2, 4 },
	{ "nop", MODE64, B(0x90), 0, INSN_NOP, 4, 8 },
	{ "xchg r8d, eax", MODE64, B(0x41, 0x90), 0, INSN_XCHG, 4, 8 },
	{ "inc eax", MODE32, B(0x40), 0, INSN_INC, 4, 4 },
	{ "popcnt", MODE32, B(0xf3, 0x0f, 0xb8, 0xc1), 0, INSN_POPCNT, 4, 4 },
	{ "popcnt without f3", MODE32, B(0x0f, 0xb8, 0xc1), -EINVAL, 0, 0, 0 },
	{ "bsf", MODE32, B(0x0f, 0xbc, 0xc1), 0, INSN_BSF, 4, 4 },
	{ "tzcnt, f3 after f2", MODE32, B(0xf2, 0xf3, 0x0f, 0xbc, 0xc1), 0, INSN_TZCNT, 4, 4 },
	{ "crc32 eax, cx", MODE32, B(0x66, 0xf2, 0x0f, 0x38, 0xf1, 0xc1), 0, INSN_CRC32, 2, 4 },
	{ "movbe eax, [ecx]", MODE32, B(0x0f, 0x38, 0xf0, 0x01), 0, INSN_MOVBE, 4, 4 },
	{ "pop eax by 8f", MODE32, B(0x8f, 0xc0), 0, INSN_POP, 4, 4 },
	{ "8f /4", MODE32, B(0x8f, 0x60, 0x00), 0, INSN_UD, 4, 4 },
	{ "8f /1: XOP, which no guest has", MODE32, B(0x8f, 0xc8), 0, INSN_UD, 4, 4 },
	{ "c7 /1", MODE32, B(0xc7, 0xc8, 1, 2, 3, 4), 0, INSN_UD, 4, 4 },
	{ "fe /2", MODE32, B(0xfe, 0x10), -EINVAL, 0, 0, 0 },
	{ "lea eax, ecx", MODE32, B(0x8d, 0xc1), -EINVAL, 0, 0, 0 },
	{ "cmpxchg16b", MODE64, B(0x48, 0x0f, 0xc7, 0x08), 0, INSN_CMPXCHG8B, 8, 8 },
	{ "0f 04", MODE32, B(0x0f, 0x04), -EINVAL, 0, 0, 0 },

	/* Lock. */
	{ "lock add [eax], ecx", MODE32, B(0xf0, 0x01, 0x08), 0, INSN_ADD, 4, 4 },
	{ "lock add eax, ecx", MODE32, B(0xf0, 0x01, 0xc8), -EINVAL, 0, 0, 0 },
	{ "lock add ecx, [eax]", MODE32, B(0xf0, 0x03, 0x08), -EINVAL, 0, 0, 0 },
	{ "lock mov [eax], ecx", MODE32, B(0xf0, 0x89, 0x08), -EINVAL, 0, 0, 0 },
	{ "lock cmp [eax], ecx", MODE32, B(0xf0, 0x39, 0x08), -EINVAL, 0, 0, 0 },
	{ "lock bt [eax], ecx", MODE32, B(0xf0, 0x0f, 0xa3, 0x08), -EINVAL, 0, 0, 0 },
	{ "lock bts [eax], ecx", MODE32, B(0xf0, 0x0f, 0xab, 0x08), 0, INSN_BTS, 4, 4 },

	/* Only the length counts. */
	{ "fld qword [eax]", MODE32, B(0xdd, 0x00), 0, INSN_OTHER, 4, 4 },
	{ "pshufd", MODE32, B(0x66, 0x0f, 0x70, 0xc1, 3), 0, INSN_OTHER, 2, 4 },
	{ "emms", MODE32, B(0x0f, 0x77), 0, INSN_OTHER, 4, 4 },
	{ "palignr", MODE32, B(0x0f, 0x3a, 0x0f, 0xc1, 3), 0, INSN_OTHER, 4, 4 },
	{ "extrq imm, imm", MODE32, B(0x66, 0x0f, 0x78, 0xc1, 3, 4), 0, INSN_OTHER, 2, 4 },
	{ "3dnow pavgusb", MODE32, B(0x0f, 0x0f, 0xc1, 0xbf), 0, INSN_OTHER, 4, 4 },
	{ "vzeroupper", MODE32, B(0xc5, 0xf8, 0x77), -EINVAL, 0, 0, 0 },
	{ "vpalignr", MODE64, B(0xc4, 0xe3, 0x71, 0x0f, 0xc2, 3), -EINVAL, 0, 0, 0 },
	{ "evex vaddps zmm, zmm, [rax+disp8]", MODE64,
	  B(0x62, 0xf1, 0x7c, 0x48, 0x58, 0x40, 1), -EINVAL, 0, 0, 0 },
	{ "bound eax, [ecx]", MODE32, B(0x62, 0x01), 0, INSN_BOUND, 4, 4 },
	{ "xbegin", MODE32, B(0xc7, 0xf8, 1, 2, 3, 4), -EINVAL, 0, 0, 0 },
	{ "xabort", MODE32, B(0xc6, 0xf8, 1), -EINVAL, 0, 0, 0 },
	{ "jmpe", MODE32, B(0x0f, 0xb8, 1, 2, 3, 4), -EINVAL, 0, 0, 0 },
	{ "clzero", MODE32, B(0x0f, 0x01, 0xfc), -EINVAL, 0, 0, 0 },
	{ "movdir64b", MODE32, B(0x66, 0x0f, 0x38, 0xf8, 0x01), -EINVAL, 0, 0, 0 },
	{ "umonitor", MODE32, B(0xf3, 0x0f, 0xae, 0xf0), -EINVAL, 0, 0, 0 },

	/* Too long: fifteen bytes pass, sixteen do not. */
	{ "14 prefixes and nop", MODE32, B(0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	  0x66, 0x66, 0x66, 0x66, 0x66, 0x90), 0, INSN_NOP, 2, 4 },
	{ "15 prefixes", MODE32, B(0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	  0x66, 0x66, 0x66, 0x66, 0x66, 0x90), -E2BIG, 0, 0, 0 },
	/* clang-format on */
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Every shorter piece of a legal encoding must ask for more, and never look past its end. */
static bool
prefixes_ask_for_more(const struct encoding *e)
{
	struct insn insn;

	for (unsigned n = 0; n < e->n; n++) {
		uint8_t *exact = malloc(n ? n : 1);
		int error;

		memcpy(exact, e->bytes, n);
		error = decode(&insn, exact, n, e->mode);
		free(exact);
		if (error != -ENODATA) {
			diag("%s: %u of %u bytes give %d", e->what, n, e->n, error);
			return false;
		}
	}
	return true;
}

static void
check_encoding(const struct encoding *e)
{
	struct insn insn;
	int error = decode(&insn, e->bytes, e->n, e->mode);
	bool good = error == e->error;

	if (good && !error)
		good = insn.op == e->op && insn.len == e->n && insn.opsize == e->opsize &&
		       insn.addrsize == e->addrsize && prefixes_ask_for_more(e);
	if (!ok(good, "%s", e->what))
		diag("error %d op %s len %u opsize %u addrsize %u", error, insn_name(insn.op),
		     insn.len, insn.opsize, insn.addrsize);
}

static struct insn
decoded(enum cpu_mode mode, const uint8_t *bytes, size_t n)
{
	struct insn insn;

	if (decode(&insn, bytes, n, mode))
		bail_out("an encoding that must decode does not");
	return insn;
}

#define DECODED(mode, ...) \
	decoded(mode, (uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

static void
check_memory_operands(void)
{
	struct insn i;

	i = DECODED(MODE32, 0x8b, 0x44, 0x8d, 0xfc); /* mov eax, [ebp + ecx*4 - 4] */
	ok(i.has_mem && i.mem_seg == SEG_SS && i.mem_base == RBP && i.mem_index == RCX &&
		   i.mem_scale == 4 && i.disp == (uint64_t)-4,
	   "ebp as a base means ss; disp8 is sign-extended");
	i = DECODED(MODE32, 0x65, 0x8b, 0x44, 0x8d, 0xfc);
	ok(i.mem_seg == SEG_GS && i.seg_override == SEG_GS, "gs overrides it");
	i = DECODED(MODE64, 0x2e, 0x8b, 0x00);
	ok(i.mem_seg == SEG_DS && i.seg_override == SEG_NONE,
	   "cs overrides nothing in 64-bit mode");
	i = DECODED(MODE64, 0x8b, 0x05, 1, 0, 0, 0);
	ok(i.mem_base == BASE_RIP && i.disp == 1, "mod 0 rm 5 is relative to rip in 64-bit mode");
	i = DECODED(MODE32, 0x8b, 0x05, 1, 0, 0, 0);
	ok(i.mem_base == REG_NONE && i.disp == 1, "and absolute in 32-bit mode");
	i = DECODED(MODE64, 0x42, 0x8b, 0x04, 0x20); /* mov eax, [rax + r12] */
	ok(i.mem_index == R12 && i.mem_base == RAX, "r12 can be an index");
	i = DECODED(MODE64, 0x41, 0x8b, 0x04, 0x24); /* mov eax, [r12] */
	ok(i.mem_index == REG_NONE && i.mem_base == R12 && i.mem_seg == SEG_DS,
	   "r12 as a base is no rsp");
	i = DECODED(MODE16, 0x8b, 0x42, 0xff); /* mov ax, [bp + si - 1] */
	ok(i.mem_base == RBP && i.mem_index == RSI && i.mem_seg == SEG_SS, "[bp + si] is in ss");
	i = DECODED(MODE32, 0xa5);
	ok(i.opnd[0].kind == OPND_ES_DI && i.opnd[1].kind == OPND_MEM && i.mem_base == RSI &&
		   i.mem_seg == SEG_DS,
	   "movs: es:edi from ds:esi");
	i = DECODED(MODE32, 0x0f, 0x00, 0x00);
	ok(i.opnd[0].kind == OPND_MEM && i.opnd[0].size == 2, "sldt writes a word to memory");
}

static void
check_register_operands(void)
{
	struct insn i;

	i = DECODED(MODE32, 0x88, 0xe1); /* mov cl, ah */
	ok(i.opnd[0].kind == OPND_REG && i.opnd[0].reg == RCX && i.opnd[1].kind == OPND_HIGH &&
		   i.opnd[1].reg == RAX,
	   "byte register 4 is ah");
	i = DECODED(MODE64, 0x40, 0x88, 0xe1);
	ok(i.opnd[1].kind == OPND_REG && i.opnd[1].reg == RSP, "with REX it is spl");
	i = DECODED(MODE32, 0x83, 0xc0, 0xff);
	ok(i.opnd[0].size == 4 && i.opnd[1].kind == OPND_IMM && i.imm == (uint64_t)-1 &&
		   i.imm_size == 1 && i.imm_at == 2,
	   "83: an immediate byte, sign-extended");
	i = DECODED(MODE32, 0xea, 0x78, 0x56, 0x34, 0x92, 8, 0);
	ok((uint32_t)i.imm == 0x92345678 && i.imm2 == 8 && i.imm_size == 4 && i.imm2_size == 2,
	   "far pointer: offset, then selector");
	i = DECODED(MODE32, 0x0f, 0x22, 0xd9); /* mov cr3, ecx */
	ok(i.opnd[0].kind == OPND_CR && i.opnd[0].reg == 3 && i.opnd[1].reg == RCX, "mov cr3, ecx");
	i = DECODED(MODE32, 0x8e, 0xd0); /* mov ss, ax */
	ok(i.opnd[0].kind == OPND_SEG && i.opnd[0].reg == SEG_SS && i.opnd[1].size == 2,
	   "mov ss, ax");
	i = DECODED(MODE32, 0x0f, 0xa1); /* pop fs */
	ok(i.opnd[0].kind == OPND_SEG && i.opnd[0].reg == SEG_FS, "pop fs");
	i = DECODED(MODE32, 0x1f); /* pop ds */
	ok(i.opnd[0].kind == OPND_SEG && i.opnd[0].reg == SEG_DS, "pop ds");
	i = DECODED(MODE64, 0x48, 0xed); /* in eax, dx */
	ok(i.opnd[0].size == 4, "in has four bytes at most");
	i = DECODED(MODE32, 0x0f, 0x8f, 0xfe, 0xff, 0xff, 0xff);
	ok(i.op == INSN_JCC && i.cc == 15 && i.opnd[0].kind == OPND_REL && i.imm == (uint64_t)-2,
	   "jg back by two");
}

static void
check_names(void)
{
	unsigned missing = 0;

	for (unsigned op = INSN_NONE + 1; op < INSN_OP_COUNT; op++)
		missing += insn_name(op)[0] == '?';
	ok(missing == 0, "every op has a name");
	ok(insn_name(INSN_OP_COUNT)[0] == '?' && insn_name(INSN_NONE)[0] == '?',
	   "nothing else has");
	ok(insn_is_sensitive(INSN_CLI) && insn_is_sensitive(INSN_STAC) &&
		   !insn_is_sensitive(INSN_UD) && !insn_is_sensitive(INSN_OTHER) &&
		   !insn_is_sensitive(INSN_NONE),
	   "sensitive ops are told apart");
}

int
main(void)
{
	for (unsigned i = 0; i < COUNT(encodings); i++)
		check_encoding(&encodings[i]);
	check_memory_operands();
	check_register_operands();
	check_names();
	return done_testing();
}
