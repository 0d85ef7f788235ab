/*
 * A timer that interrupts code which keeps interrupts off: by NMI, when no tick has come for two
 * seconds.
 *
 * Zeno enters outer rings with IF=1 only, and no CPU lets them clear it. QEMU's iret does
 * (handouts/emulators.md#iret-vm), and QEMU has the device that helps: iBASE's ib700 (the option
 * -device ib700). Each write to its port starts it anew. Where there is none, nobody listens at
 * that port.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>

#define IB700_START 0x443
#define IB700_2S    14 /* (15 - 14) * 2 s */
#define NEARLY_2S   1900000000ul

static uint64_t started_at; /* ns; 0: not yet */

void
watchdog_start(void)
{
	outb(IB700_START, IB700_2S);
	started_at = clock_ns();
}

/* Whether an NMI that came in the host is this timer's. */
bool
watchdog_fired(void)
{
	return started_at && clock_ns() - started_at > NEARLY_2S;
}
