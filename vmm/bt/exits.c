/*
 * Exits that te does not have: instructions that do not trap in ring 1, and that bt calls out for.
 */
#include <vmm/bt/bt.h>

/* int3, into, int1: the guest's own exceptions, which return behind the instruction. */
static enum verdict
software_exception(struct vcpu *v, struct exit *e, enum vector vector)
{
	return event_raise(v,
			   (struct event){ .kind = vector == VEC_DB ? EVENT_FAULT : EVENT_SOFTWARE,
					   .vector = vector,
					   .insn_len = e->insn_len });
}

/*
 * Whether the CPU could not have done an access to this place: somebody wants to be told, or there
 * is no memory.
 */
static bool
is_refused(struct vcpu *v, gpa_t at)
{
	const struct p2m_entry *p = p2m_entry(v->domain, gpa_to_gfn(at));

	return !p || p->type != P2M_RAM || p->track;
}

/* A call-out, for a hot instruction perhaps: did it have to be? */
static inline void
count_callout(struct vcpu *v, uint32_t eip, bool needed)
{
	struct bt_count *c = bt_hot_slot(bt_of(v), eip);

	if (c->key != eip || c->count <= BT_HOT_AT)
		return;
	if (needed)
		c->count = BT_HOT_AT + BT_COOL_AFTER;
	else
		bt_count_in_vain(v, eip);
}

static void
count_hot(struct vcpu *v, const struct insn *i)
{
	uint32_t eip = (uint32_t)v->state.rip;
	uint64_t sp = v->state.seg[SEG_SS].base + v->state.gpr[RSP];
	uint32_t linear = (uint32_t)(i->has_mem ? te_linear(v, i) : sp - 4);
	gpa_t at;

	if (te_cpl(v) == 0 && !insn_is_sensitive(i->op) && bt_is_hot(bt_of(v), eip))
		count_callout(v, eip,
			      gva_to_gpa(v, gva(linear), ACCESS_WRITE | ACCESS_PROBE, &at) ||
				      is_refused(v, at));
}

/*
 * Of a mov: ring 0's, of 32 bits to memory, within a segment's limit, below the window, on one
 * page.
 */
static bool
is_plain_store(struct vcpu *v, const struct insn *i, uint64_t offset, uint32_t linear)
{
	const struct segment *s = &v->state.seg[i->mem_seg];

	return i->opnd[0].kind == OPND_MEM && i->opnd[0].size == 4 &&
	       (i->opnd[1].kind == OPND_REG || i->opnd[1].kind == OPND_IMM) && te_cpl(v) == 0 &&
	       (s->attr & (ATTR_P | ATTR_S | ATTR_CODE | ATTR_EC | ATTR_RW)) ==
		       (ATTR_P | ATTR_S | ATTR_RW) &&
	       offset + 3 <= s->limit && (linear & PAGE_MASK) <= PAGE_SIZE - 4 &&
	       linear + 4ull <= v->domain->window && !(v->state.dr[7] & DR7_ANY);
}

/*
 * Most instructions that fault again and again are stores to page tables: done here, by the host's
 * TLB. False: not that, or the guest's tables say no; then nothing has happened that the emulator
 * would not do again.
 */
static bool
store(struct vcpu *v, struct exit *e, const struct insn *i)
{
	uint64_t offset = insn_ea(&v->state, i);
	uint32_t linear = (uint32_t)(v->state.seg[i->mem_seg].base + offset), value;
	const struct tlb_entry *to;

	if (!is_plain_store(v, i, offset, linear))
		return false;
	to = tlb_find(v, gva(linear), ACCESS_WRITE);
	if (!to)
		return false;
	count_callout(v, (uint32_t)v->state.rip, to->frame->track);
	value = (uint32_t)(i->opnd[1].kind == OPND_IMM ? i->imm : v->state.gpr[i->opnd[1].reg]);
	__builtin_memcpy(to->page + (linear & PAGE_MASK), &value, sizeof(value));
	exit_effect(v, EFFECT_WRITE, sizeof(value), linear);
	vcpu_advance(v, e); /* safe: the store is all that it does */
	tlb_written(v, to, gva(linear), sizeof(value));
	return true;
}

static enum verdict
exit_emulate(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	enum verdict verdict;
	bool branch;

	if (i->op == INSN_MOV && i->has_mem && store(v, e, i))
		return RESUME;
	switch (i->op) {
	case INSN_INT3:
		return software_exception(v, e, VEC_BP);
	case INSN_INT1:
		return software_exception(v, e, VEC_DB);
	case INSN_INTO:
		if (v->state.rflags & FLAG_OF)
			return software_exception(v, e, VEC_OF);
		vcpu_advance(v, e); /* safe: without overflow it does nothing */
		return RESUME;
	case INSN_LAR:
	case INSN_LSL:
	case INSN_VERR:
	case INSN_VERW:
		return te_verify(v, e);
	case INSN_CPUID: /* with a breakpoint on it */
		return te_natively(v, e);
	default:
		count_hot(v, i);
		if (i->has_mem)
			e->gva = te_linear(v, i);
		branch = insn_is_branch(i->op);
		verdict = te_emulate(v, e);
		if (verdict == RESUME && branch) /* where it leads is what there is to tell */
			exit_effect(v, EFFECT_FAR, v->state.seg[SEG_CS].sel, v->state.rip);
		return verdict;
	}
}
EXIT_HANDLER(EMULATE, "bt", exit_emulate);

static enum verdict
exit_entry_failed(struct vcpu *v, struct exit *e)
{
	if (e->raw == BT_NOT_TRANSLATED)
		return exit_stop(v, e, "lab3a.md#ex-3-1",
				 "its code was not translated: exercise 3.1 is not done");
	if (e->raw == BT_LOST)
		return exit_stop(v, e, "lab3a.md#cache",
				 "it ran something else than was translated, to %08lx in the cache",
				 te_of(v)->frame.rip);
	return te_exit_entry_failed(v, e);
}
EXIT_HANDLER(ENTRY_FAILED, "bt", exit_entry_failed);

static enum verdict
exit_cache(struct vcpu *v, struct exit *e)
{
	enum verdict verdict = te_exit_cache(v, e);

	if (verdict == RESUME && e->insn_op == INSN_INVLPG)
		bt_space_page(v, (uint32_t)e->gva);
	return verdict;
}
EXIT_HANDLER(CACHE, "bt", exit_cache);
