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
	 */
	exercise_todo("5.2", "handouts/lab5a.md#ex-5-2");
	(void)note_access;
	return exit_stop(v, e, PAGE,
			 "memory at %08lx is no RAM: exercise 5.2 is not done", e->gpa);
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
	 */
	exercise_todo("5.2", "handouts/lab5a.md#ex-5-2");
	(void)v;
	(void)at;
	(void)store;
	memset(buf, 0, size);
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
	 */
	exercise_todo("5.2", "handouts/lab5a.md#ex-5-2");
	(void)v; (void)a; (void)how; (void)piece; memset(buf, 0, store ? 0 : size);
	return 0;
	/* END EXERCISE 5.2c */
}

static const struct device_memory mmio = { violation, move };
SET_ADD(device_memories, mmio);
