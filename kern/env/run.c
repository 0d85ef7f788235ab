/*
 * Envs with a thread of their own, and the monitor's commands for them.
 */
#include <inc/errno.h>
#include <kern/env/env.h>
#include <kern/kern.h>
#include <kern/map.h>

#define ENVS 8

bool (*run_calls)(struct env *e);

static struct env *envs[ENVS + 1]; /* by id */

static struct env *
env_of(struct thread *t)
{
	return (struct env *)((char *)t - offsetof(struct env, thread));
}

/*
 * A call that waits has not happened: the env is back on its instruction, with the registers that
 * it made it with. Bytes of its own may stand there now; what they do is its own doing.
 */
void
env_wait(struct env *e)
{
	e->frame.rip -= USER_CALL_LENGTH;
	e->waits = true;
}

/* One turn. System calls are short; the rest is the env's own time, which the host's timer ends. */
static enum turn
env_turn(struct thread *t)
{
	struct env *e = env_of(t);

	e->waits = false;
	while (!need_resched && !*e->end && !e->waits)
		if (env_run(e) == ENV_CALL && !env_call(e) && !(e->calls && e->calls(e)))
			e->regs[ENV_RAX] = (uint64_t)-ENOSYS;
	return *e->end ? TURN_ENDED : e->waits ? TURN_BLOCKED : TURN_AGAIN;
}

static void
env_ended(struct thread *t)
{
	struct env *e = env_of(t);

	printf("e%u %s: %s\n", e->id, e->name, e->end);
	if (e->release)
		e->release(e);
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

int
env_start(const struct module *m, int argc, char **argv, bool (*calls)(struct env *e))
{
	unsigned id = 1;
	struct env *e;
	int err;

	while (id <= ENVS && envs[id])
		id++;
	if (id > ENVS)
		return -EBUSY;
	err = env_create(&e, m->name, hpa_ptr(hpa(m->paddr)), m->size);
	if (err)
		return err;
	e->id = id;
	e->calls = calls;
	for (int i = 0; i < argc; i++) {
		size_t used = strlen(e->page->words);

		snprintf(e->page->words + used, sizeof(e->page->words) - used, "%s%s", i ? " " : "",
			 argv[i]);
	}
	snprintf(e->thread.name, sizeof(e->thread.name), "e%u %s", id, e->name);
	e->thread.class = &env_class;
	envs[id] = e;
	thread_add(&e->thread);
	return (int)id;
}

struct env *
env_find(unsigned id)
{
	return id <= ENVS ? envs[id] : NULL;
}

static int
run(int argc, char **argv)
{
	const struct module *m = argc > 1 ? module_find(argv[1]) : NULL;
	bool background = argc > 2 && !strcmp(argv[argc - 1], "&");
	int id = m ? env_start(m, argc - 2 - background, argv + 2, run_calls) : -ENOENT;

	if (id < 0)
		return id == -ENOEXEC ? MONITOR_SAID : id;
	if (!background)
		monitor_wait(ended, (void *)(uintptr_t)id, false);
	return 0;
}
MONITOR_COMMAND(run, "run", "MODULE [WORD]... [&]", "run a program of the host's in ring 3");

static int
kill(int argc, char **argv)
{
	uint64_t id;

	if (argc != 2 || parse_u64(argv[1] + (*argv[1] == 'e'), &id) || id > ENVS || !envs[id])
		return -ENOENT;
	env_end(envs[id], "killed by the monitor's command");
	thread_wake(&envs[id]->thread);
	monitor_wait(ended, (void *)id, false); /* its last turn comes when it is its turn */
	return 0;
}
MONITOR_COMMAND(kill, "kill", "ID", "end such a program");
