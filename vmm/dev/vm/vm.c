/*
 * A guest of a program's own, as KVM's user makes one: what USER_VM_CREATE, USER_SET_MEMORY and
 * USER_SET_REGISTERS do, and the first USER_RUN (inc/user.h). With that the guest has a vCPU whose
 * device model the program is (vmm/dev/user/), and the program's own thread sleeps until the vCPU
 * has had its last turn.
 *
 *   USER_RUN -> the env's thread sleeps, the vCPU's wakes -> exit -> model_ask() -> USER_RUN again
 *
 * No call names a guest: each program has one, so none can reach another's. Its memory are frames
 * of the program's, which have one reference more as long as the domain is there: whoever goes
 * first, they are given back when both have gone.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/platform.h>
#include <vmm/dev/user/user.h>
#include <vmm/engine.h>
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>
#include <vmm/vcpu.h>

#define CONFIG_RAM (2ul << 20) /* what a domain has at least: of it nothing is ever touched */
#define BEYOND     (1ul << 32)
#define BOOT_CS    0x08
#define BOOT_DS    0x10

struct env *vm_program;

/* Frames of the program's that were the guest's: they are the program's alone. */
static void
take_back(struct user_pc *u, const struct user_memory *m)
{
	for (uint64_t at = 0; at < m->bytes; at += PAGE_SIZE) {
		struct p2m_entry *p = p2m_entry(u->domain, gpa_to_gfn(gpa(m->guest + at)));
		struct frame *f = frame_of(mfn(p->mfn));

		p->type = P2M_NONE;
		f->type = FRAME_HOST;
		f->owner = OWNER_HOST;
		m2p_set(mfn(p->mfn), M2P_INVALID);
		frame_put(mfn(p->mfn));
	}
}

/*
 * The program's pages are there, its own, and nobody's memory yet, and neither has the guest any.
 */
static int
check_memory(const struct user_pc *u, const struct user_memory *m)
{
	if (!m->bytes || ((m->guest | m->own | m->bytes) & PAGE_MASK) || m->bytes > BEYOND ||
	    m->guest > BEYOND - m->bytes)
		return -EINVAL;
	if (m->own >= USER_LIMIT || m->bytes > USER_LIMIT - m->own)
		return -EFAULT;
	for (uint64_t at = 0; at < m->bytes; at += PAGE_SIZE) {
		const struct p2m_entry *p = p2m_entry(u->domain, gpa_to_gfn(gpa(m->guest + at)));
		mfn_t f = env_frame(u->env, m->own + at);

		if (!mfn_ok(f))
			return -EFAULT;
		if ((p && p->type != P2M_NONE && p->type != P2M_ONES) || frame_of(f)->refs != 1)
			return -EEXIST;
	}
	return 0;
}

static int64_t
set_memory(struct user_pc *u, uint64_t from)
{
	struct user_memory m, *to = u->memory;
	int err = env_read(u->env, &m, from, sizeof(m));

	while (to < u->memory + USER_MEMORIES && to->bytes)
		to++;
	if (!err)
		err = check_memory(u, &m);
	if (!err && to == u->memory + USER_MEMORIES)
		err = -ENOSPC;
	if (err)
		return err;
	*to = (struct user_memory){ .guest = m.guest, .own = m.own };
	for (; to->bytes < m.bytes; to->bytes += PAGE_SIZE) {
		mfn_t f = env_frame(u->env, m.own + to->bytes);

		if (p2m_set(u->domain, gpa_to_gfn(gpa(m.guest + to->bytes)), f, P2M_RAM)) {
			take_back(u, to);
			to->bytes = 0;
			return -ENOMEM;
		}
		frame_of(f)->refs++;
		frame_of(f)->type = FRAME_GUEST;
		frame_of(f)->owner = u->domain->id;
		frame_of(f)->next = NULL;
	}
	u->domain->ram += m.bytes;
	u->env->page->ram = u->domain->ram;
	return 0;
}

static int64_t
set_registers(struct user_pc *u, uint64_t from)
{
	_Static_assert(offsetof(struct user_registers, edi) == RDI * sizeof(uint32_t),
		       "as a CPU counts");
	struct cpu_state *s = &u->domain->vcpu->state;
	uint32_t words[sizeof(struct user_registers) / sizeof(uint32_t)];
	int err = env_read(u->env, words, from, sizeof(words));

	if (err)
		return err;
	for (unsigned i = RAX; i <= RDI; i++)
		s->gpr[i] = words[i];
	s->rip = words[RDI + 1];
	return 0;
}

/* The domain is furnished: this is all that is ever loaded. */
static int
load(struct domain *d, const struct domain_config *c)
{
	start_registers(&d->vcpu->state, BOOT_CS, BOOT_DS);
	memset(d->map, 0, sizeof(d->map));
	d->ram = 0;
	return 0;
}

static bool
takes_none(const struct module *m)
{
	return false;
}

static const struct loader vm_loader = { .name = "vm", .takes = takes_none, .load = load };
SET_ADD(loaders, vm_loader);

/* The first that this CPU has, and that can be without memory. */
static const struct engine *
find_engine(const struct mmu_mode *mode)
{
	static const char *const names[] = { "svm", "vmx" };

	for (unsigned i = 0; i < ARRAY_LEN(names) && mode; i++) {
		const struct engine *e = engine_find(names[i]);

		if (e && engine_has_mode(e, mode) && (!e->probe || !e->probe()))
			return e;
	}
	return NULL;
}

static int64_t
create(struct env *e)
{
	struct module name = { .words = "" };
	struct domain_config config = { .module = &name,
					.mmu = mmu_find("nested"),
					.platform = platform_find("user"),
					.loader = vm_loader.name,
					.ram = CONFIG_RAM,
					.vcpus = 1,
					.words = "" };
	struct domain *d;
	int err;

	if (e->machine && !((struct user_pc *)e->machine)->over)
		return -EBUSY;
	config.engine = find_engine(config.mmu);
	if (!config.engine)
		return -ENODEV;
	domain_forget(NULL); /* the program's last one, too */
	snprintf(name.name, sizeof(name.name), "%s", e->name);
	vm_program = e;
	err = domain_create(&d, &config);
	vm_program = NULL;
	return err;
}

static struct user_pc *
machine_of(struct thread *t)
{
	return user_of(((struct vcpu *)((char *)t - offsetof(struct vcpu, thread)))->domain);
}

/* Before the program has run it the guest has no turn, but for its last one. */
static enum turn
vm_turn(struct thread *t)
{
	struct user_pc *u = machine_of(t);

	return u->runs || u->domain->state == DOMAIN_ENDED ? u->usual->turn(t) : TURN_BLOCKED;
}

/* The program goes on where it is: behind USER_RUN, or in the middle of an answer. */
static void
vm_ended(struct thread *t)
{
	struct user_pc *u = machine_of(t);

	u->usual->ended(t);
	u->over = true;
	if (!u->env)
		return;
	snprintf(u->env->page->words, RUN_WORDS, "%s", u->domain->end_reason);
	if (u->runs && !u->asks) /* else it is anywhere, and its registers are its own */
		u->env->regs[ENV_RAX] = (uint64_t)-ENODATA;
	thread_wake(&u->env->thread);
}

/* The program has ended: nobody answers any more. */
static void
vm_release(struct env *e)
{
	struct user_pc *u = e->machine;

	if (!u)
		return;
	domain_stop(u->domain, "its program %s is over: %s", e->name, e->end);
	u->env = NULL;
	e->machine = NULL;
}

void
vm_attach(struct user_pc *u)
{
	struct thread *t = &u->domain->vcpu->thread;

	u->program = true;
	u->env = vm_program;
	u->env->machine = u;
	u->env->release = vm_release;
	u->env->page->ram = 0;
	u->env->page->deadline = RUN_NEVER;
	u->usual = t->class;
	u->thread = *t->class;
	u->thread.turn = vm_turn;
	u->thread.ended = vm_ended;
	t->class = &u->thread;
}

void
vm_detach(struct user_pc *u)
{
	for (unsigned i = 0; i < USER_MEMORIES; i++)
		take_back(u, &u->memory[i]);
	if (u->env)
		u->env->machine = NULL;
}

/* What it returns is there when the program goes on: behind an exit, or the guest's end. */
static int64_t
run(struct env *e, struct user_pc *u)
{
	if (u->over)
		return -ENODATA;
	u->runs = true;
	thread_wake(&u->domain->vcpu->thread);
	e->waits = true;
	return -ENODATA;
}

/* What a program does in turns of its own: its guest has not run yet, or has ended. */
static bool
vm_call(struct env *e)
{
	uint64_t number = e->regs[ENV_RAX], from = e->regs[ENV_RDI];
	struct user_pc *u = e->machine;
	int64_t result;

	if (number == USER_VM_CREATE)
		result = create(e);
	else if (number != USER_RUN && number != USER_SET_MEMORY && number != USER_SET_REGISTERS)
		return false;
	else if (!u) /* whoever had one does not see when Zeno forgets it */
		result = number == USER_RUN && e->release ? -ENODATA : -ENOENT;
	else if (number == USER_RUN)
		result = run(e, u);
	else if (u->domain->state == DOMAIN_ENDED)
		result = -EBUSY;
	else if (number == USER_SET_MEMORY)
		result = set_memory(u, from);
	else
		result = set_registers(u, from);
	e->regs[ENV_RAX] = (uint64_t)result;
	return true;
}

static void
vm_init(void)
{
	run_calls = vm_call;
}
INITCALL(40, vm_init);
