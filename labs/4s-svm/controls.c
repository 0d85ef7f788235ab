/*
 * What must exit: all that reaches beyond the guest's own machine.
 */
#include <kern/kern.h>
#include <kern/map.h>
#include <vmm/svm/svm.h>

/* APM 2 15.10.1, 15.11: a bit per port, three pages (port ffff with four bytes runs over two). */
#define IOPM_PAGES  3u
#define MSRPM_PAGES 2u

static const uint8_t intercepted[] = {
	SVM_INTR,    SVM_NMI,    SVM_INIT,    SVM_RDPMC,       SVM_CPUID, SVM_RSM,      SVM_INVD,
	SVM_PAUSE,   SVM_HLT,    SVM_INVLPGA, SVM_IOIO,        SVM_MSR,   SVM_SHUTDOWN, SVM_VMRUN,
	SVM_VMMCALL, SVM_VMLOAD, SVM_VMSAVE,  SVM_STGI,        SVM_CLGI,  SVM_SKINIT,   SVM_WBINVD,
	SVM_MONITOR, SVM_MWAIT,  SVM_XSETBV,  SVM_TASK_SWITCH,
};

/* In the kernel's image, for a map's pages must lie one behind the other. */
static uint8_t io_map[IOPM_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t msr_map[MSRPM_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

/* All bits set: nothing passes. */
void
svm_make_maps(void)
{
	memset(io_map, 0xff, sizeof(io_map));
	memset(msr_map, 0xff, sizeof(msr_map));
}

void
svm_set_controls(struct vmcb *b)
{
	for (unsigned i = 0; i < sizeof(intercepted); i++)
		b->intercepts[intercepted[i] / 32] |= 1u << intercepted[i] % 32;
	b->cr_writes = 1u << 4 | 1u << 8; /* bits of CR4 that this guest has not; CR8 is nobody's */
	b->cr_reads = 1u << 8;
	b->dr_writes = 0xff; /* what is armed is Zeno's to say, and read back what was written */
	b->dr_reads = 0xff;
	b->iopm_base = (uint64_t)io_map - KB;
	b->msrpm_base = (uint64_t)msr_map - KB;
	b->asid = 1; /* 0 is the host's */
	b->vintr = VINTR_MASKING;
	b->np_enable = 1;
}
