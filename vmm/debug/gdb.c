/*
 * What a debugger sees of a domain: a process of an i386 or an amd64 whose threads are its vCPUs,
 * with the guest's own registers (struct cpu_state, the one truth) and its own linear addresses.
 *
 * Which of the two it is, the code says that runs when the debugger asks for the description:
 * 64-bit code is an amd64's. It stays so until the debugger asks again, since that knows how long
 * each register is.
 *
 * GDB = "Debugging with GDB", GDB 13, appendix G "Target Descriptions". SDM = Intel 64 and IA-32
 * Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/debug/gdb.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/mmu.h>
#include <vmm/mmu/window.h>
#include <vmm/x86/emulate.h>
#include <vmm/x86/insn.h>

/* What GDB may write into EFLAGS: not VM, VIF, VIP, nor what is fixed. */
#define FLAGS_WRITABLE                                                                             \
	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_OF | \
	 FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID)

enum part { NOT_SHOWN, GPR, RIP, RFLAGS, SELECTOR, SYSTEM };

/*
 * In GDB's order (GDB G.5.1 "i386 Features"): the core wants the x87's too, which a stopped vCPU's
 * thread may have in the CPU still; they are shown as not available. Ours come last. Names and
 * sizes are an i386's; an amd64 has eight bytes in each that is not of four there, too.
 */
static const struct {
	char name[8];
	uint8_t bytes;
	uint8_t part; /* enum part */
	uint8_t n;    /* which of them */
	const char *type;
} registers[] = {
	{ "eax", 4, GPR, RAX, "int32" },         { "ecx", 4, GPR, RCX, "int32" },
	{ "edx", 4, GPR, RDX, "int32" },         { "ebx", 4, GPR, RBX, "int32" },
	{ "esp", 4, GPR, RSP, "data_ptr" },      { "ebp", 4, GPR, RBP, "data_ptr" },
	{ "esi", 4, GPR, RSI, "int32" },         { "edi", 4, GPR, RDI, "int32" },
	{ "eip", 4, RIP, 0, "code_ptr" },        { "eflags", 4, RFLAGS, 0, "i386_eflags" },
	{ "cs", 4, SELECTOR, SEG_CS, "int32" },  { "ss", 4, SELECTOR, SEG_SS, "int32" },
	{ "ds", 4, SELECTOR, SEG_DS, "int32" },  { "es", 4, SELECTOR, SEG_ES, "int32" },
	{ "fs", 4, SELECTOR, SEG_FS, "int32" },  { "gs", 4, SELECTOR, SEG_GS, "int32" },
	{ "st0", 10, NOT_SHOWN, 0, "i387_ext" }, { "st1", 10, NOT_SHOWN, 0, "i387_ext" },
	{ "st2", 10, NOT_SHOWN, 0, "i387_ext" }, { "st3", 10, NOT_SHOWN, 0, "i387_ext" },
	{ "st4", 10, NOT_SHOWN, 0, "i387_ext" }, { "st5", 10, NOT_SHOWN, 0, "i387_ext" },
	{ "st6", 10, NOT_SHOWN, 0, "i387_ext" }, { "st7", 10, NOT_SHOWN, 0, "i387_ext" },
	{ "fctrl", 4, NOT_SHOWN, 0, "int" },     { "fstat", 4, NOT_SHOWN, 0, "int" },
	{ "ftag", 4, NOT_SHOWN, 0, "int" },      { "fiseg", 4, NOT_SHOWN, 0, "int" },
	{ "fioff", 4, NOT_SHOWN, 0, "int" },     { "foseg", 4, NOT_SHOWN, 0, "int" },
	{ "fooff", 4, NOT_SHOWN, 0, "int" },     { "fop", 4, NOT_SHOWN, 0, "int" },
#define FIRST_64 32 /* these an amd64 has alone */
	{ "r8", 8, GPR, R8, "int64" },           { "r9", 8, GPR, R9, "int64" },
	{ "r10", 8, GPR, R10, "int64" },         { "r11", 8, GPR, R11, "int64" },
	{ "r12", 8, GPR, R12, "int64" },         { "r13", 8, GPR, R13, "int64" },
	{ "r14", 8, GPR, R14, "int64" },         { "r15", 8, GPR, R15, "int64" },
#define FIRST_SYSTEM 40
	{ "cr0", 4, SYSTEM, 0, "int32" },        { "cr2", 4, SYSTEM, 1, "int32" },
	{ "cr3", 4, SYSTEM, 2, "int32" },        { "cr4", 4, SYSTEM, 3, "int32" },
	{ "gdtr", 4, SYSTEM, 4, "data_ptr" },    { "gdtl", 4, SYSTEM, 5, "int32" },
	{ "idtr", 4, SYSTEM, 6, "data_ptr" },    { "idtl", 4, SYSTEM, 7, "int32" },
	{ "ldtr", 4, SYSTEM, 8, "int32" },       { "tr", 4, SYSTEM, 9, "int32" },
};

static const struct {
	char name[5];
	uint8_t first, last;
} flags[] = {
	{ "CF", 0, 0 },   { "PF", 2, 2 },   { "AF", 4, 4 },   { "ZF", 6, 6 },   { "SF", 7, 7 },
	{ "TF", 8, 8 },   { "IF", 9, 9 },   { "DF", 10, 10 }, { "OF", 11, 11 }, { "NT", 14, 14 },
	{ "RF", 16, 16 }, { "VM", 17, 17 }, { "AC", 18, 18 }, { "ID", 21, 21 },
};

/* ---- the target description ---- */

static char xml[8192];
static size_t xml_length;

/* Registers of an amd64 that are twice as long as an i386's. */
static bool
grows(size_t i)
{
	return registers[i].part == GPR || registers[i].part == RIP || registers[i].part == SYSTEM;
}

static unsigned
bytes_of(size_t i, bool wide)
{
	return wide && grows(i) ? 8 : registers[i].bytes;
}

static void add(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void
add(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	xml_length += (size_t)vsnprintf(xml + xml_length, sizeof(xml) - xml_length, fmt, ap);
	va_end(ap);
	ASSERT(xml_length < sizeof(xml));
}

/* eax is rax there; pointers say themselves how long they are. */
static void
add_registers(size_t from, size_t to, const char *group, bool wide)
{
	for (size_t i = from; i < to; i++) {
		bool longer = wide && grows(i);
		const char *name = registers[i].name, *type = registers[i].type;

		if (i >= FIRST_64 && i < FIRST_SYSTEM && !wide)
			continue;
		if (longer && !strcmp(type, "int32"))
			type = "int64";
		add("<reg name=\"%s%s\" bitsize=\"%u\" type=\"%s\"%s/>\n",
		    longer && *name == 'e' ? "r" : "", longer && *name == 'e' ? name + 1 : name,
		    bytes_of(i, wide) * 8, type, group);
	}
	add("</feature>\n");
}

static const char *
description(struct gdb_thread t)
{
	struct vcpu *v = gdb_vcpu(t);
	enum cpu_mode mode = MODE32;
	bool wide;

	if (v) { /* the debugger asks before it has one, too */
		vcpu_need(v, STATE_SEG | STATE_CR);
		mode = cpu_mode_of(&v->state);
		v->debug.wide = mode == MODE64;
	}
	wide = mode == MODE64;
	xml_length = 0;
	add("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
	    "<target version=\"1.0\"><architecture>%s</architecture>\n"
	    "<feature name=\"org.gnu.gdb.i386.core\">\n<flags id=\"i386_eflags\" size=\"4\">\n",
	    wide             ? "i386:x86-64"
	    : mode == MODE16 ? "i8086"
			     : "i386");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		add("<field name=\"%s\" start=\"%u\" end=\"%u\"/>\n", flags[i].name, flags[i].first,
		    flags[i].last);
	add("</flags>\n");
	add_registers(0, FIRST_SYSTEM, "", wide);
	add("<feature name=\"zeno.system\">\n");
	add_registers(FIRST_SYSTEM, ARRAY_LEN(registers), " group=\"system\"", wide);
	add("</target>\n");
	return xml;
}

/* ---- registers ---- */

/*
 * GDB knows no segments: it puts breakpoints at linear addresses, and looks whether its pc is at
 * one. So that is a linear address, too; the guest's own rip is vcpu's to tell.
 */
static uint64_t
code_address(struct vcpu *v, uint64_t rip, bool back)
{
	uint64_t base;

	vcpu_need(v, STATE_SEG | STATE_CR);
	if (cpu_mode_of(&v->state) == MODE64)
		return rip;
	base = v->state.seg[SEG_CS].base;
	return (uint32_t)(back ? rip - base : rip + base);
}

uint64_t
debug_pc(struct vcpu *v)
{
	return code_address(v, v->state.rip, false);
}

static uint64_t
register_value(struct vcpu *v, enum part part, unsigned n)
{
	const struct cpu_state *s = &v->state;
	const uint64_t system[] = { s->cr0,       s->cr2,        s->cr3,       s->cr4,
				    s->gdtr.base, s->gdtr.limit, s->idtr.base, s->idtr.limit,
				    s->ldtr.sel,  s->tr.sel };

	switch (part) {
	case GPR:
		return s->gpr[n];
	case RIP:
		return debug_pc(v);
	case RFLAGS:
		return s->rflags;
	case SELECTOR:
		return s->seg[n].sel;
	case SYSTEM:
		return system[n];
	default:
		return 0;
	}
}

/* The debugger's number n in the table. */
static size_t
index_of(const struct vcpu *v, unsigned n)
{
	return !v->debug.wide && n >= FIRST_64 ? n + FIRST_SYSTEM - FIRST_64 : n;
}

/* Debug registers are not shown: the CPU has them while another vCPU's thread runs. */
static unsigned
get_register(struct gdb_thread t, unsigned n, uint8_t value[8], bool *known)
{
	struct vcpu *v = gdb_vcpu(t);
	size_t i = index_of(v, n);
	uint64_t number;

	if (i >= ARRAY_LEN(registers))
		return 0;
	*known = registers[i].part != NOT_SHOWN;
	vcpu_need(v, STATE_SEG | STATE_TABLES | STATE_CR);
	number = register_value(v, registers[i].part, registers[i].n);
	memcpy(value, &number, 8);
	return bytes_of(i, v->debug.wide);
}

/*
 * Selectors and system registers have hidden parts and shadows: only the guest itself loads them.
 */
static int
set_register(struct gdb_thread t, unsigned n, uint64_t value)
{
	struct vcpu *v = gdb_vcpu(t);
	struct cpu_state *s = &v->state;
	size_t i = index_of(v, n);

	switch (registers[i].part) {
	case GPR:
		s->gpr[registers[i].n] = value;
		return 0;
	case RIP:
		s->rip = code_address(v, value, true);
		return 0;
	case RFLAGS:
		s->rflags = (s->rflags & ~(uint64_t)FLAGS_WRITABLE) | (value & FLAGS_WRITABLE);
		return 0;
	default:
		return value == register_value(v, registers[i].part, registers[i].n) ? 0 : -EINVAL;
	}
}

/* ---- memory ---- */

/*
 * How much of [addr, addr + len) is guest memory: the window is not, nor is what lies above 4 GiB
 * where no long mode is.
 */
static size_t
readable(struct vcpu *v, uint64_t addr, size_t len)
{
	uint64_t last;
	size_t n = 0;

	vcpu_need(v, STATE_CR);
	last = v->state.efer & EFER_LMA ? ~0ul : 0xffffffff;
	while (n < len && addr + n >= addr && addr + n <= last &&
	       !in_window(v->domain, addr + n, 1) && gva_byte(v, gva(addr + n)))
		n++;
	return n;
}

static size_t
read(struct gdb_thread t, uint64_t addr, void *buf, size_t len)
{
	struct vcpu *v = gdb_vcpu(t);

	len = readable(v, addr, len);
	return len && gva_read_as(v, gva(addr), ACCESS_PROBE, buf, len) ? 0 : len;
}

static int
write(struct gdb_thread t, uint64_t addr, const void *buf, size_t len)
{
	struct vcpu *v = gdb_vcpu(t);

	if (readable(v, addr, len) < len)
		return -EFAULT;
	return gva_write_as(v, gva(addr), ACCESS_PROBE, buf, len);
}

/* ---- threads ---- */

static bool
next(struct gdb_thread *t)
{
	for (unsigned id = t->pid > 0 ? (unsigned)t->pid : 1; id <= DOMAIN_MAX; id++) {
		struct domain *d = domain_find(id);

		for (struct vcpu *v = d ? d->vcpu : NULL; v; v = v->next) {
			struct gdb_thread here = gdb_thread_of(v);

			if (!v->debugged || (here.pid == t->pid && here.tid <= t->tid))
				continue;
			*t = here;
			return true;
		}
	}
	return false;
}

static void
describe(struct gdb_thread t, char *buf, size_t size)
{
	const struct vcpu *v = gdb_vcpu(t);

	snprintf(buf, size, "%s on %s, %s, %lu exits", v->domain->name, v->engine->name,
		 v->domain->state == DOMAIN_ENDED ? "ended"
		 : v->debug.held                  ? "held"
						  : "running",
		 v->exits);
}

static const struct gdb_target domains_target = {
	.next = next,
	.description = description,
	.get_register = get_register,
	.set_register = set_register,
	.read = read,
	.write = write,
	.breakpoint = debug_breakpoint,
	.hold = debug_hold,
	.resume = debug_resume,
	.attach = debug_attach,
	.detach = debug_detach,
	.kill = debug_kill,
	.describe = describe,
};

static void
gdb_plug_in(void)
{
	gdb_register(&domains_target);
}
INITCALL(45, gdb_plug_in);
