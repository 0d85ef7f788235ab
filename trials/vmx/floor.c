/*
 * What a cpuid of a guest's costs at least on VT-x, by a loop without anything around it.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <trials/vmx/first.h>
#include <vmm/words/monitor.h>

#define ROUNDS 1000

/* floor.asm: how many rounds are missing; 0 when each came back by cpuid. */
uint64_t vmx_floor(uint64_t gpr[GPR_COUNT], uint64_t rounds);

static const uint8_t code[] = { 0x0f, 0xa2, 0xeb, 0xfc }; /* cpuid; jmp to it */

/* Of the clock, in so many rounds; 0: it has gone wrong. No interrupt of the host's ends them. */
static uint64_t
measured(uint64_t rounds)
{
	uint64_t gpr[GPR_COUNT] = { 0 }, begin, missing;

	if (vmx_first_guest(code, sizeof(code)))
		return 0;
	vmcs_write(PIN_CONTROLS, (uint32_t)vmx_choice(PIN));
	begin = rdtsc();
	missing = vmx_floor(gpr, rounds);
	begin = rdtsc() - begin;
	vmx_first_done();
	return missing ? 0 : begin;
}

static int
floor_of_vmx(int argc, char **argv)
{
	const char *why = vmx_probe();
	uint64_t once, twice;

	if (why) {
		printf("vmx: not here: %s\n", why);
		return MONITOR_SAID;
	}
	once = measured(ROUNDS);
	twice = measured(2 * ROUNDS);
	if (!once || !twice) {
		printf("vmx: some round did not come back by cpuid\n");
		return MONITOR_SAID;
	}
	printf("floor of a cpuid exit: %lu\n", (twice - once) / ROUNDS);
	return 0;
}
MONITOR_COMMAND(floor_of_vmx, "vmx-floor", "",
		"what a guest's cpuid costs at least, in ticks: VMRESUME, registers, and back");
