/*
 * Is AMD-V there, and may it be turned on?
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/svm/svm.h>

#define CPUID_SVM 0x8000000au

bool svm_has_nrip;
static mfn_t host_save, host_state;
static bool is_on;

/* APM 2 15.4 "Enabling SVM": the order of the questions is the manual's. */
const char *
svm_probe(void)
{
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
	svm_has_nrip = r[3] & 1u << 3;
	return NULL;
}

int
svm_turn_on(void)
{
	if (is_on)
		return 0;
	host_save = frame_alloc(FRAME_HOST, OWNER_HOST);
	host_state = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(host_save) || !mfn_ok(host_state)) {
		if (mfn_ok(host_save))
			frame_put(host_save);
		return -ENOMEM;
	}
	svm_make_maps();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME); /* from here on load() sees to it */
	wrmsr(MSR_VM_HSAVE_PA, mfn_to_hpa(host_save).v);
	__asm__ volatile("vmsave %0" : : "a"(mfn_to_hpa(host_state).v) : "memory");
	is_on = true;
	return 0;
}

hpa_t
svm_host_state(void)
{
	return mfn_to_hpa(host_state);
}
