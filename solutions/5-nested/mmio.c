/*
 * Devices' registers in memory, by violation: exercise 5.2. The nested tables map RAM alone, so an
 * access to anything else comes back from the CPU with nothing done, and Zeno does the instruction.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <inc/errno.h>
#include <kern/trap.h>
#include <vmm/dev/io.h>
#include <vmm/dispatch.h>
#include <vmm/exitlog.h>
#include <vmm/exits/access.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/p2m.h>
#include <vmm/vcpu.h>

#define PAGE "lab5a.md#ex-5-2"

/* For `last`: which instruction this exit has done, and with how much memory. */
static void
note_access(struct vcpu *v, struct exit *e, const struct insn *insn)
{
	e->insn_op = insn->op;
	e->insn_len = insn->len;
	exit_effect(v, e->access & ACCESS_WRITE ? EFFECT_WRITE : EFFECT_READ, insn_memory(insn),
		    e->gpa);
}

/* EXERCISE 5.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 5.0 */

/* The CPU has missed the frame at e->gpa, which is no RAM. */
static enum verdict
violation(struct vcpu *v, struct exit *e)
{
	/*
	 * EXERCISE 5.2a: an instruction that the CPU could not do
	 * Holds: the instruction is done as by the CPU, single steps too; or its fault is the
	 *  guest's. What Zeno does not do ends a kernel in a line with the address, and is a
	 *  program's #GP, or #UD if unreadable.
	 * Beware: not every access is an operand's. The bytes at rip can have changed.
	 * Manual: SDM 3C "EPT-Induced VM Exits", APM 2 "Nested versus Guest Page Faults, Fault
	 *  Ordering".
	 * Tools: access_fault(), access_insn(), access_ops, emulate(), event_fault(), exit_limit(),
	 *  exit_stop(), note_access(), PAGE, vcpu_done(), vcpu_step()
	 * Hint: the CPU reads memory for four reasons. For which of them is there an instruction
	 *  with a memory operand, and where does *e say which it was?
	 * Hint: a translator who reads a letter aloud. First: is this a letter at all? Then: can
	 *  the words be read? Then: does it say something that may not be done, and who is told?
	 *  Long letters are read a page at a time, and the listener asks for the next one.
	 * Hint: string_io() of vmm/exits/exits.c does so for `rep outs`: what faults is the
	 *  guest's, and a rest is another exit. Whoever steps has a #DB behind each of these.
	 * until then: (void)note_access;
	 * until then: return exit_stop(v, e, PAGE,
	 * until then: 		 "memory at %08lx is no RAM: exercise 5.2 is not done", e->gpa);
	 */
	struct emu_fault fault;
	struct insn insn;

	if (e->nested.by_walk || v->state.event.kind)
		return exit_stop(v, e, PAGE, "%s at %08lx, where no RAM is",
				 e->nested.by_walk ? "its page tables lie"
						   : "an event needs memory",
				 e->gpa);
	if (!access_insn(v, &insn))
		return exit_limit(v, e, VEC_UD, 0, PAGE, "no RAM at %08lx, nor an instruction",
				  e->gpa);
	note_access(v, e, &insn);
	switch (emulate(&v->state, &insn, &access_ops, v, &fault)) {
	case EMU_OK:
		vcpu_done(v);
		return RESUME;
	case EMU_AGAIN:
		vcpu_step(v);
		return RESUME;
	case EMU_FAULT:
		return access_fault(v, &fault);
	default:
		return exit_limit(v, e, VEC_GP, 0, PAGE, "Zeno does no %s with memory at %08lx",
				  insn_name(insn.op), e->gpa);
	}
	/* END EXERCISE 5.2a */
}

/* `size` bytes of *buf, which lie in one page of the guest's, from or to what there is. */
static void
piece(struct vcpu *v, gpa_t at, uint8_t *buf, size_t size, bool store)
{
	/*
	 * EXERCISE 5.2b: one page's part
	 * Holds: RAM is RAM's, and all else is the bus's, once, and as wide as the instruction
	 *  made it. What was read stands in *buf, as memory would have it.
	 * Beware: a device does something when it is read, and something else when it is read in
	 *  parts. 3, 5, 6, 7 bytes go in one, too; `cmpxchg16b` is wider than the bus.
	 * Manual: SDM 3A "Methods of Caching Available", of uncacheable memory.
	 * Tools: gpa_read(), gpa_write(), io_read(), mmio_read(), mmio_write()
	 * Hint: how do you find out whether an address is RAM, and of whom is the answer?
	 * Hint: a parcel of five bytes goes through a letter box that takes eight, one of sixteen
	 *  goes through it twice. Nobody cuts it into single bytes to be on the safe side.
	 * Hint: io_read() of vmm/dev/io.c cuts an access to ports where the device is too narrow,
	 *  in its read_parts(): what it has of a value goes to the place where it belongs.
	 * until then: (void)v; (void)at; (void)store; memset(buf, 0, size);
	 */
	uint64_t value = 0;
	size_t len;

	if (!(store ? gpa_write(v->domain, at, buf, size) : gpa_read(v->domain, at, buf, size)))
		return;
	for (; size; size -= len, buf += len, at.v += len) {
		len = size < sizeof(value) ? size : sizeof(value);
		memcpy(&value, buf, len);
		if (store)
			mmio_write(v, at, (unsigned)len, value);
		else
			value = mmio_read(v, at, (unsigned)len);
		memcpy(buf, &value, len);
	}
	/* END EXERCISE 5.2b */
}

static int
move(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t size, bool store)
{
	/*
	 * EXERCISE 5.2c: the whole access
	 * Holds: 0, and all bytes have moved; or -EFAULT, as the guest's own tables have it: no
	 *  device has noticed anything, no RAM has changed but the first page's A and D.
	 * Beware: the access may end in another page than it begins in, which leads anywhere. The
	 *  guest's tables may forbid it, to this ring, or to be written. Some of it may be RAM.
	 * Manual: SDM 3A "Access Rights", "Page-Fault Exceptions" of "Paging".
	 * Tools: gva_read_as(), gva_to_gpa(), PAGE_MASK, PAGE_SIZE of inc/addr.h, piece()
	 * Hint: which of the two pages may you touch while you do not yet know of the other?
	 * Hint: before a long cupboard is carried through two doors one measures both, and only
	 *  then lifts it.
	 * Hint: gva_write_as() of vmm/mem/guestmem.c writes to RAM so: it goes over all pages
	 *  twice, and the first time it only asks.
	 * until then: (void)v; (void)a; (void)how; (void)piece; memset(buf, 0, store ? 0 : size);
	 * until then: return 0;
	 */
	size_t first = PAGE_SIZE - (a.v & PAGE_MASK);
	gpa_t at, next;

	if (gva_to_gpa(v, a, how, &at))
		return -EFAULT;
	if (first >= size) {
		piece(v, at, buf, size, store);
		return 0;
	}
	if (gva_to_gpa(v, gva(a.v + first), how, &next))
		return -EFAULT;
	piece(v, at, buf, first, store);
	piece(v, next, (uint8_t *)buf + first, size - first, store);
	return 0;
	/* END EXERCISE 5.2c */
}

static const struct device_memory mmio = { violation, move };
SET_ADD(device_memories, mmio);
