/*
 * Lab 0, exercise 0.3: who called whom.
 *
 * The kernel is compiled with -fno-omit-frame-pointer. Every function begins with
 *
 *	push rbp		; the caller's frame pointer
 *	mov rbp, rsp
 *
 * so while it runs its stack frame looks like this, and the rbp of each frame leads to the next:
 *
 *	rbp + 8		return address: in the caller, behind its call
 *	rbp		the caller's rbp
 *	below		locals
 *
 * entry.asm calls kernel_main with rbp = 0: the chain's end.
 */
#include <kern/kern.h>
#include <kern/probe.h>

/* A stack that has overflowed holds thousands of frames; these are enough to see why. */
#define BACKTRACE_MAX 48

/* EXERCISE 0.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 0.0 */

/*
 * Prints one line for `address`, as `  ffff828000101234 function+0x24`. For a return address look
 * up the byte before it: a call that never returns is the last instruction of its function, and
 * the address behind it belongs to the next one. The offset printed is that of `address` itself.
 */
static void
print_place(uint64_t address, bool is_return_address)
{
	uint64_t offset;
	const char *name = symbol_find(address - is_return_address, &offset);

	printf("  %016lx %s+0x%lx\n", address, name, offset + is_return_address);
}

/*
 * Prints a line for `rip`, then one for each return address from the frame at `rbp` upwards, at
 * most BACKTRACE_MAX in all. It ends at rbp = 0. It is called when the kernel has crashed, so rbp
 * may be anything: where it can't be read, or does not lead upwards, print nothing more.
 */
void
backtrace(uint64_t rip, uint64_t rbp)
{
	print_place(rip, false);
	/* EXERCISE 0.3: follow the frame pointers. kernel_read() of kern/probe.h reads 8 bytes of
	 * the kernel's memory without ever faulting.
	 */
	exercise_todo("0.3", "handouts/lab0.md#ex-0-3");
	return;
	/* END EXERCISE 0.3 */
}
