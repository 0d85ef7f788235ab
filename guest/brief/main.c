/*
 * The shortest life: a guest that ends at once, in the way that end= says. For `soak`, which starts
 * it ten thousand times. Without end= it ends in order.
 */
#include <guest/brief/brief.h>
#include <guest/lib/guest.h>

#define WINDOW \
	0xffc00000u /* above a guest's own 4 GiB less 4 MiB: the VMM window (DESIGN, section 6) */

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	const char *end = option(info, "end");

	(void)magic;
	if (option_is(end, "sleep"))
		sleep_for_ever();
	else if (option_is(end, "spin"))
		for (;;)
			__asm__ volatile("");
	else if (option_is(end, "halt"))
		halt();
	else if (option_is(end, "window"))
		*(volatile uint32_t *)WINDOW = 1;
	else if (option_is(end, "ud"))
		undefined();
	else if (option_is(end, "tables"))
		own_tables();
	return 0;
}
