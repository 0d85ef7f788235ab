/*
 * Privileged instructions of a PV kernel: what it has not been taught to ask for by a hypercall is
 * #GP in ring 3, and done here as its own machine would. Its user's are its kernel's affair, and so
 * is what Zeno does not know: they stay the exception that they are.
 *
 * An instruction becomes an exit of the reason that it is; what needs no knowledge of PV is done by
 * the handlers for any engine (vmm/exits).
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/pv/pv.h>
#include <vmm/x86/emulate.h>

#define CR4_OWN     ((uint64_t)CR4_TSD | CR4_DE) /* the bits that a guest has a say in */
#define CPUID_XEN   0x40000000u
#define HYPERVISOR  (1ul << 31) /* leaf 1, ECX */
#define VERSION     (4u << 16 | 17)
#define FORCED      0xa20f6e65780b0ful /* 0f 0b 'x' 'e' 'n' 0f a2 */
#define FORCED_SIZE 7u

/* What bytes say they say of any guest: what was decoded last is kept. */
static struct known {
	uint64_t word[2]; /* the bytes, and behind them how many; 0, 0: none */
	struct insn insn;
} known[16];

/* Of Zeno's own segment, or one of the guest's: its tables are in the windows (SDM 2A "LAR"). */
static bool
is_code64(uint32_t selector)
{
	uint32_t rights = 0;

	__asm__ volatile("lar %1, %0" : "+r"(rights) : "r"(selector) : "cc");
	return rights >> 21 & 1;
}

static COLD void
decode_anew(struct known *k, const uint64_t word[2], size_t n)
{
	k->word[0] = word[0];
	k->word[1] = decode(&k->insn, (const uint8_t *)word, n, MODE64) ? 0 : word[1];
}

/* Of n bytes, and n behind them. */
static inline const struct insn *
known_insn(struct vcpu *v, struct known *k, const uint64_t word[2], size_t n)
{
	if (k->word[0] != word[0] || k->word[1] != word[1])
		decode_anew(k, word, n);
	return k->word[1] && is_code64(v->state.seg[SEG_CS].sel) ? &k->insn : NULL;
}

/* The guest's next page can't be read, or the instruction lies across both. */
static COLD const struct insn *
fetch_by_bytes(struct vcpu *v, struct known *k)
{
	uint64_t word[2] = { 0 };
	size_t n = PAGE_SIZE - (v->state.rip & PAGE_MASK);

	if (n > EXIT_INSN_MAX || pv_fetch(v, word, n))
		return NULL;
	((uint8_t *)word)[EXIT_INSN_MAX] = (uint8_t)n;
	return known_insn(v, k, word, n);
}

const struct insn *
pv_fetch_insn(struct vcpu *v)
{
	struct known *k = &known[v->state.rip % ARRAY_LEN(known)];
	uint64_t word[2];

	_Static_assert(EXIT_INSN_MAX == sizeof(word) - 1, "");
	if (pv_fetch(v, word, sizeof(word))) /* in whole words, that is soon done */
		return fetch_by_bytes(v, k);
	((uint8_t *)word)[EXIT_INSN_MAX] = EXIT_INSN_MAX;
	return known_insn(v, k, word, EXIT_INSN_MAX);
}

static void
is_io(struct exit *e, const struct insn *i, uint16_t dx)
{
	bool in = i->op == INSN_IN || i->op == INSN_INS, by_dx = i->opcode & 8;

	e->io = (struct exit_io){ .port = by_dx ? dx : (uint8_t)i->imm,
				  .size = !(i->opcode & 1) ? 1
					  : i->opsize == 2 ? 2
							   : 4,
				  .in = in,
				  .string = i->op == INSN_INS || i->op == INSN_OUTS,
				  .rep = !!(i->prefixes & (PFX_REP | PFX_REPNE)),
				  .seg = in ? SEG_ES : i->mem_seg,
				  .addr_size = i->addrsize };
}

static void
is_move(struct exit *e, const struct insn *i, bool to)
{
	e->cr = (struct exit_reg){ .number = i->opnd[!to].reg,
				   .gpr = i->opnd[to].reg,
				   .access = to ? REG_WRITE : REG_READ };
}

/* Whether it is one of those; then the qualification is there. */
static enum exit_reason
reason_of(struct vcpu *v, struct exit *e, const struct insn *i)
{
	switch (i->op) {
	case INSN_IN:
	case INSN_OUT:
	case INSN_INS:
	case INSN_OUTS:
		if (!pv_of(v)->iopl)
			return EXIT_NONE;
		is_io(e, i, (uint16_t)v->state.gpr[RDX]);
		return EXIT_IO;
	case INSN_MOV_FROM_CR:
	case INSN_MOV_TO_CR:
		is_move(e, i, i->op == INSN_MOV_TO_CR);
		return EXIT_CR;
	case INSN_CLTS:
		e->cr.access = REG_CLTS;
		return EXIT_CR;
	case INSN_MOV_FROM_DR:
	case INSN_MOV_TO_DR:
		is_move(e, i, i->op == INSN_MOV_TO_DR);
		return EXIT_DR;
	case INSN_RDMSR:
	case INSN_WRMSR:
		e->msr = (struct exit_msr){ .number = (uint32_t)v->state.gpr[RCX],
					    .write = i->op == INSN_WRMSR };
		return EXIT_MSR;
	case INSN_RDTSC:
	case INSN_RDTSCP:
		return EXIT_RDTSC;
	case INSN_WBINVD:
	case INSN_INVD:
		return EXIT_CACHE;
	case INSN_CLI: /* as Xen: done, and nothing has changed; Linux has one with popf behind it */
	case INSN_STI:
		return !pv_of(v)->iopl ? EXIT_NONE : i->op == INSN_CLI ? EXIT_CLI : EXIT_STI;
	case INSN_CPUID: /* on a CPU that can make it fault */
		return EXIT_CPUID;
	default:
		return EXIT_NONE;
	}
}

void
pv_translate_privileged(struct vcpu *v, struct exit *e)
{
	const struct insn *insn = pv_of(v)->user || e->error ? NULL : pv_fetch_insn(v);
	enum exit_reason reason = insn ? reason_of(v, e, insn) : EXIT_NONE;

	if (reason == EXIT_NONE)
		return;
	e->reason = reason;
	e->insn_op = insn->op;
	e->insn_len = insn->len;
}

/*
 * cpuid itself shows the machine. Who wants to hear what the monitor says puts ud2 and the letters
 * "xen" before it (arch-x86/xen.h, "XEN_EMULATE_PREFIX"), the guest's user, too.
 */
bool
pv_is_forced(struct vcpu *v)
{
	uint64_t bytes = 0;

	return !pv_fetch(v, &bytes, FORCED_SIZE) && bytes == FORCED;
}

void
pv_translate_forced(struct vcpu *v, struct exit *e)
{
	if (!pv_is_forced(v))
		return;
	e->reason = EXIT_CPUID;
	e->insn_op = INSN_CPUID;
	e->insn_len = FORCED_SIZE;
}

/* ---- what they do ---- */

/* arch-x86/cpuid.h, as far as a PV guest has use for it. */
static enum verdict
cpuid_xen(struct vcpu *v, struct exit *e, uint32_t leaf)
{
	static const uint32_t words[][4] = {
		{ CPUID_XEN + 2, 0x566e6558, 0x65584d4d, 0x4d4d566e }, /* XenVMMXenVMM */
		{ VERSION },
		{ 1, CPUID_XEN }, /* a hypercall page, by an MSR that only others have */
	};
	static const uint32_t none[4];
	const uint32_t *w = leaf < ARRAY_LEN(words) ? words[leaf] : none;
	static const enum gpr to[] = { RAX, RBX, RCX, RDX };

	for (unsigned n = 0; n < ARRAY_LEN(to); n++)
		v->state.gpr[to[n]] = w[n];
	return vcpu_advance(v, e); /* safe: cpuid writes four registers */
}

/*
 * Beside what no guest has: what is paging's in a way that a PV guest's is not (VME, PSE, PGE,
 * PSE-36, pages of 1 GiB: an entry with PS or a G of its own is refused or ignored), and sysenter.
 */
#define HIDDEN (1ul << 1 | 1ul << 3 | 1ul << 13 | 1ul << 17)
#define SEP    (1ul << 11)
#define GB     (1ul << 26)

static enum verdict
pv_exit_cpuid(struct vcpu *v, struct exit *e)
{
	uint32_t leaf = (uint32_t)v->state.gpr[RAX];
	uint64_t *gpr = v->state.gpr;
	enum verdict verdict;

	if (leaf - CPUID_XEN < 0x100)
		return cpuid_xen(v, e, leaf - CPUID_XEN);
	verdict = exit_cpuid(v, e);
	if (leaf == 1) {
		gpr[RCX] |= HYPERVISOR;
		gpr[RDX] &= ~(HIDDEN | SEP);
	} else if (leaf == 0x80000001) {
		gpr[RDX] &= ~(HIDDEN | GB);
	}
	return verdict;
}
EXIT_HANDLER(CPUID, "pv", pv_exit_cpuid);

/* Whether it takes events its own memory says; these it may have for the ports' sake. */
static enum verdict
pv_exit_if(struct vcpu *v, struct exit *e)
{
	return vcpu_advance(v, e); /* safe: there is nothing to do */
}
EXIT_HANDLER(CLI, "pv", pv_exit_if);
EXIT_HANDLER(STI, "pv", pv_exit_if);

void
pv_set_ts(struct vcpu *v, bool on)
{
	uint64_t *cr0 = &v->state.cr0;

	*cr0 = on ? *cr0 | CR0_TS : *cr0 & ~(uint64_t)CR0_TS;
	write_cr0((read_cr0() & ~(uint64_t)CR0_TS) | (*cr0 & CR0_TS));
}

/* The CPU's CR4 while it runs. */
uint64_t
pv_cr4(const struct vcpu *v)
{
	return (read_cr4() & ~CR4_OWN) | CR4_OSFXSR | CR4_OSXMMEXCPT | (v->state.cr4 & CR4_OWN);
}

/*
 * Of CR0 a PV kernel has TS; in CR4 a bit that it has no say in stays what it is. False: #GP.
 */
static bool
write_cr(struct vcpu *v, unsigned n, uint64_t value)
{
	struct cpu_state *s = &v->state;

	switch (n) {
	case 0:
		if ((value ^ s->cr0) & ~(uint64_t)CR0_TS)
			return false;
		pv_set_ts(v, value & CR0_TS);
		return true;
	case 2:
		s->cr2 = pv_of(v)->info->cr2 = value;
		return true;
	case 4:
		s->cr4 = (s->cr4 & ~CR4_OWN) | (value & CR4_OWN);
		write_cr4(pv_cr4(v));
		return true;
	default:
		return n == 8 && !value; /* a priority, and no APIC whose it is */
	}
}

static bool
read_cr(const struct vcpu *v, unsigned n, uint64_t *value)
{
	const struct cpu_state *s = &v->state;
	const struct pv *pv = v->engine_data;
	const uint64_t crs[] = {
		s->cr0, 0, pv->info->cr2, mfn_to_hpa(pv->kernel_root).v, s->cr4, 0, 0, 0, 0
	};

	if (n > 8 || n == 1 || (n > 4 && n < 8))
		return false;
	*value = crs[n];
	return true;
}

/* As NEW_BASEPTR: it may take a while, in which the instruction is not done. */
static enum verdict
write_cr3_of(struct vcpu *v, struct exit *e, uint64_t value)
{
	struct pv_types *t = pv_of(v)->types;
	unsigned budget = PV_BATCH;
	int err = -EAGAIN;

	if (pv_type_settle(t, &budget))
		err = pv_new_root(v, mfn(value >> PAGE_SHIFT), false, &budget);
	if (err == -EAGAIN) {
		preempt_point();
		return RESUME;
	}
	pv_type_forget(t);
	pv_types_told(v);
	if (err)
		return event_fault(v, VEC_GP, 0);
	exit_effect(v, EFFECT_CR_WRITE, 3, value);
	return vcpu_advance(v, e); /* safe: the move is made */
}

static enum verdict
pv_exit_cr(struct vcpu *v, struct exit *e)
{
	const struct exit_reg *cr = &e->cr;
	uint64_t *gpr = v->state.gpr, value;

	if (cr->access == REG_WRITE && cr->number == 3)
		return write_cr3_of(v, e, gpr[cr->gpr]);
	if (cr->access == REG_READ) {
		if (!read_cr(v, cr->number, &value))
			return event_fault(v, VEC_GP, 0);
		gpr[cr->gpr] = value;
		exit_effect(v, EFFECT_CR_READ, cr->number, value);
	} else {
		value = cr->access == REG_CLTS ? v->state.cr0 & ~(uint64_t)CR0_TS : gpr[cr->gpr];
		if (!write_cr(v, cr->number, value))
			return event_fault(v, VEC_GP, 0);
		exit_effect(v, EFFECT_CR_WRITE, cr->number, value);
	}
	return vcpu_advance(v, e); /* safe: the move is made */
}
EXIT_HANDLER(CR, "pv", pv_exit_cr);

/* As set_debugreg and get_debugreg say it; which refuse DR4 and DR5. */
static enum verdict
pv_exit_dr(struct vcpu *v, struct exit *e)
{
	uint64_t *gpr = &v->state.gpr[e->dr.gpr];
	unsigned n = e->dr.number;

	if (e->dr.access == REG_READ ? n > 7 || n == 4 || n == 5 : pv_write_dr(v, n, *gpr) != 0)
		return event_fault(v, VEC_GP, 0);
	if (e->dr.access == REG_READ)
		*gpr = v->state.dr[n];
	exit_effect(v, e->dr.access == REG_READ ? EFFECT_DR_READ : EFFECT_DR_WRITE, n, *gpr);
	return vcpu_advance(v, e); /* safe: the move is made */
}
EXIT_HANDLER(DR, "pv", pv_exit_dr);

/* NULL: there is no such register. GS's other base is its user's. */
static uint64_t *
msr_of(struct vcpu *v, uint32_t number)
{
	switch (number) {
	case MSR_EFER:
		return &v->state.efer;
	case MSR_APIC_BASE:
		return &v->state.apic_base;
	case MSR_PAT:
		return &v->state.pat;
	case MSR_FS_BASE:
		return &v->state.seg[SEG_FS].base;
	case MSR_GS_BASE:
		return &v->state.seg[SEG_GS].base;
	case MSR_KERNEL_GS:
		return &v->state.kernel_gs_base;
	default:
		return NULL;
	}
}

/* Those that are not a base are as they are. */
static enum verdict
pv_exit_msr(struct vcpu *v, struct exit *e)
{
	uint64_t *gpr = v->state.gpr, *msr = msr_of(v, e->msr.number);
	uint64_t value = (uint32_t)gpr[RAX] | gpr[RDX] << 32;
	bool same = msr && *msr == value;

	if (!msr)
		return event_fault(v, VEC_GP, 0);
	if (!e->msr.write) {
		gpr[RAX] = (uint32_t)*msr;
		gpr[RDX] = *msr >> 32;
	} else if (!same && (e->msr.number < MSR_FS_BASE || pv_set_base(v, msr, value))) {
		return event_fault(v, VEC_GP, 0);
	}
	return vcpu_advance(v, e); /* safe: the register is moved */
}
EXIT_HANDLER(MSR, "pv", pv_exit_msr);
