/*
 * Which vCPUs a debugger has, and how it holds them and lets them run: all those of a domain, or
 * none of them.
 */
#include <inc/errno.h>
#include <vmm/debug/debug.h>
#include <vmm/debug/gdb.h>

struct vcpu *
gdb_vcpu(struct gdb_thread t)
{
	struct domain *d = t.pid > 0 ? domain_find((unsigned)t.pid) : NULL;
	struct vcpu *v = d ? d->vcpu : NULL;

	while (v && (int)v->number + FIRST_TID != t.tid)
		v = v->next;
	return v;
}

/* Of all its vCPUs, or none. */
static struct domain *
attached(unsigned id)
{
	struct domain *d = domain_find(id);

	return d && d->vcpu && d->vcpu->debugged ? d : NULL;
}

/* What it was kept from it does now; another reason to stand still is asked for then. */
void
debug_release(struct vcpu *v)
{
	v->debug.held = v->debug.announce = false;
	v->thread.deadline = 0;
	if (v->debug.parked)
		thread_wake(&v->thread);
	v->debug.parked = false;
}

static void
release_all(struct domain *d)
{
	for_each_vcpu(v, d)
	{
		if (v->debug.held)
			debug_release(v);
	}
}

/* Holds what the debugger has; or, for one that has just come, everything. */
void
debug_hold(bool everything)
{
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		struct domain *d = domain_find(id);

		if (!d || !d->vcpu || (!d->vcpu->debugged && !everything))
			continue;
		for_each_vcpu(v, d)
		{
			v->debug.held = true;
			v->debug.step = false;
		}
	}
}

/* What is held and was not wanted by the time the debugger lets something run, runs alone. */
static void
release_strangers(void)
{
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		struct domain *d = domain_find(id);

		if (d && d->vcpu && !d->vcpu->debugged)
			release_all(d);
	}
}

void
debug_resume(struct gdb_thread t, bool step)
{
	struct vcpu *v = gdb_vcpu(t);

	v->debug.step = step;
	debug_release(v);
	release_strangers();
}

int
debug_attach(int pid)
{
	struct domain *d;
	int id = pid;

	for (id = pid > 0 ? pid : 1; id <= DOMAIN_MAX; id++) {
		d = domain_find((unsigned)id);
		if (d && d->vcpu && d->state == DOMAIN_RUNNING)
			break;
		if (pid > 0)
			return -ENOENT;
	}
	if (id > DOMAIN_MAX)
		return -ENOENT;
	for_each_vcpu(v, d) v->debugged = v->debug.held = true;
	return 0;
}

void
debug_detach(int pid)
{
	struct domain *d = attached((unsigned)pid);

	if (!d)
		return;
	debug_forget_breakpoints(d);
	for_each_vcpu(v, d)
	{
		v->debugged = v->debug.step = false;
		debug_release(v);
	}
	release_strangers();
}

int
debug_kill(int pid)
{
	struct domain *d = attached((unsigned)pid);

	if (!d)
		return -ENOENT;
	debug_detach(pid);
	domain_stop(d, "by the debugger");
	return 0;
}

/* A new domain, before its first turn: while there is a debugger it waits to be attached. */
void
debug_created(struct vcpu *v)
{
	if (gdb_enabled && gdb_connected())
		v->debug.held = v->debug.announce = true;
}

/* The turn of a vCPU that is held. */
enum turn
debug_park(struct vcpu *v)
{
	struct domain *d = v->domain;

	v->debug.parked = true;
	if (v->debug.announce) {
		v->debug.announce = false;
		printf("d%u %s: waits for the debugger before its first instruction\n", d->id,
		       d->name);
		debug_hold(false);
		gdb_print("d%u %s has not run yet; attach %u to debug it, too\n", d->id, d->name,
			  d->id);
		gdb_stopped((struct gdb_thread){ -1, -1 }, GDB_SIGTRAP, "");
	}
	return TURN_BLOCKED;
}

/* The last turn of a vCPU that the debugger has and has seen the end of. */
void
debug_ended(struct vcpu *v)
{
	struct domain *d = v->domain;

	if (!v->debugged)
		return;
	debug_detach(d->id);
	gdb_exited(d->id, (int)d->exit_code, d->stopped ? GDB_SIGSEGV : 0);
}
