/*
 * What the guest without a CPU does, step by step, and what the core must make of it.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/dispatch.h>
#include <vmm/exitlog.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/p2m.h>
#include <vmm/x86/insn.h>

#include "dummy.h"

#define CODE 0x5000u /* where instructions lie that the core decodes */
#define TEXT 0x6000u

#define SAY(character)                                                                  \
	{                                                                               \
		"out", { .reason = EXIT_IO, .insn_len = 1, .io = { 0x3f8, 1, false } }, \
			say_##character, NULL                                           \
	}

static void
say_h(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 'h';
}
static void
say_i(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 'i';
}
static void
say_newline(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = '\n';
}

static void
a_string(struct vcpu *v)
{
	gpa_write(v->domain, gpa(TEXT), "a string\n", 9);
	dummy->cpu.gpr[RSI] = TEXT;
	dummy->cpu.gpr[RCX] = 9;
	dummy->cpu.rflags &= ~(uint64_t)FLAG_DF;
}

static const char *
string_is_out(struct vcpu *v)
{
	return dummy->cpu.gpr[RCX] == 0 && dummy->cpu.gpr[RSI] == TEXT + 9 && dummy->cpu.rip == 1
		       ? NULL
		       : "rep outsb";
}

static void
read_line_status(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0xffffffff;
}

static const char *
line_status(struct vcpu *v)
{
	return dummy->cpu.gpr[RAX] == 0xffffff60 ? NULL : "in al: al alone, empty";
}

static void
cr4_de(struct vcpu *v)
{
	dummy->cpu.gpr[RBX] = CR4_DE;
}
static void
cr4_more(struct vcpu *v)
{
	dummy->cpu.gpr[RBX] = 1u << 31;
}

static const char *
cr4_written(struct vcpu *v)
{
	return dummy->cpu.cr4 == CR4_DE ? NULL : "CR4 in the CPU";
}

static const char *
cr4_read(struct vcpu *v)
{
	return dummy->cpu.gpr[RDX] == CR4_DE && dummy->cpu.rip == 3 ? NULL : "CR4 read";
}

static const char *
got_gp(struct vcpu *v)
{
	return dummy->last.kind == EVENT_FAULT && dummy->last.vector == VEC_GP &&
			       dummy->last.has_error && !dummy->cpu.rip
		       ? NULL
		       : "#GP(0), and rip stays";
}

static const char *
got_ud(struct vcpu *v)
{
	return dummy->last.vector == VEC_UD && !dummy->last.has_error ? NULL
								      : "#UD without an error code";
}

static void
star(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0x55667788;
	dummy->cpu.gpr[RDX] = 0x11223344;
}

static const char *
star_written(struct vcpu *v)
{
	return dummy->cpu.star == 0x1122334455667788 ? NULL : "STAR in the CPU";
}

static const char *
star_read(struct vcpu *v)
{
	return dummy->cpu.gpr[RAX] == 0x55667788 && dummy->cpu.gpr[RDX] == 0x11223344 ? NULL
										      : "STAR read";
}

static void
lstar_not_canonical(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0;
	dummy->cpu.gpr[RDX] = 0x00008000;
}

static void
leaf_1(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 1;
}

static const char *
no_vmx(struct vcpu *v)
{
	return !(dummy->cpu.gpr[RCX] & 1u << 5) && dummy->cpu.gpr[RDX] & 1
		       ? NULL
		       : "cpuid: an FPU, and no VMX";
}

static void
refuse_once(struct vcpu *v)
{
	dummy->refusals = 1;
}

static const char *
refused_then_injected(struct vcpu *v)
{
	return dummy->refused == 1 && dummy->last.vector == VEC_NP && dummy->last.error == 0x1234
		       ? NULL
		       : "#NP, refused once";
}

/* mov eax, [DEVICE] */
static void
a_load(struct vcpu *v)
{
	static const uint8_t load[] = { 0xa1, 0, 0, 0, 0x90 };

	gpa_write(v->domain, gpa(CODE), load, sizeof(load));
	dummy->cpu.rip = CODE;
	dummy->device = 0x1badcafe;
}

static const char *
loaded(struct vcpu *v)
{
	return dummy->cpu.gpr[RAX] == (v->domain->platform->mmio ? 0x1badcafe : 0xffffffff) &&
			       dummy->cpu.rip == CODE + 5
		       ? NULL
		       : "the load";
}

/* The host's interrupt came in the middle of a delivery. */
static void
in_the_middle(struct vcpu *v)
{
	dummy->cpu.event = (struct event){ .kind = EVENT_INTERRUPT, .vector = 0x77 };
	dummy->injected = 0;
}

static const char *
again(struct vcpu *v)
{
	return dummy->injected == 1 && dummy->last.kind == EVENT_INTERRUPT &&
			       dummy->last.vector == 0x77
		       ? NULL
		       : "the interrupt was not delivered again";
}

/* mov [DEVICE + 8], ebx */
static void
a_store(struct vcpu *v)
{
	static const uint8_t store[] = { 0x89, 0x1d, 8, 0, 0, 0x90 };

	gpa_write(v->domain, gpa(CODE), store, sizeof(store));
	dummy->cpu.rip = CODE;
	dummy->cpu.gpr[RBX] = 0x600df00d;
}

static const char *
stored(struct vcpu *v)
{
	return !v->domain->platform->mmio || dummy->device == 0x600df00d ? NULL : "the store";
}

static void
gp_on_its_way(struct vcpu *v)
{
	dummy->cpu.event =
		(struct event){ .kind = EVENT_FAULT, .vector = VEC_GP, .has_error = true };
}

static const char *
got_df(struct vcpu *v)
{
	return dummy->last.kind == EVENT_FAULT && dummy->last.vector == VEC_DF &&
			       dummy->last.has_error && !dummy->last.error
		       ? NULL
		       : "#NP on top of #GP is #DF(0)";
}

/*
 * The 8259: vectors from 0x20 on, IRQ 0 alone; the 8254 as it is after power-up, 18 times a second.
 */
static void
icw1(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0x11;
}
static void
icw2(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0x20;
}
static void
icw3(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0x04;
}
static void
icw4(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0x01;
}
static void
mask(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 0xfe;
}
static void
open_and_wait(struct vcpu *v)
{
	dummy->cpu.rflags |= FLAG_IF;
	dummy->injected = 0;
}

static const char *
ticked(struct vcpu *v)
{
	return dummy->injected == 1 && dummy->last.kind == EVENT_INTERRUPT &&
			       dummy->last.vector == 0x20
		       ? NULL
		       : "hlt ends with IRQ 0";
}

static void
closed(struct vcpu *v)
{
	dummy->cpu.rflags &= ~(uint64_t)FLAG_IF;
	v->irq_pending = true;
	dummy->windows = dummy->injected = 0;
}

static const char *
asked(struct vcpu *v)
{
	return dummy->windows && !dummy->injected ? NULL
						  : "with IF=0 the engine is asked for a window";
}

static void
open_window(struct vcpu *v)
{
	dummy->cpu.rflags |= FLAG_IF;
}

static const char *
came(struct vcpu *v)
{
	/* On a slow machine a second tick may have come by now. */
	return dummy->injected && dummy->last.kind == EVENT_INTERRUPT ? NULL : "the window opens";
}

static void
code_7(struct vcpu *v)
{
	dummy->cpu.gpr[RAX] = 7;
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
	{ "exit during delivery", { .reason = EXIT_IRQ }, in_the_middle, again },
	{ "mmio load",
	  { .reason = EXIT_MMU, .gpa = DEVICE, .access = ACCESS_READ },
	  a_load,
	  loaded },
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

static void
df_on_its_way(struct vcpu *v)
{
	dummy->cpu.event =
		(struct event){ .kind = EVENT_FAULT, .vector = VEC_DF, .has_error = true };
}

static const struct step triple[] = {
	{ "#DF on its way, and #GP",
	  { .reason = EXIT_EXCEPTION, .vector = VEC_GP },
	  df_on_its_way,
	  NULL },
	{ 0 },
};

/* Two vCPUs: the first one starts the second, as a platform does for INIT and SIPI. */
static void
start_second(struct vcpu *v)
{
	v->next->state.activity = ACTIVITY_RUNS;
	thread_wake(&v->next->thread); /* which has had a turn already, or not */
}

/* How soon it waits is the scheduler's affair, and that of the host's clock. */
static const char *
second_waits(struct vcpu *v)
{
	const struct vcpu *second = v->next;

	return second->thread.state == THREAD_BLOCKED && second->exits == 2 ? NULL : dummy_not_yet;
}

static void
flush_own(struct vcpu *v)
{
	v->flush = v->next->flush = false;
	tlb_flush(v);
}

static const char *
flushed(struct vcpu *v)
{
	if (!v->flush || v->next->flush)
		return "a flush of one vCPU's TLB";
	tlb_flush_all(v->domain);
	return v->next->flush ? NULL : "a flush of all";
}

static const struct step first[] = {
	SAY(h),
	{ "start", { .reason = EXIT_PAUSE, .insn_len = 2 }, start_second, NULL },
	{ "started", { .reason = EXIT_PAUSE, .insn_len = 2 }, NULL, second_waits },
	{ "flush", { .reason = EXIT_CPUID, .insn_len = 2 }, flush_own, flushed },
	SAY(newline),
	{ "end", { OUT(0xf4) }, code_7, NULL },
	{ 0 },
};

static const struct step second[] = {
	SAY(i),
	{ "hlt", { .reason = EXIT_HLT, .insn_len = 1 }, open_and_wait, NULL },
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

const struct step *
dummy_script(const struct vcpu *v)
{
	const char *words = v->domain->words;

	return v->number                      ? second
	       : v->next                      ? first
	       : !strncmp(words, "triple", 6) ? triple
	       : !strncmp(words, "ask", 3)    ? forgets_to_ask
	       : !strncmp(words, "say", 3)    ? forgets_to_say
					      : steps;
}
