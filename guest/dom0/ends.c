/*
 * Domains that have ended, and what becomes of them, as their files say (on_poweroff, on_reboot,
 * on_crash). One that dom0 or the person at the monitor has ended does not come back.
 */
#include <guest/dom0/config.h>
#include <guest/dom0/dom0.h>

/*
 * A domain that reboots without end is made a few times, and then once in so long. Who is made
 * costs what its memory costs, which is dom0's time.
 */
#define LIFE 60000000000ul /* ns */

/* What its file says now; one that can't be read says nothing. */
static enum config_action
action_of(const struct domu *u, enum zeno_why why)
{
	struct config_wrong wrong;
	struct config c;
	struct file f;

	if (why == ZENO_KILLED || why == ZENO_SUSPEND || !*u->file || !file_find(u->file, &f) ||
	    config_read(&c, (const char *)f.bytes, f.size, &wrong))
		return CONFIG_DESTROY;
	return why == ZENO_POWEROFF ? c.on_poweroff : why == ZENO_REBOOT ? c.on_reboot : c.on_crash;
}

/* Whether it has a life left. */
static bool
may_come_back(struct domu *u)
{
	uint64_t earned = (pv_now() - u->since) / LIFE;

	u->since += earned * LIFE;
	u->lives = u->lives + earned < LIVES ? u->lives + (unsigned)earned : LIVES;
	if (u->lives) {
		u->lives--;
		return true;
	}
	say("%s has come back %u times by now: no more\n", u->name, LIVES);
	return false;
}

/* Under the same name, and who was at its console is there again. */
static void
make_anew(const struct domu *old, bool attach)
{
	struct domu *u;

	say("%s starts again\n", old->name);
	u = domain_create(old->file);
	if (!u)
		return;
	u->lives = old->lives;
	u->since = old->since;
	if (attach)
		attached = u;
}

/* What it has said to its end is shown first. */
static void
end(struct domu *u, const struct zeno_look *l)
{
	enum config_action action = action_of(u, l->why);
	bool attach = attached == u;
	struct domu old;

	console_rest(u);
	say("\n%s has ended: %s\n", u->name, l->end);
	if (attach)
		attached = NULL;
	if (action == CONFIG_RESTART && !may_come_back(u))
		action = CONFIG_DESTROY;
	u->kept = action == CONFIG_PRESERVE;
	if (u->kept) {
		say("... and is kept; `destroy %s` lets go of it\n", u->name);
	} else {
		old = *u;
		domain_let_go(u);
		if (action == CONFIG_RESTART)
			make_anew(&old, attach);
	}
	if (!attached)
		shell_prompt();
}

/* Nobody has asked it to suspend, or whoever has is not there any more. Said once. */
static void
wake(struct domu *u)
{
	bool news = !u->unasked;

	u->unasked = true;
	if (news)
		say("\n%s wants to be put away, which nobody has asked for: it goes on\n", u->name);
	control(ZENO_UNPAUSE, u->id, true, 0); /* a person may have paused it meanwhile */
	if (news && !attached)
		shell_prompt();
}

void
ends_destroy(struct domu *u)
{
	if (u->kept)
		domain_let_go(u);
	else
		control(ZENO_DESTROY, u->id, 0, 0);
}

/* Told by VIRQ_DOM_EXC, which says of nobody in particular. */
bool
ends_serve(void)
{
	struct zeno_look l;
	bool any = false;

	if (!somebody_ended)
		return false;
	somebody_ended = false;
	for (struct domu *u = domus; u < domus + DOMUS; u++) {
		if (!u->id || u->kept || control(ZENO_LOOK, u->id, (uint64_t)&l, 0) != u->id)
			continue;
		if (l.state == ZENO_ENDED)
			end(u, &l);
		else if (l.state == ZENO_PAUSED && l.why == ZENO_SUSPEND && !save_takes(u) &&
			 !u->away)
			wake(u);
		else
			continue;
		any = true;
	}
	return any;
}
