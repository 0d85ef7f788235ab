/*
 * What a cpuid of a guest's costs at least on AMD-V, by a loop without anything around it.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <trials/svm/first.h>
#include <vmm/words/monitor.h>

#define ROUNDS 1000

/* floor.asm: how many rounds are missing; 0 when each came back by cpuid. */
uint64_t svm_floor(uint64_t gpr[GPR_COUNT], hpa_t vmcb, struct vmcb *b, uint64_t rounds);

static const uint8_t code[] = { 0x0f, 0xa2, 0xeb, 0xfc }; /* cpuid; jmp to it */

/* Of the clock, in so many rounds; 0: it has gone wrong. */
static uint64_t
measured(uint64_t rounds)
{
	uint64_t gpr[GPR_COUNT] = { 0 }, begin;
	hpa_t at;
	struct vmcb *b = svm_first_guest(code, sizeof(code), &at);

	if (!b)
		return 0;
	begin = rdtsc();
	return svm_floor(gpr, at, b, rounds) ? 0 : rdtsc() - begin;
}

static int
floor_of_svm(int argc, char **argv)
{
	const char *why = svm_probe();
	uint64_t once, twice;

	if (why) {
		printf("svm: not here: %s\n", why);
		return MONITOR_SAID;
	}
	if (svm_turn_on())
		return -ENOMEM;
	once = measured(ROUNDS);
	twice = measured(2 * ROUNDS);
	if (!once || !twice) {
		printf("svm: some round did not come back by cpuid\n");
		return MONITOR_SAID;
	}
	printf("floor of a cpuid exit: %lu\n", (twice - once) / ROUNDS);
	return 0;
}
MONITOR_COMMAND(floor_of_svm, "svm-floor", "",
		"what a guest's cpuid costs at least, in ticks: VMRUN, registers, and back");
