/*
 * x86 instructions, taken apart: 16, 32 and 64-bit code by one decoder.
 *
 * Pure C with no state of its own: the engines, the host tests and the fuzzer share it. The decoder
 * promises two things: the length of any instruction that a CPU would execute, and, for the integer
 * and system instructions, what it does to what. For the rest (x87, MMX, SSE) `op` is INSN_OTHER:
 * the length and the memory operand are right, but some CPU may know the encoding as #UD. None of
 * them is a branch, and none reaches memory but by that operand; maskmovq's is the one that no
 * ModR/M tells. VEX, EVEX, XOP, and TSX, CLZERO, MOVDIR64B, ENQCMD, UMONITOR are refused: no CPU
 * model of a guest has them.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023; APM = AMD APM 24594 rev 3.34 (volume 3).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/x86/state.h>

#define INSN_MAX_LEN 15 /* a longer one is #GP(0) (SDM 2A 2.3.11 "Average Instruction Length") */

/*
 * The default code size. MODE64_AMD differs from MODE64 in one thing: in 64-bit mode Intel's CPUs
 * ignore the operand size prefix on near branches, AMD's obey it (APM 3 "CALL (Near)"), so that the
 * displacement of `66 e8` has four bytes on the one and two on the other.
 */
enum cpu_mode { MODE16, MODE32, MODE64, MODE64_AMD };

/*
 * Instructions that a hypervisor may have to care about: privileged ones, ones that read or write
 * system state without being privileged, and all ways to load a segment register or change the
 * ring. emulate() leaves them to its caller. X(name, mnemonic).
 */
#define INSN_SENSITIVE_LIST(X)              \
	X(CLI, "cli")                       \
	X(STI, "sti")                       \
	X(HLT, "hlt")                       \
	X(IN, "in")                         \
	X(OUT, "out")                       \
	X(INS, "ins")                       \
	X(OUTS, "outs")                     \
	X(PUSHF, "pushf")                   \
	X(POPF, "popf")                     \
	X(IRET, "iret")                     \
	X(INT, "int")                       \
	X(INT3, "int3")                     \
	X(INTO, "into")                     \
	X(INT1, "int1")                     \
	X(LGDT, "lgdt")                     \
	X(LIDT, "lidt")                     \
	X(LLDT, "lldt")                     \
	X(LTR, "ltr")                       \
	X(SGDT, "sgdt")                     \
	X(SIDT, "sidt")                     \
	X(SLDT, "sldt")                     \
	X(STR, "str")                       \
	X(SMSW, "smsw")                     \
	X(LMSW, "lmsw")                     \
	X(CLTS, "clts")                     \
	X(MOV_FROM_CR, "mov from cr")       \
	X(MOV_TO_CR, "mov to cr")           \
	X(MOV_FROM_DR, "mov from dr")       \
	X(MOV_TO_DR, "mov to dr")           \
	X(INVLPG, "invlpg")                 \
	X(INVPCID, "invpcid")               \
	X(INVD, "invd")                     \
	X(WBINVD, "wbinvd")                 \
	X(RDMSR, "rdmsr")                   \
	X(WRMSR, "wrmsr")                   \
	X(RDTSC, "rdtsc")                   \
	X(RDTSCP, "rdtscp")                 \
	X(RDPMC, "rdpmc")                   \
	X(RDPID, "rdpid")                   \
	X(CPUID, "cpuid")                   \
	X(MOV_TO_SEG, "mov to segment")     \
	X(MOV_FROM_SEG, "mov from segment") \
	X(PUSH_SEG, "push segment")         \
	X(POP_SEG, "pop segment")           \
	X(LDS, "lds")                       \
	X(LES, "les")                       \
	X(LFS, "lfs")                       \
	X(LGS, "lgs")                       \
	X(LSS, "lss")                       \
	X(JMP_FAR, "jmp far")               \
	X(JMP_FAR_IND, "jmp far [mem]")     \
	X(CALL_FAR, "call far")             \
	X(CALL_FAR_IND, "call far [mem]")   \
	X(RETF, "retf")                     \
	X(LAR, "lar")                       \
	X(LSL, "lsl")                       \
	X(VERR, "verr")                     \
	X(VERW, "verw")                     \
	X(ARPL, "arpl")                     \
	X(SYSCALL, "syscall")               \
	X(SYSRET, "sysret")                 \
	X(SYSENTER, "sysenter")             \
	X(SYSEXIT, "sysexit")               \
	X(VMCALL, "vmcall")                 \
	X(VMMCALL, "vmmcall")               \
	X(VMX, "vmx instruction")           \
	X(SVM, "svm instruction")           \
	X(SGX, "sgx instruction")           \
	X(GETSEC, "getsec")                 \
	X(XGETBV, "xgetbv")                 \
	X(XSETBV, "xsetbv")                 \
	X(XSAVES, "xsaves")                 \
	X(XRSTORS, "xrstors")               \
	X(RDPKRU, "rdpkru")                 \
	X(WRPKRU, "wrpkru")                 \
	X(FSGSBASE, "rd/wr fs/gs base")     \
	X(MONITOR, "monitor")               \
	X(MWAIT, "mwait")                   \
	X(RSM, "rsm")                       \
	X(SWAPGS, "swapgs")                 \
	X(CLAC, "clac")                     \
	X(STAC, "stac")

/* General integer instructions: emulate() does them all. */
#define INSN_GENERAL_LIST(X)                               \
	X(UD, "ud")                                        \
	X(NOP, "nop")                                      \
	X(MOV, "mov")                                      \
	X(MOVZX, "movzx")                                  \
	X(MOVSX, "movsx")                                  \
	X(MOVBE, "movbe")                                  \
	X(LEA, "lea")                                      \
	X(XCHG, "xchg")                                    \
	X(BSWAP, "bswap")                                  \
	X(XLAT, "xlat")                                    \
	X(CMOV, "cmov")                                    \
	X(SETCC, "setcc")                                  \
	X(ADD, "add")                                      \
	X(OR, "or")                                        \
	X(ADC, "adc")                                      \
	X(SBB, "sbb")                                      \
	X(AND, "and")                                      \
	X(SUB, "sub")                                      \
	X(XOR, "xor")                                      \
	X(CMP, "cmp")                                      \
	X(TEST, "test")                                    \
	X(INC, "inc")                                      \
	X(DEC, "dec")                                      \
	X(NEG, "neg")                                      \
	X(NOT, "not")                                      \
	X(MUL, "mul")                                      \
	X(IMUL, "imul")  /* one operand: rDX:rAX */        \
	X(IMUL2, "imul") /* opnd[0] = opnd[1] * opnd[2] */ \
	X(DIV, "div")                                      \
	X(IDIV, "idiv")                                    \
	X(CBW, "cbw/cwde/cdqe")                            \
	X(CWD, "cwd/cdq/cqo")                              \
	X(ROL, "rol")                                      \
	X(ROR, "ror")                                      \
	X(RCL, "rcl")                                      \
	X(RCR, "rcr")                                      \
	X(SHL, "shl")                                      \
	X(SHR, "shr")                                      \
	X(SAR, "sar")                                      \
	X(SHLD, "shld")                                    \
	X(SHRD, "shrd")                                    \
	X(BT, "bt")                                        \
	X(BTS, "bts")                                      \
	X(BTR, "btr")                                      \
	X(BTC, "btc")                                      \
	X(BSF, "bsf")                                      \
	X(BSR, "bsr")                                      \
	X(TZCNT, "tzcnt")                                  \
	X(LZCNT, "lzcnt")                                  \
	X(POPCNT, "popcnt")                                \
	X(CRC32, "crc32")                                  \
	X(ADCX, "adcx")                                    \
	X(ADOX, "adox")                                    \
	X(CMPXCHG, "cmpxchg")                              \
	X(CMPXCHG8B, "cmpxchg8b/16b")                      \
	X(XADD, "xadd")                                    \
	X(PUSH, "push")                                    \
	X(POP, "pop")                                      \
	X(PUSHA, "pusha")                                  \
	X(POPA, "popa")                                    \
	X(ENTER, "enter")                                  \
	X(LEAVE, "leave")                                  \
	X(JMP, "jmp")                                      \
	X(JMP_IND, "jmp [rm]")                             \
	X(JCC, "jcc")                                      \
	X(JCXZ, "jcxz")                                    \
	X(LOOP, "loop")                                    \
	X(LOOPE, "loope")                                  \
	X(LOOPNE, "loopne")                                \
	X(CALL, "call")                                    \
	X(CALL_IND, "call [rm]")                           \
	X(RET, "ret")                                      \
	X(BOUND, "bound")                                  \
	X(MOVS, "movs")                                    \
	X(CMPS, "cmps")                                    \
	X(STOS, "stos")                                    \
	X(LODS, "lods")                                    \
	X(SCAS, "scas")                                    \
	X(DAA, "daa")                                      \
	X(DAS, "das")                                      \
	X(AAA, "aaa")                                      \
	X(AAS, "aas")                                      \
	X(AAM, "aam")                                      \
	X(AAD, "aad")                                      \
	X(SAHF, "sahf")                                    \
	X(LAHF, "lahf")                                    \
	X(SALC, "salc")                                    \
	X(CLC, "clc")                                      \
	X(STC, "stc")                                      \
	X(CMC, "cmc")                                      \
	X(CLD, "cld")                                      \
	X(STD, "std")

enum insn_op {
	INSN_NONE, /* never the result of a decode() that returned 0 */
#define X(name, mnemonic) INSN_##name,
	INSN_SENSITIVE_LIST(X) INSN_SENSITIVE_END,
	INSN_BEFORE_GENERAL = INSN_SENSITIVE_END - 1, /* no gap in the numbers */
	INSN_GENERAL_LIST(X)
#undef X
		INSN_OTHER, /* x87, MMX, SSE ...: length only */
	INSN_OP_COUNT
};

/* Opcode maps. */
enum insn_map {
	MAP_1BYTE,
	MAP_0F,
	MAP_0F38,
	MAP_0F3A,
	MAP_3DNOW = 4, /* 0f 0f: the opcode is the last byte */
};

/* Prefixes that were seen, whether or not they mean anything here. */
#define PFX_LOCK  0x01
#define PFX_REP   0x02 /* f3; of f2 and f3 the last one counts and only its bit is set */
#define PFX_REPNE 0x04 /* f2 */
#define PFX_OSIZE 0x08 /* 66 */
#define PFX_ASIZE 0x10 /* 67 */
#define PFX_REX   0x20

#define REX_B 1
#define REX_X 2
#define REX_R 4
#define REX_W 8

#define SEG_NONE 0xff
#define REG_NONE 0xff
#define BASE_RIP 0x10 /* as a base register only */

enum operand_kind {
	OPND_NONE,
	OPND_REG,   /* gpr `reg`, low `size` bytes */
	OPND_HIGH,  /* bits 15:8 of gpr `reg`: ah ch dh bh are 0..3 */
	OPND_MEM,   /* `size` bytes at mem_seg:insn_ea() */
	OPND_IMM,   /* insn.imm, already sign-extended where the instruction does so */
	OPND_IMM2,  /* insn.imm2: the selector of a far pointer, the level of enter */
	OPND_REL,   /* branch target: rip after this instruction + (int64_t)insn.imm */
	OPND_ONE,   /* the constant 1 of d0, d1 */
	OPND_ES_DI, /* `size` bytes at es:rDI: a string instruction's destination */
	OPND_SEG,   /* segment register `reg` (enum seg_reg) */
	OPND_CR,
	OPND_DR,
};

struct operand {
	uint8_t kind; /* enum operand_kind */
	uint8_t reg;
	uint8_t size; /* bytes; 0 where it depends (descriptor tables, INSN_OTHER, lea, invlpg) */
};

#define INSN_OPERANDS 3

struct insn {
	uint16_t op; /* enum insn_op */
	uint8_t len;
	uint8_t mode; /* enum cpu_mode as given */
	uint8_t map;  /* enum insn_map */
	uint8_t opcode;
	uint8_t prefixes;     /* PFX_* */
	uint8_t rex;          /* 0x40..0x4f, or 0 */
	uint8_t seg_override; /* enum seg_reg or SEG_NONE; es cs ss ds are dropped in 64-bit mode */
	uint8_t opsize;   /* 2, 4 or 8; for branches and stack operations after their own rules */
	uint8_t addrsize; /* 2, 4 or 8 */
	uint8_t cc;       /* jcc, setcc, cmov: the condition, 0..15 (SDM 1 appendix B) */

	bool has_modrm;
	uint8_t modrm, sib;   /* raw bytes; sib is 0 if there is none */
	uint8_t mod, reg, rm; /* reg and rm with the REX bits */

	/* The memory operand of ModR/M, moffs, xlat, maskmovq or a string instruction's source. */
	bool has_mem;
	uint8_t mem_seg;   /* after defaults and override */
	uint8_t mem_base;  /* enum gpr, BASE_RIP or REG_NONE */
	uint8_t mem_index; /* enum gpr or REG_NONE; a vector register for VSIB, never used here */
	uint8_t mem_scale; /* 1, 2, 4, 8 */
	uint64_t disp;     /* sign-extended */

	uint64_t imm, imm2;

	/* Where the parts are, for whoever rewrites the bytes; the size is 0 where there is none.
	 */
	uint8_t opcode_at; /* of the last opcode byte before ModR/M */
	uint8_t disp_at, disp_size;
	uint8_t imm_at, imm_size, imm2_size; /* imm2 follows imm */

	struct operand opnd[INSN_OPERANDS]; /* destination first, as in Intel's syntax */
};

/*
 * Takes the instruction apart that starts at bytes[0], of which n are readable.
 *   0         done
 *   -EINVAL   no CPU executes this: inject #UD. out->len is how far the decoder looked.
 *   -E2BIG    longer than 15 bytes: inject #GP(0)
 *   -ENODATA  n bytes are not enough; fetch more (or take the fetch's fault) and call again
 */
int decode(struct insn *out, const uint8_t *bytes, size_t n, enum cpu_mode mode);

/* The mnemonic of an enum insn_op; "?" for a number that is none. */
const char *insn_name(unsigned op);

static inline bool
insn_is_sensitive(unsigned op)
{
	return op > INSN_NONE && op < INSN_SENSITIVE_END;
}

/* Bytes of its memory operand, or else of a word that it moves to or from its stack. */
static inline unsigned
insn_memory(const struct insn *insn)
{
	for (unsigned i = 0; i < INSN_OPERANDS; i++)
		if (insn->opnd[i].kind == OPND_MEM || insn->opnd[i].kind == OPND_ES_DI)
			return insn->opnd[i].size;
	return insn->opsize;
}

/* A near branch: it changes rip, and no segment. */
static inline bool
insn_is_branch(unsigned op)
{
	switch (op) {
	case INSN_JMP:
	case INSN_JCC:
	case INSN_JCXZ:
	case INSN_LOOP:
	case INSN_LOOPE:
	case INSN_LOOPNE:
	case INSN_CALL:
	case INSN_JMP_IND:
	case INSN_CALL_IND:
	case INSN_RET:
		return true;
	default:
		return false;
	}
}
