/*
 * An emulator that is linked once for many runs: loaded into it with LD_PRELOAD, this waits where
 * main() would begin, and forks a process for each run that grade/zeno/machines/linked.py asks for.
 *
 * To link QEMU with its fifty libraries costs as much as all else of a short run. What is done
 * before main() is the same for all runs, and QEMU is made to be forked there, for its -daemonize.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
	MAX_RUNS = 64,
	MAX_FDS = 16,
	FIRST_FD = 600, /* our own files lie above; a run's are numbered as its command line says */
	REQUEST = 128 << 10,
	MAX_WORDS = 512,
	FILE_BYTES = 1 << 30,
};

/* linked.py knows both layouts. */
struct request {
	uint32_t cpu_seconds;
	uint32_t nr_fds; /* the last one is for the run's end, the others become `targets` */
	int32_t targets[MAX_FDS];
	char words[]; /* the folder, then the arguments, each with a 0 behind it */
};

struct ended {
	int32_t status;
	int32_t pad;
	double cpu_seconds;
};

typedef int main_function(int argc, char **argv, char **envp);

static main_function *emulator;
static sigset_t mask;
static int asked;
static struct {
	pid_t pid;
	int end; /* where its end is told */
} runs[MAX_RUNS];

/* QEMU gives memory back as devices start, and takes it again: a run is over too soon for that. */
EXPORT int
malloc_trim(size_t pad)
{
	return 0;
}

/* All that the emulator has to say at its end is said: fifty libraries' own ends nobody needs. */
static void
leave(int status, void *unused)
{
	fflush(NULL);
	_exit(status);
}

static void
limit(int what, rlim_t most)
{
	struct rlimit limit = { most, most };
	setrlimit(what, &limit);
}

/* In the new process: what Child does between fork and exec. */
static int
run(const struct request *r, size_t size, const int *fds, char **envp)
{
	static char *argv[MAX_WORDS];
	int argc = 0;
	const char *folder = r->words, *end = (const char *)r + size;
	for (const char *word = folder + strlen(folder) + 1; word < end && argc < MAX_WORDS - 1;
	     word += strlen(word) + 1)
		argv[argc++] = strdup(word);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	if (r->cpu_seconds)
		limit(RLIMIT_CPU, r->cpu_seconds);
	limit(RLIMIT_FSIZE, FILE_BYTES);
	limit(RLIMIT_CORE, 0);
	for (uint32_t i = 0; i + 1 < r->nr_fds; i++)
		if (dup2(fds[i], r->targets[i]) < 0)
			_exit(127);
	close_range(FIRST_FD, ~0u, 0);
	if (chdir(folder) < 0)
		_exit(127);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	on_exit(leave, NULL);
	return emulator(argc, argv, envp);
}

/* Tell of each run that has ended. */
static void
reap(int flags)
{
	struct rusage used;
	int status;
	for (pid_t pid; (pid = wait4(-1, &status, flags, &used)) > 0;) {
		struct ended ended = { .status = status };
		ended.cpu_seconds = used.ru_utime.tv_sec + used.ru_stime.tv_sec +
				    (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
		for (int i = 0; i < MAX_RUNS; i++)
			if (runs[i].pid == pid) {
				if (write(runs[i].end, &ended, sizeof ended) < 0) {
				} /* nobody waits for it any more */
				close(runs[i].end);
				runs[i].pid = 0;
			}
	}
}

/* Nobody asks any more: so nobody looks after what still runs. */
static void
quit(void)
{
	for (int i = 0; i < MAX_RUNS; i++)
		if (runs[i].pid)
			kill(runs[i].pid, SIGKILL);
	reap(0);
	_exit(0);
}

/* Take a request and its files; their number, -1 where there is nothing to do. */
static int
take(struct request *r, ssize_t *size, int *fds)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct iovec text = { r, REQUEST - 1 };
	struct msghdr message = { .msg_iov = &text,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };

	*size = recvmsg(asked, &message, MSG_CMSG_CLOEXEC);
	if (*size <= 0)
		quit();
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (!c || c->cmsg_type != SCM_RIGHTS || *size < (ssize_t)sizeof *r)
		quit();
	int count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int), had[MAX_FDS];
	if (count < 1 || r->nr_fds != (uint32_t)count)
		quit();
	memcpy(had, CMSG_DATA(c), count * sizeof(int));
	for (int i = 0; i < count; i++) {
		fds[i] = fcntl(had[i], F_DUPFD_CLOEXEC, FIRST_FD);
		close(had[i]);
	}
	((char *)r)[*size] = 0;
	return count;
}

static int
serve(int argc, char **argv, char **envp)
{
	static _Alignas(struct request) char room[REQUEST];
	struct request *r = (void *)room;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &mask);
	struct pollfd polled[] = {
		{ asked, POLLIN, 0 },
		{ fcntl(signalfd(-1, &child, SFD_CLOEXEC), F_DUPFD_CLOEXEC, FIRST_FD), POLLIN, 0 }
	};
	int32_t ready = 0;
	if (write(asked, &ready, sizeof ready) < 0)
		quit();
	while (1) {
		poll(polled, 2, -1);
		if (polled[1].revents) {
			struct signalfd_siginfo info;
			if (read(polled[1].fd, &info, sizeof info) < 0)
				quit();
			reap(WNOHANG);
		}
		if (!polled[0].revents)
			continue;
		int fds[MAX_FDS], slot = 0;
		ssize_t size;
		int count = take(r, &size, fds);
		while (slot < MAX_RUNS && runs[slot].pid)
			slot++;
		int32_t pid = slot < MAX_RUNS ? fork() : -1;
		if (pid == 0)
			return run(r, size, fds, envp);
		for (int i = 0; i < count - (pid > 0); i++)
			close(fds[i]);
		if (pid > 0) {
			runs[slot].pid = pid;
			runs[slot].end = fds[count - 1];
		}
		if (write(asked, &pid, sizeof pid) < 0)
			quit();
	}
}

/* The C library's own, which the emulator calls with its main(). */
EXPORT int
__libc_start_main(main_function *main, int argc, char **argv, void (*init)(void),
		  void (*fini)(void), void (*end)(void), void *stack)
{
	int (*real)(main_function *, int, char **, void (*)(void), void (*)(void), void (*)(void),
		    void *) = dlsym(RTLD_NEXT, "__libc_start_main");
	const char *word = getenv("ZENO_LINKED");
	if (word) {
		asked = fcntl(atoi(word), F_DUPFD_CLOEXEC, FIRST_FD);
		close(atoi(word));
		unsetenv("ZENO_LINKED");
		unsetenv("LD_PRELOAD");
		emulator = main;
		main = serve;
	}
	return real(main, argc, argv, init, fini, end, stack);
}
