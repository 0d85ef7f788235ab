/*
 * What ends the guest's run: exercise 4s.4.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <kern/kern.h>
#include <kern/map.h>
#include <vmm/svm/svm.h>

/* APM 2 15.10.1, 15.11: a bit for each port, and one more page; two bits for each MSR. */
#define IOPM_PAGES  3u
#define MSRPM_PAGES 2u

/* In the kernel's image, for a map's pages must lie one behind the other; of all guests. */
static uint8_t io_map[IOPM_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t msr_map[MSRPM_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static void
intercept(struct vmcb *b, enum svm_intercept what)
{
	b->intercepts[what / 32] |= 1u << what % 32;
}

/* EXERCISE 4s.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4s.0 */

/* Called before each new guest's controls are set. */
void
svm_make_maps(void)
{
	/*
	 * EXERCISE 4s.4a: the maps
	 * Holds: no guest reaches a port of the machine's, whatever its width, nor a
	 *  model-specific register, neither to read nor to write it.
	 * Beware: a map that says nothing allows everything, and nobody has written to these yet.
	 *  Each guest gets the same two.
	 * Manual: APM 2 "I/O Permissions Map", "MSR Intercepts".
	 * Tools: frame_alloc() of kern/frame.h, io_map, memset(), msr_map
	 * Hint: what does the CPU find in a map that is as Zeno's loader left it?
	 * Hint: a row of doors, and a list on which a cross means "ring first". Nobody has made
	 *  any cross, and the list has room for some doors more than the house has.
	 * Hint: on VT-x the two maps for ports have a page each, and reads and writes of MSRs have
	 *  a kilobyte each for two ranges; there, too, a bit that is set is an exit.
	 * until then: (void)io_map; (void)msr_map;
	 */
	memset(io_map, 0xff, sizeof(io_map));
	memset(msr_map, 0xff, sizeof(msr_map));
	/* END EXERCISE 4s.4a */
}

/* Fills in the control area of a VMCB that has nothing in it yet; N_CR3 is another's to write. */
void
svm_set_controls(struct vmcb *b)
{
	/*
	 * EXERCISE 4s.4b: what must exit
	 * Holds: whatever this guest executes, it reaches its own memory and registers, and what
	 *  its CPU says that it has. Zeno hears when it waits or can't go on, and keeps its
	 *  interrupts. All else runs without an exit.
	 * Beware: the CPU wants some of this itself. Control registers have bits that guests lack.
	 *  Whose is what a breakpoint watches?
	 * Manual: APM 2 "Instruction Intercepts", "Interrupt Intercepts", "Virtualizing APIC.TPR",
	 *  "Nested Paging".
	 * Tools: intercept(), io_map, KB of kern/map.h, msr_map, svm_has_nrip, svm_intercept of
	 *  vmm/svm/vmcb.h, VINTR_MASKING
	 * Hint: go through the list of enum svm_intercept. If this simply ran: whose memory,
	 *  register, device or time would it touch, and does the guest's CPUID say that it has it?
	 * Hint: a flat that is let: within its walls the tenant does as he likes, and nobody
	 *  wants to be called each time he moves a chair. But the fuses, the street door and the
	 *  telephone line are the house's; and what was not let with it he has not.
	 * Hint: on VT-x it is decided per control: of the eighteen sgdt, sidt, sldt, str have one,
	 *  "descriptor-table exiting", which stays off: the registers are the guest's own.
	 *  "MOV-DR exiting" is on, since the addresses might be Zeno's; and VMREAD exits always,
	 *  for a guest whose CPUID has no VMX must not find one.
	 * until then: (void)intercept; (void)b;
	 */
	static const uint8_t exits[] = {
		SVM_INTR,       SVM_NMI,    SVM_INIT,    SVM_SHUTDOWN, SVM_IOIO,    SVM_MSR,
		SVM_RDPMC,      SVM_XSETBV, SVM_INVD,    SVM_WBINVD,   SVM_HLT,     SVM_PAUSE,
		SVM_CPUID,      SVM_RSM,    SVM_VMMCALL, SVM_VMRUN,    SVM_VMLOAD,  SVM_VMSAVE,
		SVM_STGI,       SVM_CLGI,   SVM_SKINIT,  SVM_INVLPGA,  SVM_MONITOR, SVM_MWAIT,
		SVM_TASK_SWITCH /* with shadows CR3 would change unseen */
	};

	for (unsigned i = 0; i < sizeof(exits); i++)
		intercept(b, exits[i]);
	b->cr_writes = 1u << 4 | 1u << 8; /* bits of CR4 that this guest has not; CR8 is nobody's */
	b->cr_reads = 1u << 8;
	b->dr_writes = 0xff; /* what is armed is Zeno's to say, and read back what was written */
	b->dr_reads = 0xff;
	b->iopm_base = (uint64_t)io_map - KB;
	b->msrpm_base = (uint64_t)msr_map - KB;
	b->vintr = VINTR_MASKING;
	b->np_enable = 1;
	/* END EXERCISE 4s.4b */
}
