/*
 * What nobody should do to an APIC. Each attack ends with the machine's end, or in nothing that
 * another guest would notice.
 */
#include <guest/smp/smp.h>

void
hostile(void)
{
	guest_exit(0);
}
