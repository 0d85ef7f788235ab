/*
 * What a device model may do until it has answered. The question and the answer are a lab's
 * (user.h).
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/map.h>
#include <vmm/dev/apic/ide.h>
#include <vmm/dev/user/user.h>
#include <vmm/engine.h>
#include <vmm/vcpu.h>

/* The guest's end is the program's doing: one line says whose. */
COLD void
model_fault(struct user_pc *u, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (u->asked.reason == RUN_TIME)
		domain_stop(u->domain, "its device model %s %s, when its time came", u->env->name,
			    what);
	else if (u->asked.reason != RUN_PORT_READ && u->asked.reason != RUN_PORT_WRITE)
		domain_stop(u->domain, "its device model %s %s, asked for memory at %lx",
			    u->env->name, what, u->address);
	else
		domain_stop(u->domain, "its device model %s %s, asked for port %x", u->env->name,
			    what, u->asked.port);
}

static int64_t
irq_line(struct user_pc *u, uint64_t line, uint64_t level)
{
	const struct pic_chip *chip;
	bool waited;

	if (line > 15 || line == PIC_CASCADE || level > 1) {
		model_fault(
			u,
			"moves interrupt line %lu to %lu: there are 0 to 15 without %u, and levels 0 and 1",
			line, level, PIC_CASCADE);
		return -EINVAL;
	}
	chip = &u->pic.chip[line / 8];
	waited = chip->irr >> line % 8 & 1;
	pic_set_irq(&u->pic, (unsigned)line, level);
	pic_changed(u);
	return waited;
}

static int64_t
stop(struct user_pc *u, uint64_t text, uint64_t len)
{
	char line[USER_LINE + 1];
	int err = env_line(u->env, line, text, len);

	if (!err)
		domain_stop(u->domain, "%s", line);
	return err;
}

/* A sector of the guest's disk, which is a boot module: to or from the program's memory. */
static int64_t
sector(struct user_pc *u, uint64_t n, uint64_t at, bool store)
{
	const struct module *m = u->domain->disk;
	char *bytes;

	if (!m || n >= m->size / IDE_SECTOR)
		return -EINVAL;
	bytes = (char *)hpa_ptr(hpa(m->paddr)) + n * IDE_SECTOR;
	return store ? env_read(u->env, bytes, at, IDE_SECTOR)
		     : env_write(u->env, at, bytes, IDE_SECTOR);
}

/* What a device model can ask for beside an answer. */
static COLD int64_t
service(struct user_pc *u)
{
	const uint64_t *regs = u->env->regs;
	int c;

	switch (regs[ENV_RAX]) {
	case USER_IRQ_LINE:
		return irq_line(u, regs[ENV_RDI], regs[ENV_RSI]);
	case USER_SEND:
		domain_putc(u->domain, (uint8_t)regs[ENV_RDI]);
		return 0;
	case USER_RECEIVE:
		if (regs[ENV_RDI] != u->domain->keyboard)
			return -ENODEV;
		c = regs[ENV_RDI] ? domain_key(u->domain) : domain_input(u->domain);
		return c < 0 ? -EAGAIN : c;
	case USER_CPU:
		return (int64_t)(u->used * (1000000 / MODEL_LIMIT_MS) / clock_tsc_hz());
	case USER_END:
		domain_exit(u->domain, (unsigned)regs[ENV_RDI] & 0xff);
		return 0;
	case USER_DISK:
		return u->domain->disk ? (int64_t)(u->domain->disk->size / IDE_SECTOR) : 0;
	case USER_LOAD:
	case USER_STORE:
		return sector(u, regs[ENV_RDI], regs[ENV_RSI], regs[ENV_RAX] == USER_STORE);
	case USER_BELL:
		if (regs[ENV_RDI] > USER_NO_BELL)
			return -EINVAL;
		u->bell = (uint32_t)regs[ENV_RDI];
		return 0;
	case USER_STOP:
		return stop(u, regs[ENV_RDI], regs[ENV_RSI]);
	case USER_VM_CREATE ... USER_SET_REGISTERS:
		return u->program ? -EBUSY : -ENOSYS;
	default:
		return -ENOSYS;
	}
}

void
model_call(struct user_pc *u)
{
	struct env *e = u->env;

	if (!env_call(e))
		e->regs[ENV_RAX] = (uint64_t)service(u);
}

/*
 * The host's timer ends each of its runs: what is longer than two ticks was the machine's own
 * sleep, an emulator's say.
 */
void
model_charge(struct user_pc *u, uint64_t took)
{
	uint64_t most = 2 * clock_tsc_hz() / TICK_HZ;

	u->used += took < most ? took : most;
}
