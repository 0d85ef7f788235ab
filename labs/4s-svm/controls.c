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
	 */
	exercise_todo("4s.4", "handouts/lab4sa.md#ex-4s-4");
	(void)io_map;
	(void)msr_map;
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
	 */
	exercise_todo("4s.4", "handouts/lab4sa.md#ex-4s-4");
	(void)intercept;
	(void)b;
	/* END EXERCISE 4s.4b */
}
