/*
 * Monitor commands about the host as a whole: backtrace, off, uptime, echo.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>

static int
command_off(int argc, char **argv)
{
	uint64_t code = 0;

	if (argc > 2 || (argc == 2 && (parse_u64(argv[1], &code) || code > 127)))
		return -EINVAL;
	machine_off((unsigned)code);
}
MONITOR_COMMAND(command_off, "off", "[CODE]", "switches the machine off");

static int
command_echo(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		printf("%s%s", i > 1 ? " " : "", argv[i]);
	printf("\n");
	return 0;
}
MONITOR_COMMAND(command_echo, "echo", "[WORD]...", "prints its words");

static int
command_uptime(int argc, char **argv)
{
	uint64_t us = clock_ns() / 1000;

	printf("up %lu.%06lu s, %lu ticks of %d ms, TSC at %lu kHz\n", us / 1000000, us % 1000000,
	       ticks, 1000 / TICK_HZ, clock_tsc_hz() / 1000);
	return 0;
}
MONITOR_COMMAND(command_uptime, "uptime", "", "time since boot");

static bool
is_over(void *deadline)
{
	return clock_ns() >= *(uint64_t *)deadline;
}

static int
command_sleep(int argc, char **argv)
{
	uint64_t ms, deadline;

	if (argc != 2 || parse_u64(argv[1], &ms) || ms > UINT32_MAX)
		return -EINVAL;
	deadline = clock_ns() + ms * 1000000;
	monitor_wait(is_over, &deadline, true);
	return 0;
}
MONITOR_COMMAND(command_sleep, "sleep", "MS", "lets the threads run; Ctrl-C ends it");

static int
command_backtrace(int argc, char **argv)
{
	uint64_t rip;

	__asm__ volatile("lea (%%rip), %0" : "=r"(rip));
	backtrace(rip, (uint64_t)__builtin_frame_address(0));
	return 0;
}
MONITOR_COMMAND(command_backtrace, "backtrace", "", "who called this command");
