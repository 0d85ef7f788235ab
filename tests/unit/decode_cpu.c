/* BUILD: vmm/x86/decode.c vmm/x86/decode_operand.c vmm/x86/decode_table.c */
/*
 * Story: a million random instructions, 16, 32, 64-bit, their lengths taken from this machine's
 * CPU.
 *
 * The CPU must not ask for more than the bytes that the decoder counted, and must ask for more
 * when the last one is missing (tests/unit/native.h has the method). What the decoder refuses,
 * the CPU must refuse. An opcode that this CPU happens not to have ends in #UD before its length
 * can be seen.
 */
#define _GNU_SOURCE
#include <inc/errno.h>
#include <vmm/x86/insn.h>

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

#define SEED  0x5eed0011
#define TOTAL 350000 /* per mode */
#define BATCH 17500

struct sample {
	struct insn insn;
	int error;
	uint8_t bytes[16];
};

static struct sample samples[BATCH];
static struct native_test *tests; /* two per sample: all bytes, and one less */
static struct native_test *again;
static const struct sample *suspect_of[BATCH];

static struct {
	unsigned proved, undefined, refused, too_long, wrong;
} count;

/*
 * What must not run even so: it would enter the kernel in earnest, put the CPU to sleep, or take
 * away the segment registers that the process lives on.
 */
static bool
must_not_run(const struct insn *insn)
{
	switch (insn->op) {
	case INSN_SYSCALL:
	case INSN_SYSENTER:
	case INSN_INT:
	case INSN_MONITOR:
	case INSN_MWAIT:
	case INSN_VMCALL:
	case INSN_VMMCALL:
	case INSN_MOV_TO_SEG:
	case INSN_POP_SEG:
	case INSN_LDS:
	case INSN_LES:
	case INSN_LFS:
	case INSN_LGS:
	case INSN_LSS:
	case INSN_FSGSBASE:
	case INSN_WRPKRU:
		return true;
	default:
		return insn->has_mem && (insn->mem_seg == SEG_FS || insn->mem_seg == SEG_GS);
	}
}

/* All registers point to where nothing is, so that no instruction finds memory. */
static void
prepare(struct native_test *t, const uint8_t *bytes, unsigned n, enum cpu_mode mode)
{
	memcpy(t->code, bytes, 15);
	t->n = n;
	t->mode = mode;
	t->memory = false;
	for (unsigned i = 0; i < GPR_COUNT; i++)
		t->gpr[i] = mode < MODE64 ? 0x40000000ull : 0x400000000000ull;
	t->rflags = FLAG_ONE | FLAG_IF;
}

static void
explain(const struct sample *s, const struct native_test *t, const char *what)
{
	char hex[64];

	if (count.wrong++ >= 10)
		return;
	for (unsigned i = 0; i < 15; i++)
		sprintf(hex + 3 * i, "%02x ", s->bytes[i]);
	diag("%s: %s; ours %u (%s, error %d), CPU: vector %u%s with all bytes, %u%s with one less",
	     hex, what, s->insn.len, insn_name(s->insn.op), s->error, t[0].trap,
	     t[0].wants_more ? " (wants more)" : "", t[1].trap,
	     t[1].wants_more ? " (wants more)" : "");
}

/*
 * Locks that the manuals forbid and AMD's CPUs take: before mov to and from CR0 for CR8 (APM 3
 * "MOV CRn"), and, seen on an EPYC, before verw with memory.
 */
static bool
lock_that_amd_takes(const struct sample *s)
{
	bool verw = s->insn.op == INSN_VERW && s->insn.mod != 3;

	if (!(s->insn.prefixes & PFX_LOCK) || s->insn.map != MAP_0F)
		return false;
	return verw || (s->insn.opcode & 0xfd) == 0x20;
}

/* What the decoder refuses since no CPU model of a guest has it; this CPU may. */
static bool
of_no_guest(const struct sample *s)
{
	const struct insn *i = &s->insn;

	if (i->map == MAP_1BYTE)
		return i->opcode == 0xc4 || i->opcode == 0xc5 || i->opcode == 0x62 ||
		       i->opcode == 0x8f || i->modrm == 0xf8;
	return (i->map == MAP_0F && (i->opcode == 0x01 || i->opcode == 0xae)) ||
	       (i->map == MAP_0F38 && i->opcode == 0xf8);
}

static void
judge_refused(const struct sample *s, const struct native_test *t)
{
	if (s->error == -E2BIG) {
		count.too_long++;
		if (t[0].trap != VEC_GP)
			explain(s, t, "over 15 bytes, but no #GP");
	} else {
		count.refused++;
		if (t[0].trap != VEC_UD && !lock_that_amd_takes(s) && !of_no_guest(s))
			explain(s, t, "refused, but no #UD");
	}
}

/*
 * The CPU wanted more. Of an opcode that no CPU has it may fetch what the opcode's neighbours need,
 * before it finds out (AMD's do so for vmread): with all fifteen bytes there it must then say #UD.
 */
static void
judge_again(unsigned suspects)
{
	unsigned culprit;

	if (!native_run(again, suspects, &culprit)) {
		count.wrong++;
		diag("suspect %u ended the child", culprit);
		return;
	}
	for (unsigned i = 0; i < suspects; i++) {
		if (again[i].trap == VEC_UD)
			count.undefined++;
		else
			explain(suspect_of[i], &tests[2 * (suspect_of[i] - samples)], "too short");
	}
}

static void
judge(const struct sample *s, const struct native_test *t, unsigned *suspects)
{
	if (s->error) {
		judge_refused(s, t);
	} else if (t[0].wants_more) {
		prepare(&again[*suspects], s->bytes, 15, t[0].mode);
		suspect_of[(*suspects)++] = s;
	} else if (s->insn.len > 1 && !t[1].wants_more) {
		if (t[0].trap == VEC_UD)
			count.undefined++;
		else
			explain(s, t, "too long");
	} else {
		count.proved++;
	}
}

static bool
run_batch(struct rng *rng, enum cpu_mode mode)
{
	unsigned culprit, suspects = 0;

	for (unsigned i = 0; i < BATCH; i++) {
		struct sample *s = &samples[i];
		unsigned n;

		do {
			gen_insn(rng, s->bytes, mode);
			s->error = decode(&s->insn, s->bytes, 15, mode);
		} while (must_not_run(&s->insn));
		n = s->error ? 15 : s->insn.len;
		prepare(&tests[2 * i], s->bytes, n, mode);
		/* A piece of one byte less may be refused early: then it stays what it is. */
		prepare(&tests[2 * i + 1], s->bytes, n > 1 ? n - 1 : n, mode);
	}
	if (!native_run(tests, 2 * BATCH, &culprit)) {
		explain(&samples[culprit / 2 % BATCH], &tests[culprit & ~1u], "ended the child");
		return false;
	}
	for (unsigned i = 0; i < BATCH; i++)
		judge(&samples[i], &tests[2 * i], &suspects);
	judge_again(suspects);
	return true;
}

static void
compare(enum cpu_mode mode)
{
	const char *name = mode == MODE16 ? "16-bit" : mode == MODE32 ? "32-bit" : "64-bit";
	struct rng rng = { SEED + mode };
	bool alive = true;

	if (!native_runs(mode)) {
		skip("%s code: this machine's kernel does not run it", name);
		return;
	}
	memset(&count, 0, sizeof(count));
	for (unsigned done = 0; done < TOTAL && alive; done += BATCH)
		alive = run_batch(&rng, mode);
	diag("%s, seed %#x: %u proved, %u not in this CPU, %u refused by both, %u over 15 bytes",
	     name, SEED + mode, count.proved, count.undefined, count.refused, count.too_long);
	ok(alive, "%s: %u instructions ran", name, TOTAL);
	ok(count.wrong == 0, "%s: the CPU agrees", name);
	ok(count.proved > TOTAL / 2, "%s: more than half of the lengths are proved", name);
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

	tests = failed ? NULL : native_tests(2 * BATCH);
	again = failed ? NULL : native_tests(BATCH);
	if (!tests || !again)
		bail_out("%s failed", failed ? failed : "mmap of the tests");
	compare(MODE16);
	compare(MODE32);
	compare(mode64_of_this_cpu());
	return done_testing();
}
#endif
