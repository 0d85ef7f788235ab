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
	 * Hint: who may answer your question, and how do you know that it can be asked?
	 * Hint: four doors, each behind the one before: does the leaf exist, does it say yes, has
	 *  the firmware thrown the key away, is there what Zeno wants besides? At the first that is
	 *  shut you say which one it is.
	 * Hint: for VT-x the doors would be: CPUID leaf 1 says VMX in ECX bit 5; only then does
	 *  IA32_FEATURE_CONTROL exist, in which bit 0 says that nobody can change it any more, and
	 *  bit 2 that VMXON may be used.
	 * until then: return "nobody has looked yet";
	 */
	uint32_t r[4];

	cpuid(0x80000000, 0, r);
	if (r[0] < CPUID_SVM)
		return "this CPU is none of AMD's with AMD-V";
	cpuid(0x80000001, 0, r);
	if (!(r[2] & 1u << 2))
		return "this CPU has no AMD-V (CPUID 80000001, ECX bit 2)";
	if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS)
		return "the firmware has disabled AMD-V (VM_CR.SVMDIS)";
	cpuid(CPUID_SVM, 0, r);
	if (!(r[3] & 1))
		return "this CPU has no nested paging (CPUID 8000000A, EDX bit 0)";
	return NULL;
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
	 * Hint: what was in the register before you wrote to it?
	 * Hint: read, add one bit, write back. The page: a number of a frame is not its address,
	 *  and an address in Zeno's map is not the machine's.
	 * Hint: on VT-x it is a page, too, for VMXON: frame, revision number into its first four
	 *  bytes, CR4 as it was with bit 13 on top, then the page's machine address to VMXON.
	 * until then: return -ENOSYS;
	 */
	mfn_t save = frame_alloc(FRAME_HOST, OWNER_HOST);

	if (!mfn_ok(save))
		return -ENOMEM;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, mfn_to_hpa(save).v);
	return 0;
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
