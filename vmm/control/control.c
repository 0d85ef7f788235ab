/*
 * What the control shell may ask of Zeno (inc/user.h): a program in ring 3 that has these calls
 * beside every env's, and no other authority. Each argument is a number, which is looked up, or
 * text, which is copied in once and bounded.
 *
 * The monitor's `shell` gives them to the program that it starts, and is in the foreground with it:
 * it takes what is typed, so there is one shell at a time, and Ctrl-C ends it, whatever it does.
 */
#include <inc/errno.h>
#include <kern/env/env.h>
#include <vmm/control/pause/pause.h>
#include <vmm/dev/typed.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/words/monitor.h>

#define WORDS_MAX 16

static struct {
	unsigned env;     /* its number */
	int key;          /* that was typed and it has not asked for; -1: none */
	unsigned console; /* the guest that has the console; 0: none */
} shell = { .key = -1 };

static bool
runs(const struct domain *d)
{
	return d && (d->state != DOMAIN_ENDED || domain_restarts(d));
}

static int64_t
key(struct env *e)
{
	int c = shell.key >= 0 ? shell.key : monitor_ahead();

	shell.key = -1;
	if (c >= 0)
		return c;
	if (shell.console && !runs(domain_find(shell.console)))
		return -ENODATA;
	env_wait(e);
	return USER_KEY; /* where the call's number was: it will be made again */
}

/* Characters that move no cursor but back, or to the next line. */
static int64_t
write(const struct env *e, uint64_t text, uint64_t len)
{
	char line[USER_LINE];
	int err = len > sizeof(line) ? -E2BIG : env_read(e, line, text, len);

	for (uint64_t i = 0; !err && i < len; i++)
		console_putc((line[i] >= ' ' && line[i] <= '~') || line[i] == '\n' ||
					     line[i] == '\b'
				     ? line[i]
				     : '?');
	return err;
}

static int64_t
start(const struct env *e, uint64_t words, uint64_t len)
{
	char text[USER_LINE + 1], *argv[WORDS_MAX + 1] = { "start" };
	int argc = 1, err = len > USER_LINE ? -E2BIG : env_read(e, text, words, len);
	struct domain *d;
	bool background;

	if (err)
		return err;
	for (uint64_t i = 0; i < len; i++) /* the monitor says them to the console */
		if (text[i] && (text[i] < ' ' || text[i] > '~'))
			return -EINVAL;
	text[len] = '\0';
	for (char *word = text; word < text + len; word += strlen(word) + 1) {
		if (argc == WORDS_MAX)
			return -E2BIG;
		argv[argc++] = word;
	}
	err = monitor_start(argc, argv, &d, &background);
	return err == MONITOR_SAID ? -ENOENT : err ? err : (int64_t)d->id;
}

static int64_t
look(const struct env *e, const struct domain *d, uint64_t to)
{
	struct user_guest g = { .ram = d->ram,
				.exits = domain_exits(d),
				.ns = domain_now(d),
				.state = !runs(d)    ? GUEST_ENDED
					 : d->paused ? GUEST_PAUSED
						     : GUEST_RUNS };

	memcpy(g.name, d->name, sizeof(g.name));
	snprintf(g.engine, sizeof(g.engine), "%s", d->vcpu->engine->name);
	snprintf(g.end, sizeof(g.end), "%s", d->end_reason);
	return env_write(e, to, &g, sizeof(g));
}

static void
attach(struct domain *d)
{
	shell.console = d ? d->id : 0;
	typed_lend(runs(d) ? d : NULL);
}

static int64_t
type(uint64_t c)
{
	if (c > 0xff)
		return -EINVAL;
	if (!shell.console)
		return -ENOENT;
	if (!runs(domain_find(shell.console)))
		return -ENODATA;
	return typed_press((uint8_t)c) ? 0 : -EAGAIN;
}

static int64_t
of_guest(const struct env *e, struct domain *d)
{
	switch (e->regs[ENV_RAX]) {
	case USER_LOOK:
		return look(e, d, e->regs[ENV_RSI]);
	case USER_PAUSE:
		if (runs(d))
			domain_pause(d, PAUSED_HERE);
		return runs(d) ? 0 : -ENODATA;
	case USER_RESUME:
		if (runs(d))
			domain_resume(d, PAUSED_HERE);
		return runs(d) ? 0 : -ENODATA;
	case USER_KILL:
		domain_stop(d, "by the control shell");
		return 0;
	default: /* USER_ATTACH */
		attach(d);
		return 0;
	}
}

static bool
control_call(struct env *e)
{
	uint64_t a = e->regs[ENV_RDI], b = e->regs[ENV_RSI];
	struct domain *d;
	int64_t result = 0;

	switch (e->regs[ENV_RAX]) {
	case USER_KEY:
		result = key(e);
		break;
	case USER_WRITE:
		result = write(e, a, b);
		break;
	case USER_START:
		result = start(e, a, b);
		break;
	case USER_TYPE:
		result = type(a);
		break;
	case USER_LOOK ... USER_ATTACH:
		d = a <= DOMAIN_MAX ? domain_find((unsigned)a) : NULL;
		if (d)
			result = of_guest(e, d);
		else if (e->regs[ENV_RAX] == USER_ATTACH && !a)
			attach(NULL);
		else
			result = -ENOENT;
		break;
	default:
		return false;
	}
	e->regs[ENV_RAX] = (uint64_t)result;
	return true;
}

/*
 * Asked by the monitor when something has happened: what that was may be what the shell waits for.
 */
static bool
shell_over(void *arg)
{
	struct env *e = env_find(shell.env);

	if (!e)
		return true;
	if (shell.key < 0)
		shell.key = monitor_ahead();
	if (shell.key >= 0 || (shell.console && !runs(domain_find(shell.console))))
		thread_wake(&e->thread);
	return false;
}

static int
command_shell(int argc, char **argv)
{
	const struct module *m = module_find("shell");
	struct env *e;
	int id;

	if (printf_capture) /* a debugger's command, which never waits */
		return -EOPNOTSUPP;
	if (!m) {
		printf("there is no module shell\n");
		return MONITOR_SAID;
	}
	id = env_start(m, argc - 1, argv + 1, control_call);
	if (id < 0)
		return id == -ENOEXEC ? MONITOR_SAID : id;
	shell.env = (unsigned)id;
	shell.key = -1;
	monitor_wait(shell_over, NULL, false);
	attach(NULL);
	e = env_find(shell.env);
	if (!e)
		return 0;
	env_end(e, "ended by Ctrl-C");
	thread_wake(&e->thread);
	while (env_find(shell.env)) /* its last turn */
		sched_step();
	return 0;
}
MONITOR_COMMAND(command_shell, "shell", "[COMMAND]",
		"the control shell, a program in ring 3; Ctrl-C ends it");
