/*
 * The library of user/: system calls, and the little of C's that device sources need.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <inc/user.h>

int user_main(void);

static inline int64_t
user_call(enum user_call number, uint64_t a, uint64_t b)
{
	int64_t result;

	__asm__ volatile("int %1"
			 : "=a"(result)
			 : "i"(USER_VECTOR), "a"(number), "D"(a), "S"(b)
			 : "memory");
	return result;
}

void user_exit(int status) __attribute__((noreturn));
void user_print(const char *line);
size_t strlen(const char *s);
void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
bool user_same(const char *a, const char *b);

/* A line of text that grows: what does not fit is left out. */
struct user_text {
	char text[USER_LINE];
	unsigned len;
};
void text_add(struct user_text *t, const char *s);
void text_number(struct user_text *t, uint64_t n);
void text_to(struct user_text *t, unsigned column); /* fills up with spaces */

#define RUN_PAGE ((struct run_page *)USER_RUN_PAGE)
