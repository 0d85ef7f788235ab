/*
 * Envs with a thread of their own, and the monitor's commands for them.
 */
#include <inc/errno.h>
#include <kern/env/env.h>
#include <kern/kern.h>
#include <kern/map.h>

#define ENVS 8

static struct env *envs[ENVS + 1]; /* by id */

static struct env *
env_of(struct thread *t)
{
	return (struct env *)((char *)t - offsetof(struct env, thread));
}

/* One turn. System calls are short; the rest is the env's own time, which the host's timer ends. */
static enum turn
env_turn(struct thread *t)
{
	struct env *e = env_of(t);

	while (!need_resched && !*e->end)
		if (env_run(e) == ENV_CALL && !env_call(e))
			e->regs[ENV_RAX] = (uint64_t)-ENOSYS;
	return *e->end ? TURN_ENDED : TURN_AGAIN;
}

static void
env_ended(struct thread *t)
{
	struct env *e = env_of(t);

	printf("e%u %s: %s\n", e->id, e->name, e->end);
	envs[e->id] = NULL;
	env_free(e);
}

static const struct thread_class env_class = { .name = "env",
					       .turn = env_turn,
					       .ended = env_ended };

static bool
ended(void *arg)
{
	return !envs[(uintptr_t)arg];
}

static const struct module *
find(const char *name)
{
	for (unsigned i = 0; i < module_count; i++)
		if (!strcmp(modules[i].name, name))
			return &modules[i];
	return NULL;
}

static int
run(int argc, char **argv)
{
	const struct module *m = argc > 1 ? find(argv[1]) : NULL;
	bool background = argc > 2 && !strcmp(argv[argc - 1], "&");
	unsigned id = 1;
	struct env *e;
	int err;

	if (!m)
		return -ENOENT;
	while (id <= ENVS && envs[id])
		id++;
	if (id > ENVS)
		return -EBUSY;
	err = env_create(&e, m->name, hpa_ptr(hpa(m->paddr)), m->size);
	if (err)
		return err == -ENOEXEC ? MONITOR_SAID : err;
	e->id = id;
	snprintf(e->page->words, sizeof(e->page->words), "%s", argc > 2 ? argv[2] : "");
	snprintf(e->thread.name, sizeof(e->thread.name), "e%u %s", id, e->name);
	e->thread.class = &env_class;
	envs[id] = e;
	thread_add(&e->thread);
	if (!background)
		monitor_wait(ended, (void *)(uintptr_t)id, false);
	return 0;
}
MONITOR_COMMAND(run, "run", "MODULE [WORD] [&]", "run a program of the host's in ring 3");

static int
kill(int argc, char **argv)
{
	uint64_t id;

	if (argc != 2 || parse_u64(argv[1] + (*argv[1] == 'e'), &id) || id > ENVS || !envs[id])
		return -ENOENT;
	env_end(envs[id], "killed by the monitor's command");
	return 0;
}
MONITOR_COMMAND(kill, "kill", "ID", "end such a program");
