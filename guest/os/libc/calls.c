/* System calls as functions. */
#include <guest/os/libc/user.h>

#define ARG(x) ((uint32_t)(x))

void
exit(int status)
{
	for (;;)
		syscall(SYS_exit, ARG(status), 0, 0);
}

void *
sbrk(uint32_t bytes)
{
	int old = syscall(SYS_sbrk, bytes, 0, 0);

	return old == -1 ? NULL : (void *)old;
}

uint32_t
frames(void)
{
	return ARG(syscall(SYS_frames, 0, 0, 0));
}

#define CALL(name, parameters, a, b, c)                             \
	int name parameters                                         \
	{                                                           \
		return syscall(SYS_##name, ARG(a), ARG(b), ARG(c)); \
	}
CALL(fork, (void), 0, 0, 0)
CALL(wait, (int *status), status, 0, 0)
CALL(exec, (const char *path, char *const *argv), path, argv, 0)
CALL(kill, (int pid), pid, 0, 0)
CALL(getpid, (void), 0, 0, 0)
CALL(yield, (void), 0, 0, 0)
CALL(sleep, (uint32_t ticks), ticks, 0, 0)
CALL(open, (const char *path, uint32_t flags), path, flags, 0)
CALL(close, (int fd), fd, 0, 0)
CALL(read, (int fd, void *buffer, uint32_t bytes), fd, buffer, bytes)
CALL(write, (int fd, const void *buffer, uint32_t bytes), fd, buffer, bytes)
CALL(dup, (int fd), fd, 0, 0)
CALL(pipe, (int fd[2]), fd, 0, 0)
CALL(stat, (const char *path, struct stat *st), path, st, 0)
CALL(mkdir, (const char *path), path, 0, 0)
CALL(unlink, (const char *path), path, 0, 0)
CALL(chdir, (const char *path), path, 0, 0)
CALL(popf, (void), 0, 0, 0)
