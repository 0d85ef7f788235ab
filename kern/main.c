/*
 * From entry.asm to the main loop: the order in which the host comes to life.
 */
#include <kern/boot/bootinfo.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/memory.h>
#include <kern/thread.h>
#include <kern/trap.h>

SET_DECLARE(initcalls);

/* In order of `order`; those of the same order as they were linked. */
static void
run_initcalls(void)
{
	int done = -1, next;

	do {
		next = -1;
		set_foreach (const struct initcall *, c, initcalls)
			if (c->order > done && (next < 0 || c->order < next))
				next = c->order;
		set_foreach (const struct initcall *, c, initcalls)
			if (c->order == next)
				c->init();
		done = next;
	} while (next >= 0);
}

void
kernel_main(uint64_t magic, uint64_t info)
{
	uint64_t ms;

	console_init(); /* first: whatever fails from here on can say so */
	bootinfo_init((uint32_t)magic, info);
	cmdline_init(boot_cmdline);
	memory_init();
	trap_init();  /* its stacks need memory; a fault before it resets the machine */
	frame_init(); /* after the traps: a page allocator that faults is named */
	host_pic_init();
	clock_init();
	console_interrupts();
	run_initcalls();

	printf("Zeno, %lu MiB free of %lu MiB, %u module%s. Type `help`.\n", frames_free() >> 8,
	       frame_count >> 8, module_count, module_count == 1 ? "" : "s");
	ms = clock_ns() / 1000000;
	side_printf("@Z log ready after %lu ms\n", ms);
	monitor_run(cmdline_commands());
	monitor_prompt();
	sched_loop();
}
