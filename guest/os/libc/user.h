/*
 * The library of guest/os's programs.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <guest/os/abi.h>

int main(int argc, char **argv);

/* calls.c: system calls, abi.h says what they do. -1 is an error. */
void exit(int status) __attribute__((noreturn));
int fork(void);
int wait(int *status);
int exec(const char *path, char *const *argv);
int kill(int pid);
int getpid(void);
int yield(void);
int sleep(uint32_t ticks);
void *sbrk(uint32_t bytes); /* NULL: no more */
uint32_t frames(void);
int open(const char *path, uint32_t flags);
int close(int fd);
int read(int fd, void *buffer, uint32_t bytes);
int write(int fd, const void *buffer, uint32_t bytes);
int dup(int fd);
int pipe(int fd[2]);
int stat(const char *path, struct stat *st);
int mkdir(const char *path);
int unlink(const char *path);
int chdir(const char *path);
int popf(void);

/* start.asm */
int syscall(int number, uint32_t a, uint32_t b, uint32_t c);
uint32_t tsc(void);

/* string.c */
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, char c);
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int number(const char *s);

/* stdio.c: one write() for each call, so that lines of two programs don't mix */
void printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn)); /* prints, exit(1) */

/* more.c: reading by lines. The line is valid until the next one, and has no '\n'. */
struct reader {
	int fd;
	uint32_t have, at;
	char buffer[512], line[256];
};
char *next_line(struct reader *r);

/* Memory is never given back but by the program's end */
void *alloc(uint32_t bytes);

/* Starting programs, and others. */
int run(char *const *argv);   /* starts /bin/argv[0]: its pid */
int wait_for(int pid);        /* its status */
uint32_t mix(uint32_t *seed); /* a pseudo-random number */
