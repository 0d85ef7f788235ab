/*
 * What the files of kern/ call in each other and nobody else does; see kern/kern.h for the rest.
 */
#pragma once

#include <kern/kern.h>

/* A function that debuggers set breakpoints on: a call of it stays a call, of just this function.
 */
#ifdef __clang__
#define NOINLINE __attribute__((noinline, used))
#else
#define NOINLINE __attribute__((noinline, noclone, used))
#endif

/* main.c: entry.asm calls it on the boot stack with what the loader left in EAX and EBX. */
void kernel_main(uint64_t magic, uint64_t info) NORETURN;

/* pic.c: the 8259s at vectors IRQ_BASE.., every line masked until irq_register(). */
void host_pic_init(void);

/* clock.c */
uint64_t clock_tsc_hz(void);
void clock_tick(void); /* from now on an interrupt each 10 ms; or clock_alarm() */
void clock_runs(void); /* ... unless an alarm is to come: so that there is one interrupt at least */

/* words/watchdog.c: called by each tick. */
void watchdog_start(void);
bool watchdog_fired(void);

/* boot/cmdline.c: takes the loader's command line apart. */
void cmdline_init(const char *line);

/* console/console.c: what is typed wakes the CPU, which has no ticks while it sleeps. */
void console_interrupts(void);

/* thread.c: waits for an interrupt; without ticks, when no thread is ready. */
void sched_idle(void);
void sched_sleep(void);

/* monitor/monitor.c */
const char *error_words(int error); /* errno, positive */
/* The last step before the main loop: the prompt, once the boot command line's commands are done.
 */
void monitor_prompt(void);

/* trials.c: a seeded sequence, the same on every machine (and in grade/). */
uint64_t seeded_start(uint64_t seed);
uint64_t seeded_next(uint64_t *state);
uint32_t seeded_name(const char *name); /* a person's own seed */
