/*
 * From guest memory to a block: fetch, translate, insert; or the fault that the guest's CPU takes
 * instead.
 */
#include <inc/errno.h>
#include <vmm/bt/bt.h>

/* Copies what is there of the n bytes at `linear`. */
size_t
bt_fetch(struct vcpu *v, uint64_t linear, unsigned how, uint8_t *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		uint64_t at = (uint32_t)(linear + done);
		size_t part = PAGE_SIZE - (at & PAGE_MASK);
		size_t one = 1;
		const uint8_t *p;
		gpa_t where;

		if (in_window(v->domain, at, 1) || gva_to_gpa(v, gva(at), how, &where))
			break;
		p = gpa_ptr(v->domain, where, &one);
		if (!p)
			break;
		if (part > n - done)
			part = n - done;
		memcpy(buf + done, p, part);
		done += part;
	}
	return done;
}

/* The guest frame behind a linear address that is known to be there. */
uint32_t
bt_gfn(struct vcpu *v, uint64_t linear)
{
	const uint8_t *p = gva_byte(v, gva((uint32_t)linear));

	ASSERT(p);
	return (uint32_t)((const uint64_t *)M2P_BASE)[ptr_mfn(p).v];
}

static void
fault(struct vcpu *v, struct exit *e, enum vector vector)
{
	*e = (struct exit){
		.reason = EXIT_EXCEPTION, .vector = vector, .raw = vector, .rip = v->state.rip
	};
}

/* The guest just goes on at its rip. */
void
bt_nothing(struct vcpu *v, struct exit *e)
{
	fault(v, e, VEC_NMI);
	e->reason = EXIT_IRQ;
}

/* Nothing could be translated at eip: `n` bytes are there, and the decoder said `err`. */
static void
not_code(struct vcpu *v, struct exit *e, uint32_t eip, size_t n, int err)
{
	uint32_t limit = v->state.seg[SEG_CS].limit;

	v->state.rip = eip;
	if (err == -ENOSYS) {
		te_entry_failed(v, e, BT_NOT_TRANSLATED);
	} else if (err == -EINVAL) {
		fault(v, e, VEC_UD);
	} else if (err == -E2BIG || eip + n > limit) {
		fault(v, e, VEC_GP);
	} else {
		fault(v, e, VEC_PF);
		e->reason = EXIT_MMU;
		e->access = ACCESS_FETCH;
		e->gva = (uint32_t)(v->state.seg[SEG_CS].base + eip + n);
	}
}

/* The same for 16-bit code, which te_fetch() did not get. */
void
bt_not_code(struct vcpu *v, struct exit *e)
{
	const struct segment *cs = &v->state.seg[SEG_CS];
	uint32_t eip = (uint32_t)v->state.rip;
	uint8_t bytes[EXIT_INSN_MAX];
	size_t n = eip > cs->limit ? 0 : EXIT_INSN_MAX;
	struct insn insn;
	int err;

	if (n && n - 1 > cs->limit - eip)
		n = (size_t)(cs->limit - eip) + 1;
	n = bt_fetch(v, cs->base + eip, ACCESS_FETCH, bytes, n);
	err = decode(&insn, bytes, n, MODE16);
	if (err)
		not_code(v, e, eip, n, err);
	else /* it was not marked as accessed, and is now */
		bt_nothing(v, e);
}

/*
 * How many bytes from eip on a block may look at: its page and one instruction more, within the
 * segment.
 */
static size_t
reach(struct vcpu *v, uint32_t eip)
{
	const struct segment *cs = &v->state.seg[SEG_CS];
	size_t n = PAGE_SIZE - ((cs->base + eip) & PAGE_MASK) + EXIT_INSN_MAX;

	if (eip > cs->limit)
		return 0;
	if (n > BT_GUEST_MAX + EXIT_INSN_MAX)
		n = BT_GUEST_MAX + EXIT_INSN_MAX;
	return n - 1 > cs->limit - eip ? (size_t)(cs->limit - eip) + 1 : n;
}

/* A breakpoint of the guest's is on its own address, not on the translation's: the host looks. */
static bool
calls_out(void *ctx, uint32_t eip)
{
	struct vcpu *v = ctx;

	return bt_is_hot(bt_of(v), eip) || te_breakpoints_at(v, eip);
}

struct bt_block *
translate_block(struct vcpu *v, uint32_t eip, struct exit *e)
{
	static uint8_t bytes[BT_GUEST_MAX + EXIT_INSN_MAX];
	static struct bt_translation t; /* one CPU, and nothing here is entered twice */
	uint64_t linear = v->state.seg[SEG_CS].base + eip;
	int err;

	t.eip = eip;
	t.bytes = bytes;
	t.n = bt_fetch(v, linear, ACCESS_FETCH | ACCESS_PROBE, bytes, reach(v, eip));
	t.max = BT_INSNS_MAX;
	t.stack32 = bt_of(v)->stack32;
	t.host_loads = bt_of(v)->gdt_lazy;
	/* A change of any of these flushes. Within a limit an iret is compared with it. */
	t.host_irets = t.host_loads || v->state.dr[7] & DR7_ANY || bt_of(v)->cs_limit != ~0u;
	t.hot = calls_out;
	t.ctx = v;
	if (t.n && bt_is_mixed(bt_of(v), bt_gfn(v, linear)))
		t.max = 1;
	err = bt_translate(&t);
	if (err) {
		not_code(v, e, eip, t.n, err);
		return NULL;
	}
	bt_fetch(v, linear, ACCESS_FETCH, bytes, t.guest_len); /* sets accessed bits */
	return bt_insert(v, &t);
}
