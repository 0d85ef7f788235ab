/*
 * The emulator's view of a guest, whatever its engine and mode (access.h).
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/dev/io.h>
#include <vmm/domain.h>
#include <vmm/event.h>
#include <vmm/exits/access.h>
#include <vmm/mem/guestmem.h>
#include <vmm/vcpu.h>
#include <vmm/x86/descriptor.h>

/* In 64-bit code segments have no limits, and bases for FS and GS alone (SDM 3A 3.4.4). */
static bool
linear_address(struct vcpu *v, enum seg_reg seg, uint64_t offset, size_t size, bool write,
	       uint64_t *linear)
{
	const struct segment *s = &v->state.seg[seg];

	vcpu_need(v, STATE_SEG | STATE_CR);
	if (cpu_mode_of(&v->state) == MODE64) {
		*linear = offset + (seg == SEG_FS || seg == SEG_GS ? s->base : 0);
		return (int64_t)(*linear << 16) >> 16 == (int64_t)*linear;
	}
	*linear = (uint32_t)(s->base + offset);
	return !(v->state.cr0 & CR0_PE) ? offset + size - 1 <= s->limit
					: segment_allows(s, offset, size, write);
}

/* What faults has done nothing. */
static int
move_linear(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t size, bool store,
	    struct emu_fault *fault)
{
	int err;

	v->page_fault.pending = false;
	err = mmio_is_meant(v, a, size) ? -EFAULT /* not tried as memory */
	      : store                   ? gva_write_as(v, a, how, buf, size)
					: gva_read_as(v, a, how, buf, size);
	if (err && !v->page_fault.pending)
		err = mmio_move(v, a, how, buf, size, store);
	if (!err)
		return 0;
	*fault = (struct emu_fault){ .vector = VEC_PF,
				     .has_error = true,
				     .error = v->page_fault.error,
				     .address = v->page_fault.address };
	v->page_fault.pending = false;
	return -EFAULT;
}

/* `write` is what it is checked as, `store` what it does. */
static int
move(struct vcpu *v, enum seg_reg seg, uint64_t offset, void *buf, size_t size, bool write,
     bool store, struct emu_fault *fault)
{
	unsigned how = write ? ACCESS_WRITE : 0;
	uint64_t linear;

	if (linear_address(v, seg, offset, size, write, &linear)) {
		how |= vcpu_cpl(v) == 3 ? ACCESS_USER : 0;
		return move_linear(v, gva(linear), how, buf, size, store, fault);
	}
	*fault = (struct emu_fault){ .vector = seg == SEG_SS ? VEC_SS : VEC_GP, .has_error = true };
	return -EFAULT;
}

static int
op_read(void *v, enum seg_reg seg, uint64_t offset, void *buf, size_t size, struct emu_fault *fault)
{
	return move(v, seg, offset, buf, size, false, false, fault);
}

static int
op_read_rmw(void *v, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	    struct emu_fault *fault)
{
	return move(v, seg, offset, buf, size, true, false, fault);
}

static int
op_write(void *v, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
	 struct emu_fault *fault)
{
	return move(v, seg, offset, (void *)buf, size, true, true, fault); /* read only */
}

const struct emu_ops access_ops = { .read = op_read, .write = op_write, .read_rmw = op_read_rmw };

/* What bytes say in a mode they say of any guest: what was decoded last is kept. */
static struct known {
	uint64_t word[2]; /* the bytes, and behind them how many; 0, 0: none */
	struct insn insn;
} known[16];

bool
access_decode(struct vcpu *v, struct insn *insn)
{
	uint64_t word[2] = { 0 };
	uint8_t *bytes = (uint8_t *)word;
	enum cpu_mode mode;
	struct known *k;
	uint64_t at;
	size_t n = 0;

	_Static_assert(EXIT_INSN_MAX < sizeof(word), "");
	vcpu_need(v, STATE_SEG | STATE_CR);
	mode = cpu_mode_of(&v->state);
	at = v->state.rip + (mode == MODE64 ? 0 : v->state.seg[SEG_CS].base);
	while (n < EXIT_INSN_MAX) {
		gva_t from = gva(mode == MODE64 ? at + n : (uint32_t)(at + n));
		size_t want = in_page(from, EXIT_INSN_MAX - n); /* all of it is there, or none */

		if (gva_read_as(v, from, ACCESS_FETCH | ACCESS_PROBE, &bytes[n], want))
			break;
		n += want;
	}
	bytes[EXIT_INSN_MAX] = (uint8_t)n;
	k = &known[at % ARRAY_LEN(known)];
	if (k->word[0] != word[0] || k->word[1] != word[1] || k->insn.mode != mode) {
		k->word[0] = word[0];
		k->word[1] = decode(&k->insn, bytes, n, mode) ? 0 : word[1];
	}
	*insn = k->insn;
	return k->word[1] != 0;
}

enum verdict
access_fault(struct vcpu *v, const struct emu_fault *f)
{
	if (f->vector != VEC_PF)
		return event_fault(v, f->vector, f->error);
	v->page_fault = (struct page_fault){ f->address, f->error, true };
	return event_page_fault(v);
}
