/*
 * Running a vCPU under a debugger: breakpoints, steps, and stops at exits, none of which the guest
 * can see.
 *
 * The int3 of a breakpoint (int1, where the engine says so) is in guest memory only while the guest
 * runs: it is put there before an entry and taken away after the exit. So whatever reads guest
 * memory from outside, the emulator and GDB for two, sees the guest's own bytes, and its own int3
 * is its own. What can see ours is the guest, by reading its own code natively. No page table that
 * the CPU walks as it is has one (ACCESS_FORCE): a frame becomes such a table in a handler.
 *
 * A step is RFLAGS.TF. pushf would show it, so its image is corrected. The guest's interrupts wait
 * while it steps, or each step would lead into the handler of its clock, whose time goes on; only a
 * guest that has halted gets the one that wakes it. Where the CPU itself goes to a handler of the
 * guest's, or holds the trap back (landing.c), the step ends at a breakpoint there. te and bt do
 * such instructions themselves, or take two of them for one step behind `mov ss` and `pop ss`.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/debug/debug.h>
#include <vmm/debug/gdb.h>
#include <vmm/exitlog.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mmu/window.h>
#include <vmm/x86/emulate.h>
#include <vmm/x86/insn.h>

#define BREAKPOINTS_MAX 64
#define INT3            0xcc

/* The last one is Zeno's own, for one step: where that lands. */
static struct breakpoint {
	struct domain *domain; /* NULL: free */
	uint64_t addr;         /* linear */
	uint8_t *byte;         /* where the int3 stands now; NULL: nowhere */
	uint8_t original;
} breakpoints[BREAKPOINTS_MAX + 1];
#define LANDING (&breakpoints[BREAKPOINTS_MAX])

static char stop_on[16]; /* "": no exit stops a vCPU */

/* ---- breakpoints ---- */

static struct breakpoint *
breakpoint_at(const struct domain *d, uint64_t addr)
{
	for (unsigned i = 0; i < BREAKPOINTS_MAX; i++)
		if (breakpoints[i].domain == d && (!d || breakpoints[i].addr == addr))
			return &breakpoints[i];
	return NULL;
}

/* The guest's code is another one at addr, or the same again: whoever has translated it is told. */
static void
code_changes(struct vcpu *v, uint64_t addr)
{
	gpa_t at;

	if (!gva_to_gpa(v, gva(addr), ACCESS_PROBE, &at))
		page_track_written(v->domain, at, 1);
}

/* The guest need not have memory at addr yet: it may be about to turn paging on. */
int
debug_breakpoint(struct gdb_thread t, uint64_t addr, bool insert)
{
	struct vcpu *v = gdb_vcpu(t);
	struct breakpoint *b = breakpoint_at(v->domain, addr);

	if (!insert && !b)
		return 0;
	if (in_window(v->domain, addr, 1))
		return -EFAULT;
	if (!b)
		b = breakpoint_at(NULL, 0);
	if (!b)
		return -ENOSPC;
	*b = (struct breakpoint){ .domain = insert ? v->domain : NULL, .addr = addr };
	code_changes(v, b->addr);
	return 0;
}

void
debug_forget_breakpoints(struct domain *d)
{
	for (unsigned i = 0; i < BREAKPOINTS_MAX; i++)
		if (breakpoints[i].domain == d)
			debug_breakpoint(gdb_thread_of(d->vcpu), breakpoints[i].addr, false);
}

static uint8_t
trap_byte(const struct vcpu *v)
{
	return v->engine->breakpoint ? v->engine->breakpoint : INT3;
}

/* NULL: there is no memory, or none that a debugger may write. */
static uint8_t *
byte_to_write(struct vcpu *v, uint64_t addr)
{
	size_t one = 1;
	gpa_t at;

	if (gva_to_gpa(v, gva(addr), ACCESS_PROBE | ACCESS_FORCE, &at))
		return NULL;
	return gpa_ptr(v->domain, at, &one);
}

static void
arm(struct vcpu *v)
{
	for (unsigned i = 0; i < ARRAY_LEN(breakpoints); i++) {
		struct breakpoint *b = &breakpoints[i];

		if (b->domain != v->domain)
			continue;
		b->byte = byte_to_write(v, b->addr);
		b->original = b->byte ? *b->byte : trap_byte(v);
		if (b->byte)
			*b->byte = trap_byte(v);
	}
}

/* Backwards, so that two that share a byte through two addresses leave the guest's. */
static void
disarm(struct vcpu *v)
{
	for (unsigned i = ARRAY_LEN(breakpoints); i--;) {
		struct breakpoint *b = &breakpoints[i];

		if (b->domain != v->domain || !b->byte)
			continue;
		if (*b->byte == trap_byte(v)) /* else the guest has written there: that stays */
			*b->byte = b->original;
		b->byte = NULL;
	}
}

/* The exit is that of an int3 or an int1: an exception, or in translated code a call-out. */
static bool
is_trap(const struct vcpu *v, const struct exit *e)
{
	if (trap_byte(v) != INT3)
		return e->reason == EXIT_EXCEPTION && e->insn_op == INSN_INT1;
	return e->insn_op == INSN_INT3 &&
	       (e->reason == EXIT_EMULATE || (e->reason == EXIT_EXCEPTION && e->vector == VEC_BP));
}

static bool
hit_breakpoint(struct vcpu *v, const struct exit *e)
{
	struct breakpoint *b;

	if (!is_trap(v, e))
		return false;
	b = breakpoint_at(v->domain, debug_pc(v));
	return b && b->original != trap_byte(v);
}

/* The step ends in a handler, whose first instruction has not run. */
static bool
has_landed(struct vcpu *v, const struct exit *e)
{
	const struct breakpoint *b = LANDING;

	return b->domain == v->domain && is_trap(v, e) && debug_pc(v) == b->addr;
}

/* ---- one exit ---- */

int
debug_stop_on_exit(const char *what)
{
	stop_on[0] = '\0';
	if (!what)
		return 0;
	if (strcmp(what, "any") && exit_by_tag(what) == EXIT_COUNT) {
		unsigned op = INSN_NONE + 1;

		while (op < INSN_OP_COUNT && strcmp(what, insn_name(op)))
			op++;
		if (op == INSN_OP_COUNT)
			return -EINVAL;
	}
	snprintf(stop_on, sizeof(stop_on), "%s", what);
	return 0;
}

static bool
stops_on(const struct exit *e)
{
	if (!stop_on[0])
		return false;
	if (!strcmp(stop_on, "any"))
		return e->reason != EXIT_IRQ;
	return exit_by_tag(stop_on) == e->reason ||
	       (e->insn_len && !strcmp(stop_on, insn_name(e->insn_op)));
}

/* The instruction at rip; 0 where there is none. */
static unsigned
next_insn(struct vcpu *v, struct insn *i)
{
	gva_t at = gva(debug_pc(v));
	uint8_t bytes[EXIT_INSN_MAX];
	size_t n = 0;

	while (n < sizeof(bytes) && !gva_read_as(v, gva(at.v + n), ACCESS_PROBE, &bytes[n], 1))
		n++;
	return decode(i, bytes, n, cpu_mode_of(&v->state)) ? 0 : i->op;
}

/* pushf has stored our TF, bit 8: out of its image again. */
static void
correct_pushf(struct vcpu *v)
{
	unsigned size = stack_size_of(&v->state);
	uint64_t sp = v->state.gpr[RSP] & (size == 2 ? 0xffff : size == 4 ? 0xffffffff : ~0ul);
	gva_t at = gva(size == 8 ? sp + 1 : (uint32_t)(v->state.seg[SEG_SS].base + sp + 1));
	uint8_t byte;

	if (!gva_read_as(v, at, ACCESS_PROBE, &byte, 1)) {
		byte &= (uint8_t) ~(FLAG_TF >> 8);
		gva_write_as(v, at, ACCESS_PROBE, &byte, 1);
	}
}

/* This step's own breakpoint, if it leads where TF does not follow. */
static void
set_landing(struct vcpu *v)
{
	struct insn insn;
	uint64_t addr;

	next_insn(v, &insn);
	LANDING->domain = NULL;
	if (v->debug.step && !(v->state.rflags & FLAG_TF) && debug_landing(v, &insn, &addr))
		*LANDING = (struct breakpoint){ .domain = v->domain, .addr = addr };
}

/*
 * Enters the guest, for one instruction if it steps. True: that instruction ran to its end without
 * an exit of its own.
 */
static bool
enter(struct vcpu *v, struct exit *e)
{
	bool own_tf = v->state.rflags & FLAG_TF, done;
	uint64_t dr6, rip = v->state.rip;
	struct insn insn;
	unsigned op;

	if (!v->debug.step || LANDING->domain) {
		vcpu_run(v);
		return false;
	}
	vcpu_need(v, STATE_ALL);
	dr6 = v->state.dr[6];
	op = next_insn(v, &insn);
	v->state.rflags |= FLAG_TF;
	vcpu_run(v);
	/* what exits was not executed, though Bochs' VMX says of it, too, that it has stepped */
	done = (v->state.pending_debug & DR6_BS && !(e->insn_len && e->rip == rip)) ||
	       (e->reason == EXIT_EXCEPTION && e->vector == VEC_DB && !e->insn_len);
	/* after popf and its like TF is what the guest had there */
	if (!(done && (op == INSN_POPF || op == INSN_IRET)) && !own_tf)
		v->state.rflags &= ~(uint64_t)FLAG_TF;
	if (!own_tf && (e->reason == EXIT_HYPERCALL || e->reason == EXIT_SYSCALL) &&
	    op == INSN_SYSCALL)
		v->state.gpr[R11] &= ~(uint64_t)FLAG_TF;
	if (own_tf)
		return false;              /* a guest that steps itself gets its #DB, too */
	v->state.pending_debug &= ~DR6_BS; /* it was our step, not the guest's */
	if (done) {
		vcpu_need(v, STATE_ALL);
		if (op == INSN_PUSHF)
			correct_pushf(v);
		v->state.dr[6] = dr6;
		vcpu_changed(v, STATE_DR);
	}
	return done;
}

static enum verdict
stop(struct vcpu *v, bool could_run, int signal, const char *why)
{
	debug_hold(false);
	v->debug.parked = could_run;
	v->debug.waits = !could_run;
	gdb_stopped(gdb_thread_of(v), signal, why);
	return BLOCK;
}

/*
 * After an exit of a step's: whether the instruction is still to be executed. A hidden fault is not
 * the guest's affair.
 */
static bool
goes_on(const struct vcpu *v, const struct exit *e, enum verdict verdict)
{
	return e->reason == EXIT_IRQ ||
	       (e->reason == EXIT_MMU && verdict == RESUME && v->state.rip == e->rip);
}

/*
 * One exit of a vCPU that the debugger has; the same as without one (run.c), but that breakpoints
 * and steps are no exits and leave no record. A stop comes after the exit has been handled, so that
 * its words can say what was done; a guest that this ended for what it did can be looked at before
 * it goes.
 */
enum verdict
debug_one_exit(struct vcpu *v)
{
	uint64_t shadow_at = v->state.sti_shadow ? v->state.rip : 0;
	enum verdict verdict;
	char words[128];
	bool stepped;
	struct exit *e = v->exit;

	v->debug.waits = false;
	set_landing(v);
	arm(v);
	stepped = !debug_trap_due(v, e) && enter(v, e);
	disarm(v);
	if (hit_breakpoint(v, e))
		return stop(v, true, GDB_SIGTRAP, "swbreak:;");
	if (has_landed(v, e))
		return stop(v, true, GDB_SIGTRAP, "");
	/* Behind the step there may have come an interrupt of the host's: it is served. */
	if (stepped && e->reason == EXIT_IRQ)
		exit_handle(v, e);
	if (stepped)
		return stop(v, true, GDB_SIGTRAP, "");
	if (!v->debug.step && interrupt_comes_first(v, shadow_at, e))
		return RESUME;
	verdict = exit_handle(v, e);
	if (v->domain->state == DOMAIN_ENDED && !v->domain->stopped)
		return verdict;
	if (v->domain->state == DOMAIN_ENDED) {
		gdb_print("d%u %s: stopped: %s\n", v->domain->id, v->domain->name,
			  v->domain->end_reason);
		return stop(v, true, GDB_SIGSEGV, "");
	}
	if (stops_on(e)) {
		if (e->reason == EXIT_IRQ)
			snprintf(words, sizeof(words), "host interrupt");
		else
			exit_words(v->last, v->exits, words, sizeof(words));
		gdb_print("d%u %s: %s\n", v->domain->id, v->domain->name, words);
		return stop(v, verdict == RESUME || verdict == FAULTED, 0, "");
	}
	if (v->debug.step && !goes_on(v, e, verdict))
		return stop(v, verdict == RESUME || verdict == FAULTED, GDB_SIGTRAP, "");
	return verdict;
}
