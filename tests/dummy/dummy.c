/*
 * An engine without a CPU: it plays a script of exits and looks at what the core makes of each.
 * With it the core is tried in a build that has no other engine, and under poison=1.
 *
 * It hands over what every exit needs and fetches the rest, as an engine does that reads a VMCS.
 * `cpu` is its VMCS: what a guest's CPU would hold. Nothing of the guest's image runs.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/mem/p2m.h>
#include <vmm/vcpu.h>
#include <vmm/x86/insn.h>

#define CODE   0x5000u /* where instructions lie that the core decodes */
#define TEXT   0x6000u
#define DEVICE 0x90000000u

struct step {
	const char *name;
	struct exit exit;
	void (*before)(struct vcpu *v);       /* what the guest did up to here */
	const char *(*after)(struct vcpu *v); /* NULL, or what is wrong with what became of it */
};

static struct cpu_state cpu;
static const struct step *script;
static unsigned at;
static unsigned refusals, refused, injected, windows, fetches;
static struct event last;
static uint64_t device;

/* Copies these groups; the rest is copied always. */
static void
copy(struct cpu_state *to, const struct cpu_state *from, unsigned groups)
{
	if (groups & STATE_SEG) {
		memcpy(to->seg, from->seg, sizeof(to->seg));
		to->ldtr = from->ldtr;
		to->tr = from->tr;
	}
	if (groups & STATE_TABLES) {
		to->gdtr = from->gdtr;
		to->idtr = from->idtr;
	}
	if (groups & STATE_CR) {
		memcpy(&to->cr0, &from->cr0, 5 * sizeof(uint64_t));
		to->efer = from->efer;
		memcpy(to->pdpte, from->pdpte, sizeof(to->pdpte));
	}
	if (groups & STATE_DR)
		memcpy(to->dr, from->dr, sizeof(to->dr));
	if (groups & STATE_MSR)
		memcpy(&to->star, &from->star,
		       offsetof(struct cpu_state, event) - offsetof(struct cpu_state, star));
}

static void
copy_always(struct cpu_state *to, const struct cpu_state *from)
{
	memcpy(to->gpr, from->gpr, sizeof(to->gpr));
	to->rip = from->rip;
	to->rflags = from->rflags;
	to->seg[SEG_CS].attr = from->seg[SEG_CS].attr;
	to->seg[SEG_SS].attr = from->seg[SEG_SS].attr;
	to->sti_shadow = from->sti_shadow;
	to->mov_ss_shadow = from->mov_ss_shadow;
	to->activity = from->activity;
	to->event = from->event;
}

/*
 * ---- the script
 * ------------------------------------------------------------------------------------------
 */

#define SAY(character)                                                                  \
	{                                                                               \
		"out", { .reason = EXIT_IO, .insn_len = 1, .io = { 0x3f8, 1, false } }, \
			say_##character, NULL                                           \
	}

static void
say_h(struct vcpu *v)
{
	cpu.gpr[RAX] = 'h';
}
static void
say_i(struct vcpu *v)
{
	cpu.gpr[RAX] = 'i';
}
static void
say_newline(struct vcpu *v)
{
	cpu.gpr[RAX] = '\n';
}

static void
a_string(struct vcpu *v)
{
	gpa_write(v->domain, gpa(TEXT), "a string\n", 9);
	cpu.gpr[RSI] = TEXT;
	cpu.gpr[RCX] = 9;
	cpu.rflags &= ~(uint64_t)FLAG_DF;
}

static const char *
string_is_out(struct vcpu *v)
{
	return cpu.gpr[RCX] == 0 && cpu.gpr[RSI] == TEXT + 9 && cpu.rip == 1 ? NULL : "rep outsb";
}

static void
read_line_status(struct vcpu *v)
{
	cpu.gpr[RAX] = 0xffffffff;
}

static const char *
line_status(struct vcpu *v)
{
	return cpu.gpr[RAX] == 0xffffff60 ? NULL : "in al: al alone, empty";
}

static void
cr4_de(struct vcpu *v)
{
	cpu.gpr[RBX] = CR4_DE;
}
static void
cr4_more(struct vcpu *v)
{
	cpu.gpr[RBX] = 1u << 31;
}

static const char *
cr4_written(struct vcpu *v)
{
	return cpu.cr4 == CR4_DE ? NULL : "CR4 in the CPU";
}

static const char *
cr4_read(struct vcpu *v)
{
	return cpu.gpr[RDX] == CR4_DE && cpu.rip == 3 ? NULL : "CR4 read";
}

static const char *
got_gp(struct vcpu *v)
{
	return last.kind == EVENT_FAULT && last.vector == VEC_GP && last.has_error && !cpu.rip
		       ? NULL
		       : "#GP(0), and rip stays";
}

static const char *
got_ud(struct vcpu *v)
{
	return last.vector == VEC_UD && !last.has_error ? NULL : "#UD without an error code";
}

static void
star(struct vcpu *v)
{
	cpu.gpr[RAX] = 0x55667788;
	cpu.gpr[RDX] = 0x11223344;
}

static const char *
star_written(struct vcpu *v)
{
	return cpu.star == 0x1122334455667788 ? NULL : "STAR in the CPU";
}

static const char *
star_read(struct vcpu *v)
{
	return cpu.gpr[RAX] == 0x55667788 && cpu.gpr[RDX] == 0x11223344 ? NULL : "STAR read";
}

static void
lstar_not_canonical(struct vcpu *v)
{
	cpu.gpr[RAX] = 0;
	cpu.gpr[RDX] = 0x00008000;
}

static void
leaf_1(struct vcpu *v)
{
	cpu.gpr[RAX] = 1;
}

static const char *
no_vmx(struct vcpu *v)
{
	return !(cpu.gpr[RCX] & 1u << 5) && cpu.gpr[RDX] & 1 ? NULL : "cpuid: an FPU, and no VMX";
}

static void
refuse_once(struct vcpu *v)
{
	refusals = 1;
}

static const char *
refused_then_injected(struct vcpu *v)
{
	return refused == 1 && last.vector == VEC_NP && last.error == 0x1234 ? NULL
									     : "#NP, refused once";
}

/* mov eax, [DEVICE] with an interrupt on its way, which the exit came in the middle of. */
static void
in_the_middle(struct vcpu *v)
{
	static const uint8_t load[] = { 0xa1, 0, 0, 0, 0x90 };

	gpa_write(v->domain, gpa(CODE), load, sizeof(load));
	cpu.rip = CODE;
	cpu.event = (struct event){ .kind = EVENT_INTERRUPT, .vector = 0x77 };
	injected = 0;
	device = 0x1badcafe;
}

static const char *
again(struct vcpu *v)
{
	if (cpu.gpr[RAX] != (v->domain->platform->mmio ? 0x1badcafe : 0xffffffff) ||
	    cpu.rip != CODE + 5)
		return "the load";
	return injected == 1 && last.kind == EVENT_INTERRUPT && last.vector == 0x77
		       ? NULL
		       : "the interrupt was not delivered again";
}

/* mov [DEVICE + 8], ebx */
static void
a_store(struct vcpu *v)
{
	static const uint8_t store[] = { 0x89, 0x1d, 8, 0, 0, 0x90 };

	gpa_write(v->domain, gpa(CODE), store, sizeof(store));
	cpu.rip = CODE;
	cpu.gpr[RBX] = 0x600df00d;
}

static const char *
stored(struct vcpu *v)
{
	return !v->domain->platform->mmio || device == 0x600df00d ? NULL : "the store";
}

static void
gp_on_its_way(struct vcpu *v)
{
	cpu.event = (struct event){ .kind = EVENT_FAULT, .vector = VEC_GP, .has_error = true };
}

static const char *
got_df(struct vcpu *v)
{
	return last.kind == EVENT_FAULT && last.vector == VEC_DF && last.has_error && !last.error
		       ? NULL
		       : "#NP on top of #GP is #DF(0)";
}

/*
 * The 8259: vectors from 0x20 on, IRQ 0 alone; the 8254 as it is after power-up, 18 times a second.
 */
static void
icw1(struct vcpu *v)
{
	cpu.gpr[RAX] = 0x11;
}
static void
icw2(struct vcpu *v)
{
	cpu.gpr[RAX] = 0x20;
}
static void
icw3(struct vcpu *v)
{
	cpu.gpr[RAX] = 0x04;
}
static void
icw4(struct vcpu *v)
{
	cpu.gpr[RAX] = 0x01;
}
static void
mask(struct vcpu *v)
{
	cpu.gpr[RAX] = 0xfe;
}
static void
open_and_wait(struct vcpu *v)
{
	cpu.rflags |= FLAG_IF;
	injected = 0;
}

static const char *
ticked(struct vcpu *v)
{
	return injected == 1 && last.kind == EVENT_INTERRUPT && last.vector == 0x20
		       ? NULL
		       : "hlt ends with IRQ 0";
}

static void
closed(struct vcpu *v)
{
	cpu.rflags &= ~(uint64_t)FLAG_IF;
	v->irq_pending = true;
	windows = injected = 0;
}

static const char *
asked(struct vcpu *v)
{
	return windows && !injected ? NULL : "with IF=0 the engine is asked for a window";
}

static void
open_window(struct vcpu *v)
{
	cpu.rflags |= FLAG_IF;
}

static const char *
came(struct vcpu *v)
{
	return injected == 1 && last.kind == EVENT_INTERRUPT ? NULL : "the window opens";
}

static void
code_7(struct vcpu *v)
{
	cpu.gpr[RAX] = 7;
}

#define OUT(port) .reason = EXIT_IO, .insn_len = 1, .io = { port, 1, false }

static const struct step steps[] = {
	SAY(h),
	SAY(i),
	SAY(newline),
	{ "rep outsb",
	  { .reason = EXIT_IO, .insn_len = 1, .io = { 0x3f8, 1, false, true, true, SEG_DS, 4 } },
	  a_string,
	  string_is_out },
	{ "in",
	  { .reason = EXIT_IO, .insn_len = 1, .io = { 0x3fd, 1, true } },
	  read_line_status,
	  line_status },
	{ "mov cr4",
	  { .reason = EXIT_CR, .insn_len = 3, .cr = { 4, RBX, REG_WRITE } },
	  cr4_de,
	  cr4_written },
	{ "mov from cr4",
	  { .reason = EXIT_CR, .insn_len = 3, .cr = { 4, RDX, REG_READ } },
	  NULL,
	  cr4_read },
	{ "a bad cr4",
	  { .reason = EXIT_CR, .insn_len = 3, .cr = { 4, RBX, REG_WRITE } },
	  cr4_more,
	  got_gp },
	{ "dr4 with DE",
	  { .reason = EXIT_DR, .insn_len = 3, .dr = { 4, RBX, REG_READ } },
	  NULL,
	  got_ud },
	{ "wrmsr",
	  { .reason = EXIT_MSR, .insn_len = 2, .msr = { MSR_STAR, true } },
	  star,
	  star_written },
	{ "rdmsr",
	  { .reason = EXIT_MSR, .insn_len = 2, .msr = { MSR_STAR, false } },
	  NULL,
	  star_read },
	{ "rdmsr of none",
	  { .reason = EXIT_MSR, .insn_len = 2, .msr = { 0x12345, false } },
	  NULL,
	  got_gp },
	{ "wrmsr not canonical",
	  { .reason = EXIT_MSR, .insn_len = 2, .msr = { MSR_LSTAR, true } },
	  lstar_not_canonical,
	  got_gp },
	{ "cpuid", { .reason = EXIT_CPUID, .insn_len = 2 }, leaf_1, no_vmx },
	{ "hypercall", { .reason = EXIT_HYPERCALL, .insn_len = 3 }, NULL, got_ud },
	{ "refused",
	  { .reason = EXIT_EXCEPTION, .vector = VEC_NP, .error = 0x1234 },
	  refuse_once,
	  NULL },
	{ "offered again", { .reason = EXIT_PAUSE, .insn_len = 2 }, NULL, refused_then_injected },
	{ "exit during delivery",
	  { .reason = EXIT_MMU, .gpa = DEVICE, .access = ACCESS_READ },
	  in_the_middle,
	  again },
	{ "mmio store",
	  { .reason = EXIT_MMU, .gpa = DEVICE, .access = ACCESS_WRITE },
	  a_store,
	  stored },
	{ "fault during delivery",
	  { .reason = EXIT_EXCEPTION, .vector = VEC_NP },
	  gp_on_its_way,
	  got_df },
	{ "icw1", { OUT(0x20) }, icw1, NULL },
	{ "icw2", { OUT(0x21) }, icw2, NULL },
	{ "icw3", { OUT(0x21) }, icw3, NULL },
	{ "icw4", { OUT(0x21) }, icw4, NULL },
	{ "mask", { OUT(0x21) }, mask, NULL },
	{ "hlt", { .reason = EXIT_HLT, .insn_len = 1 }, open_and_wait, NULL },
	{ "woken", { .reason = EXIT_PAUSE, .insn_len = 2 }, NULL, ticked },
	{ "closed", { .reason = EXIT_CPUID, .insn_len = 2 }, closed, NULL },
	{ "asked", { .reason = EXIT_CPUID, .insn_len = 2 }, NULL, asked },
	{ "window", { .reason = EXIT_WINDOW_IRQ }, open_window, NULL },
	{ "came", { .reason = EXIT_CPUID, .insn_len = 2 }, NULL, came },
	{ "end", { OUT(0xf4) }, code_7, NULL },
	{ 0 },
};

static const struct step triple[] = {
	{ "#DF on its way, and #GP", { .reason = EXIT_EXCEPTION, .vector = VEC_GP }, NULL, NULL },
	{ 0 },
};

static const struct step forgets_to_ask[] = {
	{ "forgets to ask", { .reason = EXIT_OTHER, .insn_len = 1 }, NULL, NULL },
	{ "end", { OUT(0xf4) }, code_7, NULL },
	{ 0 },
};

static const struct step forgets_to_say[] = {
	{ "forgets to say", { .reason = EXIT_CACHE, .insn_len = 1 }, NULL, NULL },
	{ "end", { OUT(0xf4) }, code_7, NULL },
	{ 0 },
};

/* Two handlers as they must not be: poison=1 is to find them. */
static enum verdict
forgetful_reader(struct vcpu *v, struct exit *e)
{
	printf("dummy: a handler that did not ask reads cr3 as %lx\n", v->state.cr3);
	vcpu_advance(v, e);
	return RESUME;
}
EXIT_HANDLER(OTHER, "dummy", forgetful_reader);

static enum verdict
forgetful_writer(struct vcpu *v, struct exit *e)
{
	vcpu_need(v, STATE_DR);
	v->state.dr[0] = 0x1234;
	vcpu_advance(v, e);
	return RESUME;
}
EXIT_HANDLER(CACHE, "dummy", forgetful_writer);

/*
 * ---- the engine
 * ------------------------------------------------------------------------------------------
 */

static int
dummy_init(struct vcpu *v)
{
	const char *words = v->domain->words;

	v->state.cr3 = 0x3000;
	cpu = v->state;
	script = !strncmp(words, "triple", 6) ? triple
		 : !strncmp(words, "ask", 3)  ? forgets_to_ask
		 : !strncmp(words, "say", 3)  ? forgets_to_say
					      : steps;
	at = refusals = refused = injected = windows = fetches = 0;
	v->engine_data = &cpu;
	return 0;
}

static void
dummy_free(struct vcpu *v)
{
	v->engine_data = NULL;
}

static void
dummy_load(struct vcpu *v)
{
}

static void
dummy_fetch(struct vcpu *v, unsigned groups)
{
	fetches++;
	copy(&v->state, &cpu, groups);
}

/* One entry: what the core has changed goes to the CPU; then the script's next exit. */
static void
dummy_run(struct vcpu *v, struct exit *e)
{
	const char *wrong = NULL;

	copy(&cpu, &v->state, v->dirty);
	copy_always(&cpu, &v->state);
	v->dirty = v->valid = 0;
	if (at && script[at - 1].after)
		wrong = script[at - 1].after(v);
	if (wrong)
		panic("dummy: %s: expected %s (eax %lx, rip %lx, event %u %u(%x))",
		      script[at - 1].name, wrong, cpu.gpr[RAX], cpu.rip, last.kind, last.vector,
		      last.error);
	if (!script[at].name)
		panic("dummy: the script is over, and the guest goes on");
	cpu.rip = 0;
	cpu.event.kind = EVENT_NONE;
	if (script == triple)
		cpu.event =
			(struct event){ .kind = EVENT_FAULT, .vector = VEC_DF, .has_error = true };
	if (script[at].before)
		script[at].before(v);
	*e = script[at++].exit;
	e->rip = cpu.rip;
	copy_always(&v->state, &cpu);
}

static enum injection
dummy_inject(struct vcpu *v, const struct event *event)
{
	if (refusals) {
		refusals--;
		refused++;
		return REFUSED;
	}
	last = *event;
	injected++;
	return INJECTED;
}

static void
dummy_window(struct vcpu *v)
{
	windows++;
}

static const struct engine dummy_engine = {
	.name = "dummy",
	.what = "plays a script of exits",
	.max_vcpus = 1,
	.ram_max = 64ul << 20,
	.cr4_guest = CR4_DE | CR4_PSE,
	.init = dummy_init,
	.free = dummy_free,
	.load = dummy_load,
	.run = dummy_run,
	.fetch = dummy_fetch,
	.inject = dummy_inject,
	.window = dummy_window,
};
SET_ADD(engines, dummy_engine);

static const char *
absent_probe(void)
{
	return "this CPU has no dummy mode";
}

static const struct engine absent_engine = { .name = "absent",
					     .what = "a CPU that is not here",
					     .max_vcpus = 1,
					     .ram_max = 64ul << 20,
					     .probe = absent_probe };
SET_ADD(engines, absent_engine);

/*
 * ---- a machine with one register
 * -------------------------------------------------------------------------
 */

static uint64_t
register_read(struct domain *d, uint64_t offset, unsigned size)
{
	return device;
}

static void
register_write(struct domain *d, uint64_t offset, unsigned size, uint64_t value)
{
	if (offset == 8 && size == 4)
		device = value;
}

static const struct mmio_range bench_mmio[] = {
	{ DEVICE, 0x1000, "register", register_read, register_write },
	{ 0 },
};

/* The PC's ports and lines, and a register in memory. */
static struct platform bench;

static void
bench_init(void)
{
	bench = *platform_find("pc");
	bench.name = "bench";
	bench.mmio = bench_mmio;
}
INITCALL(40, bench_init);
SET_ADD(platforms, bench);
