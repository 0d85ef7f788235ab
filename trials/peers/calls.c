/*
 * Linux' calls for a program that has no libc, and the end of its machine.
 */
#include <asm/unistd.h>
#include <linux/stat.h>
#include <trials/peers/peer.h>

#define DEBUG_EXIT                 0xf4
#define PROT_RW                    3
#define MAP_SHARED                 1
#define MAP_PRIVATE_ANONYMOUS      0x22
#define TCSBRK                     0x5409
#define LINUX_REBOOT_MAGIC1        0xfee1dead
#define LINUX_REBOOT_MAGIC2        672274793
#define LINUX_REBOOT_CMD_POWER_OFF 0x4321fedc
#define AT_EMPTY_PATH              0x1000

/* In a program of this kind nobody else supplies them, and gcc takes them for granted. */
void *
memset(void *to, int byte, size_t n)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void *
memcpy(void *to, const void *from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

long
call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

long
call3(long number, long a, long b, long c)
{
	return call(number, a, b, c, 0, 0, 0);
}

size_t
length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void
say(const char *s, size_t n)
{
	call3(__NR_write, 1, (long)s, (long)n);
}

void
say_number(uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	say(digits + at, sizeof(digits) - at);
}

/* The end of the machine, when all that was written has left it. */
void
end(uint8_t code)
{
	call3(__NR_ioctl, 1, TCSBRK, 1);
	if (!call3(__NR_ioperm, DEBUG_EXIT, 1, 1))
		__asm__ volatile("outb %0, %1" : : "a"(code), "Nd"((uint16_t)DEBUG_EXIT));
	call(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0,
	     0, 0);
	for (;;)
		call3(__NR_pause, 0, 0, 0);
}

void
die(const char *what, long error)
{
	say("kvm: ", 5);
	say(what, length(what));
	say(": ", 2);
	say_number((uint64_t)(error < 0 ? -error : error));
	say("\n", 1);
	end(1);
}

long
good(long result, const char *what)
{
	if (result < 0)
		die(what, result);
	return result;
}

long
kvm(long fd, unsigned long request, const void *argument, const char *what)
{
	return good(call3(__NR_ioctl, fd, (long)request, (long)argument), what);
}

void *
map(long fd, size_t size)
{
	long flags = fd < 0 ? MAP_PRIVATE_ANONYMOUS : MAP_SHARED;

	return (void *)good(call(__NR_mmap, 0, (long)size, PROT_RW, flags, fd, 0), "mmap");
}

void
open_file(struct file *f, const char *path)
{
	struct statx about;

	f->fd = good(call3(__NR_open, (long)path, 0, 0), path);
	good(call(__NR_statx, f->fd, (long)"", AT_EMPTY_PATH, STATX_SIZE, (long)&about, 0), path);
	f->size = about.stx_size;
	good(call3(__NR_read, f->fd, (long)f->head, sizeof(f->head)), path);
}

void
read_file(const struct file *f, void *to, uint64_t size, uint64_t from)
{
	uint64_t done = 0;
	long n;

	for (; done < size; done += (uint64_t)n) {
		n = call(__NR_pread64, f->fd, (long)to + (long)done, (long)(size - done),
			 (long)(from + done), 0, 0);
		if (n <= 0)
			die("a file ends before its end", n);
	}
}
