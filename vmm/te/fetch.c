/*
 * The instruction at the guest's rip, fetched and taken apart.
 *
 * A guest's kernel faults at the same few instructions again and again, so each is decoded once and
 * kept together with the bytes that it came from, and where they lie as long as no page of code is
 * translated otherwise. The bytes are compared each time: a guest may rewrite its code as it likes.
 */
#include <inc/errno.h>
#include <vmm/te/te.h>

/*
 * Guest memory at a linear address, good for *len bytes, or NULL. The CPU has fetched from there
 * already, so it is nobody's fault any more and sets no bit.
 */
static const void *
code_ptr(struct vcpu *v, uint64_t linear, size_t *len)
{
	const struct tlb_entry *e = tlb_find(v, gva(linear), ACCESS_FETCH | ACCESS_PROBE);
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

/* Not known yet, or where it lies is not; or its bytes are not 16 in one page. */
COLD bool
te_decode(struct vcpu *v, struct exit *e)
{
	uint64_t at = (uint32_t)(v->state.seg[SEG_CS].base + v->state.rip);
	uint64_t key = at | (uint64_t)te_mode(v) << 32;
	struct te_decoded *known = &te_of(v)->decoded[at % TE_DECODED];
	size_t n = sizeof(known->bytes);
	const uint64_t *p = code_ptr(v, at, &n);
	enum cpu_mode mode = te_mode(v);
	uint8_t bytes[EXIT_INSN_MAX];

	if (!p || n < sizeof(known->bytes)) {
		known->key = TE_NOT_DECODED;
		n = fetch_slow(v, at, bytes);
		return !decode(&known->insn, bytes, n, mode) && te_decoded(v, e, &known->insn);
	}
	if (known->key != key || known->bytes[0] != p[0] || known->bytes[1] != p[1]) {
		known->key = TE_NOT_DECODED;
		if (decode(&known->insn, (const uint8_t *)p, EXIT_INSN_MAX, mode))
			return false;
	}
	known->key = key;
	known->code = v->tlb.code;
	known->from = p;
	known->bytes[0] = p[0];
	known->bytes[1] = p[1];
	return te_decoded(v, e, &known->insn);
}

/* The engine contract (vmm/engine.h). */
size_t
te_operand(struct vcpu *v, char *buf, size_t size)
{
	const struct insn *i = te_insn(v);
	unsigned bytes = 0;

	if (!i->has_mem)
		return 0;
	for (unsigned n = 0; n < ARRAY_LEN(i->opnd); n++)
		if (i->opnd[n].kind == OPND_MEM)
			bytes = i->opnd[n].size;
	if (!bytes)
		return (size_t)snprintf(buf, size, " at %08lx", te_linear(v, i));
	return (size_t)snprintf(buf, size, " of %u bytes at %08lx", bytes, te_linear(v, i));
}

bool
te_undefined(struct vcpu *v)
{
	uint8_t bytes[EXIT_INSN_MAX];
	struct insn insn;
	size_t n = fetch_slow(v, v->state.seg[SEG_CS].base + v->state.rip, bytes);

	return decode(&insn, bytes, n, te_mode(v)) == -EINVAL;
}
