/*
 * The library of the classic guests: a console on COM1 by polling, and the machine's end.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The guest's own entry; what it returns is its exit code. `info` is the multiboot information. */
uint32_t guest_main(uint32_t magic, const uint32_t *info);

void outb(uint32_t port, uint32_t value);
uint32_t inb(uint32_t port);
void halt(void) __attribute__((noreturn));

void console_init(void);
void put(char c);
void print(const char *s);
void print_hex(uint32_t value); /* eight digits */
/*
 * The value of key= on the multiboot command line, as a pointer into it (it ends at a space or
 * NUL); NULL: none.
 */
const char *option(const uint32_t *info, const char *key);
int option_is(const char *value, const char *word);

/*
 * Ends the machine: QEMU's debug exit (te has it too), else Bochs' shutdown port, else a dead halt.
 */
void guest_exit(uint32_t code) __attribute__((noreturn));

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
