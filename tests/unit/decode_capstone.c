/* BUILD: vmm/x86/decode.c vmm/x86/decode_operand.c vmm/x86/decode_table.c -lcapstone */
/*
 * Story: a million random instructions per mode, their lengths compared with Capstone's.
 *
 * Where Capstone (4.0.2, Debian 12) is wrong stands in `exceptions`, each with a predicate as
 * narrow as it can be and an example that must still differ: an exception that is no longer
 * needed fails here. What Capstone does not know at all proves nothing and
 * is counted aside; those lengths are tested against a CPU by decode_cpu.
 */
#include <string.h>

#include <capstone/capstone.h>
#include <inc/errno.h>
#include <vmm/x86/insn.h>

#include "gen.h"
#include "tap.h"

#define SEED      0x5eed0001
#define COMPARED  1000000
#define MAX_TRIES (2 * COMPARED)

struct sample {
	uint8_t bytes[16];
	struct insn insn;
	int error;       /* ours */
	unsigned length; /* Capstone's; 0: it knows no such instruction */
};

static bool
is_prefix(uint8_t byte, enum cpu_mode mode)
{
	if (mode >= MODE64 && (byte & 0xf0) == 0x40)
		return true;
	return byte && strchr("\x66\x67\xf2\xf3\x26\x2e\x36\x3e\x64\x65", byte);
}

/*
 * Capstone loses count of near branches and immediates when 66 or 67 comes with f2, f3, REX or
 * the other one; and ret has two bytes of immediate whatever REX says.
 */
static bool
immediate_with_prefix(const struct sample *s)
{
	bool wide = s->insn.opcode == 0xe8 || s->insn.opcode == 0xe9;

	if (s->error || s->insn.map != MAP_1BYTE)
		return false;
	if (s->length != s->insn.len + 2u && s->length != s->insn.len - 2u)
		return false;
	if (s->insn.opcode == 0xc2 || s->insn.opcode == 0xca)
		return s->insn.rex & REX_W;
	if (wide && s->insn.mode >= MODE64)
		return s->insn.prefixes & (PFX_OSIZE | PFX_ASIZE);
	return (wide || s->insn.opcode == 0x68) && (s->insn.prefixes & PFX_OSIZE) &&
	       (s->insn.prefixes & (PFX_REP | PFX_REPNE));
}

/* We refuse an illegal lock, Capstone does not look. Without it the lengths must agree again. */
static bool
illegal_lock(const struct sample *s)
{
	struct sample bare = { .length = s->length };
	bool prefixes = true;
	unsigned n = 0;

	if (!s->error || !(s->insn.prefixes & PFX_LOCK))
		return false;
	for (unsigned i = 0; i < 15; i++) {
		if (prefixes && s->bytes[i] == 0xf0) {
			bare.length--;
			continue;
		}
		prefixes = prefixes && is_prefix(s->bytes[i], s->insn.mode);
		bare.bytes[n++] = s->bytes[i];
	}
	bare.error = decode(&bare.insn, bare.bytes, n, s->insn.mode);
	return !bare.error && (bare.insn.len == bare.length || immediate_with_prefix(&bare));
}

/* The first byte of VEX, EVEX or XOP, which the decoder does not take for prefixes. */
static bool
vector(const struct sample *s)
{
	uint8_t opcode = s->insn.opcode;

	return (s->error || s->insn.op == INSN_UD) && s->insn.map == MAP_1BYTE &&
	       (opcode == 0xc4 || opcode == 0xc5 || opcode == 0x62 || opcode == 0x8f);
}

/*
 * xbegin and xabort, and what has a memory operand that no byte tells: refused, as no guest has
 * them.
 */
static bool
of_no_guest(const struct sample *s)
{
	bool tsx = s->insn.map == MAP_1BYTE && (s->insn.opcode & 0xfe) == 0xc6;
	bool system = s->insn.map == MAP_0F && (s->insn.opcode == 0x01 || s->insn.opcode == 0xae);

	return s->error && (tsx || system || (s->insn.map == MAP_0F38 && s->insn.opcode == 0xf8));
}

static bool
mov_to_cs(const struct sample *s)
{
	return s->error && s->insn.op == INSN_MOV_TO_SEG && s->insn.reg % 8 == SEG_CS;
}

static bool
swapgs_outside_64(const struct sample *s)
{
	return s->error && s->insn.op == INSN_SWAPGS && s->insn.mode < MODE64;
}

/*
 * CR1, CR5 ..., DR8 ... do not exist; and Capstone takes mod for real: [memory] that is a
 * register.
 */
static bool
system_register(const struct sample *s)
{
	return s->insn.map == MAP_0F && (s->insn.opcode & 0xfc) == 0x20 && s->error;
}

/*
 * vmread and vmwrite with 66, f2, f3 are extrq, insertq or nothing; with 67 and REX Capstone
 * errs.
 */
static bool
vmread_with_prefix(const struct sample *s)
{
	return s->insn.map == MAP_0F && (s->insn.opcode & 0xfe) == 0x78 &&
	       (s->insn.prefixes & (PFX_OSIZE | PFX_ASIZE | PFX_REP | PFX_REPNE));
}

/* VIA's PadLock is in no CPU of Intel's or AMD's. */
static bool
padlock(const struct sample *s)
{
	return s->error && s->insn.map == MAP_0F && (s->insn.opcode & 0xfe) == 0xa6;
}

/* ud0 and ud1 have a ModR/M byte (SDM 2B "UD"). */
static bool
ud_modrm(const struct sample *s)
{
	return s->insn.map == MAP_0F && s->insn.op == INSN_UD && s->insn.opcode != 0x0b;
}

/* f3 0f c7 /6 is senduipi, which only 64-bit code has. */
static bool
rdrand_with_f3(const struct sample *s)
{
	return s->error && s->insn.map == MAP_0F && s->insn.opcode == 0xc7 &&
	       (s->insn.prefixes & PFX_REP);
}

/*
 * lfence, mfence, sfence with 66, f2, f3 are other instructions or none; the CPU's test says #UD.
 */
static bool
fence_with_prefix(const struct sample *s)
{
	return s->error && s->insn.map == MAP_0F && s->insn.opcode == 0xae && s->insn.mod == 3 &&
	       (s->insn.prefixes & (PFX_OSIZE | PFX_REP | PFX_REPNE));
}

/* movnti, movbe, adcx, adox with a prefix that none of them has: #UD, says the CPU's test. */
static bool
np_with_prefix(const struct sample *s)
{
	bool movnti = s->insn.map == MAP_0F && s->insn.opcode == 0xc3;
	bool movbe = s->insn.map == MAP_0F38 &&
		     ((s->insn.opcode & 0xfe) == 0xf0 || s->insn.opcode == 0xf6);

	return s->error && (movnti || movbe) &&
	       (s->insn.prefixes & (PFX_OSIZE | PFX_REP | PFX_REPNE));
}

static const struct exception {
	const char *what;
	bool (*holds)(const struct sample *s);
	enum cpu_mode mode;
	uint8_t example[16];
} exceptions[] = {
	/* clang-format off */
	{ "illegal lock", illegal_lock, MODE32, { 0xf0, 0x03, 0x08 } },
	{ "VEX", vector, MODE64_AMD, { 0xc5, 0xf8, 0x77 } },
	{ "XOP", vector, MODE32, { 0x8f, 0xe8, 0x70, 0xcc, 0xc2, 3 } },
	{ "xbegin", of_no_guest, MODE32, { 0xc7, 0xf8 } },
	{ "mov to cs", mov_to_cs, MODE32, { 0x8e, 0xc8 } },
	{ "swapgs outside 64-bit mode", swapgs_outside_64, MODE32, { 0x0f, 0x01, 0xf8 } },
	{ "system register that is none", system_register, MODE32, { 0x0f, 0x20, 0xff } },
	{ "vmread with a prefix", vmread_with_prefix, MODE32, { 0x66, 0x0f, 0x78, 0x05 } },
	{ "fence with a prefix", fence_with_prefix, MODE32, { 0x66, 0x0f, 0xae, 0xe8 } },
	{ "movnti with a prefix", np_with_prefix, MODE32, { 0x66, 0x0f, 0xc3, 0x08 } },
	{ "PadLock", padlock, MODE32, { 0x0f, 0xa6, 0xc8 } },
	{ "ud0, ud1", ud_modrm, MODE32, { 0x0f, 0xff, 0xe7 } },
	{ "imm with f3", immediate_with_prefix, MODE64_AMD, { 0x66, 0xf3, 0xe8, 0x0d, 0x21 } },
	{ "rdrand with f3", rdrand_with_f3, MODE32, { 0xf3, 0x0f, 0xc7, 0xf6 } },
	/* clang-format on */
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *name;
	enum cpu_mode mode; /* Capstone obeys 66 on near branches as AMD's CPUs do */
	cs_mode capstone;
} modes[] = {
	{ "16-bit", MODE16, CS_MODE_16 },
	{ "32-bit", MODE32, CS_MODE_32 },
	{ "64-bit", MODE64_AMD, CS_MODE_64 },
};

static csh handles[COUNT(modes)];
static cs_insn *scratch[COUNT(modes)];

static void
take_both(struct sample *s, unsigned mode)
{
	const uint8_t *at = s->bytes;
	size_t left = 15;
	uint64_t address = 0;

	s->error = decode(&s->insn, s->bytes, 15, modes[mode].mode);
	s->length = 0;
	if (cs_disasm_iter(handles[mode], &at, &left, &address, scratch[mode]))
		s->length = scratch[mode]->size;
}

static bool
agree(const struct sample *s)
{
	return s->length == (s->error ? 0 : s->insn.len);
}

static const struct exception *
excuse(const struct sample *s)
{
	for (unsigned i = 0; i < COUNT(exceptions); i++) {
		if (exceptions[i].holds(s))
			return &exceptions[i];
	}
	return NULL;
}

static void
explain(const struct sample *s)
{
	char hex[64];

	for (unsigned i = 0; i < 15; i++)
		sprintf(hex + 3 * i, "%02x ", s->bytes[i]);
	diag("%s: ours %d (%s, error %d), Capstone's %u", hex, s->insn.len, insn_name(s->insn.op),
	     s->error, s->length);
}

static void
compare(unsigned mode)
{
	struct rng rng = { SEED + mode };
	unsigned compared = 0, wrong = 0, excused = 0, unknown = 0, tries;

	for (tries = 0; tries < MAX_TRIES && compared < COMPARED; tries++) {
		struct sample s;

		gen_insn(&rng, s.bytes, modes[mode].mode);
		take_both(&s, mode);
		if (!s.length) {
			unknown += !s.error;
			continue;
		}
		compared++;
		if (agree(&s))
			continue;
		if (excuse(&s))
			excused++;
		else if (wrong++ < 10)
			explain(&s);
	}
	diag("%s, seed %#x: %u compared, %u under an exception, %u that Capstone does not know",
	     modes[mode].name, SEED + mode, compared, excused, unknown);
	ok(compared == COMPARED, "%s: %u instructions that Capstone knows", modes[mode].name,
	   COMPARED);
	ok(wrong == 0, "%s: their lengths are Capstone's", modes[mode].name);
	ok(excused < COMPARED / 50, "%s: exceptions stay below two in a hundred", modes[mode].name);
}

static void
check_exception(const struct exception *e)
{
	struct sample s;
	unsigned mode = e->mode == MODE16 ? 0 : e->mode == MODE32 ? 1 : 2;

	memset(s.bytes, 0x90, sizeof(s.bytes));
	memcpy(s.bytes, e->example, sizeof(e->example));
	take_both(&s, mode);
	if (!ok(!agree(&s) && e->holds(&s), "exception still needed: %s", e->what))
		explain(&s);
}

int
main(void)
{
	for (unsigned i = 0; i < COUNT(modes); i++) {
		if (cs_open(CS_ARCH_X86, modes[i].capstone, &handles[i]) != CS_ERR_OK)
			bail_out("Capstone has no x86");
		scratch[i] = cs_malloc(handles[i]);
	}
	for (unsigned i = 0; i < COUNT(modes); i++)
		compare(i);
	for (unsigned i = 0; i < COUNT(exceptions); i++)
		check_exception(&exceptions[i]);
	for (unsigned i = 0; i < COUNT(modes); i++) {
		cs_free(scratch[i], 1);
		cs_close(&handles[i]);
	}
	return done_testing();
}
