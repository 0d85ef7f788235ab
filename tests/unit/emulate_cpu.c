/*
 * BUILD: vmm/x86/decode.c vmm/x86/decode_operand.c vmm/x86/decode_table.c vmm/x86/emulate.c
 * vmm/x86/emulate_access.c vmm/x86/emulate_alu.c vmm/x86/emulate_bcd.c vmm/x86/emulate_bits.c
 * vmm/x86/emulate_move.c vmm/x86/emulate_stack.c vmm/x86/emulate_string.c
 */
/*
 * Story: random integer instructions with random registers, flags and memory, emulated and then
 * run by this machine's CPU, 16, 32 and 64-bit: registers, memory, rip, defined flags and faults
 * must be the same.
 *
 * What the manual calls undefined is not compared; undefined.h has the list.
 */
#define _GNU_SOURCE
#include <inc/errno.h>
#include <vmm/x86/emulate.h>

#include "tap.h"

#if !defined(__x86_64__)
int
main(void)
{
	skip("the build machine is no x86-64: its CPU can't be asked");
	return done_testing();
}
#else

#include <cpuid.h>

#include "gen.h"
#include "native.h"
#include "undefined.h"

#define SEED  0x5eed0021
#define TOTAL 100000 /* per mode */
#define BATCH 10000

struct sample {
	struct insn insn;
	struct cpu_state before, after;
	uint8_t window[NATIVE_WINDOW]; /* after emulation */
	struct emu_fault fault;
	enum emu_result result;
};

static struct sample *samples;
static struct native_test *tests;
static unsigned wrong, with_memory, seen[INSN_OP_COUNT];
static bool available[INSN_OP_COUNT];
static bool all_modes = true; /* this machine runs 16 and 32-bit code, too */

/* Memory of the emulated run: the window, and nothing else. */
static void *
window_at(struct sample *s, enum seg_reg seg, uint64_t offset, size_t size)
{
	bool low = s->insn.mode == MODE16 && (seg == SEG_DS || seg == SEG_ES);
	uint64_t at = offset - (low ? NATIVE_WINDOW16_AT : NATIVE_WINDOW_AT);

	return at < NATIVE_WINDOW && size <= NATIVE_WINDOW - at ? s->window + at : NULL;
}

static int
outside(struct emu_fault *fault)
{
	*fault = (struct emu_fault){ .vector = VEC_PF };
	return -EFAULT;
}

static int
window_read(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	    struct emu_fault *fault)
{
	void *at = window_at(ctx, seg, offset, size);

	if (!at || (size == 16 && offset % 16)) /* cmpxchg16b: #GP */
		return outside(fault);
	memcpy(buf, at, size);
	return 0;
}

static int
window_write(void *ctx, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
	     struct emu_fault *fault)
{
	void *at = window_at(ctx, seg, offset, size);

	if (!at)
		return outside(fault);
	memcpy(at, buf, size);
	return 0;
}

static const struct emu_ops window_ops = { .read = window_read, .write = window_write };

/* Values that make carries, signs and zeros likely. */
static uint64_t
interesting(struct rng *rng)
{
	static const uint64_t edges[] = { 0,
					  1,
					  2,
					  0x7f,
					  0x80,
					  0xff,
					  0x7fff,
					  0x8000,
					  0xffff,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  0x7fffffffffffffff,
					  0x8000000000000000,
					  ~0ull,
					  0x99,
					  0x9a };
	uint64_t random = rng_next(rng);

	switch (rng_below(rng, 4)) {
	case 0:
		return edges[rng_below(rng, sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return random >> rng_below(rng, 64);
	default:
		return random;
	}
}

static uint64_t
in_window(struct rng *rng)
{
	return NATIVE_WINDOW_AT + NATIVE_WINDOW / 2 + rng_below(rng, 64) - 32;
}

/* The same for what the instruction reaches through ds or es. */
static uint64_t
in_data(struct rng *rng, const struct insn *insn)
{
	bool low = insn->mode == MODE16 && insn->mem_seg != SEG_SS;

	return in_window(rng) - (low ? NATIVE_WINDOW_AT - NATIVE_WINDOW16_AT : 0);
}

static void
random_state(struct rng *rng, struct cpu_state *state, enum cpu_mode mode)
{
	static const uint64_t flags =
		FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF | FLAG_DF;
	struct segment flat = { .attr = 0x9b | ATTR_DB | ATTR_G, .limit = 0xffffffff };

	memset(state, 0, sizeof(*state));
	for (unsigned i = 0; i < GPR_COUNT; i++) {
		state->gpr[i] = rng_below(rng, 3) ? interesting(rng) : in_window(rng);
		if (mode < MODE64)
			state->gpr[i] = i < 8 ? (uint32_t)state->gpr[i] : 0;
	}
	state->gpr[RSP] = in_window(rng) & ~7ull;
	state->rflags = (rng_next(rng) & flags) | FLAG_ONE | FLAG_IF;
	state->cr0 = CR0_PE | CR0_PG;
	state->efer = EFER_LME | EFER_LMA;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		state->seg[i] = flat;
	if (mode == MODE16)
		state->seg[SEG_CS].attr = 0x9b | ATTR_G;
	else if (mode >= MODE64)
		state->seg[SEG_CS].attr = 0x9b | ATTR_L | ATTR_G;
}

/* Registers that have to be sensible for the instruction to reach memory in the window. */
static void
steer(struct rng *rng, struct sample *s)
{
	const struct insn *insn = &s->insn;
	uint64_t *gpr = s->before.gpr;

	if (insn->op >= INSN_MOVS && insn->op <= INSN_SCAS) {
		gpr[RSI] = in_data(rng, insn);
		gpr[RDI] = in_data(rng, insn);
		gpr[RCX] = rng_below(rng, 6);
	}
	if (insn->op == INSN_LEAVE)
		gpr[RBP] = in_window(rng);
	if (insn->op >= INSN_BT && insn->op <= INSN_BTC && insn->has_mem &&
	    insn->opnd[1].kind == OPND_REG && insn->opnd[1].reg != insn->mem_base &&
	    insn->opnd[1].reg != insn->mem_index)
		gpr[insn->opnd[1].reg] = (int)rng_below(rng, 1024) - 512;
	if ((insn->op == INSN_DIV || insn->op == INSN_IDIV) && rng_below(rng, 4))
		gpr[RDX] = rng_below(rng, 3) ? rng_below(rng, 16) : ~0ull;
	if (insn->mode < MODE64) {
		for (unsigned i = 0; i < 8; i++)
			gpr[i] = (uint32_t)gpr[i];
	}
	if (insn->has_mem && insn->mem_base < GPR_COUNT && insn->mem_base != insn->mem_index &&
	    insn->mem_base != RSP && insn->op < INSN_MOVS) {
		gpr[insn->mem_base] += in_data(rng, insn) - insn_ea(&s->before, insn);
		if (insn->mode < MODE64)
			gpr[insn->mem_base] = (uint32_t)gpr[insn->mem_base];
	}
}

/* A long displacement is part of the bytes: rewrite it so that the address is in the window. */
static void
aim_displacement(struct rng *rng, struct sample *s, uint8_t *bytes)
{
	struct insn *insn = &s->insn;
	uint64_t ea = insn_ea(&s->before, insn);
	uint32_t disp = insn->disp + in_data(rng, insn) - ea;

	if (!insn->has_mem || insn->disp_size < 2 || insn->disp_size > 4 || insn->mem_base == RSP)
		return;
	memcpy(bytes + insn->disp_at, &disp, insn->disp_size);
	decode(insn, bytes, 15, insn->mode);
}

/* enter's level and the size of its frame, likewise. */
static void
aim_enter(struct sample *s, uint8_t *bytes)
{
	struct insn *insn = &s->insn;

	if (insn->op != INSN_ENTER)
		return;
	bytes[insn->imm_at] &= 31;
	bytes[insn->imm_at + 1] = 0;
	bytes[insn->imm_at + 2] &= 0xe3;
	if (bytes[insn->imm_at + 2] & 2) /* reads the outer frames' pointers below rBP */
		s->before.gpr[RBP] = s->before.gpr[RSP] + 64;
	decode(insn, bytes, 15, insn->mode);
}

static bool
wanted(const struct sample *s)
{
	const struct insn *insn = &s->insn;

	if (insn->op < INSN_UD || insn->op >= INSN_OTHER)
		return false;
	/*
	 * fs and gs have other bases here; code can't be written. Both are for ops, not for
	 * emulate().
	 */
	if (insn->has_mem &&
	    (insn->mem_seg == SEG_FS || insn->mem_seg == SEG_GS || insn->mem_seg == SEG_CS))
		return false;
	/*
	 * f3 90 with REX.B: Intel's CPUs pause, as if there were no REX; AMD's exchange r8 and rAX.
	 */
	if (insn->op == INSN_XCHG && insn->opcode == 0x90 && insn->prefixes & PFX_REP)
		return false;
	return insn->op != INSN_NOP && available[insn->op];
}

static bool
cpuid_bit(unsigned leaf, unsigned word, unsigned n)
{
	unsigned r[4] = { 0 };

	__get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]);
	return (r[word] >> n) & 1;
}

/* Younger instructions that this CPU may not have, or take for bsf and bsr (SDM 2A "CPUID"). */
static bool
cpu_has(unsigned op)
{
	switch (op) {
	case INSN_CRC32:
		return cpuid_bit(1, 2, 20);
	case INSN_MOVBE:
		return cpuid_bit(1, 2, 22);
	case INSN_POPCNT:
		return cpuid_bit(1, 2, 23);
	case INSN_TZCNT:
		return cpuid_bit(7, 1, 3);
	case INSN_LZCNT:
		return cpuid_bit(0x80000001, 2, 5);
	case INSN_ADCX:
	case INSN_ADOX:
		return cpuid_bit(7, 1, 19);
	default:
		return true;
	}
}

/* Compares single instructions, so a repeated one must fit into one call. */
static bool
make_sample(struct rng *rng, struct sample *s, struct native_test *t, enum cpu_mode mode)
{
	gen_insn(rng, t->code, mode);
	if (decode(&s->insn, t->code, 15, mode) || !wanted(s))
		return false;
	random_state(rng, &s->before, mode);
	steer(rng, s);
	aim_displacement(rng, s, t->code);
	aim_enter(s, t->code);
	/*
	 * Of an opcode that no CPU has it may fetch what the opcode's neighbours need before it
	 * finds out (8f /1: AMD's XOP): it gets fifteen bytes.
	 */
	t->n = s->insn.op == INSN_UD ? 15 : s->insn.len;
	t->mode = mode;
	s->before.rip = native_rip(t);
	if (s->insn.mem_base == BASE_RIP) {
		aim_displacement(rng, s, t->code);
		if (s->insn.addrsize != 8)
			return false;
	}
	for (unsigned i = 0; i < NATIVE_WINDOW; i += 8) {
		uint64_t value = interesting(rng);

		memcpy(t->window + i, &value, 8);
	}
	memcpy(s->window, t->window, NATIVE_WINDOW);
	s->after = s->before;
	s->result = emulate(&s->after, &s->insn, &window_ops, s, &s->fault);
	if (s->result == EMU_FAULT && (s->fault.vector == VEC_PF || s->fault.vector == VEC_GP))
		return false;
	t->memory = true;
	t->repeat = s->insn.op >= INSN_MOVS && s->insn.op <= INSN_SCAS;
	memcpy(t->gpr, s->before.gpr, sizeof(t->gpr));
	t->rflags = s->before.rflags;
	return true;
}

/* The vector that ends a single step: #DB, or the fault. */
static unsigned
expected_trap(const struct sample *s)
{
	return s->result == EMU_FAULT ? s->fault.vector : VEC_DB;
}

/*
 * 8f with another operation than 0 is XOP's first byte to AMD's, which looks for all of it before
 * it says that there is none such: with prefixes that can be more than fifteen bytes, #GP.
 */
static bool
is_too_long(const struct sample *s, const struct native_test *t)
{
	return s->insn.op == INSN_UD && s->insn.map == MAP_1BYTE && s->insn.opcode == 0x8f &&
	       t->trap == VEC_GP;
}

static const char *
difference(const struct sample *s, const struct native_test *t)
{
	uint64_t ignored = undefined_flags(&s->insn, &s->before) | FLAG_TF | FLAG_RF;
	static char what[80];

	if (t->trap != expected_trap(s) && !is_too_long(s, t)) {
		sprintf(what, "vector %u, not %u", t->trap, expected_trap(s));
		return what;
	}
	for (unsigned i = 0; i < (t->mode < MODE64 ? 8 : GPR_COUNT); i++) {
		if (t->gpr[i] != s->after.gpr[i]) {
			sprintf(what, "gpr %u is %#lx, not %#lx", i, (long)t->gpr[i],
				(long)s->after.gpr[i]);
			return what;
		}
	}
	if (t->rip != s->after.rip)
		return "rip";
	if ((t->rflags ^ s->after.rflags) & ~ignored) {
		sprintf(what, "flags differ in %#lx",
			(long)((t->rflags ^ s->after.rflags) & ~ignored));
		return what;
	}
	if (memcmp(t->window, s->window, NATIVE_WINDOW))
		return "memory";
	return NULL;
}

static void
judge(const struct sample *s, const struct native_test *t)
{
	const char *what =
		undefined_result(&s->insn, &s->before, &s->after) ? NULL : difference(s, t);
	char hex[64] = "";

	seen[s->insn.op]++;
	with_memory += s->insn.has_mem;
	if (!what || wrong++ >= 20)
		return;
	for (unsigned i = 0; i < s->insn.len; i++)
		sprintf(hex + 3 * i, "%02x ", t->code[i]);
	diag("%s(%s, rcx %#lx, flags %#lx): %s", hex, insn_name(s->insn.op),
	     (long)s->before.gpr[RCX], (long)s->before.rflags, what);
}

static void
compare(enum cpu_mode mode)
{
	const char *name = mode == MODE16 ? "16-bit" : mode == MODE32 ? "32-bit" : "64-bit";
	struct rng rng = { SEED + mode };
	unsigned culprit = 0;
	bool alive = true;

	if (!native_runs(mode)) {
		skip("%s code: this machine's kernel does not run it", name);
		all_modes = false;
		return;
	}
	wrong = with_memory = 0;
	for (unsigned done = 0; done < TOTAL && alive; done += BATCH) {
		for (unsigned i = 0; i < BATCH;)
			i += make_sample(&rng, &samples[i], &tests[i], mode);
		alive = native_run(tests, BATCH, &culprit);
		for (unsigned i = 0; i < BATCH && alive; i++)
			judge(&samples[i], &tests[i]);
	}
	if (!alive)
		diag("%s ended the child", insn_name(samples[culprit % BATCH].insn.op));
	diag("%s, seed %#x: %u with an operand in memory", name, SEED + mode, with_memory);
	ok(alive, "%s: %u instructions ran", name, TOTAL);
	ok(with_memory > TOTAL / 10, "%s: many of them with memory", name);
	ok(wrong == 0, "%s: the CPU's results are the emulator's (%u differ)", name, wrong);
}

/* What 64-bit code has not (SDM 2, "64-Bit Mode Exceptions" of each: #UD). */
static bool
is_narrow(unsigned op)
{
	switch (op) {
	case INSN_AAA:
	case INSN_AAD:
	case INSN_AAM:
	case INSN_AAS:
	case INSN_BOUND:
	case INSN_DAA:
	case INSN_DAS:
	case INSN_POPA:
	case INSN_PUSHA:
	case INSN_SALC:
		return true;
	default:
		return false;
	}
}

/* All modes together must have met every general instruction but nop. */
static void
check_coverage(void)
{
	unsigned missing = 0;

	for (unsigned op = INSN_UD; op < INSN_OTHER; op++) {
		if (op != INSN_NOP && !available[op])
			skip("this CPU has no %s", insn_name(op));
		else if (op != INSN_NOP && !seen[op] && (all_modes || !is_narrow(op))) {
			diag("never generated: %s", insn_name(op));
			missing++;
		}
	}
	ok(missing == 0, "every general instruction was met");
}

static enum cpu_mode
mode64_of_this_cpu(void)
{
	unsigned eax, ebx = 0, ecx, edx;

	__get_cpuid(0, &eax, &ebx, &ecx, &edx);
	return ebx == signature_AMD_ebx ? MODE64_AMD : MODE64;
}

int
main(void)
{
	const char *failed = native_map();

	tests = failed ? NULL : native_tests(BATCH);
	samples = calloc(BATCH, sizeof(*samples));
	if (!tests || !samples)
		bail_out("%s failed", failed ? failed : "mmap of the tests");
	for (unsigned op = 0; op < INSN_OP_COUNT; op++)
		available[op] = cpu_has(op);
	compare(MODE16);
	compare(MODE32);
	compare(mode64_of_this_cpu());
	check_coverage();
	free(samples);
	return done_testing();
}
#endif
