/*
 * The library of user/: system calls in C's words, and what a compiler calls by itself.
 */
#include <user/lib/user.h>

void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

void
user_exit(int status)
{
	for (;;)
		user_call(USER_EXIT, (uint64_t)status, 0);
}

size_t
user_strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void
user_print(const char *line)
{
	user_call(USER_PRINT, (uint64_t)line, user_strlen(line));
}

void *
memset(void *to, int c, size_t n)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
	return start;
}

void *
memcpy(void *to, const void *from, size_t n)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
}
