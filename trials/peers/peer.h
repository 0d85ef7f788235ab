/*
 * The peer's program for Linux (kvm.c): its few own pieces. There is no libc; the calls are Linux'
 * own (calls.c), whose results are negative errors.
 */
#pragma once

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#define O_RDWR 2

/* calls.c. What `die` and `good` say is a line that begins with "kvm: ", and the machine's end. */
long call(long number, long a, long b, long c, long d, long e, long f);
long call3(long number, long a, long b, long c);
long kvm(long fd, unsigned long request, const void *argument, const char *what);
void *map(long fd, size_t size); /* fd < 0: memory */
size_t length(const char *s);
void say(const char *s, size_t n);
void say_number(uint64_t n);
void die(const char *what, long error) __attribute__((noreturn));
long good(long result, const char *what);
void end(uint8_t code) __attribute__((noreturn));
void *memset(void *to, int byte, size_t n);
void *memcpy(void *to, const void *from, size_t n);

/* A file: its first bytes are in `head`. All of it is read to `to` with read_file(). */
struct file {
	long fd;
	uint64_t size;
	uint8_t head[4096];
};
void open_file(struct file *f, const char *path);
void read_file(const struct file *f, void *to, uint64_t size, uint64_t from);

/*
 * linux.c: whether it is Linux, and what its 64-bit entry takes. `words` are its command line; the
 * first can be initrd=PATH.
 */
int is_linux(const struct file *f);
void linux_place(const struct file *f, uint8_t *ram, uint64_t size, char **words);
void linux_enter(long vcpu);

/* pc.c: COM1, the clock and the keyboard controller of a PC, for a guest that uses them. */
void pc_init(long machine, uint64_t ram);
int pc_port(struct kvm_run *run); /* 0: it was the machine's end */
void pc_flush(void);              /* what COM1 has sent leaves by lines */
