/*
 * Exit handlers for any engine: what an exit means, from what *e says of it and from the state
 * alone. An engine's own handler goes before one of these (dispatch.c). Registers and CPUID have
 * files of their own (registers.c, cpuid.c).
 *
 * Labs 1 to 3 compile none of this room: with it in the build, a student's handler that is taken
 * out would be done by Zeno, and the exercise passed.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <kern/thread.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/exits/access.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/vcpu.h>
#include <vmm/words/limits.h>

/*
 * One element of ins or outs. The write of ins is tried first: a port must not be read for a write
 * that faults.
 */
static int
string_element(struct vcpu *v, const struct exit_io *io, struct emu_fault *f)
{
	enum gpr index = io->in ? RDI : RSI;
	uint64_t at = gpr_read(&v->state, index, io->addr_size);
	uint32_t value = 0;
	int err;

	if (!io->in) {
		err = access_ops.read(v, io->seg, at, &value, io->size, f);
		if (!err)
			io_write(v->domain, io->port, io->size, value);
		return err;
	}
	err = access_ops.read_rmw(v, SEG_ES, at, &value, io->size, f);
	if (err)
		return err;
	value = io_read(v->domain, io->port, io->size);
	return access_ops.write(v, SEG_ES, at, &value, io->size, f);
}

/* Moves index and count past an element; whether there is another one. */
static bool
string_step(struct vcpu *v, const struct exit_io *io)
{
	struct cpu_state *s = &v->state;
	enum gpr index = io->in ? RDI : RSI;
	uint64_t step = s->rflags & FLAG_DF ? -(uint64_t)io->size : io->size;

	gpr_write(s, index, io->addr_size, gpr_read(s, index, io->addr_size) + step);
	if (!io->rep)
		return false;
	gpr_write(s, RCX, io->addr_size, gpr_read(s, RCX, io->addr_size) - 1);
	return gpr_read(s, RCX, io->addr_size) != 0;
}

/* At most EMU_REP_MAX elements in one exit: no guest holds the CPU with a long string. */
static APART enum verdict
string_io(struct vcpu *v, struct exit *e)
{
	const struct exit_io *io = &e->io;
	bool more = !io->rep || gpr_read(&v->state, RCX, io->addr_size) != 0;
	struct emu_fault f;

	exit_effect(v, io->in ? EFFECT_IN : EFFECT_OUT, io->port, 0);
	for (unsigned n = 0; more && n < (v->began & FLAG_TF ? 1 : EMU_REP_MAX); n++) {
		if (string_element(v, io, &f))
			return access_fault(v, &f);
		more = string_step(v, io);
		if (v->domain->state == DOMAIN_ENDED)
			return STOP;
	}
	if (!more)
		vcpu_advance(v, e); /* safe: the last element is done */
	else
		vcpu_step(v); /* rip stays, and the rest is another exit */
	return RESUME;
}

static APART enum verdict
port_out(struct vcpu *v, struct exit *e)
{
	uint32_t value = (uint32_t)gpr_read(&v->state, RAX, e->io.size);

	exit_effect(v, EFFECT_OUT, e->io.port, value);
	vcpu_advance(v, e); /* safe: a write cannot fault */
	io_write(v->domain, e->io.port, e->io.size, value);
	return v->domain->state == DOMAIN_ENDED ? STOP : RESUME;
}

/* No device ends its domain because it was read. */
static APART enum verdict
port_in(struct vcpu *v, struct exit *e)
{
	uint32_t value = io_read(v->domain, e->io.port, e->io.size);
	uint64_t *rax = &v->state.gpr[RAX];

	if (e->io.size == 1)
		__builtin_memcpy(rax, &value, 1);
	else if (e->io.size == 2)
		__builtin_memcpy(rax, &value, 2);
	else
		*rax = value;
	exit_effect(v, EFFECT_IN, e->io.port, value);
	return vcpu_advance(v, e); /* safe: it is done */
}

static enum verdict
exit_io(struct vcpu *v, struct exit *e)
{
	if (e->io.string)
		return string_io(v, e);
	return e->io.in ? port_in(v, e) : port_out(v, e);
}
EXIT_HANDLER(IO, NULL, exit_io);

static bool
another_runs(const struct vcpu *v)
{
	for_each_vcpu(other, v->domain)
	{
		if (other != v && (other->state.activity == ACTIVITY_RUNS || other->signals))
			return true;
	}
	return false;
}

/* With its interrupts off nothing wakes it but INIT or NMI, from another CPU. */
static enum verdict
exit_hlt(struct vcpu *v, struct exit *e)
{
	exit_effect(v, EFFECT_HALT, 0, 0);
	if (!(v->state.rflags & FLAG_IF)) {
		if (!another_runs(v))
			return exit_stop(v, e, "lab1a.md#dead-halt",
					 "dead halt: hlt with interrupts off");
		v->state.activity = ACTIVITY_HALTED;
	}
	vcpu_advance(v, e); /* safe: it has only to wait now */
	return BLOCK;
}
EXIT_HANDLER(HLT, NULL, exit_hlt);

/* Caches are the machine's, and need no care of the guest's. */
static enum verdict
exit_cache(struct vcpu *v, struct exit *e)
{
	return vcpu_advance(v, e); /* safe: wbinvd and invd change nothing that can be seen */
}
EXIT_HANDLER(CACHE, NULL, exit_cache);

static enum verdict
exit_rdtsc(struct vcpu *v, struct exit *e)
{
	uint64_t now;

	vcpu_need(v, STATE_MSR);
	now = rdtsc() + v->state.tsc_offset;
	v->state.gpr[RAX] = (uint32_t)now;
	v->state.gpr[RDX] = now >> 32;
	if (e->insn_op == INSN_RDTSCP)
		v->state.gpr[RCX] = (uint32_t)v->state.tsc_aux;
	return vcpu_advance(v, e); /* safe: the registers are all it writes */
}
EXIT_HANDLER(RDTSC, NULL, exit_rdtsc);

/* The guest spins: somebody else may have the CPU. */
static enum verdict
exit_pause(struct vcpu *v, struct exit *e)
{
	vcpu_advance(v, e); /* safe: pause does nothing */
	need_resched = true;
	return RESUME;
}
EXIT_HANDLER(PAUSE, NULL, exit_pause);

/* The guest takes now what it did not take before: the run loop offers it. */
static enum verdict
exit_window(struct vcpu *v, struct exit *e)
{
	return RESUME;
}
EXIT_HANDLER(WINDOW_IRQ, NULL, exit_window);
EXIT_HANDLER(WINDOW_NMI, NULL, exit_window);
EXIT_HANDLER(PREEMPTION, NULL, exit_window);

static enum verdict
exit_triple(struct vcpu *v, struct exit *e)
{
	v->domain->reset = true;
	return exit_stop(v, e, "lab1b.md#triple", "triple fault");
}
EXIT_HANDLER(TRIPLE, NULL, exit_triple);

static enum verdict
exit_task(struct vcpu *v, struct exit *e)
{
	return exit_limit(v, e, VEC_GP, 0, LIMITS_HARDWARE, "Zeno switches no tasks for a guest");
}
EXIT_HANDLER(TASK, NULL, exit_task);

/* Nobody has registered for it: an instruction that the guest's CPU does not have. */
static enum verdict
exit_hypercall(struct vcpu *v, struct exit *e)
{
	return event_fault(v, VEC_UD, 0);
}
EXIT_HANDLER(HYPERCALL, NULL, exit_hypercall);

bool
access_insn(struct vcpu *v, struct insn *insn)
{
	const struct insn *i = v->engine->insn ? v->engine->insn(v) : NULL;

	if (!i)
		return access_decode(v, insn);
	*insn = *i;
	return true;
}

/*
 * The access can't be the CPU's: of a device's registers, of no memory, or of a frame whose owner
 * is to be told.
 */
static enum verdict
emulate_access(struct vcpu *v, struct exit *e)
{
	enum emu_result did;
	struct emu_fault f;
	struct insn insn;

	if (!access_insn(v, &insn))
		return exit_limit(v, e, VEC_UD, 0, LIMITS_HARDWARE,
				  "memory at %08lx, and the instruction cannot be read or decoded",
				  e->gpa | e->gva);
	e->insn_op = insn.op;
	e->insn_len = insn.len;
	did = emulate(&v->state, &insn, &access_ops, v, &f);
	if (did == EMU_FAULT)
		return access_fault(v, &f);
	if (did != EMU_OK && did != EMU_AGAIN)
		return exit_limit(v, e, VEC_GP, 0, LIMITS_HARDWARE,
				  "Zeno cannot emulate %s on memory at %08lx", insn_name(insn.op),
				  e->gpa | e->gva);
	did == EMU_OK ? vcpu_done(v) : vcpu_step(v);
	exit_effect(v, e->access & ACCESS_WRITE ? EFFECT_WRITE : EFFECT_READ, insn_memory(&insn),
		    e->gpa | e->gva);
	return v->domain->state == DOMAIN_ENDED ? STOP : RESUME;
}

/* With shadows there is no guest-physical address, and the handler below does. */
static bool
is_beyond_ram(const struct vcpu *v, const struct exit *e)
{
	const struct p2m_entry *p = p2m_entry(v->domain, gpa_to_gfn(gpa(e->gpa)));

	return !e->gva && (!p || p->type != P2M_RAM);
}

SET_DECLARE(device_memories);

static enum verdict
exit_mmu(struct vcpu *v, struct exit *e)
{
	const struct mmu_mode *mmu = v->domain->mmu;
	enum mmu_outcome outcome = mmu ? mmu->fault(v, e, &v->page_fault) : MMU_EMULATE;

	if (outcome != MMU_EMULATE)
		return mmu_settle(v, e, outcome);
	if (is_beyond_ram(v, e))
		set_foreach (const struct device_memory *, m, device_memories)
			return m->violation(v, e);
	if (v->state.event.kind)
		return exit_stop(v, e, LIMITS_HARDWARE,
				 "vector %02x needs memory at %08lx on its way, and there is none",
				 v->state.event.vector, e->gpa | e->gva);
	return emulate_access(v, e);
}
EXIT_HANDLER(MMU, NULL, exit_mmu);
