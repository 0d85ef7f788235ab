/*
 * The opcode maps (SDM 2D appendix A "Opcode Map"; AMD's own opcodes from APM 3 appendix A).
 *
 * One entry per opcode: the instruction, attributes, operands, as vmm/x86/decode_table.h spells
 * them. An opcode that is missing is undefined. INSN_OTHER with the form E has a ModR/M byte, with
 * Ib a byte more.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023; APM = AMD APM 24594 rev 3.34 (volume 3).
 */
#include <vmm/x86/decode_table.h>

/* clang-format off */

#define I(name, attributes, ...)                                                                   \
	{ .op = INSN_##name, .attr = (attributes), .form = { __VA_ARGS__ } }
#define G(group, attributes, ...)                                                                  \
	{ .op = (group), .attr = (attributes) | GRP, .form = { __VA_ARGS__ } }

/* The six forms that all eight of add or adc sbb and sub xor cmp have. */
#define ALU(base, name, lock)                                                                      \
	[(base)] = I(name, lock, Eb, Gb), [(base) + 1] = I(name, lock, Ev, Gv),                    \
	[(base) + 2] = I(name, 0, Gb, Eb), [(base) + 3] = I(name, 0, Gv, Ev),                      \
	[(base) + 4] = I(name, 0, AL, Ib), [(base) + 5] = I(name, 0, rAX, Iz)

/* One byte (SDM 2D table A-2). The prefixes, and 0f, never get here. */
const struct opcode map_1byte[256] = {
	ALU(0x00, ADD, LOCK), ALU(0x08, OR, LOCK), ALU(0x10, ADC, LOCK), ALU(0x18, SBB, LOCK),
	ALU(0x20, AND, LOCK), ALU(0x28, SUB, LOCK), ALU(0x30, XOR, LOCK), ALU(0x38, CMP, 0),
	[0x06] = I(PUSH_SEG, NO64, FSEG), [0x07] = I(POP_SEG, NO64, FSEG),
	[0x0e] = I(PUSH_SEG, NO64, FSEG),
	[0x16] = I(PUSH_SEG, NO64, FSEG), [0x17] = I(POP_SEG, NO64, FSEG),
	[0x1e] = I(PUSH_SEG, NO64, FSEG), [0x1f] = I(POP_SEG, NO64, FSEG),
	[0x27] = I(DAA, NO64), [0x2f] = I(DAS, NO64), [0x37] = I(AAA, NO64), [0x3f] = I(AAS, NO64),
	[0x40 ... 0x47] = I(INC, NO64, Zv),
	[0x48 ... 0x4f] = I(DEC, NO64, Zv),
	[0x50 ... 0x57] = I(PUSH, D64, Zv),
	[0x58 ... 0x5f] = I(POP, D64, Zv),
	[0x60] = I(PUSHA, NO64), [0x61] = I(POPA, NO64),
	[0x62] = I(BOUND, NO64, Gv, M),
	[0x63] = I(ARPL, NO64, Ew, Gw), /* movsxd in 64-bit mode: see resolve() */
	[0x68] = I(PUSH, D64, Iz), [0x69] = I(IMUL2, 0, Gv, Ev, Iz),
	[0x6a] = I(PUSH, D64, sIb), [0x6b] = I(IMUL2, 0, Gv, Ev, sIb),
	[0x6c] = I(INS, 0, Yb, DX), [0x6d] = I(INS, 0, Yz, DX),
	[0x6e] = I(OUTS, 0, DX, Xb), [0x6f] = I(OUTS, 0, DX, Xz),
	[0x70 ... 0x7f] = I(JCC, F64 | CC, Jb),
	[0x80] = G(GRP1, 0, Eb, Ib), [0x81] = G(GRP1, 0, Ev, Iz),
	[0x82] = G(GRP1, NO64, Eb, Ib), [0x83] = G(GRP1, 0, Ev, sIb),
	[0x84] = I(TEST, 0, Eb, Gb), [0x85] = I(TEST, 0, Ev, Gv),
	[0x86] = I(XCHG, LOCK, Eb, Gb), [0x87] = I(XCHG, LOCK, Ev, Gv),
	[0x88] = I(MOV, 0, Eb, Gb), [0x89] = I(MOV, 0, Ev, Gv),
	[0x8a] = I(MOV, 0, Gb, Eb), [0x8b] = I(MOV, 0, Gv, Ev),
	[0x8c] = I(MOV_FROM_SEG, 0, Vw, Sw), [0x8d] = I(LEA, 0, Gv, M),
	[0x8e] = I(MOV_TO_SEG, 0, Sw, Ew), [0x8f] = G(GRP1A, 0, Ev),
	[0x90 ... 0x97] = I(XCHG, 0, Zv, rAX), /* 90 is nop: see resolve() */
	[0x98] = I(CBW, 0), [0x99] = I(CWD, 0),
	[0x9a] = I(CALL_FAR, NO64, Ap),
	[0x9b] = I(OTHER, 0), /* fwait */
	[0x9c] = I(PUSHF, D64), [0x9d] = I(POPF, D64), [0x9e] = I(SAHF, 0), [0x9f] = I(LAHF, 0),
	[0xa0] = I(MOV, 0, AL, Ob), [0xa1] = I(MOV, 0, rAX, Ov),
	[0xa2] = I(MOV, 0, Ob, AL), [0xa3] = I(MOV, 0, Ov, rAX),
	[0xa4] = I(MOVS, 0, Yb, Xb), [0xa5] = I(MOVS, 0, Yv, Xv),
	[0xa6] = I(CMPS, 0, Xb, Yb), [0xa7] = I(CMPS, 0, Xv, Yv),
	[0xa8] = I(TEST, 0, AL, Ib), [0xa9] = I(TEST, 0, rAX, Iz),
	[0xaa] = I(STOS, 0, Yb, AL), [0xab] = I(STOS, 0, Yv, rAX),
	[0xac] = I(LODS, 0, AL, Xb), [0xad] = I(LODS, 0, rAX, Xv),
	[0xae] = I(SCAS, 0, AL, Yb), [0xaf] = I(SCAS, 0, rAX, Yv),
	[0xb0 ... 0xb7] = I(MOV, 0, Zb, Ib),
	[0xb8 ... 0xbf] = I(MOV, 0, Zv, Iv),
	[0xc0] = G(GRP2, 0, Eb, Ib), [0xc1] = G(GRP2, 0, Ev, Ib),
	[0xc2] = I(RET, F64, Iw), [0xc3] = I(RET, F64),
	[0xc4] = I(LES, NO64, Gv, M), [0xc5] = I(LDS, NO64, Gv, M),
	[0xc6] = G(GRP11B, 0, Eb, Ib), [0xc7] = G(GRP11V, 0, Ev, Iz),
	[0xc8] = I(ENTER, D64, Iw, I2b), [0xc9] = I(LEAVE, D64),
	[0xca] = I(RETF, 0, Iw), [0xcb] = I(RETF, 0),
	[0xcc] = I(INT3, 0), [0xcd] = I(INT, 0, Ib), [0xce] = I(INTO, NO64), [0xcf] = I(IRET, 0),
	[0xd0] = G(GRP2, 0, Eb, ONE), [0xd1] = G(GRP2, 0, Ev, ONE),
	[0xd2] = G(GRP2, 0, Eb, CL), [0xd3] = G(GRP2, 0, Ev, CL),
	[0xd4] = I(AAM, NO64, Ib), [0xd5] = I(AAD, NO64, Ib),
	[0xd6] = I(SALC, NO64), [0xd7] = I(XLAT, 0, AL, BXAL),
	[0xd8 ... 0xdf] = I(OTHER, 0, E), /* x87 */
	[0xe0] = I(LOOPNE, F64, Jb), [0xe1] = I(LOOPE, F64, Jb), [0xe2] = I(LOOP, F64, Jb),
	[0xe3] = I(JCXZ, F64, Jb),
	[0xe4] = I(IN, 0, AL, Ib), [0xe5] = I(IN, 0, eAX, Ib),
	[0xe6] = I(OUT, 0, Ib, AL), [0xe7] = I(OUT, 0, Ib, eAX),
	[0xe8] = I(CALL, F64, Jz), [0xe9] = I(JMP, F64, Jz),
	[0xea] = I(JMP_FAR, NO64, Ap), [0xeb] = I(JMP, F64, Jb),
	[0xec] = I(IN, 0, AL, DX), [0xed] = I(IN, 0, eAX, DX),
	[0xee] = I(OUT, 0, DX, AL), [0xef] = I(OUT, 0, DX, eAX),
	[0xf1] = I(INT1, 0), [0xf4] = I(HLT, 0), [0xf5] = I(CMC, 0),
	[0xf6] = G(GRP3B, 0, Eb), [0xf7] = G(GRP3V, 0, Ev),
	[0xf8] = I(CLC, 0), [0xf9] = I(STC, 0), [0xfa] = I(CLI, 0), [0xfb] = I(STI, 0),
	[0xfc] = I(CLD, 0), [0xfd] = I(STD, 0),
	[0xfe] = G(GRP4, 0, Eb), [0xff] = G(GRP5, 0, Ev),
};

/* 0f (SDM 2D table A-3). 38, 3a and 0f lead to other maps. */
const struct opcode map_0f[256] = {
	[0x00] = G(GRP6, 0), [0x01] = G(GRP7, 0),
	[0x02] = I(LAR, 0, Gv, Ew), [0x03] = I(LSL, 0, Gv, Ew),
	[0x05] = I(SYSCALL, 0), [0x06] = I(CLTS, 0), [0x07] = I(SYSRET, 0),
	[0x08] = I(INVD, 0), [0x09] = I(WBINVD, 0), [0x0b] = I(UD, 0),
	[0x0d] = I(NOP, 0, Ev), /* prefetchw */
	[0x0e] = I(OTHER, 0), /* femms */
	[0x10 ... 0x17] = I(OTHER, 0, E),
	[0x18 ... 0x1f] = I(NOP, 0, Ev), /* prefetch, hints; endbr, bnd* with CET, MPX off */
	[0x20] = I(MOV_FROM_CR, O64, Rn, Cn), [0x21] = I(MOV_FROM_DR, O64, Rn, Dn),
	[0x22] = I(MOV_TO_CR, O64, Cn, Rn), [0x23] = I(MOV_TO_DR, O64, Dn, Rn),
	[0x28 ... 0x2f] = I(OTHER, 0, E),
	[0x30] = I(WRMSR, 0), [0x31] = I(RDTSC, 0), [0x32] = I(RDMSR, 0), [0x33] = I(RDPMC, 0),
	[0x34] = I(SYSENTER, 0), [0x35] = I(SYSEXIT, 0), [0x37] = I(GETSEC, 0),
	[0x40 ... 0x4f] = I(CMOV, CC, Gv, Ev),
	[0x50] = I(OTHER, 0, U),
	[0x51 ... 0x6f] = I(OTHER, 0, E),
	[0x70] = I(OTHER, 0, E, Ib), [0x71 ... 0x73] = I(OTHER, 0, U, Ib),
	[0x74 ... 0x76] = I(OTHER, 0, E), [0x77] = I(OTHER, 0),
	[0x78] = I(VMX, PFX | O64, En, Gn), [0x79] = I(VMX, PFX | O64, Gn, En),
	[0x7c ... 0x7f] = I(OTHER, 0, E),
	[0x80 ... 0x8f] = I(JCC, F64 | CC, Jz),
	[0x90 ... 0x9f] = I(SETCC, CC, Eb),
	[0xa0] = I(PUSH_SEG, D64, FSEG), [0xa1] = I(POP_SEG, D64, FSEG),
	[0xa2] = I(CPUID, 0), [0xa3] = I(BT, 0, Ev, Gv),
	[0xa4] = I(SHLD, 0, Ev, Gv, Ib), [0xa5] = I(SHLD, 0, Ev, Gv, CL),
	[0xa8] = I(PUSH_SEG, D64, FSEG), [0xa9] = I(POP_SEG, D64, FSEG),
	[0xaa] = I(RSM, 0), [0xab] = I(BTS, LOCK, Ev, Gv),
	[0xac] = I(SHRD, 0, Ev, Gv, Ib), [0xad] = I(SHRD, 0, Ev, Gv, CL),
	[0xae] = G(GRP15, PFX), [0xaf] = I(IMUL2, 0, Gv, Gv, Ev),
	[0xb0] = I(CMPXCHG, LOCK, Eb, Gb), [0xb1] = I(CMPXCHG, LOCK, Ev, Gv),
	[0xb2] = I(LSS, 0, Gv, M), [0xb3] = I(BTR, LOCK, Ev, Gv),
	[0xb4] = I(LFS, 0, Gv, M), [0xb5] = I(LGS, 0, Gv, M),
	[0xb6] = I(MOVZX, 0, Gv, Eb), [0xb7] = I(MOVZX, 0, Gv, Ew),
	[0xb8] = I(NONE, PFX), [0xb9] = I(UD, 0, Ev),
	[0xba] = G(GRP8, 0, Ev, Ib), [0xbb] = I(BTC, LOCK, Ev, Gv),
	[0xbc] = I(BSF, PFX, Gv, Ev), [0xbd] = I(BSR, PFX, Gv, Ev),
	[0xbe] = I(MOVSX, 0, Gv, Eb), [0xbf] = I(MOVSX, 0, Gv, Ew),
	[0xc0] = I(XADD, LOCK, Eb, Gb), [0xc1] = I(XADD, LOCK, Ev, Gv),
	[0xc2] = I(OTHER, 0, E, Ib), [0xc3] = I(MOV, PFX, My, Gy), /* movnti */
	[0xc4] = I(OTHER, 0, E, Ib), [0xc5] = I(OTHER, 0, U, Ib), [0xc6] = I(OTHER, 0, E, Ib),
	[0xc7] = G(GRP9, PFX),
	[0xc8 ... 0xcf] = I(BSWAP, 0, Zv),
	[0xd0 ... 0xd6] = I(OTHER, 0, E), [0xd7] = I(OTHER, 0, U),
	[0xd8 ... 0xf6] = I(OTHER, 0, E), [0xf7] = I(OTHER, 0, U, DI), /* maskmovq */
	[0xf8 ... 0xfe] = I(OTHER, 0, E), [0xff] = I(UD, 0, Ev),
};

/* 0f 38 f0-ff; the rest of that map is vectors with ModR/M, and 0f 3a is that with a byte more. */
const struct opcode map_0f38_high[16] = {
	[0x0] = I(MOVBE, PFX, Gv, Mv), [0x1] = I(MOVBE, PFX, Mv, Gv),
	[0x5] = I(NONE, PFX), [0x6] = I(OTHER, PFX, E),
	[0x9] = I(OTHER, 0, M),
	[0xc] = I(OTHER, 0, U), [0xd] = I(OTHER, 0, U),
};

/* Instructions that f3, f2 or 66 make of an opcode with PFX; f3 and f2 are stronger than 66. */
const struct prefixed prefixed[] = {
	{ MAP_0F, 0x78, PFX_OSIZE, I(OTHER, 0, U, Ib, I2b) }, /* extrq (APM 4) */
	{ MAP_0F, 0x78, PFX_REPNE, I(OTHER, 0, U, Ib, I2b) }, /* insertq */
	{ MAP_0F, 0x79, PFX_OSIZE, I(OTHER, 0, U) },
	{ MAP_0F, 0x79, PFX_REPNE, I(OTHER, 0, U) },
	{ MAP_0F, 0xae, PFX_REP, G(GRP15_F3, 0) },
	{ MAP_0F, 0xae, PFX_REPNE, G(GRP15_66, 0) },
	{ MAP_0F, 0xae, PFX_OSIZE, G(GRP15_66, 0) },
	{ MAP_0F, 0xb8, PFX_REP, I(POPCNT, 0, Gv, Ev) },
	{ MAP_0F, 0xbc, PFX_REP, I(TZCNT, 0, Gv, Ev) },
	{ MAP_0F, 0xbd, PFX_REP, I(LZCNT, 0, Gv, Ev) },
	{ MAP_0F, 0xc3, PFX_REP, I(NONE, 0) },
	{ MAP_0F, 0xc3, PFX_REPNE, I(NONE, 0) },
	{ MAP_0F, 0xc3, PFX_OSIZE, I(NONE, 0) },
	{ MAP_0F, 0xc7, PFX_REP, G(GRP9_F3, 0) },
	{ MAP_0F38, 0x80, PFX_OSIZE, I(VMX, O64, Gn, M) }, /* invept */
	{ MAP_0F38, 0x81, PFX_OSIZE, I(VMX, O64, Gn, M) }, /* invvpid */
	{ MAP_0F38, 0x82, PFX_OSIZE, I(INVPCID, O64, Gn, M) },
	{ MAP_0F38, 0xf0, PFX_REP, I(NONE, 0) },
	{ MAP_0F38, 0xf1, PFX_REP, I(NONE, 0) },
	{ MAP_0F38, 0xf0, PFX_REPNE, I(CRC32, 0, Gy, Eb) },
	{ MAP_0F38, 0xf1, PFX_REPNE, I(CRC32, 0, Gy, Ev) },
	{ MAP_0F38, 0xf5, PFX_OSIZE, I(OTHER, 0, M) }, /* wruss */
	{ MAP_0F38, 0xf6, PFX_OSIZE, I(ADCX, 0, Gy, Ey) },
	{ MAP_0F38, 0xf6, PFX_REPNE, I(NONE, 0) },
	{ MAP_0F38, 0xf6, PFX_REP, I(ADOX, 0, Gy, Ey) },
};

const unsigned prefixed_count = sizeof(prefixed) / sizeof(prefixed[0]);

/* Groups: the ModR/M byte's reg field completes the opcode (SDM 2D table A-6). */

static const struct opcode grp1[8] = {
	I(ADD, LOCK), I(OR, LOCK), I(ADC, LOCK), I(SBB, LOCK),
	I(AND, LOCK), I(SUB, LOCK), I(XOR, LOCK), I(CMP, 0),
};

/*
 * 8f /1 to /7, c6 and c7 /1 to /7 are undefined. QEMU 7.2 takes them for /0: of that length, if
 * any.
 */
static const struct opcode grp1a[8] = { I(POP, D64), [1 ... 7] = I(UD, D64) };

/* /6 is undocumented by Intel, `shl` again in every CPU (APM 3 table A-6). */
static const struct opcode grp2[8] = {
	I(ROL, 0), I(ROR, 0), I(RCL, 0), I(RCR, 0), I(SHL, 0), I(SHR, 0), I(SHL, 0), I(SAR, 0),
};

static const struct opcode grp3b[8] = {
	I(TEST, 0, Eb, Ib), I(TEST, 0, Eb, Ib), I(NOT, LOCK), I(NEG, LOCK),
	I(MUL, 0), I(IMUL, 0), I(DIV, 0), I(IDIV, 0),
};

static const struct opcode grp3v[8] = {
	I(TEST, 0, Ev, Iz), I(TEST, 0, Ev, Iz), I(NOT, LOCK), I(NEG, LOCK),
	I(MUL, 0), I(IMUL, 0), I(DIV, 0), I(IDIV, 0),
};

static const struct opcode grp4[8] = { I(INC, LOCK), I(DEC, LOCK) };

static const struct opcode grp5[8] = {
	I(INC, LOCK), I(DEC, LOCK), I(CALL_IND, F64), I(CALL_FAR_IND, 0, M),
	I(JMP_IND, F64), I(JMP_FAR_IND, 0, M), I(PUSH, D64),
};

static const struct opcode grp6[8] = {
	I(SLDT, 0, Vw), I(STR, 0, Vw), I(LLDT, 0, Ew), I(LTR, 0, Ew),
	I(VERR, 0, Ew), I(VERW, 0, Ew),
};

static const struct opcode grp7_mem[8] = {
	I(SGDT, O64, M), I(SIDT, O64, M), I(LGDT, O64, M), I(LIDT, O64, M),
	I(SMSW, 0, Vw), I(OTHER, 0, M), I(LMSW, 0, Ew), I(INVLPG, 0, M),
};

static const struct opcode grp7_reg[64] = {
	[000] = I(SGX, 0), /* enclv */
	[001] = I(VMCALL, 0),
	[002 ... 004] = I(VMX, 0), /* vmlaunch, vmresume, vmxoff */
	[006] = I(OTHER, ONLY64), /* wrmsrns */
	[010] = I(MONITOR, 0), [011] = I(MWAIT, 0), [012] = I(CLAC, 0), [013] = I(STAC, 0),
	[017] = I(SGX, 0), /* encls */
	[020] = I(XGETBV, 0), [021] = I(XSETBV, 0),
	[024] = I(VMX, 0), /* vmfunc */
	[027] = I(SGX, 0), /* enclu */
	[030] = I(SVM, 0), /* vmrun */
	[031] = I(VMMCALL, 0),
	[032 ... 037] = I(SVM, 0), /* vmload, vmsave, stgi, clgi, skinit, invlpga */
	[040 ... 047] = I(SMSW, 0, Vw),
	[050 ... 052] = I(OTHER, 0), /* serialize, shadow stacks */
	[054 ... 055] = I(OTHER, 0), /* user interrupts */
	[056] = I(RDPKRU, 0), [057] = I(WRPKRU, 0),
	[060 ... 067] = I(LMSW, 0, Ew),
	[070] = I(SWAPGS, ONLY64), [071] = I(RDTSCP, 0),
	[072] = I(MONITOR, 0), [073] = I(MWAIT, 0), /* monitorx, mwaitx */
	[075] = I(OTHER, 0), /* rdpru */
	[076 ... 077] = I(SVM, 0), /* invlpgb, tlbsync */
};

static const struct opcode grp8[8] = {
	[4] = I(BT, 0), I(BTS, LOCK), I(BTR, LOCK), I(BTC, LOCK),
};

static const struct opcode grp9_mem[8] = {
	[1] = I(CMPXCHG8B, LOCK, M),
	[3] = I(XRSTORS, 0, M), [4] = I(OTHER, 0, M), [5] = I(XSAVES, 0, M),
	[6] = I(VMX, 0, M), [7] = I(VMX, 0, M), /* vmptrld, vmclear, vmptrst */
};

static const struct opcode grp9_reg[8] = {
	[6] = I(OTHER, 0, Ev), [7] = I(OTHER, 0, Ev), /* rdrand, rdseed */
};

static const struct opcode grp9_f3_mem[8] = {
	[1] = I(CMPXCHG8B, LOCK, M), [3] = I(XRSTORS, 0, M), [4] = I(OTHER, 0, M),
	[5] = I(XSAVES, 0, M), [6] = I(VMX, 0, M), /* vmxon */ [7] = I(VMX, 0, M),
};

static const struct opcode grp9_f3_reg[8] = {
	[6] = I(OTHER, ONLY64, U), /* senduipi */
	[7] = I(RDPID, 0, Un),
};

/*
 * c6 f8 and c7 f8 are xabort, and xbegin, which is a branch: a CPU with TSX must not see them
 * copied.
 */
static const struct opcode grp11b[8] = { I(MOV, 0), [1 ... 7] = I(UD, 0) };
static const struct opcode grp11v[8] = { I(MOV, 0), [1 ... 7] = I(UD, 0) };
static const struct opcode grp11b_reg[64] = {
	[000 ... 007] = I(MOV, 0), [010 ... 067] = I(UD, 0), [071 ... 077] = I(UD, 0),
};
static const struct opcode grp11v_reg[64] = {
	[000 ... 007] = I(MOV, 0), [010 ... 067] = I(UD, 0), [071 ... 077] = I(UD, 0),
};

static const struct opcode grp15_mem[8] = { [0 ... 7] = I(OTHER, 0, M) };
static const struct opcode grp15_reg[8] = { [5 ... 7] = I(NOP, 0) }; /* fences */
static const struct opcode grp15_f3_reg[8] = {
	[0 ... 3] = I(FSGSBASE, ONLY64, Uy), [4] = I(OTHER, 0, Uy), [5] = I(OTHER, 0, Uy),
};
static const struct opcode grp15_66_reg[8] = { [6] = I(OTHER, 0, U) }; /* tpause, umwait */

const struct group_table group_tables[GRP_COUNT] = {
	[GRP1] = { grp1, grp1, 7 },
	[GRP1A] = { grp1a, grp1a, 7 },
	[GRP2] = { grp2, grp2, 7 },
	[GRP3B] = { grp3b, grp3b, 7 },
	[GRP3V] = { grp3v, grp3v, 7 },
	[GRP4] = { grp4, grp4, 7 },
	[GRP5] = { grp5, grp5, 7 },
	[GRP6] = { grp6, grp6, 7 },
	[GRP7] = { grp7_mem, grp7_reg, 0x3f },
	[GRP8] = { grp8, grp8, 7 },
	[GRP9] = { grp9_mem, grp9_reg, 7 },
	[GRP9_F3] = { grp9_f3_mem, grp9_f3_reg, 7 },
	[GRP11B] = { grp11b, grp11b_reg, 0x3f },
	[GRP11V] = { grp11v, grp11v_reg, 0x3f },
	[GRP15] = { grp15_mem, grp15_reg, 7 },
	[GRP15_F3] = { grp15_mem, grp15_f3_reg, 7 },
	[GRP15_66] = { grp15_mem, grp15_66_reg, 7 },
};
