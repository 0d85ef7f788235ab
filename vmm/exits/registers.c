/*
 * Exit handlers for any engine: control and debug registers, MSRs, XCR0.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/dev/platform.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/exits/access.h>
#include <vmm/mem/mmu.h>
#include <vmm/vcpu.h>
#include <vmm/words/limits.h>
#include <vmm/x86/emulate.h>

#define CR0_KNOWN                                                                          \
	((uint64_t)CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | \
	 CR0_NW | CR0_CD | CR0_PG)
#define DR6_ONES  0xffff0ff0ul /* SDM 3B "Debug Status Register (DR6)" */
#define DR7_ONES  0x400ul
#define DR7_ZEROS 0xd000ul

/* SDM 3A 4.5.1: in long mode #GP for a bit beyond the CPU's physical addresses. */
static bool
cr3_is_valid(const struct cpu_state *s, uint64_t value)
{
	uint32_t r[4];

	if (!(s->efer & EFER_LMA))
		return true;
	cpuid(0x80000008, 0, r);
	return !(value >> (r[0] & 0xff));
}

static bool
cr0_is_valid(uint64_t value)
{
	return !(value >> 32) && (value & CR0_PE || !(value & CR0_PG)) &&
	       (value & CR0_CD || !(value & CR0_NW));
}

/*
 * What turns long mode on with paging, or off (SDM 3A 10.8.5, 10.8.5.4, 2.5): paging of PAE's kind,
 * no 64-bit code, and no 16-bit TSS. False: #GP(0).
 */
static bool
follow_long_mode(struct cpu_state *s, uint64_t cr0)
{
	bool on = cr0 & CR0_PG && s->efer & EFER_LME;

	if (on == !!(s->efer & EFER_LMA))
		return true;
	if (s->seg[SEG_CS].attr & ATTR_L || (on && !(s->cr4 & CR4_PAE)) ||
	    (on && !(s->tr.attr & 8)))
		return false;
	s->efer = on ? s->efer | EFER_LMA : s->efer & ~(uint64_t)EFER_LMA;
	return true;
}

/* The MMU mode is told of what it depends on, and may refuse a register of PAE paging. */
static enum verdict
paging_written(struct vcpu *v, struct exit *e, const struct cpu_state *old)
{
	struct cpu_state *s = &v->state;
	int err;

	if (!((s->cr0 | old->cr0) & CR0_PG))
		return RESUME;
	err = v->domain->mmu ? v->domain->mmu->load(v) : -ENODEV;
	if (!err)
		return RESUME;
	s->cr0 = old->cr0;
	s->efer = old->efer;
	s->cr3 = old->cr3;
	s->cr4 = old->cr4;
	if (err == -EINVAL)
		return event_fault(v, VEC_GP, 0);
	return exit_stop(v, e, "lab2a.md#paging",
			 err == -ENODEV
				 ? "it turned paging on, and this build has no MMU mode for it"
				 : "the host has no memory for its page tables");
}

/* RESUME: done, rip not advanced. FAULTED, or STOP. */
static enum verdict
write_cr(struct vcpu *v, struct exit *e, unsigned n, uint64_t value)
{
	const struct cpu_state old = v->state;
	struct cpu_state *s = &v->state;
	enum verdict verdict = RESUME;

	switch (n) {
	case 0:
		if (!cr0_is_valid(value) || !follow_long_mode(s, value))
			return event_fault(v, VEC_GP, 0);
		s->cr0 = (value & CR0_KNOWN) | CR0_ET;
		break;
	case 2:
		s->cr2 = value;
		break;
	case 3:
		if (!cr3_is_valid(s, value))
			return event_fault(v, VEC_GP, 0);
		s->cr3 = value;
		break;
	case 4:
		if (value & ~engine_cr4(v->engine, v->domain->mmu) ||
		    (s->efer & EFER_LMA && !(value & CR4_PAE))) /* SDM 3A 2.5 */
			return event_fault(v, VEC_GP, 0);
		s->cr4 = value;
		vcpu_need(v, STATE_DR);
		verdict = limit_ports(v, e);
		break;
	case 8:
		if (value & ~0xful)
			return event_fault(v, VEC_GP, 0);
		s->cr8 = value;
		platform_priority(v);
		break;
	default:
		return event_fault(v, VEC_UD, 0);
	}
	vcpu_changed(v, STATE_CR);
	if (verdict == RESUME && (n == 0 || n == 3 || n == 4))
		verdict = paging_written(v, e, &old);
	if (verdict == RESUME)
		exit_effect(v, EFFECT_CR_WRITE, n, value);
	return verdict;
}

static enum verdict
read_cr(struct vcpu *v, unsigned n, unsigned gpr, unsigned size)
{
	const struct cpu_state *s = &v->state;
	const uint64_t crs[16] = {
		[0] = s->cr0, [2] = s->cr2, [3] = s->cr3, [4] = s->cr4, [8] = s->cr8
	};

	if (n > 8 || n == 1 || (n > 4 && n < 8))
		return event_fault(v, VEC_UD, 0);
	gpr_write(&v->state, gpr, size, crs[n]);
	exit_effect(v, EFFECT_CR_READ, n, crs[n]);
	return RESUME;
}

/* How much of a general register a move to or from a system register takes: the mode says so. */
static unsigned
move_size(const struct vcpu *v)
{
	return cpu_mode_of(&v->state) == MODE64 ? 8 : 4;
}

/* A register gets as much of CR0 as it holds, memory 16 bits (SDM 2B "SMSW"). */
static enum verdict
store_msw(struct vcpu *v, struct exit *e)
{
	const uint64_t value = v->state.cr0;
	struct emu_fault fault;
	struct insn i;

	if (!access_insn(v, &i) || i.op != INSN_SMSW)
		return exit_limit(v, e, VEC_UD, 0, LIMITS_HARDWARE,
				  "smsw is no longer where it was executed");
	if (insn_write_rm(&v->state, &i, i.has_mem ? 2 : i.opsize, value, &access_ops, v, &fault))
		return access_fault(v, &fault);
	exit_effect(v, EFFECT_CR_READ, 0, value);
	return RESUME;
}

static enum verdict
exit_cr(struct vcpu *v, struct exit *e)
{
	const struct exit_reg *cr = &e->cr;
	enum verdict verdict;

	vcpu_need(v, STATE_CR | STATE_SEG);
	switch (cr->access) {
	case REG_READ:
		verdict = read_cr(v, cr->number, cr->gpr, move_size(v));
		break;
	case REG_WRITE:
		verdict = write_cr(v, e, cr->number, gpr_read(&v->state, cr->gpr, move_size(v)));
		break;
	case REG_CLTS:
		verdict = write_cr(v, e, 0, v->state.cr0 & ~(uint64_t)CR0_TS);
		break;
	case REG_SMSW:
		verdict = store_msw(v, e);
		break;
	default: /* lmsw can set PE, not clear it (SDM 2A "LMSW") */
		verdict = write_cr(v, e, 0, (v->state.cr0 & ~0xeul) | (cr->value & 0xf));
	}
	if (verdict == RESUME)
		vcpu_advance(v, e); /* safe: the move is made */
	return verdict;
}
EXIT_HANDLER(CR, NULL, exit_cr);

/*
 * DR4 and DR5 are DR6 and DR7, or nothing (SDM 3B "Debug Registers DR4 and DR5"). VT-x makes the
 * exit before it asks who moves (SDM 3C 26.1.3 "MOV DR"), so a program of the guest's comes here.
 */
static enum verdict
exit_dr(struct vcpu *v, struct exit *e)
{
	unsigned n = e->dr.number & 7;
	uint64_t value;

	vcpu_need(v, STATE_DR | STATE_CR | STATE_SEG);
	if ((n == 4 || n == 5) && v->state.cr4 & CR4_DE)
		return event_fault(v, VEC_UD, 0);
	if (vcpu_cpl(v))
		return event_fault(v, VEC_GP, 0);
	if (v->state.dr[7] & DR7_GD) { /* general detect */
		v->state.dr[6] |= DR6_BD;
		vcpu_changed(v, STATE_DR);
		return event_debug(v, 0);
	}
	n = n == 4 || n == 5 ? n + 2 : n;
	if (e->dr.access == REG_READ) {
		gpr_write(&v->state, e->dr.gpr, move_size(v), v->state.dr[n]);
		exit_effect(v, EFFECT_DR_READ, n, v->state.dr[n]);
	} else {
		value = gpr_read(&v->state, e->dr.gpr, move_size(v));
		if (n >= 6 && value >> 32)
			return event_fault(v, VEC_GP, 0);
		if (n == 6)
			value = (value & ~0x1000ul) | DR6_ONES;
		if (n == 7)
			value = (value & ~DR7_ZEROS) | DR7_ONES;
		v->state.dr[n] = value;
		vcpu_changed(v, STATE_DR);
		if (limit_ports(v, e) == STOP)
			return STOP;
		exit_effect(v, EFFECT_DR_WRITE, n, value);
	}
	return vcpu_advance(v, e); /* safe: the move is made */
}
EXIT_HANDLER(DR, NULL, exit_dr);

/*
 * The MSRs that the state has; one that is not here is not implemented: #GP (SDM 2B "RDMSR",
 * "WRMSR").
 */
static const struct {
	uint32_t number;
	uint16_t offset; /* in struct cpu_state */
	uint64_t valid;  /* the bits that may be written; an address must be canonical */
	bool address;
} msrs[] = {
#define MSR(number_, field, valid_, address_)                                \
	{                                                                    \
		number_, offsetof(struct cpu_state, field), valid_, address_ \
	}
	MSR(MSR_APIC_BASE, apic_base, 0, false), /* as it is, or the platform's */
	MSR(MSR_SYSENTER_CS, sysenter_cs, 0xffffffff, false),
	MSR(0x175, sysenter_esp, ~0ul, true),
	MSR(0x176, sysenter_eip, ~0ul, true),
	MSR(MSR_PAT, pat, ~0ul, false),
	MSR(MSR_STAR, star, ~0ul, false),
	MSR(MSR_LSTAR, lstar, ~0ul, true),
	MSR(MSR_CSTAR, cstar, ~0ul, true),
	MSR(MSR_SFMASK, sfmask, 0xffffffff, false),
	MSR(0xc0000100, seg[SEG_FS].base, ~0ul, true),
	MSR(0xc0000101, seg[SEG_GS].base, ~0ul, true),
	MSR(0xc0000102, kernel_gs_base, ~0ul, true),
	MSR(0xc0000103, tsc_aux, 0xffffffff, false),
#undef MSR
};

static bool
is_canonical(uint64_t a)
{
	return (int64_t)(a << 16) >> 16 == (int64_t)a;
}

/*
 * Configuration that kernels look for on CPUs that say to be Intel's or AMD's, of which a vCPU has
 * nothing: it reads as 0 and swallows writes, as on the bare emulators (SDM 4 table 2-2; BKDG = AMD
 * BIOS and Kernel Developer's Guide, no. 32559, 14.2).
 */
static const struct {
	uint32_t first, last;
} plain_msrs[] = {
	{ 0x17, 0x17 },             /* PLATFORM_ID */
	{ 0x8b, 0x8b },             /* the microcode's revision */
	{ 0x1a0, 0x1a0 },           /* MISC_ENABLE: Linux turns NX on there before it has an IDT */
	{ 0xc0010000, 0xc0010007 }, /* PERF_CTL, PERF_CTR: nothing counts */
	{ 0xc0010015, 0xc0010015 }, /* HWCR */
	{ 0xc0010055, 0xc0010055 }, /* interrupt pending: no C1E */
	{ 0xc0011029, 0xc0011029 }, /* DE_CFG */
};

static COLD bool
is_plain(uint32_t n)
{
	for (unsigned i = 0; i < ARRAY_LEN(plain_msrs); i++)
		if (n >= plain_msrs[i].first && n <= plain_msrs[i].last)
			return true;
	return false;
}

/* LMA follows LME when paging is turned on: the CPU sees to it, or follow_long_mode(). */
static bool
write_efer(struct vcpu *v, uint64_t value)
{
	const uint64_t may = EFER_SCE | EFER_LME | EFER_NXE;

	if (value & ~(may | EFER_LMA) ||
	    (v->state.cr0 & CR0_PG && (value ^ v->state.efer) & EFER_LME))
		return false;
	v->state.efer = (value & may) | (v->state.efer & EFER_LMA);
	vcpu_changed(v, STATE_CR);
	return true;
}

static void
move_tsc(struct vcpu *v, bool write, uint64_t *value)
{
	if (!write) {
		*value = rdtsc() + v->state.tsc_offset;
		return;
	}
	v->state.tsc_offset = *value - rdtsc();
	vcpu_changed(v, STATE_MSR);
}

/* False: #GP(0). */
static bool
move_msr(struct vcpu *v, uint32_t n, bool write, uint64_t *value)
{
	const struct platform *p = v->domain->platform;

	if (n == MSR_EFER)
		return write ? write_efer(v, *value) : (*value = v->state.efer, true);
	if (n == MSR_TSC)
		return move_tsc(v, write, value), true;
	for (unsigned i = 0; i < ARRAY_LEN(msrs); i++) {
		uint64_t *msr = (uint64_t *)((char *)&v->state + msrs[i].offset);

		if (msrs[i].number != n)
			continue;
		if (!write)
			return *value = *msr, true;
		if (n == MSR_APIC_BASE)
			return *value == *msr || (p && p->msr && p->msr(v, n, true, value));
		if (*value & ~msrs[i].valid || (msrs[i].address && !is_canonical(*value)) ||
		    (n == MSR_PAT && !pat_is_valid(*value)))
			return false;
		*msr = *value;
		vcpu_changed(v, STATE_MSR | STATE_SEG);
		return true;
	}
	if (p && p->msr && p->msr(v, n, write, value))
		return true;
	*value = 0;
	return is_plain(n);
}

static enum verdict
exit_msr(struct vcpu *v, struct exit *e)
{
	struct cpu_state *s = &v->state;
	uint64_t value = (uint32_t)s->gpr[RAX] | s->gpr[RDX] << 32;

	vcpu_need(v, STATE_MSR | STATE_SEG | STATE_CR);
	if (!move_msr(v, e->msr.number, e->msr.write, &value))
		return event_fault(v, VEC_GP, 0);
	if (!e->msr.write) {
		s->gpr[RAX] = (uint32_t)value;
		s->gpr[RDX] = value >> 32;
	}
	return vcpu_advance(v, e); /* safe: the move is made */
}
EXIT_HANDLER(MSR, NULL, exit_msr);

#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_AVX 4u

/*
 * XCR0 in EDX:EAX (SDM 2D "XSETBV", SDM 1 13.3): what the CPU does not have, or half of AVX, is
 * #GP.
 */
static enum verdict
exit_xsetbv(struct vcpu *v, struct exit *e)
{
	uint64_t value = (uint32_t)v->state.gpr[RAX] | v->state.gpr[RDX] << 32;
	uint32_t r[4];

	cpuid(0xd, 0, r);
	if ((uint32_t)v->state.gpr[RCX] || !(value & XCR0_X87) ||
	    value & ~(uint64_t)(XCR0_X87 | XCR0_SSE | XCR0_AVX) || value & ~(uint64_t)r[0] ||
	    (value & XCR0_AVX && !(value & XCR0_SSE)))
		return event_fault(v, VEC_GP, 0);
	vcpu_need(v, STATE_MSR);
	v->state.xcr0 = value;
	vcpu_changed(v, STATE_MSR);
	return vcpu_advance(v, e); /* safe: XCR0 is written */
}
EXIT_HANDLER(XSETBV, NULL, exit_xsetbv);
