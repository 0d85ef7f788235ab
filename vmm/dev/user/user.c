/*
 * The platform `user` (user.h): ports that are the device model's, and the 8259s, which are Zeno's.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/platform.h>
#include <vmm/dev/user/user.h>
#include <vmm/exitlog.h>
#include <vmm/exits/access.h>
#include <vmm/vcpu.h>
#include <vmm/words/monitor.h>

static const struct module *model_module; /* NULL: user/dm's */
static char model_word[RUN_WORDS];

/* As model_ask(). Most answers leave nothing but requests: no time has come. */
static bool
ask(struct user_pc *u, struct question q)
{
	bool done = model_ask(u, q);

	u->domain->changed = u->deadline > u->now ? CHANGED_REQUESTS : CHANGED_LINES;
	return done;
}

static uint32_t
model_read(struct domain *d, uint16_t port, unsigned size)
{
	struct user_pc *u = user_of(d);

	if (!ask(u, (struct question){ RUN_PORT_READ, port, (uint16_t)size, 0, 1 }))
		return 0;
	return u->done ? u->data & 0xffffffff >> (32 - 8 * size) : io_nobody(d, port, size);
}

/* A doorbell, as KVM's ioeventfd: the program's turn comes when the guest's is over anyway. */
static void
ring(struct user_pc *u)
{
	u->env->page->rings = ++u->rings;
	u->deadline = 0;
	u->domain->changed = CHANGED_NOTHING; /* not yet */
}

static void
model_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	struct user_pc *u = user_of(d);

	if (port == u->bell)
		ring(u);
	else if (ask(u, (struct question){ RUN_PORT_WRITE, port, (uint16_t)size, value, 1 }) &&
		 !u->done)
		io_nobody(d, port, size);
}

/*
 * A register in memory: where the guest has no RAM. What is wider than four bytes, or not aligned,
 * comes in parts, as a bus of 32 bits has it. From the first of them on nothing of the instruction
 * is put off, not its port either: what reads twice would change a device twice.
 */
static bool
ask_part(struct user_pc *u, uint32_t reason, uint64_t at, unsigned size, uint32_t value)
{
	u->address = u->env->page->address = at;
	u->may_wait = false;
	return ask(u, (struct question){ reason, 0, (uint16_t)size, value, 1 }) && u->done;
}

static unsigned
part_of(uint64_t at, unsigned size)
{
	unsigned n = 4;

	while (n > size || at & (n - 1))
		n /= 2;
	return n;
}

static uint64_t
model_mmio_read(struct vcpu *v, uint64_t at, unsigned size)
{
	struct user_pc *u = user_of(v->domain);
	uint64_t value = 0, part;

	for (unsigned i = 0, n; i < size; i += n) {
		n = part_of(at + i, size - i);
		part = ask_part(u, RUN_MMIO_READ, at + i, n, 0) ? u->data : ~0u;
		value |= (part & 0xffffffff >> (32 - 8 * n)) << (8 * i);
	}
	return value;
}

static void
model_mmio_write(struct vcpu *v, uint64_t at, unsigned size, uint64_t value)
{
	struct user_pc *u = user_of(v->domain);

	for (unsigned i = 0, n; i < size; i += n) {
		n = part_of(at + i, size - i);
		if (!ask_part(u, RUN_MMIO_WRITE, at + i, n,
			      (uint32_t)(value >> (8 * i)) & 0xffffffff >> (32 - 8 * n)))
			v->domain->dropped++;
	}
}

static const struct mmio_range registers[] = {
	{ 0, ~0ul, "device model", model_mmio_read, model_mmio_write },
	{ 0 },
};

/* A poll acknowledges a request. */
static uint32_t
pic_port_read(struct domain *d, uint16_t port, unsigned size)
{
	uint32_t value = pic_read(&user_of(d)->pic, port);

	pic_changed(user_of(d));
	return value;
}

static void
pic_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	pic_write(&user_of(d)->pic, port, (uint8_t)value);
	pic_changed(user_of(d));
}

/* Below LOW_PORTS the last one counts, above them the first. */
static const struct io_range ports[] = {
	{ 0, LOW_PORTS, 4, "device model", model_read, model_write },
	{ PIC_MASTER, 2, 1, "pic", pic_port_read, pic_port_write },
	{ PIC_SLAVE, 2, 1, "pic", pic_port_read, pic_port_write },
	{ PIC_ELCR, 2, 1, "pic", pic_port_read, pic_port_write },
	{ LOW_PORTS, 0x10000 - LOW_PORTS, 4, "device model", model_read, model_write },
	{ 0 },
};

/*
 * What there is of a string at once: up to where its next element can't be read, which is the next
 * exit's matter. How many elements; *first is one of them.
 */
static unsigned
gather(struct vcpu *v, const struct exit_io *io, uint8_t *to, uint32_t *first)
{
	uint64_t at = gpr_read(&v->state, RSI, io->addr_size), value;
	uint64_t step = v->state.rflags & FLAG_DF ? -(uint64_t)io->size : io->size;
	uint64_t left = gpr_read(&v->state, RCX, io->addr_size);
	unsigned most = v->began & FLAG_TF ? 1 : RUN_STRING / io->size, n = 0;
	struct emu_fault f;

	for (; n < most && n < left; n++, at += step) {
		if (io->addr_size < sizeof(at))
			at &= (1ul << 8 * io->addr_size) - 1;
		value = 0;
		if (access_ops.read(v, io->seg, at, &value, io->size, &f))
			break;
		memcpy(to + n * io->size, &value, io->size);
		if (!n)
			*first = (uint32_t)value;
	}
	v->page_fault.pending = false;
	return n;
}

/* Whether each element goes to the program as it is, and rings no bell. */
static bool
is_whole(const struct user_pc *u, const struct exit_io *io)
{
	if (io->in || !io->rep || io->port & (io->size - 1) || io->port == u->bell)
		return false;
	return io->port < LOW_PORTS ? u->domain->platform->claims[io->port] == 1
				    : (io->port & ~1u) != PIC_ELCR;
}

/* `rep outs` to a port that is all the program's: one question has all that there is. */
static enum verdict
string_out(struct vcpu *v, struct exit *e)
{
	const struct exit_io *io = &e->io;
	struct user_pc *u = user_of(v->domain);
	struct question q = { RUN_PORT_WRITE, io->port, io->size, 0, 0 };
	uint64_t left, done;

	q.count = gather(v, io, u->env->page->string, &q.data);
	if (!q.count)
		return u->engines_io(v, e);
	exit_effect(v, EFFECT_OUT, io->port, 0);
	if (!model_ask(u, q))
		return STOP;
	done = u->done ? u->done : q.count;
	for (uint64_t n = u->done; n < done; n++)
		io_nobody(u->domain, io->port, io->size);
	left = gpr_read(&v->state, RCX, io->addr_size) - done;
	gpr_write(&v->state, RCX, io->addr_size, left);
	done *= v->state.rflags & FLAG_DF ? -(uint64_t)io->size : io->size;
	gpr_write(&v->state, RSI, io->addr_size, gpr_read(&v->state, RSI, io->addr_size) + done);
	platform_lines(u->domain);
	if (left)
		vcpu_step(v); /* rip stays, and the rest is another exit */
	else
		vcpu_advance(v, e); /* safe: the last element is done */
	return u->domain->state == DOMAIN_ENDED ? STOP : RESUME;
}

static APART enum verdict
string(struct vcpu *v, struct exit *e)
{
	struct user_pc *u = user_of(v->domain);

	return is_whole(u, &e->io) ? string_out(v, e) : u->engines_io(v, e);
}

/*
 * Around the engine's own handler of port I/O: an exit that is put off has not happened. General
 * registers are as they were when the program was asked (of a string the elements before are done;
 * what one behind it has faulted with comes later), and rip is on the instruction. An access that
 * io.c takes apart, since it is not aligned, is begun anew with its first part.
 */
static enum verdict
port_exit(struct vcpu *v, struct exit *e)
{
	struct user_pc *u = user_of(v->domain);
	uint64_t rflags = v->state.rflags, held;
	enum verdict verdict;

	__builtin_memcpy(&held, &v->state.activity, sizeof(held)); /* shadows, pending #DB */
	u->may_wait = true;
	verdict = e->io.string ? string(v, e) : u->engines_io(v, e);
	u->may_wait = false;
	if (!u->put_off)
		return verdict;
	u->put_off = false;
	if (v->domain->state == DOMAIN_ENDED)
		return STOP;
	memcpy(v->state.gpr, u->gpr, sizeof(u->gpr));
	v->state.rip = e->rip;
	v->state.rflags = rflags;
	v->state.event.kind = EVENT_NONE;
	__builtin_memcpy(&v->state.activity, &held, sizeof(held));
	v->state.pending_debug &= ~DR6_BS; /* nothing was done; Bochs' VT-x has it pending */
	return RESUME;
}

static int
model(int argc, char **argv)
{
	const struct module *m = argc > 1 ? module_find(argv[1]) : NULL;

	if (argc > 1 && !m)
		return -ENOENT;
	model_module = m;
	snprintf(model_word, sizeof(model_word), "%s", argc > 2 ? argv[2] : "");
	return 0;
}
MONITOR_COMMAND(model, "model", "[MODULE [WORD]]",
		"the device model of guests to come, instead of dm");

static int
user_init(struct domain *d)
{
	_Static_assert(sizeof(struct user_pc) <= PAGE_SIZE, "a machine is one frame");
	const struct module *m = model_module ? model_module : module_find("dm");
	struct vcpu *v = d->vcpu;
	struct user_pc *u;
	int err;

	if (v->next || (!m && !vm_program)) {
		printf("devices=user: %s\n", m ? "it is for one vCPU" : "there is no module dm");
		return -EINVAL;
	}
	d->machine = u = host_page();
	if (!u)
		return -ENOMEM;
	u->domain = d;
	u->lent = !v->control;
	u->deadline = RUN_NEVER;
	u->bell = USER_NO_BELL;
	pic_init(&u->pic);
	err = vm_program ? 0 : env_create(&u->env, m->name, hpa_ptr(hpa(m->paddr)), m->size);
	if (err)
		return err;
	if (vm_program) {
		vm_attach(u);
	} else {
		u->env->page->ram = d->ram;
		memcpy(u->env->page->words, model_word, RUN_WORDS);
	}
	memcpy(u->handlers, v->handlers, sizeof(u->handlers));
	u->engines_io = u->handlers[EXIT_IO];
	u->handlers[EXIT_IO] = port_exit;
	v->handlers = u->handlers;
	return 0;
}

/* Takes a half-made one, too. */
static void
user_free(struct domain *d)
{
	struct user_pc *u = user_of(d);

	if (u && u->program)
		vm_detach(u);
	else if (u && u->env)
		env_free(u->env);
	host_page_put(u);
	d->machine = NULL;
}

/* What the program is told of the time can be put off: nobody waits for the answer. */
static APART void
time_comes(struct user_pc *u)
{
	bool may_wait = u->may_wait;

	if (u->put_off || (u->asks && u->asked.reason != RUN_TIME))
		return;
	u->may_wait = true;
	u->told = u->asks ? u->told : u->rings;
	model_ask(u, (struct question){ .reason = RUN_TIME, .count = 1 });
	if (u->told != u->rings) /* meanwhile: it was put off */
		u->deadline = 0;
	u->may_wait = may_wait;
	u->put_off = false;
}

/* Called after each access to a device, too, which has looked at the clock already. */
static void
user_lines(struct domain *d)
{
	struct user_pc *u = user_of(d);

	if (u->may_wait && u->deadline > u->now)
		return;
	if (u->deadline <= domain_now(d))
		time_comes(u);
}

/* While the program owes an answer, the guest gets no interrupt within its instruction. */
static bool
user_pending(struct vcpu *v)
{
	const struct user_pc *u = user_of(v->domain);

	return !u->asks & u->intr;
}

static uint8_t
user_ack(struct vcpu *v)
{
	struct user_pc *u = user_of(v->domain);
	int vector = pic_ack(&u->pic);

	pic_changed(u);
	return (uint8_t)vector;
}

/* Its program may have ended it while it slept. */
static uint64_t
user_deadline(struct domain *d)
{
	return d->state == DOMAIN_ENDED ? 0 : user_of(d)->deadline;
}

static uint8_t claims[LOW_PORTS];

static const struct platform user_platform = {
	.name = "user",
	.what = "a PC whose devices are a program in ring 3",
	.init = user_init,
	.free = user_free,
	.ports = ports,
	.claims = claims,
	.mmio = registers,
	.disk = true,
	.lines = user_lines,
	.pending = user_pending,
	.ack = user_ack,
	.deadline = user_deadline,
};
SET_ADD(platforms, user_platform);
