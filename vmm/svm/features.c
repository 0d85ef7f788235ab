/*
 * What this CPU has, for the rules of VMRUN: bits of CR4 and EFER, and how long addresses are.
 */
#include <kern/cpu.h>
#include <vmm/svm/svm.h>

bool svm_has_nrip;
struct svm_cpu svm_cpu;

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
void
svm_ask_cpu(void)
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
	cpuid(CPUID_SVM, 0, r);
	svm_has_nrip = r[3] & 1u << 3;
	svm_cpu.asids = r[1];
	cpuid(0x80000001, 0, r);
	svm_cpu.has_giant_pages = r[3] & 1u << 26;
}
