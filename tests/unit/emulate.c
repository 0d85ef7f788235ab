/*
 * BUILD: vmm/x86/decode.c vmm/x86/decode_operand.c vmm/x86/decode_table.c vmm/x86/emulate.c
 * vmm/x86/emulate_access.c vmm/x86/emulate_alu.c vmm/x86/emulate_bcd.c vmm/x86/emulate_bits.c
 * vmm/x86/emulate_move.c vmm/x86/emulate_stack.c vmm/x86/emulate_string.c
 */
/*
 * Story: what a CPU can't be asked in user mode. 16-bit code and stacks, wrapping addresses,
 * faults from memory and what they must leave alone, far pointers and descriptor tables, what is
 * left to the caller.
 */
#include <string.h>

#include <inc/errno.h>
#include <vmm/x86/emulate.h>

#include "tap.h"
#include "gen.h"

#define MEMORY 0x10000

static struct {
	uint8_t bytes[MEMORY + 16];
	unsigned accesses, fail_at; /* fail_at: the access that faults, from 1; 0: none */
	unsigned writes, rmws;
	enum seg_reg last_seg;
	uint64_t last_offset;
} memory;

static int
access_memory(enum seg_reg seg, uint64_t offset, struct emu_fault *fault)
{
	memory.last_seg = seg;
	memory.last_offset = offset;
	if (++memory.accesses != memory.fail_at)
		return 0;
	*fault = (struct emu_fault){
		.vector = VEC_PF, .has_error = true, .error = 2, .address = offset
	};
	return -EFAULT;
}

static int
memory_read(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	    struct emu_fault *fault)
{
	(void)ctx;
	if (access_memory(seg, offset, fault))
		return -EFAULT;
	memcpy(buf, memory.bytes + offset % MEMORY, size);
	return 0;
}

static int
memory_read_rmw(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
		struct emu_fault *fault)
{
	memory.rmws++;
	return memory_read(ctx, seg, offset, buf, size, fault);
}

static int
memory_write(void *ctx, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
	     struct emu_fault *fault)
{
	(void)ctx;
	if (access_memory(seg, offset, fault))
		return -EFAULT;
	memory.writes++;
	memcpy(memory.bytes + offset % MEMORY, buf, size);
	return 0;
}

static const struct emu_ops ops = { memory_read, memory_write, memory_read_rmw };

static struct cpu_state state;
static struct emu_fault fault;
static struct insn insn;

/* A flat 16, 32 or 64-bit machine; registers hold 0x1000, 0x1100 ... */
static void
reset(enum cpu_mode mode)
{
	memset(&memory, 0, sizeof(memory));
	memset(&state, 0, sizeof(state));
	for (unsigned i = 0; i < GPR_COUNT; i++)
		state.gpr[i] = 0x1000 + 0x100 * i;
	state.rip = 0x100;
	state.rflags = FLAG_ONE;
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		state.seg[i].limit = mode == MODE16 ? 0xffff : 0xffffffff;
		state.seg[i].attr = 0x93 | (mode == MODE16 ? 0 : ATTR_DB | ATTR_G);
	}
	if (mode != MODE16)
		state.cr0 = CR0_PE;
	if (mode >= MODE64) {
		state.efer = EFER_LMA;
		state.seg[SEG_CS].attr = 0x9b | ATTR_L | ATTR_G;
	}
}

static enum emu_result
run(const uint8_t *bytes, size_t n)
{
	if (decode(&insn, bytes, n, cpu_mode_of(&state)))
		bail_out("bytes that must decode do not");
	return emulate(&state, &insn, &ops, NULL, &fault);
}

#define RUN(...) run((uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

static void
put32(unsigned at, uint32_t value)
{
	memcpy(memory.bytes + at, &value, 4);
}

static uint32_t
get32(unsigned at)
{
	uint32_t value;

	memcpy(&value, memory.bytes + at, 4);
	return value;
}

static void
check_modes(void)
{
	reset(MODE16);
	ok(cpu_mode_of(&state) == MODE16 && stack_size_of(&state) == 2, "real mode is 16-bit");
	reset(MODE32);
	ok(cpu_mode_of(&state) == MODE32 && stack_size_of(&state) == 4, "CS.D and SS.B: 32-bit");
	state.seg[SEG_SS].attr &= ~ATTR_DB;
	ok(stack_size_of(&state) == 2, "a 16-bit stack under 32-bit code");
	state.rflags |= FLAG_VM;
	ok(cpu_mode_of(&state) == MODE16, "virtual-8086 mode is 16-bit");
	reset(MODE64);
	ok(cpu_mode_of(&state) == MODE64 && stack_size_of(&state) == 8, "CS.L: 64-bit");
	state.seg[SEG_CS].attr = 0x9b | ATTR_DB;
	ok(cpu_mode_of(&state) == MODE32, "compatibility mode is 32-bit");
}

static void
check_16_bit(void)
{
	reset(MODE16);
	state.gpr[RBX] = 0xfff0;
	state.gpr[RSI] = 0x20;
	RUN(0x8b, 0x40, 0x04); /* mov ax, [bx + si + 4] */
	ok(memory.last_offset == 0x14 && memory.last_seg == SEG_DS, "[bx + si] wraps at 64 KiB");
	state.gpr[RSP] = 0xabcd0000;
	ok(RUN(0x50) == EMU_OK && state.gpr[RSP] == 0xabcdfffe && memory.last_offset == 0xfffe &&
		   memory.last_seg == SEG_SS,
	   "push wraps sp and leaves esp's upper half");
	state.gpr[RCX] = 0x10000;
	RUN(0xe3, 0x10); /* jcxz */
	ok(state.rip == 0x100 + 3 + 1 + 2 + 0x10, "jcxz looks at cx alone");
	state.rip = 0xfff0;
	ok(RUN(0xeb, 0x7f) == EMU_OK && state.rip == ((0xfff2 + 0x7f) & 0xffff), "jmp wraps ip");
	ok(RUN(0x66, 0xb8, 1, 2, 3, 4) == EMU_OK && state.gpr[RAX] == 0x04030201,
	   "66 means 32 bits");
	state.gpr[RSI] = 0xffff;
	state.rflags |= FLAG_DF;
	RUN(0xac); /* lodsb */
	ok(state.gpr[RSI] == 0xfffe, "lodsb steps back with DF");
}

static void
check_branches(void)
{
	reset(MODE32);
	state.seg[SEG_CS].limit = 0x1ff;
	ok(RUN(0xe8, 0, 1, 0, 0) == EMU_FAULT && fault.vector == VEC_GP && fault.has_error &&
		   fault.error == 0 && state.rip == 0x100 && memory.writes == 0,
	   "call beyond the limit of cs: #GP(0), nothing pushed");
	ok(RUN(0x0f, 0x84, 0, 1, 0, 0) == EMU_OK && state.rip == 0x106,
	   "a jump not taken is no fault");
	state.rip = 0x100;
	put32(0x1400, 0x5000);
	ok(RUN(0xc3) == EMU_FAULT && state.gpr[RSP] == 0x1400, "ret likewise leaves esp");
	put32(0x1400, 0x180);
	ok(RUN(0xc2, 8, 0) == EMU_OK && state.rip == 0x180 && state.gpr[RSP] == 0x140c, "ret 8");
	state.gpr[RCX] = 1;
	ok(RUN(0xe2, 0x10) == EMU_OK && state.rip == 0x182 && state.gpr[RCX] == 0,
	   "loop ends at 0");
	reset(MODE64);
	state.gpr[RAX] = 1ull << 47;
	ok(RUN(0xff, 0xe0) == EMU_FAULT && fault.vector == VEC_GP,
	   "jmp to no canonical address: #GP");
	reset(MODE64);
	ok(RUN(0x8b, 0x05, 0x10, 0, 0, 0) == EMU_OK && memory.last_offset == 0x116,
	   "rip-relative counts from the next instruction");
}

static void
check_results(void)
{
	static const uint8_t nop[] = { 0x90 };

	reset(MODE32);
	ok(RUN(0xfa) == EMU_SENSITIVE && state.rip == 0x100, "cli is left to the caller");
	ok(RUN(0x0f, 0x22, 0xc0) == EMU_SENSITIVE, "mov cr0 is, too");
	ok(RUN(0x0f, 0x58, 0xc0) == EMU_UNSUPPORTED && state.rip == 0x100, "addps is unsupported");
	ok(RUN(0x0f, 0x0b) == EMU_FAULT && fault.vector == VEC_UD && !fault.has_error,
	   "ud2 is #UD");
	state.gpr[RCX] = 0;
	ok(RUN(0xf7, 0xf1) == EMU_FAULT && fault.vector == VEC_DE && state.gpr[RAX] == 0x1000,
	   "division by 0 is #DE");
	put32(0x1000, 1);
	put32(0x1004, 2);
	ok(RUN(0x62, 0x08) == EMU_FAULT && fault.vector == VEC_BR, "bound: #BR below");
	state.rip = 0xffffffff;
	ok(run(nop, 1) == EMU_OK && state.rip == 0, "eip wraps at 4 GiB");
	insn.op = INSN_OP_COUNT;
	ok(emulate(&state, &insn, &ops, NULL, &fault) == EMU_UNSUPPORTED, "a number that is no op");
}

static void
check_repeat(void)
{
	reset(MODE32);
	state.gpr[RCX] = EMU_REP_MAX + 6;
	state.gpr[RDI] = 0x2000;
	state.gpr[RAX] = 0xaa;
	ok(RUN(0xf3, 0xaa) == EMU_AGAIN && state.rip == 0x100 && state.gpr[RCX] == 6 &&
		   state.gpr[RDI] == 0x2000 + EMU_REP_MAX,
	   "rep stosb stops after EMU_REP_MAX and stays");
	ok(RUN(0xf3, 0xaa) == EMU_OK && state.rip == 0x102 && state.gpr[RCX] == 0 &&
		   memory.bytes[0x2000 + EMU_REP_MAX + 5] == 0xaa &&
		   memory.bytes[0x2000 + EMU_REP_MAX + 6] == 0,
	   "called again it finishes");
	ok(RUN(0xf3, 0xaa) == EMU_OK && memory.bytes[0x2000 + EMU_REP_MAX + 6] == 0,
	   "rep with ecx = 0");
	reset(MODE32);
	state.gpr[RCX] = 10;
	memory.fail_at = 6; /* the third iteration's write */
	ok(RUN(0xf3, 0xa4) == EMU_FAULT && state.gpr[RCX] == 8 && state.gpr[RSI] == 0x1602 &&
		   state.gpr[RDI] == 0x1702 && state.rip == 0x100,
	   "a fault in rep movsb keeps the finished iterations");
	reset(MODE32);
	state.gpr[RCX] = 10;
	memory.bytes[0x1703] = 1;
	ok(RUN(0xf3, 0xa6) == EMU_OK && state.gpr[RCX] == 6 && !(state.rflags & FLAG_ZF),
	   "repe cmpsb ends where the strings differ");
	reset(MODE32);
	ok(RUN(0x65, 0xa4) == EMU_OK && memory.last_seg == SEG_ES,
	   "gs: overrides the source of movs only");
}

/* Runs an instruction once for each of its accesses, with that one failing. */
static void
check_atomic(const char *what, const uint8_t *bytes, size_t n, enum cpu_mode mode,
	     unsigned accesses)
{
	struct cpu_state before;
	bool good = true;

	for (unsigned i = 1; i <= accesses; i++) {
		reset(mode);
		memory.fail_at = i;
		before = state;
		good = good && run(bytes, n) == EMU_FAULT &&
		       !memcmp(&before, &state, sizeof(state)) && fault.vector == VEC_PF &&
		       fault.error == 2;
	}
	reset(mode);
	good = good && run(bytes, n) == EMU_OK && memory.accesses == accesses;
	if (!ok(good, "a fault in any of %u accesses leaves the state alone: %s", accesses, what))
		diag("%u accesses", memory.accesses);
}

#define ATOMIC(what, mode, accesses, ...)                                                        \
	check_atomic(what, (uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }), mode, \
		     accesses)

static void
check_faults(void)
{
	ATOMIC("add [eax], ecx", MODE32, 2, 0x01, 0x08);
	ATOMIC("xchg [eax], ecx", MODE32, 2, 0x87, 0x08);
	ATOMIC("xadd [eax], ecx", MODE32, 2, 0x0f, 0xc1, 0x08);
	ATOMIC("cmpxchg [ecx], edx", MODE32, 2, 0x0f, 0xb1, 0x11);
	ATOMIC("cmpxchg8b [ecx]", MODE32, 2, 0x0f, 0xc7, 0x09);
	ATOMIC("shld [ecx], edx, 3", MODE32, 2, 0x0f, 0xa4, 0x11, 3);
	ATOMIC("bts [ecx], edx", MODE32, 2, 0x0f, 0xab, 0x11);
	ATOMIC("push [ecx]", MODE32, 2, 0xff, 0x31);
	ATOMIC("pop [esp + 4]", MODE32, 2, 0x8f, 0x44, 0x24, 4);
	ATOMIC("call [ecx]", MODE32, 2, 0xff, 0x11);
	ATOMIC("pusha", MODE32, 8, 0x60);
	ATOMIC("popa", MODE32, 8, 0x61);
	ATOMIC("enter 16, 0", MODE32, 2, 0xc8, 16, 0, 0);
	ATOMIC("enter 16, 3", MODE32, 7, 0xc8, 16, 0, 3);
	ATOMIC("leave", MODE32, 1, 0xc9);
	ATOMIC("movsb", MODE32, 2, 0xa4);
	ATOMIC("cmpsd", MODE32, 2, 0xa7);
	ATOMIC("xlat", MODE32, 1, 0xd7);
	ATOMIC("not qword [rax]", MODE64, 2, 0x48, 0xf7, 0x10);
	reset(MODE32);
	RUN(0xff, 0x00); /* inc dword [eax] */
	ok(memory.rmws == 1, "inc reads through read_rmw");
	RUN(0x8b, 0x00);
	ok(memory.rmws == 1, "mov does not");
}

/* The property behind them, over random instructions with a random access failing. */
static void
check_random_faults(void)
{
	struct rng rng = { 0x5eed0031 };
	unsigned faults = 0, wrong = 0;

	for (unsigned i = 0; i < 400000; i++) {
		enum cpu_mode mode = rng_below(&rng, 3);
		struct cpu_state before;
		uint8_t bytes[16];

		gen_insn(&rng, bytes, mode);
		if (decode(&insn, bytes, 15, mode))
			continue;
		reset(mode);
		state.gpr[RCX] = 1;
		memory.fail_at = 1 + rng_below(&rng, 3);
		before = state;
		if (emulate(&state, &insn, &ops, NULL, &fault) != EMU_FAULT)
			continue;
		faults++;
		if (memcmp(&before, &state, sizeof(state)) && wrong++ < 5)
			diag("%s", insn_name(insn.op));
	}
	diag("seed 0x5eed0031: %u faults", faults);
	ok(faults > 10000 && wrong == 0, "random instructions that fault leave the state alone");
}

static void
check_tools(void)
{
	struct table_reg table;
	struct far_pointer far;
	uint64_t value;

	reset(MODE32);
	ok(RUN(0x0f, 0x01, 0x10) == EMU_SENSITIVE, "lgdt [eax]");
	memcpy(memory.bytes + 0x1000, "\x34\x12\x78\x56\x34\x92", 6);
	ok(!insn_read_table(&state, &insn, &ops, NULL, &table, &fault) && table.limit == 0x1234 &&
		   table.base == 0x92345678,
	   "its operand: limit, then base");
	RUN(0x66, 0x0f, 0x01, 0x10);
	insn_read_table(&state, &insn, &ops, NULL, &table, &fault);
	ok(table.base == 0x345678, "16-bit operand size takes 24 bits of it");
	RUN(0x0f, 0x01, 0x01); /* sgdt [ecx] */
	ok(!insn_write_table(&state, &insn, &table, &ops, NULL, &fault) &&
		   get32(0x1102) == 0x345678,
	   "sgdt's way back");
	RUN(0xff, 0x28); /* jmp far [eax] */
	ok(!insn_read_far(&state, &insn, &ops, NULL, &far, &fault) && far.offset == 0x56781234 &&
		   far.sel == 0x9234,
	   "far pointer: offset, then selector");
	RUN(0x8e, 0xd9); /* mov ds, cx */
	ok(!insn_read_opnd(&state, &insn, 1, &ops, NULL, &value, &fault) && value == 0x1100 &&
		   !insn_read_rm(&state, &insn, 2, &ops, NULL, &value, &fault) && value == 0x1100,
	   "mov ds, cx: its source");
	RUN(0x0f, 0x01, 0xe1); /* smsw ecx */
	state.gpr[RCX] = 0xffffffffffffffff;
	ok(!insn_write_rm(&state, &insn, insn.opsize, 0x31, &ops, NULL, &fault) &&
		   state.gpr[RCX] == 0x31,
	   "smsw ecx: 32 bits clear the rest");
	reset(MODE32);
	ok(!emu_push(&state, 4, 0x12345678, &ops, NULL, &fault) && get32(0x13fc) == 0x12345678 &&
		   state.gpr[RSP] == 0x13fc && !emu_pop(&state, 2, &value, &ops, NULL, &fault) &&
		   value == 0x5678 && state.gpr[RSP] == 0x13fe,
	   "emu_push, emu_pop");
	RUN(0xf3, 0x6c); /* rep insb */
	state.gpr[RCX] = 2;
	ok(!insn_string_done(&state, &insn) && !insn_string_step(&state, &insn, 1, false, true) &&
		   insn_string_step(&state, &insn, 1, false, true) && state.gpr[RDI] == 0x1702 &&
		   state.gpr[RSI] == 0x1600 && insn_string_done(&state, &insn),
	   "string steps of rep insb");
	ok(insn_next_rip(&state, &insn) == 0x102, "insn_next_rip");
}

static void
check_conditions(void)
{
	unsigned wrong = 0;

	for (unsigned flags = 0; flags < 0x1000; flags++) {
		bool cf = flags & FLAG_CF, zf = flags & FLAG_ZF, sf = flags & FLAG_SF,
		     of = flags & FLAG_OF, pf = flags & FLAG_PF;
		bool expected[16] = {
			of, !of, cf, !cf, zf,       !zf,      cf || zf,       !cf && !zf,
			sf, !sf, pf, !pf, sf != of, sf == of, zf || sf != of, !zf && sf == of
		};

		for (unsigned cc = 0; cc < 16; cc++)
			wrong += condition_holds(flags, cc) != expected[cc];
	}
	ok(wrong == 0, "all conditions, all flags");
}

int
main(void)
{
	check_modes();
	check_16_bit();
	check_branches();
	check_results();
	check_repeat();
	check_faults();
	check_random_faults();
	check_tools();
	check_conditions();
	return done_testing();
}
