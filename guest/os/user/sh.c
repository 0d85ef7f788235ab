/*
 * The shell: `sh file`, `sh -c text`, or lines from its input. Lines of a script are printed before
 * they are done, so that a transcript can be read.
 *
 *   command words < in > out | command words &     cd dir, wait, exit status     # a comment
 */
#include <guest/os/libc/user.h>

#define COMMANDS 8

struct command {
	char *argv[MAX_ARGS + 1];
	int argc;
	char *in, *out;
	uint32_t append;
};

struct line {
	struct command commands[COMMANDS];
	int count, background;
};

/* Takes the next thing off *s: a special character, 'w' for a word, or 0 at the line's end. */
static char
next_token(char **s, char **word)
{
	char special;

	while (**s == ' ')
		*(*s)++ = '\0';
	if (!**s || **s == '#') {
		**s = '\0';
		return 0;
	}
	if (strchr("<>|&", **s)) {
		special = **s;
		*(*s)++ = '\0';
		return special;
	}
	*word = *s;
	while (**s && !strchr(" <>|&", **s))
		(*s)++;
	return 'w';
}

/* `<`, `>` and `>>`: -1 if no file follows. */
static int
redirect(struct command *c, char kind, char **s)
{
	char *word, token = next_token(s, &word);

	if (kind == '>' && token == '>') {
		c->append = 1;
		token = next_token(s, &word);
	}
	if (token != 'w')
		return -1;
	if (kind == '<')
		c->in = word;
	else
		c->out = word;
	return 0;
}

static int
parse(char *s, struct line *l)
{
	struct command *c = l->commands;
	char *word, token;

	memset(l, 0, sizeof(*l));
	l->count = 1;
	while ((token = next_token(&s, &word))) {
		if (token == 'w' && c->argc < MAX_ARGS)
			c->argv[c->argc++] = word;
		else if (token == '&')
			l->background = 1;
		else if (token == '|' && c->argc && l->count < COMMANDS)
			c = &l->commands[l->count++];
		else if ((token != '<' && token != '>') || redirect(c, token, &s))
			return -1;
	}
	return c->argc || l->count == 1 ? 0 : -1;
}

/* Makes `fd` be what `path` is. */
static void
reopen(int fd, const char *path, uint32_t flags)
{
	close(fd);
	if (open(path, flags) != fd)
		fail("sh: %s: it can't be opened", path);
}

static void
move_fd(int from, int to)
{
	close(to);
	dup(from);
	close(from);
}

/* In the child: descriptors, then the program. */
static void
become(struct command *c, int in, int out)
{
	char path[64] = "/bin/";

	if (in)
		move_fd(in, 0);
	if (out != 1)
		move_fd(out, 1);
	if (c->in)
		reopen(0, c->in, O_READ);
	if (c->out)
		reopen(1, c->out, O_WRITE | O_CREATE | (c->append ? O_APPEND : O_TRUNC));
	if (strlen(c->argv[0]) < sizeof(path) - 5) {
		memcpy(path + 5, c->argv[0], strlen(c->argv[0]) + 1);
		exec(strchr(c->argv[0], '/') ? c->argv[0] : path, c->argv);
	}
	fail("sh: %s: not found", c->argv[0]);
}

/* Starts the commands of a line, joined by pipes: the pid of the last. */
static int
start(struct line *l)
{
	int in = 0, pid = -1;

	for (int i = 0; i < l->count; i++) {
		int out[2] = { 0, 1 };

		if (i + 1 < l->count && pipe(out) < 0)
			fail("sh: there is no pipe");
		pid = fork();
		if (!pid) {
			if (out[0])
				close(out[0]);
			become(&l->commands[i], in, out[1]);
		}
		if (in)
			close(in);
		if (out[1] != 1)
			close(out[1]);
		in = out[0];
	}
	return pid;
}

static void
wait_all(void)
{
	while (wait(NULL) != -1)
		;
}

/* What the shell does itself. */
static int
built_in(struct command *c)
{
	char **argv = c->argv;

	if (!strcmp(argv[0], "exit"))
		exit(argv[1] ? number(argv[1]) : 0);
	if (!strcmp(argv[0], "wait"))
		wait_all();
	else if (strcmp(argv[0], "cd"))
		return 0;
	else if (chdir(argv[1] ? argv[1] : "/") < 0)
		printf("sh: %s: no such directory\n", argv[1]);
	return 1;
}

static void
obey(char *text)
{
	struct line l;
	int status;

	if (parse(text, &l)) {
		printf("sh: syntax error\n");
		return;
	}
	if (!l.commands[0].argc || built_in(&l.commands[0]))
		return;
	status = start(&l);
	if (l.background)
		return;
	status = wait_for(status);
	if (status)
		printf("[status %d]\n", status);
}

static void
obey_text(char *s)
{
	while (*s) {
		char *end = strchr(s, '\n');

		if (end)
			*end = '\0';
		printf("$ %s\n", s);
		obey(s);
		s = end ? end + 1 : s + strlen(s);
	}
}

int
main(int argc, char **argv)
{
	struct reader in = { .fd = 0 };
	char *line;

	if (argc > 2 && !strcmp(argv[1], "-c")) {
		obey_text(argv[2]);
		return 0;
	}
	if (argc > 1)
		in.fd = open(argv[1], O_READ);
	if (in.fd < 0)
		fail("sh: %s: not found", argv[1]);
	for (;;) {
		if (argc == 1)
			printf("$ ");
		line = next_line(&in);
		if (!line)
			return 0;
		if (argc > 1)
			printf("$ %s\n", line);
		obey(line);
	}
}
