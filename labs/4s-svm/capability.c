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
struct svm_cpu svm_cpu;
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

/* Bits of CR4 and EFER that a CPU has or has not (APM 3 appendix E; APM 2 3.1.3, 3.1.7). */
static const struct feature {
	uint32_t leaf;
	uint8_t reg, bit; /* of EAX, EBX, ECX, EDX */
	uint32_t cr4, efer;
} features[] = {
	{ 1, 2, 17, CR4_PCIDE, 0 },
	{ 1, 2, 26, CR4_OSXSAVE, 0 },
	{ 7, 1, 0, CR4_FSGSBASE, 0 },
	{ 7, 1, 7, CR4_SMEP, 0 },
	{ 7, 1, 20, CR4_SMAP, 0 },
	{ 7, 2, 2, CR4_UMIP, 0 },
	{ 7, 2, 3, CR4_PKE, 0 },
	{ 7, 2, 7, CR4_CET, 0 },
	{ 7, 2, 16, CR4_LA57, 0 },
	{ 7, 2, 31, CR4_PKS, 0 },
	{ 0x80000001, 2, 17, 0, EFER_TCE },
	{ 0x80000001, 3, 11, 0, EFER_SCE },
	{ 0x80000001, 3, 20, 0, EFER_NXE },
	{ 0x80000001, 3, 25, 0, EFER_FFXSR },
	{ 0x80000001, 3, 29, 0, EFER_LME | EFER_LMA },
};

/* Zeno itself needs long mode. Segment limits in long mode (EFER.LMSLE) it gives no guest. */
static void
ask_cpu(void)
{
	uint32_t r[4];

	svm_cpu = (struct svm_cpu){ .has_long_mode = true, .efer = EFER_SVME };
	svm_cpu.cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
		      CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	for (unsigned i = 0; i < ARRAY_LEN(features); i++) {
		cpuid(features[i].leaf, 0, r);
		if (!(r[features[i].reg] & 1u << features[i].bit))
			continue;
		svm_cpu.cr4 |= features[i].cr4;
		svm_cpu.efer |= features[i].efer;
	}
	cpuid(0x80000008, 0, r);
	svm_cpu.phys_bits = r[0] & 0xff;
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
	ask_cpu();
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
