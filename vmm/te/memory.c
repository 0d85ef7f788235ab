/*
 * The emulator's view of guest memory: by segment and offset, under the guest's own limits and
 * rights.
 */
#include <inc/errno.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/te/rare/rare.h>
#include <vmm/te/te.h>

/*
 * Whether an access to the VMM window's addresses is one to the window. With paging on it lies
 * where the guest's tables have nothing, so that is a page fault of its own, as on the bare
 * machine; unless there was no such place (window_move).
 */
static COLD bool
is_windows(struct vcpu *v, uint64_t linear)
{
	gpa_t at;

	return !(v->state.cr0 & CR0_PG) || !gva_to_gpa(v, gva(linear), ACCESS_PROBE, &at);
}

static inline bool
hits_window(struct vcpu *v, uint64_t linear, size_t len)
{
	return in_window(v->domain, linear, len) && is_windows(v, linear);
}

static int
refuse(struct te_access *a, enum seg_reg seg, bool window, struct emu_fault *fault)
{
	a->hit_window |= window;
	*fault = (struct emu_fault){ .vector = seg == SEG_SS && !window ? VEC_SS : VEC_GP,
				     .has_error = true };
	return -EFAULT;
}

static int
check(struct te_access *a, enum seg_reg seg, uint64_t offset, size_t size, bool write,
      struct emu_fault *fault)
{
	const struct segment *s = &a->v->state.seg[seg];
	uint64_t linear = (uint32_t)(s->base + offset);

	if (!segment_allows(s, offset, size, write))
		return refuse(a, seg, false, fault);
	if (linear + size > a->v->domain->window && hits_window(a->v, linear, size))
		return refuse(a, seg, true, fault);
	return 0;
}

static gva_t
linear_of(const struct te_access *a, enum seg_reg seg, uint64_t offset)
{
	return gva((uint32_t)(a->v->state.seg[seg].base + offset));
}

/*
 * Whose access it is to the pager: SS has the CPL, on the way through a gate to an inner ring, too,
 * where the pushes are the inner ring's already.
 */
static unsigned
how_of(const struct vcpu *v)
{
	return (v->state.seg[SEG_SS].sel & 3) == 3 ? ACCESS_USER : 0;
}

/* Whether an access failed since the guest's tables say no; if not, there is no memory. */
static bool
page_fault(struct te_access *a, struct emu_fault *fault)
{
	const struct page_fault *f = &a->v->page_fault;

	if (!f->pending)
		return false;
	*fault = (struct emu_fault){
		.vector = VEC_PF, .has_error = true, .error = f->error, .address = f->address
	};
	return true;
}

/* The guest has breakpoints, or checks alignment in ring 3. */
static inline bool
is_watched(const struct vcpu *v)
{
	return v->state.dr[7] & DR7_ANY || v->state.rflags & FLAG_AC;
}

/* SDM 3A 6.15 "#AC": in ring 3, with CR0.AM and EFLAGS.AC. */
static int
check_alignment(struct te_access *a, gva_t at, size_t size, struct emu_fault *fault)
{
	const struct cpu_state *s = &a->v->state;

	if (!(s->rflags & FLAG_AC) || !(s->cr0 & CR0_AM) || how_of(a->v) != ACCESS_USER ||
	    !(at.v & (size - 1)))
		return 0;
	*fault = (struct emu_fault){ .vector = VEC_AC, .has_error = true };
	return -EFAULT;
}

/*
 * The usual access: to an ordinary data segment, below its limit and below the VMM window, and to a
 * page that is known. Whatever is not so goes a longer way, and may be right all the same.
 */
static inline const struct tlb_entry *
usual(const struct te_access *a, enum seg_reg seg, uint64_t offset, size_t size, bool write)
{
	const uint16_t rights = ATTR_P | ATTR_S | (write ? ATTR_RW : 0);
	const struct segment *s = &a->v->state.seg[seg];
	gva_t at = linear_of(a, seg, offset);

	if (is_watched(a->v))
		return NULL;
	if ((s->attr & (rights | ATTR_CODE | ATTR_EC)) != rights || offset + size - 1 > s->limit ||
	    at.v + size > a->v->domain->window || !within_page(at, size))
		return NULL;
	return tlb_hit(a->v, at, how_of(a->v) | (write ? ACCESS_WRITE : 0));
}

/*
 * Where the guest's tables lead to no RAM there are its devices' registers (Lab 5). Without any a
 * PC's bus floats: reads give ones, writes are lost.
 */
static COLD int
move_slow(struct te_access *a, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	  bool store, struct emu_fault *fault)
{
	unsigned how = how_of(a->v) | (store ? ACCESS_WRITE : 0);
	const struct platform *p = a->v->domain->platform;
	gva_t at = linear_of(a, seg, offset);
	int err;

	if (check(a, seg, offset, size, store, fault) || check_alignment(a, at, size, fault))
		return -EFAULT;
	if (is_watched(a->v))
		te_watch(a->v, at.v, size, store);
	err = store ? gva_write_as(a->v, at, how, buf, size)
		    : gva_read_as(a->v, at, how, buf, size);
	if (err && !a->v->page_fault.pending && p && p->mmio)
		err = mmio_move(a->v, at, how, buf, size, store);
	if (err && page_fault(a, fault))
		return -EFAULT;
	if (err && !store)
		memset(buf, 0xff, size);
	return 0;
}

static int
op_read(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	struct emu_fault *fault)
{
	const struct tlb_entry *e = usual(ctx, seg, offset, size, false);

	if (!e)
		return move_slow(ctx, seg, offset, buf, size, false, fault);
	copy_few(buf, e->page + (linear_of(ctx, seg, offset).v & PAGE_MASK), size);
	return 0;
}

/* With paging on, the read of a read-modify-write faults as a write does (SDM 3A 4.7: W/R). */
static int
check_write(struct te_access *a, enum seg_reg seg, uint64_t offset, size_t size,
	    struct emu_fault *fault)
{
	uint64_t at = linear_of(a, seg, offset).v;

	if (!(a->v->state.cr0 & CR0_PG))
		return 0;
	for (uint64_t page = at & ~PAGE_MASK; page < at + size; page += PAGE_SIZE) {
		gva_t first = gva(page > at ? page : at);

		if (tlb_find(a->v, first, how_of(a->v) | ACCESS_WRITE))
			continue;
		if (page_fault(a, fault))
			return -EFAULT;
	}
	return 0;
}

static int
op_read_rmw(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	    struct emu_fault *fault)
{
	struct te_access *a = ctx;

	if (check(a, seg, offset, size, true, fault) || check_write(a, seg, offset, size, fault))
		return -EFAULT;
	return op_read(ctx, seg, offset, buf, size, fault);
}

static int
op_write(void *ctx, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
	 struct emu_fault *fault)
{
	const struct tlb_entry *e = usual(ctx, seg, offset, size, true);
	struct te_access *a = ctx;
	gva_t at;

	if (!e)
		return move_slow(a, seg, offset, (void *)buf, size, true, fault);
	at = linear_of(a, seg, offset);
	copy_few(e->page + (at.v & PAGE_MASK), buf, size);
	tlb_written(a->v, e, at, size);
	return 0;
}

const struct emu_ops te_ops = { .read = op_read, .write = op_write, .read_rmw = op_read_rmw };

static COLD int
word_by_word(struct te_access *a, unsigned size, uint64_t *words, unsigned n, bool push,
	     struct emu_fault *fault)
{
	struct cpu_state *s = &a->v->state;
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++)
		err = push ? emu_push(s, size, words[i], &te_ops, a, fault)
			   : emu_pop(s, size, &words[i], &te_ops, a, fault);
	return err;
}

/*
 * All at once if that is a usual access; else word by word, for the fault is that of the first word
 * that has one.
 */
int
te_push_frame(struct te_access *a, unsigned size, const uint64_t *words, unsigned n,
	      struct emu_fault *fault)
{
	struct cpu_state *s = &a->v->state;
	uint64_t low = s->gpr[RSP] - sizeof(uint32_t) * n;
	const struct tlb_entry *e = usual(a, SEG_SS, low, sizeof(uint32_t) * n, true);
	uint8_t *to;

	if (!e || size != sizeof(uint32_t) || !(s->seg[SEG_SS].attr & ATTR_DB))
		return word_by_word(a, size, (uint64_t *)words, n, true, fault);
	to = e->page + (linear_of(a, SEG_SS, low).v & PAGE_MASK);
	for (unsigned i = n; i--; to += sizeof(uint32_t))
		__builtin_memcpy(to, &words[i], sizeof(uint32_t));
	tlb_written(a->v, e, linear_of(a, SEG_SS, low), sizeof(uint32_t) * n);
	s->gpr[RSP] = low;
	return 0;
}

int
te_pop_frame(struct te_access *a, unsigned size, uint64_t *words, unsigned n,
	     struct emu_fault *fault)
{
	struct cpu_state *s = &a->v->state;
	uint64_t low = s->gpr[RSP];
	const struct tlb_entry *e = usual(a, SEG_SS, low, sizeof(uint32_t) * n, false);
	const uint8_t *from;

	if (!e || size != sizeof(uint32_t) || !(s->seg[SEG_SS].attr & ATTR_DB))
		return word_by_word(a, size, words, n, false, fault);
	from = e->page + (linear_of(a, SEG_SS, low).v & PAGE_MASK);
	for (unsigned i = 0; i < n; i++, from += sizeof(uint32_t)) {
		uint32_t word;

		__builtin_memcpy(&word, from, sizeof(word));
		words[i] = word;
	}
	s->gpr[RSP] = (uint32_t)(low + sizeof(uint32_t) * n);
	return 0;
}

uint64_t
te_linear(struct vcpu *v, const struct insn *insn)
{
	return (uint32_t)(v->state.seg[insn->mem_seg].base + insn_ea(&v->state, insn));
}

enum verdict
te_guest_fault(struct vcpu *v, struct exit *e, const struct te_access *access,
	       const struct emu_fault *fault)
{
	if (access->hit_window)
		return exit_limit(v, e, VEC_GP, 0, LAB_1A "#window",
				  "it reached for the VMM window at %08lx", v->domain->window);
	if (v->page_fault.pending) /* it came first, on the way to what the caller missed */
		return event_page_fault(v);
	if (fault->vector == VEC_PF)
		v->state.cr2 = fault->address;
	return event_fault(v, fault->vector, fault->error);
}

/*
 * An instruction that Zeno does not emulate, of x87, MMX or SSE for the most part, is the CPU's to
 * do after all. What the guest's own segment or tables say to its memory operand comes first, but
 * for the alignment, which comes before its pages.
 */
COLD enum verdict
te_natively(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	struct te_access access = { .v = v };
	struct emu_fault fault;
	enum verdict verdict;
	uint8_t byte;

	if (i->has_mem && (te_vector_writes(i) ? te_ops.read_rmw : te_ops.read)(
				  &access, i->mem_seg, insn_ea(&v->state, i), &byte, 1, &fault)) {
		if (!v->page_fault.pending || !(te_linear(v, i) & (te_vector_alignment(i) - 1)))
			return te_guest_fault(v, e, &access, &fault);
		v->page_fault.pending = false;
		return event_fault(v, VEC_GP, 0);
	}
	verdict = te_bounce(v, e);
	if (verdict != STOP)
		return verdict;
	return exit_limit(v, e, VEC_GP, 0, LAB_1A "#limits",
			  "Zeno cannot emulate %s on memory at %08lx", insn_name(e->insn_op),
			  e->gva);
}

enum verdict
te_emulate(struct vcpu *v, struct exit *e)
{
	struct te_access access = { .v = v };
	struct emu_fault fault;

	switch (emulate(&v->state, te_insn(v), &te_ops, &access, &fault)) {
	case EMU_OK:
		vcpu_done(v);
		break;
	case EMU_AGAIN:
		vcpu_step(v);
		break;
	case EMU_FAULT:
		return te_guest_fault(v, e, &access, &fault);
	case EMU_SENSITIVE:
		return te_emulate_sensitive(v, e, &access);
	default:
		return te_natively(v, e);
	}
	exit_effect(v, e->access & ACCESS_WRITE ? EFFECT_WRITE : EFFECT_READ,
		    insn_memory(te_insn(v)), e->gva);
	return RESUME;
}

/*
 * What the CPU can't do for the guest, since there is no memory, or somebody is to be told: done
 * for it.
 */
static enum verdict
refused(struct vcpu *v, struct exit *e)
{
	if (e->access & ACCESS_FETCH && !gva_byte(v, gva(e->gva)))
		return exit_limit(v, e, VEC_UD, 0,
				  LAB_1A "#no-memory", /* ones, which are no instruction */
				  "it jumped to %08lx, where it has no memory", e->gva);
	if (!e->insn_len)
		return exit_limit(v, e, VEC_UD, 0, LAB_1A "#no-memory",
				  "memory at %08lx, and the instruction cannot be read or decoded",
				  e->gva);
	return te_emulate(v, e);
}

/* A memory access that paging or a cut limit refused. */
static enum verdict
exit_mmu(struct vcpu *v, struct exit *e)
{
	enum mmu_outcome outcome = MMU_EMULATE;

	if (hits_window(v, e->gva, 1))
		return exit_limit(v, e, VEC_GP, 0, LAB_1A "#window",
				  "it reached for the VMM window at %08lx", e->gva);
	if (v->state.cr0 & CR0_PG && e->vector == VEC_PF)
		outcome = v->domain->mmu->fault(v, e, &v->page_fault);
	return outcome == MMU_EMULATE ? refused(v, e) : mmu_settle(v, e, outcome);
}
EXIT_HANDLER(MMU, "te", exit_mmu);
