/*
 * A map of the rest of the kernel: prototypes under the name of the file that holds them.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <inc/compiler.h>

#define PRINTF_LIKE(f, a) __attribute__((format(__printf__, f, a)))
#define NORETURN          __attribute__((noreturn))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/*
 * Linker sets: a registered table joins a lab to the kernel, so that the kernel grows with LAB=N
 * and without #if. SET_ADD(engines, te_engine) adds a pointer; set_foreach (struct engine *, e,
 * engines) walks.
 */
#define SET_ADD(set, object)                          \
	static const void *const set_##set##_##object \
		__attribute__((used, retain, section("set_" #set))) = &object
#define SET_DECLARE(set)                                                                          \
	extern const void *const __start_set_##set[] __attribute__((weak, visibility("hidden"))); \
	extern const void *const __stop_set_##set[] __attribute__((weak, visibility("hidden")))
#define set_foreach(type, var, set)                                                      \
	for (const void *const *var##_p = __start_set_##set; var##_p < __stop_set_##set; \
	     var##_p++)                                                                  \
		for (type var = (type)*var##_p; var; var = NULL)

/* console/console.c: COM1 and VGA out, COM1 and keyboard in; the side channel on port 0xE9. */
void console_init(void);
void console_putc(int c);
int console_getc(void); /* -1: nothing there */
void side_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* printf.c: %d %i %u %x %X %p %s %c %% with l, ll, z, width, 0, -, precision for strings. */
int printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
extern void (*printf_capture)(char c); /* gets what printf() prints; NULL: the console */
extern void (*printf_heard)(char c);   /* hears what the console gets by it; NULL: nobody */
int vprintf(const char *fmt, va_list ap);
int snprintf(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);

/* string.c */
void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
/* Parses 0x-hex or decimal; 0 or -EINVAL. */
int parse_u64(const char *s, uint64_t *out);

/* words/panic.c: the host's own bug. Prints where, a symbolised backtrace, and stops it. */
void panic(const char *fmt, ...) PRINTF_LIKE(1, 2) NORETURN;
/* The same for a trap: the backtrace starts at the trapped rip and rbp. */
void panic_at(uint64_t rip, uint64_t rbp, const char *fmt, ...) PRINTF_LIKE(3, 4) NORETURN;
#define ASSERT(x)                                                                      \
	do {                                                                           \
		if (!(x))                                                              \
			panic("assertion failed: %s (%s:%d)", #x, __FILE__, __LINE__); \
	} while (0)
/* An exercise whose region is still the skeleton's: says so, once per exercise, and goes on. */
void exercise_todo(const char *id, const char *where);
bool exercise_missing(const char *id); /* it has said so */
/* Ends the machine: QEMU's debug exit with `code`, Bochs' shutdown, else a dead halt. */
void machine_off(unsigned code) NORETURN;

/* words/symbols.c: the kernel's own symbol table, linked in by tools/ksyms.py. */
const char *symbol_find(uint64_t addr, uint64_t *offset); /* "?" if none */

/* Lab 0.3, backtrace.c: prints the return addresses from frame pointer rbp upwards. */
void backtrace(uint64_t rip, uint64_t rbp);

/* clock.c: PIT tick and TSC. */
#define TICK_HZ 100
void clock_init(void);
uint64_t clock_ns(void); /* since boot, monotonic */
/*
 * One interrupt at that time, or before, in place of the ticks, which begin again with the next
 * turn; CLOCK_NEVER: none.
 */
void clock_alarm(uint64_t until);
void clock_sooner(uint64_t until); /* ... unless there is one before */
extern volatile uint64_t ticks;
#define CLOCK_NEVER UINT64_MAX

/* boot/cmdline.c: the boot command line, `key=value ... -- command; command`. */
const char *cmdline_get(const char *key, const char *fallback); /* value of key=, kept for ever */
const char *cmdline_commands(void);                             /* what follows `--`, or "" */

/* monitor/monitor.c */
struct monitor_command {
	const char *name, *args, *help;
	/*
	 * 0; -errno: the monitor says which; MONITOR_SAID: the command itself has said what is
	 * wrong
	 */
	int (*run)(int argc, char **argv);
};
#define MONITOR_SAID 1
#define MONITOR_COMMAND(fn, name_, args_, help_)                                        \
	static const struct monitor_command command_##fn = { name_, args_, help_, fn }; \
	SET_ADD(monitor, command_##fn)
void monitor_input(void);           /* polls the console; runs a line when it is complete */
void monitor_run(const char *line); /* runs `a; b; c` */
int monitor_ahead(void);            /* a character that was typed while a command waits; -1: none */
/* One command for somebody else than the console: its output goes to `put`, and it never waits. */
void monitor_run_for(char *command, void (*put)(char c));
/*
 * Runs threads until `done(arg)` or Ctrl-C: what a foreground command waits with. It is asked when
 * a thread has run or an interrupt has come; at each tick, too, if it wants ticks.
 */
extern int (*monitor_getc)(void); /* what it gets of the console meanwhile: all */
void monitor_wait(bool (*done)(void *), void *arg, bool wants_ticks);

/* boot modules (boot/bootinfo.c) */
struct module {
	const char *words, *view; /* module command line; where it lies, NULL: at paddr */
	char name[24];            /* first word's basename without extension */
	uint64_t paddr, size;     /* hpa, bytes */
};
extern struct module modules[];
extern unsigned module_count;
const struct module *module_find(const char *name); /* NULL: there is none */

/* Things that must be set up before K>, in order of `order`: vmm/ and labs plug in here. */
struct initcall {
	int order;
	void (*init)(void);
};
#define INITCALL(order_, fn)                                         \
	static const struct initcall initcall_##fn = { order_, fn }; \
	SET_ADD(initcalls, initcall_##fn)
