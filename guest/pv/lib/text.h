/*
 * Bytes and texts, as the C library of any machine has them: so what is pure runs in a test, too.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

void *memcpy(void *to, const void *from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
/* %s %.*s %c %d %u %x with l and a width; what fits, and how long it would be. */
int snprintf(char *to, size_t size, const char *fmt, ...) __attribute__((format(__printf__, 3, 4)));
int vsnprintf(char *to, size_t size, const char *fmt, va_list ap);
