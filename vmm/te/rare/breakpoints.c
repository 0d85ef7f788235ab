/*
 * Debug registers: the guest's breakpoints are in the CPU's own while it runs.
 *
 * None of them can hit in the host: it has no address below 4 GiB but the guest's, and those it
 * does not use. Nor can one watch the VMM window, which is not the guest's. What the host does for
 * the guest looks at them here. Thread switches carry the registers (kern/sched/thread.c).
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/fpu.h>
#include <vmm/te/rare/rare.h>
#include <vmm/words/limits.h>

/* SDM 3B 17.2.4 "Debug Control Register (DR7)" */
#define DR7_LEN(dr7, n) ((dr7) >> (18 + 4 * (n)) & 3)
#define DR7_OFF(n)      (3ull << 2 * (n))

/* The bytes that breakpoint n watches: `len` from the address on, both aligned to it. */
static uint64_t
watched(const struct cpu_state *s, unsigned n, size_t *len)
{
	static const uint8_t lengths[] = { 1, 2, 8, 4 };

	*len = lengths[DR7_LEN(s->dr[7], n)];
	return s->dr[n] & ~(uint64_t)(*len - 1);
}

static bool
is_armed(const struct vcpu *v, unsigned n)
{
	const struct cpu_state *s = &v->state;
	size_t len;
	uint64_t at = watched(s, n, &len);

	return DR7_ENABLED(s->dr[7], n) && DR7_KIND(s->dr[7], n) != DR7_IO &&
	       !in_window(v->domain, at, len);
}

/* The CPU's registers after a change of the guest's, or of the window's place. */
void
te_arm_breakpoints(struct vcpu *v)
{
	struct te *te = te_of(v);
	uint64_t dr[8];

	te->has_breakpoints = v->state.dr[7] & DR7_ANY;
	memcpy(dr, v->state.dr, sizeof(dr));
	dr[6] = DR6_RESET;
	for (unsigned n = 0; n < 4; n++)
		if (!is_armed(v, n))
			dr[7] &= ~DR7_OFF(n);
	trap_debug_stack(!te->has_breakpoints);
	debug_registers_restore(dr);
}

/* The host has done an access of the guest's: a #DB comes behind the instruction. */
void
te_watch(struct vcpu *v, uint64_t linear, size_t size, bool write)
{
	const struct cpu_state *s = &v->state;

	for (unsigned n = 0; n < 4; n++) {
		unsigned kind = DR7_KIND(s->dr[7], n);
		size_t len;
		uint64_t at = watched(s, n, &len);

		if (is_armed(v, n) && (kind == DR7_ACCESS || (kind == DR7_WRITE && write)) &&
		    linear < at + len && linear + size > at)
			v->state.pending_debug |= 1u << n;
	}
}

/* DR6's bits of the breakpoints on the instruction at rip. */
uint32_t
te_breakpoints_at(const struct vcpu *v, uint64_t rip)
{
	const struct cpu_state *s = &v->state;
	uint32_t linear = (uint32_t)(s->seg[SEG_CS].base + rip), hits = 0;

	for (unsigned n = 0; n < 4 && s->dr[7] & DR7_ANY; n++)
		if (is_armed(v, n) && DR7_KIND(s->dr[7], n) == DR7_EXECUTE && s->dr[n] == linear)
			hits |= 1u << n;
	return hits;
}

/* Whether a #DB comes before the instruction at rip, which the host is about to do: *e then. */
bool
te_breakpoint_hit(struct vcpu *v, struct exit *e)
{
	uint32_t hits = v->state.rflags & FLAG_RF ? 0 : te_breakpoints_at(v, v->state.rip);

	if (!hits)
		return false;
	v->state.pending_debug |= hits;
	*e = (struct exit){ .rip = v->state.rip };
	debug_trap(v, e);
	return true;
}

static void
write_dr(struct vcpu *v, unsigned n, uint64_t value)
{
	if (n == 6)
		value = (value & ~0x1000ull) | DR6_RESET; /* reserved bits: SDM 3B 17.2.3 */
	if (n == 7)
		value = (value & 0xffff2fff) | DR7_RESET;
	v->state.dr[n] = value;
	te_of(v)->breakpoint_writes += n != 6;
	if (n != 6 && (te_of(v)->has_breakpoints || v->state.dr[7] & DR7_ANY))
		te_arm_breakpoints(v);
}

static enum verdict
exit_dr(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	bool to = i->op == INSN_MOV_TO_DR;
	unsigned n = i->opnd[!to].reg & 7, gpr = i->opnd[to].reg;

	if (n == 4 || n == 5) { /* SDM 3B 17.2.2 "Debug Registers DR4 and DR5" */
		if (v->state.cr4 & CR4_DE)
			return event_fault(v, VEC_UD, 0);
		n += 2;
	}
	if (to) {
		uint64_t value = gpr_read(&v->state, gpr, 4);

		if (n == 7 && value & DR7_GD)
			return limit_refuse(v, e, LIMIT_GENERAL_DETECT);
		write_dr(v, n, value);
		if (limit_ports(v, e) == STOP)
			return STOP;
	} else {
		gpr_write(&v->state, gpr, 4, v->state.dr[n]);
	}
	exit_effect(v, to ? EFFECT_DR_WRITE : EFFECT_DR_READ, n, v->state.dr[n]);
	return vcpu_advance(v, e); /* safe: the register has been moved */
}
EXIT_HANDLER(DR, "te", exit_dr);
