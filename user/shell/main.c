/*
 * The control shell: guests started, looked at, paused, ended, typed to, by a program in ring 3.
 *
 * All that it can do is to ask (inc/user.h): which guest is there, and what becomes of it, Zeno
 * decides. Words behind the monitor's `shell` are one command; without, it asks for lines.
 */
#include <user/lib/user.h>

#include <inc/errno.h>

#define CTRL(c)     ((c)&0x1f)
#define LEAVE       CTRL(']') /* the guest's console, as telnet */
#define ESC         0x1b
#define DELETE      0x7f
#define GUESTS_MAX  64 /* numbers that `list` asks for */
#define WORDS       16
#define PATIENCE    100 /* turns in which a guest may take what is typed */
#define COLUMN_WHAT 52

struct command {
	const char *name, *args, *help;
	int64_t (*run)(int argc, char **argv);
};

static void
say(const char *s)
{
	user_call(USER_WRITE, (uint64_t)s, strlen(s));
}

static void
say_text(const struct user_text *t)
{
	user_call(USER_WRITE, (uint64_t)t->text, t->len);
	say("\n");
}

/* The guest that a word means: 1 or d1. 0: it is no number. */
static uint64_t
guest_of(const char *word)
{
	uint64_t n = 0;

	for (word += *word == 'd'; *word >= '0' && *word <= '9' && n < GUESTS_MAX; word++)
		n = n * 10 + (uint64_t)(*word - '0');
	return *word ? 0 : n;
}

static int64_t
list(int argc, char **argv)
{
	static const char *const states[] = { "running", "paused" };
	struct user_guest g;

	for (uint64_t id = 1; id < GUESTS_MAX; id++) {
		struct user_text t = { .len = 0 };

		if (user_call(USER_LOOK, id, (uint64_t)&g))
			continue;
		text_add(&t, "d");
		text_number(&t, id);
		text_to(&t, 5);
		text_add(&t, g.name);
		text_to(&t, 22);
		text_add(&t, g.engine);
		text_to(&t, 27);
		text_number(&t, g.ram >> 20);
		text_add(&t, " MiB");
		text_to(&t, 36);
		text_number(&t, g.exits);
		text_add(&t, " exits");
		text_to(&t, COLUMN_WHAT);
		text_add(&t, g.state == GUEST_ENDED ? g.end : states[g.state]);
		say_text(&t);
	}
	return 0;
}

/* A guest that has other things to do gets turns for it. */
static void
type(int64_t c)
{
	for (unsigned i = 0; i < PATIENCE && user_call(USER_TYPE, (uint64_t)c, 0) == -EAGAIN; i++)
		user_call(USER_YIELD, 0, 0);
}

/* What is typed goes to the guest, and what it says appears, until it ends or somebody leaves. */
static int64_t
console_of(uint64_t id)
{
	int64_t c = user_call(USER_ATTACH, id, 0);

	if (c)
		return c;
	while ((c = user_call(USER_KEY, 0, 0)) >= 0 && c != LEAVE)
		type(c);
	user_call(USER_ATTACH, 0, 0);
	return 0;
}

static int64_t
console(int argc, char **argv)
{
	uint64_t id = argc == 2 ? guest_of(argv[1]) : 0;

	return id ? console_of(id) : -EINVAL;
}

static int64_t
start(int argc, char **argv)
{
	bool background = argc > 1 && user_same(argv[argc - 1], "&");
	const char *words = argc > 1 ? argv[1] : "";
	uint64_t len = 0;
	int64_t id;

	/* The words are one behind the other in the line, with NULs between them. */
	for (int i = 1; i < argc - background; i++)
		len = (uint64_t)(argv[i] - words) + strlen(argv[i]) + 1;
	id = user_call(USER_START, (uint64_t)words, len);
	if (id < 0 || background)
		return id < 0 ? id : 0;
	return console_of((uint64_t)id);
}

static int64_t
for_guest(int argc, char **argv, enum user_call call)
{
	uint64_t id = argc == 2 ? guest_of(argv[1]) : 0;

	return id ? user_call(call, id, 0) : -EINVAL;
}

static int64_t
pause(int argc, char **argv)
{
	return for_guest(argc, argv, USER_PAUSE);
}

static int64_t
resume(int argc, char **argv)
{
	return for_guest(argc, argv, USER_RESUME);
}

static int64_t
stop(int argc, char **argv)
{
	return for_guest(argc, argv, USER_KILL);
}

static int64_t
leave(int argc, char **argv)
{
	user_exit(0);
}

static int64_t help(int argc, char **argv);

static const struct command commands[] = {
	{ "console", "ID", "type to a guest; Ctrl-] leads back", console },
	{ "exit", "", "back to the monitor, as Ctrl-C", leave },
	{ "help", "", "this list", help },
	{ "list", "", "the guests, running and last ended", list },
	{ "pause", "ID", "a guest and its clock stand still", pause },
	{ "resume", "ID", "... and go on", resume },
	{ "start", "GUEST [OPTION]... [&]", "as the monitor's; & leaves it in the background",
	  start },
	{ "stop", "ID", "end a guest", stop },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int64_t
help(int argc, char **argv)
{
	for (const struct command *c = commands; c < commands + COMMANDS; c++) {
		struct user_text t = { .len = 0 };

		text_add(&t, "  ");
		text_add(&t, c->name);
		text_add(&t, " ");
		text_add(&t, c->args);
		text_to(&t, 32);
		text_add(&t, c->help);
		say_text(&t);
	}
	return 0;
}

static void
complain(const struct command *c, int64_t err)
{
	struct user_text t = { .len = 0 };

	text_add(&t, c->name);
	switch (err) {
	case -EINVAL:
		text_add(&t, ": usage: ");
		text_add(&t, c->name);
		text_add(&t, " ");
		text_add(&t, c->args);
		break;
	case -ENOENT:
		text_add(&t, ": there is no such guest");
		break;
	case -ENODATA:
		text_add(&t, ": it has ended");
		break;
	default:
		text_add(&t, ": error ");
		text_number(&t, (uint64_t)-err);
	}
	say_text(&t);
}

static void
run(char *line)
{
	char *argv[WORDS + 1] = { NULL };
	int64_t err;
	int argc = 0;

	while (*line && argc < WORDS) {
		while (*line == ' ')
			*line++ = '\0';
		if (*line)
			argv[argc++] = line;
		while (*line && *line != ' ')
			line++;
	}
	if (!argc)
		return;
	for (const struct command *c = commands; c < commands + COMMANDS; c++) {
		if (!user_same(c->name, argv[0]))
			continue;
		err = c->run(argc, argv);
		if (err)
			complain(c, err);
		return;
	}
	say("no such command; `help` lists them\n");
}

/* A key that is no character comes as ESC [ and more, up to a letter: what of that is none. */
static bool
is_text(int64_t c)
{
	static unsigned seen;

	if (c == ESC || (seen == 1 && c == '[')) {
		seen = c == ESC ? 1 : 2;
		return false;
	}
	if (seen == 2) {
		seen = c >= '0' && c <= ';' ? 2 : 0;
		return false;
	}
	seen = 0;
	return c >= ' ' && c < DELETE;
}

/* A line, with the echo of what is typed; it ends with Enter. */
static void
read_line(char line[USER_LINE])
{
	unsigned len = 0;
	int64_t c;

	while ((c = user_call(USER_KEY, 0, 0)) != '\r' && c != '\n') {
		char echo = (char)c;

		if ((c == '\b' || c == DELETE) && len) {
			len--;
			say("\b \b");
		} else if (is_text(c) && len < USER_LINE - 1) {
			line[len++] = echo;
			user_call(USER_WRITE, (uint64_t)&echo, 1);
		}
	}
	line[len] = '\0';
	say("\n");
}

int
user_main(void)
{
	char line[USER_LINE];

	if (*RUN_PAGE->words) {
		memcpy(line, RUN_PAGE->words, RUN_WORDS);
		run(line);
		return 0;
	}
	say("The control shell. `help` lists what it does; `exit` or Ctrl-C leads back.\n");
	for (;;) {
		say("shell> ");
		read_line(line);
		run(line);
	}
}
