/*
 * The frame of a handler, exercise 6.2:
 *
 *   | ss                      |  <- the kernel's RSP where it ran, aligned down to 16; where the
 *   | rsp                     |     user ran, what it said by stack_switch
 *   | rflags                  |
 *   | upcall mask << 32 | cs  |
 *   | rip                     |
 *   | error code              |  of the vectors that have one
 *   | gs fs es ds             |  of the failsafe callback alone
 *   | r11                     |
 *   | rcx                     |  <- the handler's RSP
 */
#include <vmm/pv/pv.h>

#define WORDS_MAX 11
#define RPL       3u

/* EXERCISE 6.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 6.0 */

static unsigned
fill(struct vcpu *v, uint64_t word[WORDS_MAX], enum pv_what what, const struct event *event)
{
	/*
	 * EXERCISE 6.2a: its words
	 * Holds: word[] has the frame from the handler's RSP upward; how many there are is given
	 *  back.
	 * Beware: both of the guest's modes are ring 3, and IF is always on: its kernel is shown
	 *  what it believes in. It is told of its own faults as a kernel's.
	 * Manual: xen.h "HYPERVISOR_set_trap_table", "HYPERVISOR_set_callbacks" and
	 *  arch-x86/xen-x86_64.h "struct iret_context", of Debian's libxen-dev; SDM 3A "Error
	 *  Code".
	 * Tools: FLAG_IF, FLAG_IOPL, PF_U, pv_fetch(), pv_of()
	 */
	exercise_todo("6.2", "handouts/lab6a.md#ex-6-2");
	(void)v;
	(void)word;
	(void)what;
	(void)event;
	return 0;
	/* END EXERCISE 6.2a */
}

bool
pv_frame(struct vcpu *v, enum pv_what what, const struct event *event, uint64_t to, bool masks)
{
	/*
	 * EXERCISE 6.2b: its place, and the handler's beginning
	 * Holds: the frame lies on the kernel's stack, and the kernel goes on at `to` with what a
	 *  gate would have given it; or nothing has happened.
	 * Beware: where that stack is depends on who ran; whether it is memory, on the kernel. The
	 *  user has another address space.
	 * Manual: SDM 3A "64-Bit Mode Stack Frame", "Flag Usage When Transferring to Exception- or
	 *  Interrupt-Handler Procedure".
	 * Tools: fill(), FLAG_AC, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VM, pv_at(), pv_switch_root(),
	 *  pv_write(), XEN_FLAT_CS64, XEN_FLAT_SS64
	 */
	exercise_todo("6.2", "handouts/lab6a.md#ex-6-2");
	(void)fill; (void)v; (void)what; (void)event; (void)to; (void)masks;
	return false;
	/* END EXERCISE 6.2b */
}
