/* Lines, memory, and starting programs. */
#include <guest/os/libc/user.h>

/* The next line, or NULL at the end. What is too long for it is cut off. */
char *
next_line(struct reader *r)
{
	uint32_t n = 0;

	for (;;) {
		if (r->at == r->have) {
			int got = read(r->fd, r->buffer, sizeof(r->buffer));

			r->at = 0;
			r->have = got > 0 ? (uint32_t)got : 0;
			if (!r->have && !n)
				return NULL;
		}
		if (!r->have || r->buffer[r->at] == '\n')
			break;
		if (n < sizeof(r->line) - 1)
			r->line[n++] = r->buffer[r->at];
		r->at++;
	}
	if (r->have)
		r->at++;
	r->line[n] = '\0';
	return r->line;
}

void *
alloc(uint32_t bytes)
{
	static uint32_t next, end;
	uint32_t at;

	bytes = (bytes + 7) & ~7u;
	if (bytes > end - next) {
		uint32_t more = (bytes + 0xffff) & ~0xffffu;

		at = (uint32_t)sbrk(more);
		if (!at)
			fail("out of memory");
		if (at != end)
			next = at;
		end = at + more;
	}
	at = next;
	next += bytes;
	return (void *)at;
}

int
run(char *const *argv)
{
	char path[64] = "/bin/";
	size_t n = strlen(argv[0]);
	int pid;

	if (n > sizeof(path) - 6)
		return -1;
	memcpy(path + 5, argv[0], n + 1);
	pid = fork();
	if (pid)
		return pid;
	exec(strchr(argv[0], '/') ? argv[0] : path, argv);
	fail("%s: there is no such program", argv[0]);
}

/* Other children that end meanwhile are forgotten. */
int
wait_for(int pid)
{
	int status, one;

	do
		one = wait(&status);
	while (one != pid && one != -1);
	return one == pid ? status : -1;
}

/* Numerical Recipes' "quick and dirty" generator. */
uint32_t
mix(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}
