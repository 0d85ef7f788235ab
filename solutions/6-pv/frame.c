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
	 * Hint: by what does a handler tell whether it was the kernel that ran, or its user?
	 * Hint: a play in which one actor is king and peasant in turn. The audience knows who he is
	 *  by his crown; whoever writes the minutes must write down which one he was, not what he
	 *  had for breakfast in both roles.
	 * Hint: te shows such a fiction, too: its kernel runs in ring 1, and what it pushes by
	 *  pushf and finds in a frame is IF as it set it, and RPL 0 (push_frame() in Lab 1B).
	 * until then: (void)v; (void)word; (void)what; (void)event; return 0;
	 */
	static const uint8_t data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	const struct pv *pv = pv_of(v);
	const struct cpu_state *s = &v->state;
	uint64_t cs = s->seg[SEG_CS].sel & ~(pv->user ? 0 : RPL), masked = pv->info->upcall_mask;
	unsigned n = 0;

	word[n++] = s->gpr[RCX];
	word[n++] = s->gpr[R11];
	if (what == PV_FAILSAFE)
		for (unsigned i = 0; i < ARRAY_LEN(data); i++)
			word[n++] = s->seg[data[i]].sel;
	if (what == PV_EXCEPTION && event->has_error)
		word[n++] = event->error & ~(event->vector == VEC_PF && !pv->user ? PF_U : 0);
	word[n++] = s->rip;
	word[n++] = cs | (masked & 0xff) << 32;
	word[n++] = (s->rflags & ~(uint64_t)(FLAG_IF | FLAG_IOPL)) | (masked ? 0 : FLAG_IF);
	word[n++] = s->gpr[RSP];
	word[n++] = s->seg[SEG_SS].sel;
	return n;
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
	 * Hint: what does a CPU do with rsp in 64-bit mode before it pushes the first word?
	 * Hint: who moves house looks first whether the furniture fits into the new one, and gives
	 *  back the keys of the old one when it is there.
	 * Hint: for te, which has a gate of the guest's and a stack in its TSS, Lab 1B checks limit
	 *  and rights of all the words before it writes the first, and loads CS last of all.
	 * until then: (void)fill; (void)v; (void)what; (void)event; (void)to; (void)masks;
	 * until then: return false;
	 */
	struct pv *pv = pv_of(v);
	struct cpu_state *s = &v->state;
	uint64_t word[WORDS_MAX], sp = pv->user ? pv->kernel_sp : s->gpr[RSP];
	unsigned n = fill(v, word, what, event);

	sp = (sp & ~15ul) - n * sizeof(word[0]);
	if (pv_write(v, sp, word, n * sizeof(word[0])))
		return false;
	if (pv->user)
		pv_switch_root(v, false);
	s->gpr[RSP] = sp;
	s->rip = to;
	s->seg[SEG_CS].sel = XEN_FLAT_CS64;
	s->seg[SEG_SS].sel = XEN_FLAT_SS64;
	/* In 64-bit mode Xen clears AC, too. */
	s->rflags &= ~((uint64_t)FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_AC);
	if (masks)
		pv->info->upcall_mask = 1;
	return true;
	/* END EXERCISE 6.2b */
}
