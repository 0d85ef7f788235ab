/*
 * The MSRs of a classic guest. None of them is the host's: each is answered from this table.
 *
 * The CPU models of grade/machines.toml [cpu.te] say that they are an AMD of family 15, so a kernel
 * looks for that family's registers. They read as a constant and swallow what is written, as on the
 * bare emulators. What is not in the table is not implemented: #GP(0), as the manual has it (SDM 2B
 * "RDMSR", "WRMSR").
 *
 * SDM = Intel SDM order no. 325462-080, June 2023. BKDG = AMD BIOS and Kernel Developer's Guide for
 * AMD NPT Family 0Fh, no. 32559, 3.08.
 */
#include <kern/cpu.h>
#include <vmm/te/te.h>
#include <vmm/words/limits.h>

#define MSR_EFER_NUMBER 0xc0000080
#define MSR_TSC         0x10
#define MSR_FS_BASE     0xc0000100
#define MSR_GS_BASE     0xc0000101

struct fixed_msr {
	uint32_t first, last, value;
	const char *name;
};

static const struct fixed_msr fixed_msrs[] = {
	/* SDM 3A 11.4.4: the boot CPU, whose local APIC is off; there is none. */
	{ 0x0000001b, 0x0000001b, 0x100, "APIC_BASE" },
	{ 0x0000008b, 0x0000008b, 0, "PATCH_LEVEL" },          /* BKDG: no microcode was loaded */
	{ 0x00000179, 0x00000179, 0, "MCG_CAP" },              /* no bank of machine checks */
	{ 0xc0010000, 0xc0010003, 0, "PERF_CTL0-3" },          /* kernels try them, and see that */
	{ 0xc0010004, 0xc0010007, 0, "PERF_CTR0-3" },          /* ... nothing counts */
	{ 0xc0010015, 0xc0010015, 0, "HWCR" },                 /* nothing to configure */
	{ 0xc0010055, 0xc0010055, 0, "INTERRUPT_PENDING" },    /* no C1E */
	{ 0xc0011029, 0xc0011029, 0, "DE_CFG (later models)" } /* lfence needs no help */
};

/* NULL: it is not in the table. */
static const struct fixed_msr *
fixed_msr(uint32_t n)
{
	for (unsigned i = 0; i < ARRAY_LEN(fixed_msrs); i++)
		if (n >= fixed_msrs[i].first && n <= fixed_msrs[i].last)
			return &fixed_msrs[i];
	return NULL;
}

/*
 * EFER is the guest's own. NXE it may have, for every CPU that Zeno runs on has NX
 * (kern/boot/entry.asm): the shadows carry the bit. The other features are what a classic guest
 * can't have.
 */
static enum verdict
write_efer(struct vcpu *v, struct exit *e, uint64_t value)
{
	const uint64_t features = EFER_SCE | EFER_LME | EFER_NXE;
	uint64_t *efer = &v->state.efer;

	if (value & ~features)
		return event_fault(v, VEC_GP, 0);
	if (value & EFER_SCE)
		return limit_refuse(v, e, LIMIT_SYSCALL);
	if (value & EFER_LME)
		return limit_refuse(v, e, LIMIT_LONG_MODE);
	if (value != *efer) {
		*efer = value;
		if (v->domain->mmu)
			v->domain->mmu->nx(v);
	}
	return vcpu_advance(v, e); /* safe: the register is written */
}

/*
 * Registers that the CPU models promise and that do nothing in a classic guest: what is written is
 * read back. SYSCALL's are there with long mode or without; SYSENTER's do nothing while SYSENTER_CS
 * is 0.
 */
struct kept_msr {
	uint32_t n;
	uint16_t at; /* in struct cpu_state */
	bool address;
};

#define KEPT(n, field, address)                               \
	{                                                     \
		n, offsetof(struct cpu_state, field), address \
	}
static const struct kept_msr kept_msrs[] = {
	KEPT(MSR_SYSENTER_CS, sysenter_cs, false),
	KEPT(0x175, sysenter_esp, true),
	KEPT(0x176, sysenter_eip, true),
	KEPT(MSR_PAT, pat, false),
	KEPT(MSR_STAR, star, false),
	KEPT(MSR_LSTAR, lstar, true),
	KEPT(MSR_CSTAR, cstar, true),
	KEPT(MSR_SFMASK, sfmask, false),
	KEPT(0xc0000102, kernel_gs_base, true),
};

static const struct kept_msr *
kept_msr(uint32_t n)
{
	for (unsigned i = 0; i < ARRAY_LEN(kept_msrs); i++)
		if (n == kept_msrs[i].n)
			return &kept_msrs[i];
	return NULL;
}

/* False: there is no such register. */
static bool
read_msr(const struct vcpu *v, uint32_t n, uint64_t *value)
{
	const struct fixed_msr *fixed = fixed_msr(n);
	const struct kept_msr *kept = kept_msr(n);

	if (n == MSR_EFER_NUMBER)
		*value = v->state.efer;
	else if (n == MSR_TSC)
		*value = rdtsc();
	else if (n == MSR_FS_BASE || n == MSR_GS_BASE)
		*value = v->state.seg[n == MSR_FS_BASE ? SEG_FS : SEG_GS].base;
	else if (fixed)
		*value = fixed->value;
	else if (kept)
		memcpy(value, (const char *)&v->state + kept->at, sizeof(*value));
	return n == MSR_EFER_NUMBER || n == MSR_TSC || n == MSR_FS_BASE || n == MSR_GS_BASE ||
	       fixed || kept;
}

static enum verdict
write_msr(struct vcpu *v, struct exit *e, uint32_t n, uint64_t value, uint64_t now)
{
	const struct kept_msr *kept = kept_msr(n);

	/* These would have an effect on the bare machine, and have none here. */
	if (n == MSR_TSC)
		return limit_refuse(v, e, LIMIT_TSC_WRITE);
	if (n == MSR_SYSENTER_CS && value)
		return limit_refuse(v, e, LIMIT_SYSENTER);
	if ((n == MSR_FS_BASE || n == MSR_GS_BASE) && value != now)
		return limit_refuse(v, e, LIMIT_SEGMENT_MSR);
	if (kept && kept->address && value != (uint64_t)((int64_t)(value << 16) >> 16))
		return event_fault(v, VEC_GP, 0); /* not canonical */
	if (n == MSR_PAT && !pat_is_valid(value))
		return event_fault(v, VEC_GP, 0);
	if (kept)
		memcpy((char *)&v->state + kept->at, &value, sizeof(value));
	return vcpu_advance(
		v, e); /* safe: the register is written, or what was written has no effect */
}

static enum verdict
exit_msr(struct vcpu *v, struct exit *e)
{
	uint64_t value = gpr_read(&v->state, RAX, 4) | gpr_read(&v->state, RDX, 4) << 32, now;
	uint32_t n = gpr_read(&v->state, RCX, 4);

	if (!read_msr(v, n, &now))
		return event_fault(v, VEC_GP, 0);
	if (e->insn_op == INSN_WRMSR)
		return n == MSR_EFER_NUMBER ? write_efer(v, e, value)
					    : write_msr(v, e, n, value, now);
	gpr_write(&v->state, RAX, 4, (uint32_t)now);
	gpr_write(&v->state, RDX, 4, now >> 32);
	return vcpu_advance(v, e); /* safe: the register is read */
}
EXIT_HANDLER(MSR, "te", exit_msr);
