/*
 * The monitor: the prompt K>, its line editor, and the way from a line to a command.
 *
 * Commands join by the linker set `monitor` (MONITOR_COMMAND); see monitor_*.c, and vmm/ and
 * the labs for theirs.
 */
#include <inc/errno.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/sched/sched.h>
#include <kern/thread.h>

#define LINE_MAX       512
#define ARGS_MAX       16
#define HISTORY        8
#define AHEAD_MAX      64
#define CTRL(c)        ((c)&0x1f)
#define ESC            0x1b
#define DELETE         0x7f
#define SYNOPSIS_WIDTH 24
#define COMMANDS_HELP  "type `help` for the list"

SET_DECLARE(monitor);

static char line[LINE_MAX];
static size_t line_length;

static char history[HISTORY][LINE_MAX];
static unsigned history_count; /* lines ever remembered */
static unsigned history_back;  /* how far up the person has gone */

static char ahead[AHEAD_MAX]; /* typed while a command was waiting */
static unsigned ahead_count;

int (*monitor_getc)(void) = console_getc;

static bool prompt_wanted; /* no prompt while the boot command line's commands run */
static bool interrupted;   /* Ctrl-C: drop the rest of the line too */

static const struct {
	int error;
	const char *words;
} errors[] = {
	{ EPERM, "not permitted" },
	{ ENOENT, "no such thing" },
	{ EIO, "input/output error" },
	{ E2BIG, "too big" },
	{ ENOEXEC, "not an image that can be run" },
	{ EAGAIN, "try again" },
	{ ENOMEM, "out of memory" },
	{ EFAULT, "bad address" },
	{ EBUSY, "busy" },
	{ EEXIST, "exists already" },
	{ ENODEV, "no such device" },
	{ EINVAL, "invalid argument" },
	{ ENOSPC, "no space" },
	{ ERANGE, "out of range" },
	{ ENOSYS, "not implemented" },
	{ ENODATA, "no data" },
	{ EOVERFLOW, "overflow" },
	{ EOPNOTSUPP, "not supported" },
};

const char *
error_words(int error)
{
	for (unsigned i = 0; i < ARRAY_LEN(errors); i++)
		if (errors[i].error == error)
			return errors[i].words;
	return "unknown error";
}

static const struct monitor_command *
command_find(const char *name)
{
	set_foreach (const struct monitor_command *, c, monitor)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

/* Cuts `text` into words in place. -E2BIG if there are too many. */
static int
split(char *text, char **argv)
{
	int argc = 0;

	for (;;) {
		while (*text == ' ' || *text == '\t')
			*text++ = '\0';
		if (!*text)
			return argc;
		if (argc == ARGS_MAX)
			return -E2BIG;
		argv[argc++] = text;
		while (*text && *text != ' ' && *text != '\t')
			text++;
	}
}

static void
run_command(char *text)
{
	char *argv[ARGS_MAX + 1] = { NULL };
	int argc = split(text, argv), err;
	const struct monitor_command *c;

	if (argc == -E2BIG) {
		printf("more than %d words\n", ARGS_MAX);
		return;
	}
	if (!argc)
		return;
	c = command_find(argv[0]);
	if (!c) {
		printf("unknown command: %s; " COMMANDS_HELP "\n", argv[0]);
		return;
	}
	err = c->run(argc, argv);
	sched_charge_host();
	if (err < 0)
		printf("%s: %s (error %d)\n", argv[0], error_words(-err), -err);
	if (err == -EINVAL)
		printf("usage: %s%s%s\n", c->name, *c->args ? " " : "", c->args);
}

void
monitor_run(const char *commands)
{
	char text[LINE_MAX];
	size_t length;

	interrupted = false;
	while (*commands && !interrupted) {
		while (*commands == ' ' || *commands == ';')
			commands++;
		for (length = 0; commands[length] && commands[length] != ';'; length++)
			;
		if (length >= sizeof(text)) {
			printf("a command may have %lu characters, not %lu\n", sizeof(text) - 1,
			       length);
			return;
		}
		memcpy(text, commands, length);
		text[length] = '\0';
		commands += length;
		/* A transcript should read the same whether a person or the command line typed. */
		if (length && !prompt_wanted)
			printf("K> %s\n", text);
		run_command(text);
	}
}

void
monitor_run_for(char *command, void (*put)(char c))
{
	printf_capture = put;
	run_command(command);
	printf_capture = NULL;
}

void
monitor_prompt(void)
{
	prompt_wanted = true;
	printf("K> ");
}

static void
replace_line(const char *with)
{
	for (; line_length; line_length--)
		printf("\b \b");
	for (; *with && line_length < sizeof(line) - 1; with++) {
		line[line_length++] = *with;
		console_putc(*with);
	}
}

static void
history_add(void)
{
	char *newest = history[(history_count + HISTORY - 1) % HISTORY];

	history_back = 0;
	if (!line_length || (history_count && !strcmp(newest, line)))
		return;
	memcpy(history[history_count++ % HISTORY], line, line_length + 1);
}

static void
history_move(int step)
{
	unsigned kept = history_count < HISTORY ? history_count : HISTORY;

	if ((step > 0 && history_back == kept) || (step < 0 && !history_back))
		return;
	history_back += (unsigned)step;
	replace_line(history_back ? history[(history_count - history_back) % HISTORY] : "");
}

static void
enter(void)
{
	console_putc('\n');
	line[line_length] = '\0';
	history_add();
	line_length = 0;
	monitor_run(line);
	monitor_prompt();
}

/* Arrow keys of a terminal arrive as ESC [ A and ESC [ B. True: c was a part of such a sequence. */
static bool
escape(int c)
{
	static unsigned seen;

	if (seen == 0 && c == ESC) {
		seen = 1;
		return true;
	}
	if (seen == 1 && c == '[') {
		seen = 2;
		return true;
	}
	if (seen == 2) {
		if (c == 'A')
			history_move(1);
		else if (c == 'B')
			history_move(-1);
		/* numbers belong to longer sequences (ESC [ 3 ~), which end in another letter */
		if ((c < '0' || c > '9') && c != ';')
			seen = 0;
		return true;
	}
	seen = 0;
	return false;
}

static void
edit(int c)
{
	static int before;
	int last = before;

	before = c;
	if (escape(c))
		return;
	switch (c) {
	case '\n':
		if (last == '\r') /* one Enter, sent as CR LF */
			break;
		/* fall through */
	case '\r':
		enter();
		break;
	case '\b':
	case DELETE:
		if (line_length) {
			line_length--;
			printf("\b \b");
		}
		break;
	case CTRL('U'):
		replace_line("");
		break;
	case CTRL('P'):
		history_move(1);
		break;
	case CTRL('N'):
		history_move(-1);
		break;
	case CTRL('C'):
		printf("^C\n");
		line_length = 0;
		history_back = 0;
		monitor_prompt();
		break;
	case '\t':
		c = ' ';
		/* fall through */
	default:
		if (c >= ' ' && c < DELETE && line_length < sizeof(line) - 1) {
			line[line_length++] = (char)c;
			console_putc(c);
		}
	}
}

int
monitor_ahead(void)
{
	int c;

	if (!ahead_count)
		return -1;
	c = (uint8_t)ahead[0];
	memmove(ahead, ahead + 1, --ahead_count);
	return c;
}

/* A command that edit() runs may leave more in `ahead`, which comes first: look again each time. */
void
monitor_input(void)
{
	int c;

	while ((c = monitor_ahead()) >= 0 || (c = console_getc()) >= 0)
		edit(c);
}

/* Keeps what is typed for later; true on Ctrl-C. */
static bool
poll_interrupt(void)
{
	int c;

	while ((c = monitor_getc()) >= 0) {
		if (c == CTRL('C')) {
			ahead_count = 0;
			return true;
		}
		if (ahead_count < AHEAD_MAX)
			ahead[ahead_count++] = (char)c;
	}
	return false;
}

void
monitor_wait(bool (*done)(void *), void *arg, bool wants_ticks)
{
	sched_charge_host();
	while (!printf_capture) {
		if (poll_interrupt()) {
			printf("^C\n");
			interrupted = true;
			return;
		}
		if (done(arg))
			return;
		if (sched_step())
			continue;
		if (wants_ticks) {
			clock_tick();
			sched_idle();
		} else {
			sched_sleep();
		}
	}
}

/* The first name after `name` in the alphabet, or NULL: the set is in the linker's order. */
static const struct monitor_command *
command_after(const char *name)
{
	const struct monitor_command *found = NULL;

	set_foreach (const struct monitor_command *, c, monitor)
		if (strcmp(c->name, name) > 0 && (!found || strcmp(c->name, found->name) < 0))
			found = c;
	return found;
}

static int
command_help(int argc, char **argv)
{
	const struct monitor_command *c;
	char synopsis[128];

	if (argc > 2)
		return -EINVAL;
	if (argc == 2) {
		c = command_find(argv[1]);
		if (!c) {
			printf("there is no command %s; " COMMANDS_HELP "\n", argv[1]);
			return MONITOR_SAID;
		}
		printf("%s %s\n  %s\n", c->name, c->args, c->help);
		return 0;
	}
	for (c = command_after(""); c; c = command_after(c->name)) {
		if (!*c->help) /* for tests only */
			continue;
		snprintf(synopsis, sizeof(synopsis), "%s %s", c->name, c->args);
		if (strlen(synopsis) > SYNOPSIS_WIDTH)
			printf("  %s\n  %-*s  %s\n", synopsis, SYNOPSIS_WIDTH, "", c->help);
		else
			printf("  %-*s  %s\n", SYNOPSIS_WIDTH, synopsis, c->help);
	}
	printf("On the boot command line commands stand behind ` -- `, with `;` between them.\n");
	return 0;
}
MONITOR_COMMAND(command_help, "help", "[COMMAND]", "this list");
