/*
 * An engine without a CPU: it plays a script of exits and looks at what the core makes of each.
 * With it the core is tried in a build that has no other engine, and under poison=1.
 *
 * It hands over what every exit needs and fetches the rest, as an engine does that reads a VMCS.
 * `dummy->cpu` is its VMCS: what a guest's CPU would hold. Nothing of the guest's image runs.
 */
#include <inc/errno.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/engine.h>
#include <vmm/exitlog.h>

#include "dummy.h"

struct dummy *dummy;
static struct dummy dummies[2];

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

const char dummy_not_yet[] = "not yet";

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

static int
dummy_init(struct vcpu *v)
{
	v->state.cr3 = 0x3000;
	v->engine_data = dummy = &dummies[v->number];
	*dummy = (struct dummy){ .cpu = v->state, .script = dummy_script(v) };
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
	dummy = v->engine_data;
}

static void
dummy_fetch(struct vcpu *v, unsigned groups)
{
	struct dummy *its = v->engine_data;

	its->fetches++;
	copy(&v->state, &its->cpu, groups);
}

/* One entry: what the core has changed goes to the CPU; then the script's next exit. */
static void
dummy_run(struct vcpu *v, struct exit *e)
{
	const struct step *script = dummy->script;
	const char *wrong = NULL;
	unsigned at = dummy->at;

	copy(&dummy->cpu, &v->state, v->dirty);
	copy_always(&dummy->cpu, &v->state);
	v->dirty = v->valid = 0;
	if (at && script[at - 1].after)
		wrong = script[at - 1].after(v);
	if (wrong == dummy_not_yet)
		at--;
	else if (wrong)
		panic("dummy: %s: expected %s (eax %lx, rip %lx, event %u %u(%x))",
		      script[at - 1].name, wrong, dummy->cpu.gpr[RAX], dummy->cpu.rip,
		      dummy->last.kind, dummy->last.vector, dummy->last.error);
	dummy->at = at + 1;
	if (!script[at].name)
		panic("dummy: the script is over, and the guest goes on");
	dummy->cpu.rip = 0;
	dummy->cpu.event.kind = EVENT_NONE;
	if (script[at].before)
		script[at].before(v);
	*e = script[at].exit;
	e->rip = dummy->cpu.rip;
	copy_always(&v->state, &dummy->cpu);
}

static enum injection
dummy_inject(struct vcpu *v, const struct event *event)
{
	if (dummy->refusals) {
		dummy->refusals--;
		dummy->refused++;
		return REFUSED;
	}
	dummy->last = *event;
	dummy->injected++;
	return INJECTED;
}

static void
dummy_window(struct vcpu *v)
{
	dummy->windows++;
}

static const struct engine dummy_engine = {
	.name = "dummy",
	.what = "plays a script of exits",
	.max_vcpus = 2,
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

/* ---- a machine with one register ---- */

static uint64_t
register_read(struct vcpu *v, uint64_t offset, unsigned size)
{
	return dummy->device;
}

static void
register_write(struct vcpu *v, uint64_t offset, unsigned size, uint64_t value)
{
	if (offset == 8 && size == 4)
		dummy->device = value;
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
