/*
 * The table of instructions, and how one gets its operands.
 */
#include "sequences.h"

#define ANY 8 /* in a form: the reg field of ModRM is any register's */

enum operands {
	NONE,
	MEM,      /* memory */
	RM,       /* one of them */
	RM_IMM,   /* and an immediate operand of its width */
	VALUE,    /* mov eax, a number, and then the instruction */
	FLAGS,    /* push flags, and then the instruction */
	SEL_EAX,  /* mov eax, a selector; the instruction with a register */
	SEL_PUSH, /* push a selector, and then the instruction */
	SEL_SS,   /* the same for the stack's segment */
	SS_PUSH,
	LAR, /* as SEL_EAX; what the manual leaves open is cleared */
	TO_CR,
	FROM_CR,
	TO_DR,
	FROM_DR,
	TABLE,    /* the limit and base of a table */
	FAR,      /* a pointer in the code */
	FAR_MEM,  /* a pointer in memory */
	CALL_FAR, /* to what returns */
	RETF,
	IRET,
	INT,
	PORT,    /* a port's number in the code */
	PORT_DX, /* in DX */
	STRING_PORT,
	MSR,
	STRING,
	SLEEP, /* sti, hlt */
	CPUID,
	RDTSC,
};

/*
 * `shows`: what tells te's guest, and bt's in ring 3, that its ring is another one
 * (handouts/lab1b.md#ex-1-9).
 */
struct form {
	uint8_t operands, shows, extension, length, bytes[2];
};

/* clang-format off */
static const struct form forms[] = {
	/* the interrupt flag, and the others */
	{ NONE, 0, 0, 1, { 0xfa } }, { NONE, 0, 0, 1, { 0xfb } }, { NONE, 1, 0, 1, { 0x9c } },
	{ FLAGS, 1, 0, 1, { 0x9d } }, { FLAGS, 1, 0, 1, { 0x9d } }, { SLEEP, 0, 0, 2, { 0xfb, 0xf4 } },
	{ NONE, 0, 0, 1, { 0xfc } }, { NONE, 0, 0, 1, { 0xfd } }, { NONE, 0, 0, 1, { 0xf8 } },
	{ NONE, 0, 0, 1, { 0x9e } }, { NONE, 0, 0, 1, { 0x9f } },
	/* control and debug registers */
	{ TO_CR, 0, 0, 2, { 0x0f, 0x22 } }, { TO_CR, 0, 0, 2, { 0x0f, 0x22 } }, { TO_CR, 0, 0, 2, { 0x0f, 0x22 } },
	{ FROM_CR, 0, 0, 2, { 0x0f, 0x20 } }, { FROM_CR, 0, 0, 2, { 0x0f, 0x20 } },
	{ TO_DR, 0, 0, 2, { 0x0f, 0x23 } }, { TO_DR, 0, 0, 2, { 0x0f, 0x23 } }, { FROM_DR, 0, 0, 2, { 0x0f, 0x21 } },
	{ NONE, 0, 0, 2, { 0x0f, 0x06 } }, { RM, 1, 4, 2, { 0x0f, 0x01 } }, { VALUE, 0, 6, 2, { 0x0f, 0x01 } },
	{ MEM, 0, 7, 2, { 0x0f, 0x01 } }, { NONE, 0, 0, 2, { 0x0f, 0x08 } }, { NONE, 0, 0, 2, { 0x0f, 0x09 } },
	/* descriptor tables */
	{ TABLE, 0, 2, 2, { 0x0f, 0x01 } }, { TABLE, 0, 3, 2, { 0x0f, 0x01 } }, { MEM, 1, 0, 2, { 0x0f, 0x01 } },
	{ MEM, 1, 1, 2, { 0x0f, 0x01 } }, { RM, 1, 0, 2, { 0x0f, 0x00 } }, { RM, 1, 1, 2, { 0x0f, 0x00 } },
	{ SEL_EAX, 0, 2, 2, { 0x0f, 0x00 } }, { SEL_EAX, 0, 3, 2, { 0x0f, 0x00 } },
	/* what selectors are worth */
	{ SEL_EAX, 1, 4, 2, { 0x0f, 0x00 } }, { SEL_EAX, 1, 5, 2, { 0x0f, 0x00 } },
	{ LAR, 1, ANY, 2, { 0x0f, 0x02 } }, { SEL_EAX, 1, ANY, 2, { 0x0f, 0x03 } }, { SEL_EAX, 0, ANY, 1, { 0x63 } },
	/* segment registers */
	{ SEL_EAX, 0, 0, 1, { 0x8e } }, { SEL_EAX, 0, 3, 1, { 0x8e } }, { SEL_EAX, 0, 4, 1, { 0x8e } },
	{ SEL_EAX, 0, 5, 1, { 0x8e } }, { SEL_EAX, 0, 1, 1, { 0x8e } }, { SEL_EAX, 0, 6, 1, { 0x8e } },
	{ SEL_PUSH, 0, 0, 1, { 0x07 } }, { SEL_PUSH, 0, 0, 1, { 0x1f } }, { SEL_PUSH, 0, 0, 2, { 0x0f, 0xa1 } },
	{ SEL_PUSH, 0, 0, 2, { 0x0f, 0xa9 } }, { SEL_SS, 0, 2, 1, { 0x8e } }, { SS_PUSH, 0, 0, 1, { 0x17 } },
	{ RM, 1, 0, 1, { 0x8c } }, { RM, 1, 2, 1, { 0x8c } }, { RM, 1, 3, 1, { 0x8c } }, { RM, 1, 1, 1, { 0x8c } },
	{ NONE, 1, 0, 1, { 0x0e } }, { NONE, 1, 0, 1, { 0x16 } }, { NONE, 1, 0, 1, { 0x1e } }, { NONE, 1, 0, 1, { 0x06 } },
	{ NONE, 1, 0, 2, { 0x0f, 0xa0 } }, { FAR_MEM, 0, 6, 1, { 0xc4 } }, { FAR_MEM, 0, 6, 1, { 0xc5 } },
	/* ways */
	{ FAR, 0, 0, 1, { 0xea } }, { FAR, 0, 0, 1, { 0xea } }, { CALL_FAR, 1, 0, 1, { 0x9a } },
	{ RETF, 1, 0, 1, { 0xcb } }, { IRET, 0, 0, 1, { 0xcf } }, { IRET, 0, 0, 1, { 0xcf } }, { INT, 0, 0, 1, { 0xcd } },
	{ INT, 0, 0, 1, { 0xcd } }, { NONE, 0, 0, 1, { 0xcc } }, { NONE, 0, 0, 1, { 0xce } }, { NONE, 0, 0, 2, { 0x0f, 0x0b } },
	{ NONE, 0, 0, 2, { 0x0f, 0x05 } }, { NONE, 0, 0, 2, { 0x0f, 0x34 } }, { MEM, 0, ANY, 1, { 0x62 } },
	/* ports and model-specific registers */
	{ PORT, 0, 0, 1, { 0xe4 } }, { PORT, 0, 0, 1, { 0xe5 } }, { PORT_DX, 0, 0, 1, { 0xec } }, { PORT_DX, 0, 0, 1, { 0xed } },
	{ PORT_DX, 0, 0, 1, { 0xee } }, { PORT_DX, 0, 0, 1, { 0xef } }, { STRING_PORT, 0, 0, 1, { 0x6c } },
	{ STRING_PORT, 0, 0, 1, { 0x6d } }, { STRING_PORT, 0, 0, 1, { 0x6e } }, { STRING_PORT, 0, 0, 1, { 0x6f } },
	{ MSR, 0, 0, 2, { 0x0f, 0x32 } }, { MSR, 0, 0, 2, { 0x0f, 0x30 } }, { CPUID, 0, 0, 2, { 0x0f, 0xa2 } },
	{ RDTSC, 0, 0, 2, { 0x0f, 0x31 } },
	/* strings */
	{ STRING, 0, 0, 1, { 0xa4 } }, { STRING, 0, 0, 1, { 0xa5 } }, { STRING, 0, 0, 1, { 0xaa } }, { STRING, 0, 0, 1, { 0xab } },
	{ STRING, 0, 0, 1, { 0xa6 } }, { STRING, 0, 0, 1, { 0xaf } }, { STRING, 0, 0, 1, { 0xad } },
	/* what is nobody's business */
	{ RM, 0, ANY, 1, { 0x01 } }, { RM, 0, ANY, 1, { 0x33 } }, { RM, 0, ANY, 1, { 0x89 } }, { RM, 0, ANY, 1, { 0x8b } },
	{ RM, 0, ANY, 1, { 0x87 } }, { RM, 0, ANY, 2, { 0x0f, 0xb1 } }, { RM, 0, ANY, 2, { 0x0f, 0xc1 } },
	{ RM_IMM, 0, 0, 1, { 0xc7 } }, { RM_IMM, 0, 7, 1, { 0x81 } }, { RM, 0, 0, 1, { 0xfe } }, { RM, 0, 6, 1, { 0xff } },
	{ MEM, 0, 0, 1, { 0x8f } }, { VALUE, 0, 4, 1, { 0xf7 } }, { NONE, 0, 0, 1, { 0x60 } }, { NONE, 0, 0, 1, { 0x90 } },
};
/* clang-format on */

enum { code16 = 1, user = 2 }; /* what the code runs in */
static uint8_t *at;
static uint8_t mode;
static uint64_t taken; /* places of pointers */
static int odd;        /* a segment register may hold what QEMU lets be used too freely */

static void
byte(uint32_t b)
{
	*at++ = (uint8_t)b;
}

static void
half(uint32_t h)
{
	byte(h), byte(h >> 8);
}

static void
word(uint32_t w)
{
	half(w), half(w >> 16);
}

/* Operands of 32 bits, whatever the code's. */
static void
wide(void)
{
	if (mode & code16)
		byte(0x66);
}

static void
push(uint32_t w)
{
	wide(), byte(0x68), word(w);
}

/* mov reg, w */
static void
set(unsigned reg, uint32_t w)
{
	wide(), byte(0xb8 + reg), word(w);
}

enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };

/* Any register but ESP. */
static unsigned
reg(void)
{
	unsigned r = below(7);

	return r == ESP ? EDI : r;
}

static void
opcode(const struct form *f)
{
	for (unsigned i = 0; i < f->length; i++)
		byte(f->bytes[i]);
}

static unsigned
extension(const struct form *f)
{
	return f->extension == ANY ? reg() : f->extension;
}

/* Half of the operands in memory have a prefix, if only a needless one. */
static int
prefixes(int may_lock)
{
	static const uint32_t segments[] = { 0x26, 0x36, 0x3e, 0x64, 0x65, 0x2e };

	if (!below(8))
		byte(0x66);
	if (!below(6))
		byte(one_of(segments, checks ? 6 : 5));
	if (!may_lock || below(10))
		return 0;
	byte(0xf0);
	return 1;
}

static void
memory(const struct form *f, uint32_t where)
{
	if (mode & code16)
		byte(0x67);
	opcode(f);
	byte(extension(f) << 3 | 5), word(where);
}

static void
direct(const struct form *f)
{
	opcode(f);
	byte(0xc0 | extension(f) << 3 | reg());
}

/* An instruction that may change memory in one piece: what LOCK is for (SDM 2A "LOCK"). */
static int
may_lock(const struct form *f)
{
	return f->bytes[0] == 0x01 || f->bytes[0] == 0x33 || f->bytes[0] == 0x87 ||
	       f->bytes[0] == 0xfe;
}

static void
operand(const struct form *f)
{
	int in_memory = f->operands == MEM || (!odd && below(2)), locked = 0;

	if (f->operands == RM_IMM)
		wide();
	else
		locked = prefixes(in_memory && may_lock(f));
	if (in_memory) {
		uint32_t at = address();

		/* QEMU reads the source before it sees that this can't be locked. */
		memory(f, locked && f->bytes[0] == 0x33 && at >= ABSENT ? PLAY : at);
	} else
		direct(f);
	if (f->operands == RM_IMM)
		word(number());
}

static void
selectors(const struct form *f)
{
	int stack = f->operands == SEL_SS || f->operands == SS_PUSH;
	uint32_t sel = stack ? stack_selector() : selector();
	unsigned to = EBX;
	int loads = stack || f->operands == SEL_PUSH || f->bytes[0] == 0x8e;

	odd |= loads && !checks && !is_plain(sel);
	if (f->operands == SEL_PUSH || f->operands == SS_PUSH) {
		push(sel), wide(), opcode(f);
		return;
	}
	if (f->bytes[1] == 0x00 && f->extension == 3 && sel < 4)
		sel = BEYOND; /* QEMU lets ltr take no TSS */
	set(EAX, sel);
	wide();
	opcode(f);
	if (f->extension != ANY)
		to = f->extension;
	byte(0xc0 | to << 3 | EAX);
	if (f->operands == LAR)
		wide(), byte(0x81), byte(0xe0 | EBX), word(0x00f0ff00);
}

static void
system_registers(const struct form *f)
{
	static const uint32_t usual[] = { 0, 0, 2, 3, 4, 4 };
	int control = f->operands == TO_CR || f->operands == FROM_CR;
	unsigned n = below(8);

	if (control && below(12))
		n = ONE_OF(usual);
	if (f->operands == TO_CR || f->operands == TO_DR)
		set(EAX, control ? cr_value(n) : dr_value(n));
	opcode(f);
	byte(0xc0 | n << 3 | (f->operands == FROM_CR || f->operands == FROM_DR ? reg() : EAX));
}

/*
 * The pointer that all such instructions of a sequence share a page of, each at a place of its own:
 * an lidt that found an lgdt's operands would leave the guest no handler.
 */
static uint32_t
pointer(uint32_t low, uint32_t high, int table)
{
	volatile uint16_t *p;
	unsigned place = below(64);

	while (taken & 1ull << place)
		place = (place + 1) % 64;
	taken |= 1ull << place;
	p = (volatile uint16_t *)(POINTERS + place * 16);
	if (table) {
		p[0] = (uint16_t)low, p[1] = (uint16_t)high, p[2] = high >> 16;
	} else {
		p[0] = (uint16_t)low, p[1] = low >> 16, p[2] = (uint16_t)high;
	}
	return (uint32_t)p;
}

static void
table(const struct form *f)
{
	static const uint32_t gdts[] = { SELS * 8 - 1, SHORT_LIMIT, 0xffff };
	static const uint32_t idts[] = { 0x7ff, (VEC_GATES + 4) * 8 - 1, 0xffff };
	uint32_t where;

	if (f->extension == 2)
		where = pointer(ONE_OF(gdts), below(2) ? GDT : GDT2, 1);
	else
		where = pointer(ONE_OF(idts), (uint32_t)(below(2) ? idt : idt2), 1);
	if (!below(8)) {
		uint32_t at = address();

		where = unpaged ? where : at | ABSENT;
	}
	wide();
	memory(f, where);
}

/* Where code may go on; 0: one time in six, for that can't be gone to. */
static uint32_t
code_selector(void)
{
	static const uint32_t good[] = { KCODE, KCODE, CODE16, CONFORMING };
	static const uint32_t bad[] = { 0, KDATA, UCODE, GONE_CODE, BEYOND, READ_SEL, KCODE | 2 };

	return below(6) ? ONE_OF(good) : ONE_OF(bad);
}

static void
now_in(uint32_t sel)
{
	mode = (mode & user) | (sel == CODE16 ? code16 : 0);
}

static void
ways(const struct form *f)
{
	static const uint32_t calls[] = { KCODE, CONFORMING, CODE16 };
	uint32_t sel = f->operands == CALL_FAR ? ONE_OF(calls) : code_selector();

	if (f->operands == CALL_FAR) {
		wide(), opcode(f), word(sel == CODE16 ? RETURN_FAR16 : RETURN_FAR), half(sel);
	} else if (f->operands == FAR) {
		wide(), opcode(f), word((uint32_t)at + 6), half(sel);
		now_in(sel);
	} else {
		push(sel), push((uint32_t)at + (mode & code16 ? 8 : 6)), wide(), opcode(f);
		now_in(sel);
	}
}

/* One in four frames leads to ring 3. */
static void
iret(const struct form *f)
{
	int out = !(mode & user) && !below(4);
	uint32_t sel = out ? UCODE : code_selector(), popped = flags();

	if (out) {
		push(below(8) ? UDATA : selector());
		push(STACK + 0xd00 + below(16) * 4);
		popped = (popped & ~0x40000u) | 0x200;
	}
	push(popped), push(sel), push((uint32_t)at + (mode & code16 ? 8 : 6)), wide(), opcode(f);
	now_in(sel);
	if (out)
		mode |= user, odd = !checks; /* DS and ES are gone */
}

static void
interrupt(const struct form *f)
{
	static const uint32_t some[] = { 3, 4, 13, 14, 0x21, 0x80, 0xff };

	opcode(f);
	byte(below(3) ? VEC_GATES + below(GATES) : ONE_OF(some));
}

/* Ports that say the same everywhere: a mask, a scratch register, what nobody has. */
static void
port(const struct form *f)
{
	static const uint32_t some[] = { 0x21, 0xa1, 0x80, 0x3ff };
	static const uint32_t outs[] = { 0x80, 0x3ff, 0x1234 };

	if (f->operands == PORT) {
		opcode(f);
		byte(f->bytes[0] == 0xe4 ? ONE_OF(some) & 0xff : 0xe0);
		if (at[-1] == 0xff)
			at[-1] = 0x80;
		return;
	}
	set(EDX, f->bytes[0] == 0xec ? ONE_OF(some) : f->bytes[0] == 0xee ? ONE_OF(outs) : 0x1234);
	if (f->bytes[0] != 0xec && below(2))
		wide();
	opcode(f);
}

static void
string(const struct form *f)
{
	if (f->operands == STRING_PORT)
		set(EDX, 0x1234);
	set(ECX, below(24));
	set(ESI, below(8) ? PLAY + 0x800 + below(64) : address());
	set(EDI, below(8) ? PLAY + 0x1000 + below(64) - 32 : address());
	if (mode & code16)
		byte(0x67);
	if (!below(8))
		byte(0x66);
	if (below(2))
		byte(below(2) ? 0xf3 : 0xf2);
	opcode(f);
}

static void
msr(const struct form *f)
{
	static const uint32_t reads[] = { 0x174, 0x175, 0xc0000080 };
	static const uint32_t writes[] = { 0x175, 0x175, 0xc0000080 };
	int reading = f->bytes[1] == 0x32;
	uint32_t n = reading ? ONE_OF(reads) : ONE_OF(writes);

	set(ECX, n);
	if (!reading)
		set(EAX, n == 0xc0000080 ? below(2) * 0x800 : number()), set(EDX, 0);
	opcode(f);
}

/* What a CPU and a vCPU may say otherwise is overwritten. */
static void
told_otherwise(const struct form *f)
{
	if (f->operands == CPUID)
		set(EAX, 0);
	opcode(f);
	set(EAX, 0);
	if (f->operands == RDTSC)
		set(EDX, 0);
}

static void
valued(const struct form *f)
{
	set(EAX, number());
	opcode(f);
	byte(0xc0 | f->extension << 3 | EAX);
	if (f->bytes[0] == 0xf7) /* mul: flags that are not defined */
		byte(0xa8), byte(1);
}

static void
instruction(const struct form *f)
{
	static void (*const make[])(const struct form *) = {
		[MEM] = operand,
		[RM] = operand,
		[RM_IMM] = operand,
		[VALUE] = valued,
		[SEL_EAX] = selectors,
		[LAR] = selectors,
		[SEL_PUSH] = selectors,
		[SEL_SS] = selectors,
		[SS_PUSH] = selectors,
		[TO_CR] = system_registers,
		[FROM_CR] = system_registers,
		[TO_DR] = system_registers,
		[FROM_DR] = system_registers,
		[TABLE] = table,
		[FAR] = ways,
		[CALL_FAR] = ways,
		[RETF] = ways,
		[IRET] = iret,
		[INT] = interrupt,
		[PORT] = port,
		[PORT_DX] = port,
		[STRING_PORT] = string,
		[STRING] = string,
		[MSR] = msr,
		[CPUID] = told_otherwise,
		[RDTSC] = told_otherwise,
	};

	if (f->operands == FLAGS) {
		push(flags()), wide(), opcode(f);
	} else if (f->operands == FAR_MEM) {
		uint32_t sel = selector();

		wide(), memory(f, pointer(number(), sel, 0));
		odd |= !checks && !is_plain(sel);
	} else if (make[f->operands]) {
		make[f->operands](f);
	} else {
		if (f->operands == NONE && f->bytes[0] == 0x60)
			wide();
		opcode(f);
	}
}

/* An instruction that can't do without DS or ES. */
static int
needs_data(const struct form *f)
{
	return f->operands == MEM || f->operands == TABLE || f->operands == FAR_MEM ||
	       f->operands == STRING || f->operands == STRING_PORT;
}

/* Behind it int3, and no end of it. */
uint32_t
make_sequence(void)
{
	unsigned count = 3 + below(10);

	at = (uint8_t *)CODE + 0x100;
	mode = odd = unpaged = 0;
	taken = 0;
	while (count--) {
		const struct form *f = &forms[below(sizeof(forms) / sizeof(forms[0]))];

		if (!(f->shows && (plain || mode & user)) && !(odd && needs_data(f)))
			instruction(f);
	}
	return (uint32_t)at;
}
