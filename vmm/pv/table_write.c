/*
 * A PV kernel that writes entries of its page tables as if it had a machine of its own: each is a
 * #PF, for the table is read-only. If it has asked for that (vm_assist's writable_pagetables), the
 * instruction is emulated, and the entry is written as by mmu_update. Of level 1 alone, as in Xen.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/pv/pv.h>
#include <vmm/x86/emulate.h>

/* The CPU says that its kernel has written where it may only read. */
void
pv_translate_write(struct vcpu *v, struct exit *e)
{
	const struct pv *pv = pv_of(v);

	if (pv->assists >> XEN_VMASST_TYPE_writable_pagetables & 1 && !pv->user &&
	    (e->error & (PF_P | PF_W | PF_RSVD)) == (PF_P | PF_W)) {
		e->reason = EXIT_MMU;
		e->access = access_of_error(e->error);
	}
}

/* ---- what the emulator asks for ---- */

/* In 64-bit mode segments have no limits, and bases for FS and GS alone (SDM 3A 3.4.4). */
static uint64_t
linear(const struct vcpu *v, enum seg_reg seg, uint64_t offset)
{
	return offset + (seg == SEG_FS || seg == SEG_GS ? v->state.seg[seg].base : 0);
}

static int
refuse(struct emu_fault *fault, uint64_t at, uint32_t error)
{
	*fault = (struct emu_fault){ VEC_PF, true, error | PF_U, at };
	return -EFAULT;
}

/* Where a table of level 1 lies; NULL: something else is there. */
static pte_t *
entry_at(struct vcpu *v, uint64_t at)
{
	const pte_t *leaf = pv_entry(v->root, at);
	mfn_t m = mfn(leaf ? PTE_ADDR(*leaf) >> PAGE_SHIFT : 0);
	const struct frame *f = leaf && *leaf & PTE_P ? pv_own_frame(pv_of(v)->types, m) : NULL;

	if (!f || f->page_type != PV_L1)
		return NULL;
	return (pte_t *)mfn_ptr(m) + (at & PAGE_MASK) / sizeof(pte_t);
}

static struct {
	uint64_t at;
	pte_t *entry;
} faulted; /* in this exit */

static int
op_read(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	struct emu_fault *fault)
{
	uint64_t at = linear(ctx, seg, offset);

	return pv_read(ctx, buf, at, size) ? refuse(fault, at, 0) : 0;
}

/* A part of an entry: Zeno writes all of it. Or what is beside the table, or no table at all. */
static APART int
write_other(struct vcpu *v, uint64_t at, const void *buf, size_t size, struct emu_fault *fault)
{
	unsigned within = at % sizeof(pte_t), budget = 0;
	pte_t *to = entry_at(v, at), entry;

	if (!to)
		return pv_write(v, at, buf, size) ? refuse(fault, at, PF_W) : 0;
	if (within + size > sizeof(entry))
		return refuse(fault, at, PF_P | PF_W);
	entry = *to;
	memcpy((uint8_t *)&entry + within, buf, size);
	if (pv_type_write(pv_of(v)->types, PV_L1, to, entry, &budget))
		return refuse(fault, at, PF_P | PF_W);
	return 0;
}

/* Most often it is an entry, where the fault was. */
static int
op_write(void *ctx, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
	 struct emu_fault *fault)
{
	uint64_t at = linear(ctx, seg, offset);
	unsigned budget = 0;

	if (at != faulted.at || size != sizeof(pte_t) || at % sizeof(pte_t))
		return write_other(ctx, at, buf, size, fault);
	if (pv_type_write(pv_of(ctx)->types, PV_L1, faulted.entry, *(const pte_t *)buf, &budget))
		return refuse(fault, faulted.at, PF_P | PF_W);
	return 0;
}

static const struct emu_ops ops = { .read = op_read, .write = op_write };

/* ---- the exit ---- */

static enum verdict
page_fault(struct vcpu *v, uint64_t address, uint32_t error)
{
	v->page_fault = (struct page_fault){ address, error, true };
	return event_page_fault(v);
}

static enum verdict
exit_table_write(struct vcpu *v, struct exit *e)
{
	struct pv_types *t = pv_of(v)->types;
	unsigned budget = PV_BATCH;
	enum emu_result done;
	const struct insn *insn;
	struct emu_fault fault;

	/* First: what is being taken apart is a table by name alone: nothing counts for it. */
	if (pv_type_busy(t) && !pv_type_settle(t, &budget)) {
		preempt_point();
		return RESUME;
	}
	faulted.at = e->gva;
	faulted.entry = entry_at(v, e->gva);
	insn = faulted.entry ? pv_fetch_insn(v) : NULL;
	if (!insn)
		return page_fault(v, e->gva, e->error);
	e->insn_op = insn->op;
	e->insn_len = insn->len;
	done = emulate(&v->state, insn, &ops, v, &fault);
	if (done == EMU_OK)
		vcpu_done(v);
	if (done == EMU_FAULT && fault.vector != VEC_PF)
		return event_fault(v, fault.vector, fault.error);
	if (done == EMU_FAULT)
		return page_fault(v, fault.address, fault.error);
	return done == EMU_OK || done == EMU_AGAIN ? RESUME : page_fault(v, e->gva, e->error);
}
EXIT_HANDLER(MMU, "pv", exit_table_write);
