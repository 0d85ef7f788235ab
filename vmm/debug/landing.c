/*
 * Where a step leads when the CPU itself goes into a handler of the guest's: by an event that Zeno
 * has injected, by int n, by syscall; or back by sysret. What it does with TF on this way is its
 * own affair, so that no trap might follow. And behind a load of SS, which holds the trap back for
 * one instruction (SDM 3A 6.8.3).
 *
 * Engines that do all this themselves (te, bt) have no such step.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/debug/gdb.h>
#include <vmm/mem/guestmem.h>
#include <vmm/x86/descriptor.h>
#include <vmm/x86/emulate.h>
#include <vmm/x86/insn.h>

/* The base of the segment that a gate leads to; of none that is there, 0. */
static uint64_t
base_of(struct vcpu *v, uint16_t sel)
{
	const struct cpu_state *s = &v->state;
	uint64_t table = sel & 4 ? s->ldtr.base : s->gdtr.base, desc;

	if (gva_read_as(v, gva(table + (sel & 0xfff8u)), ACCESS_PROBE, &desc, sizeof(desc)))
		return 0;
	return desc_base(desc);
}

/* SDM 3A 6.11, 6.14.1, 21.1.4: what the guest's IDT says. False: no handler that can be told. */
static bool
handler_of(struct vcpu *v, unsigned vector, uint64_t *at)
{
	const struct cpu_state *s = &v->state;
	bool wide = s->efer & EFER_LMA, real = !(s->cr0 & CR0_PE);
	uint64_t gate[2] = { 0, 0 };
	size_t size = wide ? 16 : real ? 4 : 8;
	unsigned type;

	if (gva_read_as(v, gva(s->idtr.base + vector * size), ACCESS_PROBE, gate, size))
		return false;
	if (real) {
		*at = (gate[0] >> 16) * 16 + (gate[0] & 0xffff);
		return true;
	}
	type = desc_type(gate[0]) & ~1u;
	if (!(gate[0] & DESC_P) || gate[0] & DESC_S || (type != 14 && (wide || type != 6)))
		return false;
	*at = (gate[0] & 0xffff) | (type == 6 ? 0 : gate[0] >> 32 & 0xffff0000) | gate[1] << 32;
	if (!wide)
		*at = (uint32_t)(*at + base_of(v, (uint16_t)(gate[0] >> 16)));
	return true;
}

static uint64_t
behind(const struct cpu_state *s, const struct insn *insn)
{
	uint64_t rip = s->rip + insn->len;

	return cpu_mode_of(s) == MODE64 ? rip : (uint32_t)(s->seg[SEG_CS].base + rip);
}

/* The linear address at which the next step lands, which begins with this instruction. */
bool
debug_landing(struct vcpu *v, const struct insn *insn, uint64_t *at)
{
	const struct cpu_state *s = &v->state;
	int injected;

	if (!v->engine->injected)
		return false;
	vcpu_need(v, STATE_SEG | STATE_TABLES | STATE_CR | STATE_MSR);
	injected = v->engine->injected(v);
	if (injected >= 0)
		return handler_of(v, (unsigned)injected, at);
	switch (insn->op) {
	case INSN_INT:
		return handler_of(v, insn->imm & 0xff, at);
	case INSN_INT3:
		return handler_of(v, VEC_BP, at);
	case INSN_INTO:
		return s->rflags & FLAG_OF && handler_of(v, VEC_OF, at);
	case INSN_SYSCALL:
		*at = cpu_mode_of(s) == MODE64 ? s->lstar : s->cstar;
		return s->efer & EFER_SCE && s->efer & EFER_LMA;
	case INSN_MOV_TO_SEG:
	case INSN_POP_SEG: /* of SS: its trap comes behind the next one, which may be a pushf */
		*at = behind(s, insn);
		return insn->opnd[0].reg == SEG_SS;
	case INSN_STI: /* QEMU 7.2 forgets its trap (handouts/emulators.md#small) */
		*at = behind(s, insn);
		return true;
	case INSN_SYSRET: /* TF behind it is that of R11 */
		*at = s->gpr[RCX] & (insn->opsize == 8 ? ~0ul : 0xffffffff);
		return true;
	default:
		return false;
	}
}
