/*
 * The instruction at the guest's rip, fetched and taken apart.
 *
 * A guest's kernel faults at the same few instructions again and again, so each is decoded once and kept together
 * with the bytes that it came from. The bytes are compared each time: a guest may rewrite its code as it likes.
 */
#include <vmm/te/te.h>
#include <vmm/mem/tlb.h>

/*
 * Guest memory at a linear address, good for *len bytes, or NULL. The CPU has fetched from there already, so
 * it is nobody's fault any more and sets no bit.
 */
static const void *
code_ptr(struct vcpu *v, uint64_t linear, size_t *len)
{
	const struct tlb_entry *e = tlb_find(v, gva(linear), HOW_FETCH | ACCESS_PROBE);
	size_t left = PAGE_SIZE - (linear & PAGE_MASK);

	if (*len > left)
		*len = left;
	return e ? e->page + (linear & PAGE_MASK) : NULL;
}

/* Copies what of the 15 bytes at `at` is in RAM, over at most two pages. */
static size_t
fetch_slow(struct vcpu *v, uint64_t at, uint8_t *buf)
{
	size_t done = 0;

	while (done < EXIT_INSN_MAX) {
		size_t n = EXIT_INSN_MAX - done;
		const void *p = code_ptr(v, (uint32_t)(at + done), &n);

		if (!p)
			break;
		memcpy(buf + done, p, n);
		done += n;
	}
	return done;
}

static enum cpu_mode
mode_of(const struct vcpu *v)
{
	return v->state.seg[SEG_CS].attr & ATTR_DB ? MODE32 : MODE16;
}

static inline bool
decoded(struct vcpu *v, struct exit *e, const struct insn *insn)
{
	te_of(v)->insn = insn;
	e->insn_len = insn->len;
	e->insn_op = insn->op;
	return true;
}

/* Not known yet, or where it lies is not; or its bytes are not 16 in one page. */
static COLD bool
decode_anew(struct vcpu *v, struct exit *e, uint64_t at, struct te_decoded *known)
{
	size_t n = sizeof(known->bytes);
	const void *p = code_ptr(v, at, &n);
	const uint64_t *words = p;
	enum cpu_mode mode = mode_of(v);
	uint8_t bytes[EXIT_INSN_MAX];

	if (p && n == sizeof(known->bytes) && known->mode == mode && known->bytes[0] == words[0] &&
	    known->bytes[1] == words[1])
		return decoded(v, e, &known->insn);
	known->mode = 0xff;
	if (!p || n < sizeof(known->bytes)) {
		n = fetch_slow(v, at, bytes);
		return !decode(&known->insn, bytes, n, mode) && decoded(v, e, &known->insn);
	}
	if (decode(&known->insn, p, EXIT_INSN_MAX, mode))
		return false;
	memcpy(known->bytes, p, sizeof(known->bytes));
	known->mode = mode;
	return decoded(v, e, &known->insn);
}

/*
 * Fills in insn_len and insn_op of *e, and te_insn(v). False: the bytes are not all there, or are no instruction.
 */
bool
te_fetch(struct vcpu *v, struct exit *e)
{
	gva_t at = gva((uint32_t)(v->state.seg[SEG_CS].base + v->state.rip));
	struct te_decoded *known = &te_of(v)->decoded[at.v % TE_DECODED];

	if (within_page(at, sizeof(known->bytes)) && known->mode == mode_of(v)) {
		const struct tlb_entry *code = tlb_hit(v, at, HOW_FETCH);
		const uint64_t *p = code ? (const void *)(code->page + (at.v & PAGE_MASK)) : NULL;

		if (p && known->bytes[0] == p[0] && known->bytes[1] == p[1])
			return decoded(v, e, &known->insn);
	}
	return decode_anew(v, e, at.v, known);
}
