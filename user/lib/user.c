/*
 * The library of user/: system calls in C's words, and what a compiler calls by itself.
 */
#include <user/lib/user.h>

void
user_exit(int status)
{
	for (;;)
		user_call(USER_EXIT, (uint64_t)status, 0);
}

size_t
strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool
user_same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

void
text_add(struct user_text *t, const char *s)
{
	while (*s && t->len < sizeof(t->text))
		t->text[t->len++] = *s++;
}

void
text_number(struct user_text *t, uint64_t n)
{
	char digits[24];
	unsigned at = sizeof(digits) - 1;

	digits[at] = '\0';
	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	text_add(t, digits + at);
}

void
text_to(struct user_text *t, unsigned column)
{
	while (t->len < column)
		text_add(t, " ");
}

void
user_print(const char *line)
{
	user_call(USER_PRINT, (uint64_t)line, strlen(line));
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
