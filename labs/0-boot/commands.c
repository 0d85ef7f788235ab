/*
 * Lab 0, exercise 0.1: a monitor command of your own.
 *
 * A command is a function that gets its words as main() does. It prints with printf() and returns 0
 * or a negative errno (inc/errno.h), which the monitor puts into words. MONITOR_COMMAND at the end
 * of the file makes it known: try `help`.
 *
 * kern/kern.h lists what the kernel offers: parse_u64() reads a number, decimal or 0x...
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/probe.h>

#define XP_COUNT_MAX 1024

/* EXERCISE 0.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 0.0 */

/*
 * `xp PADDR COUNT` prints COUNT (1 to XP_COUNT_MAX) 32-bit words of physical memory from PADDR on,
 * four to a line, each line as
 *
 *	0000000000100000: 1badb002 00000003 e4524ffb 00000000
 *
 * the last line with fewer if COUNT is no multiple of four. -EINVAL without any output for a word
 * that is no number, a wrong number of words, a PADDR that is no multiple of 4, a COUNT out of
 * range, and for words that do not lie in RAM, all of them.
 */
static int
xp(int argc, char **argv)
{
	/* EXERCISE 0.1: read the two numbers, refuse what can't be done (ram_contains() of
	 * kern/probe.h knows what is RAM), and print the words. Physical memory is mapped in
	 * the direct map: hpa_ptr() of kern/map.h makes a pointer from a physical address.
	 */
	exercise_todo("0.1", "handouts/lab0.md#ex-0-1");
	return -ENOSYS;
	/* END EXERCISE 0.1 */
}
MONITOR_COMMAND(xp, "xp", "PADDR COUNT", "words of physical memory");
