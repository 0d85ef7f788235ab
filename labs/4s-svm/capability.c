/*
 * Lab 4s, exercise 4s.1: is AMD-V there, and may it be turned on?
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/svm/svm.h>

static mfn_t host_state;
static bool is_on;

/* EXERCISE 4s.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4s.0 */

/* What `engines` prints, and `start` before it makes a guest. */
const char *
svm_probe(void)
{
	/*
	 * EXERCISE 4s.1a: is it there?
	 * Holds: NULL where this CPU runs guests with nested paging; else a line for a person,
	 *  another one for each thing that can be missing: the leaf, AMD-V, the firmware's leave,
	 *  nested paging.
	 * Beware: of other makers' CPUs. A leaf beyond the last one answers anything, a register
	 *  that is not there faults.
	 * Manual: APM 2 "Enabling SVM", "VM_CR MSR"; APM 3 appendix E.
	 * Tools: cpuid(), rdmsr(), svm_ask_cpu() of vmm/svm/svm.h
	 */
	exercise_todo("4s.1", "handouts/lab4sa.md#ex-4s-1");
	return "nobody has looked yet";
	/* END EXERCISE 4s.1a */
}

/* Called once, on a CPU that svm_probe() has found good. 0, or -ENOMEM. */
static int
enable(void)
{
	/*
	 * EXERCISE 4s.1b: is it on?
	 * Holds: the instructions of AMD-V can be used, and at each entry the CPU keeps the host's
	 *  state in a page that is allocated here and nobody else's, nor svm_host_state()'s.
	 *  Without memory nothing has changed.
	 * Beware: the register with the switch has others, which keep Zeno itself running. The CPU
	 *  knows of machine addresses only, and will write there without asking again.
	 * Manual: APM 2 "Enabling SVM", "Extended Feature Enable Register", "VM_HSAVE_PA MSR".
	 * Tools: frame_alloc() of kern/frame.h, mfn_ok(), mfn_ptr(), mfn_to_hpa() of kern/map.h,
	 *  rdmsr(), wrmsr()
	 */
	exercise_todo("4s.1", "handouts/lab4sa.md#ex-4s-1");
	return -ENOSYS;
	/* END EXERCISE 4s.1b */
}

int
svm_turn_on(void)
{
	int err;

	if (is_on)
		return 0;
	host_state = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(host_state))
		return -ENOMEM;
	err = enable();
	if (err) {
		frame_put(host_state);
		return err;
	}
	svm_ask_cpu();
	__asm__ volatile("vmsave %0" : : "a"(mfn_to_hpa(host_state).v) : "memory");
	is_on = true;
	return 0;
}

hpa_t
svm_host_state(void)
{
	return mfn_to_hpa(host_state);
}
