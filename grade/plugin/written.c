/*
 * What an emulator writes into files, many bytes at a time: loaded into it with LD_PRELOAD.
 *
 * QEMU writes each byte of a serial port or of port 0xE9 as it comes, a call of the kernel each,
 * which is a fifth of what a grade costs. Here it waits in memory for others, up to PATIENCE.
 * Nobody sees that, since all is written before a CPU goes to sleep, before a word goes out by a
 * socket (the monitor's, GDB's), and before the end. Who kills an emulator that runs may lose what
 * it wrote in the last moments.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
	FILES = 4,
	ROOM = 4096,
	PATIENCE = 5 * 1000 * 1000, /* nanoseconds */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	int fd;
	size_t size; /* 0: free */
	char bytes[ROOM];
} waiting[FILES];
static atomic_bool some; /* is there anything? */
static bool started, awake;
static sem_t wanted;

/* Write one file's bytes; it is nobody's fault here if the disk is full. */
static void
write_out(int i)
{
	size_t done = 0;
	while (done < waiting[i].size) {
		ssize_t n = write(waiting[i].fd, waiting[i].bytes + done, waiting[i].size - done);
		if (n <= 0)
			break;
		done += n;
	}
	waiting[i].size = 0;
}

static void
write_all(void)
{
	if (!atomic_load_explicit(&some, memory_order_acquire))
		return;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < FILES; i++)
		write_out(i);
	atomic_store(&some, false);
	pthread_mutex_unlock(&lock);
}

/* The thread that ends the wait of what nothing else ends. */
static void *
writer(void *unused)
{
	while (1) {
		while (sem_wait(&wanted) < 0)
			;
		nanosleep(&(struct timespec){ .tv_nsec = PATIENCE }, NULL);
		pthread_mutex_lock(&lock);
		awake = false;
		pthread_mutex_unlock(&lock);
		write_all();
	}
	return NULL;
}

/* With the lock held: something waits. False if nobody would end that. */
static bool
wake_writer(void)
{
	if (!started) {
		sigset_t all, old;
		pthread_t thread;
		sigfillset(&all);
		sem_init(&wanted, 0, 0);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		started = pthread_create(&thread, NULL, writer, NULL) == 0;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (!started)
			return false;
	}
	if (!awake) {
		awake = true;
		sem_post(&wanted);
	}
	return true;
}

/* With the lock held: where a file's bytes wait, -1 if they can't. */
static int
place_of(int fd)
{
	struct stat status;
	int empty = -1;
	for (int i = 0; i < FILES; i++) {
		if (waiting[i].size && waiting[i].fd == fd)
			return i;
		if (!waiting[i].size)
			empty = i;
	}
	if (empty < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || !wake_writer())
		return -1;
	waiting[empty].fd = fd;
	return empty;
}

/* How QEMU writes what a device's other end is. */
EXPORT ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	size_t size = 0;
	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;

	pthread_mutex_lock(&lock);
	int at = size && size < ROOM ? place_of(fd) : -1;
	if (at >= 0) {
		if (waiting[at].size + size > ROOM)
			write_out(at);
		for (int i = 0; i < count; i++) {
			memcpy(waiting[at].bytes + waiting[at].size, parts[i].iov_base,
			       parts[i].iov_len);
			waiting[at].size += parts[i].iov_len;
		}
		atomic_store(&some, true);
	}
	pthread_mutex_unlock(&lock);
	if (at >= 0)
		return size;
	write_all();
	return syscall(SYS_writev, fd, parts, count);
}

/* Before a CPU sleeps, and before anybody hears of anything by a socket. */
EXPORT int
pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	static int (*_Atomic real)(pthread_cond_t *, pthread_mutex_t *);
	if (!real)
		real = dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.3.2");
	write_all();
	return real(cond, mutex);
}

EXPORT ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	write_all();
	return syscall(SYS_sendmsg, fd, message, flags);
}

/* Both ends: exit(), and the plugin's. */
__attribute__((destructor)) static void
at_exit(void)
{
	write_all();
}

EXPORT void
_exit(int status)
{
	write_all();
	while (1)
		syscall(SYS_exit_group, status);
}
