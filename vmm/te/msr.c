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
#include <vmm/te/te.h>

#define MSR_EFER_NUMBER 0xc0000080

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

static enum verdict
not_implemented(struct vcpu *v, struct exit *e)
{
	const struct emu_fault f = { .vector = VEC_GP, .has_error = true };

	return te_guest_fault(v, e, &(struct te_access){ .v = v }, &f);
}

/*
 * EFER is the guest's own. NXE it may have, for every CPU that Zeno runs on has NX (kern/entry.asm): the shadows carry
 * the bit. The other features are what a classic guest can't have.
 */
static enum verdict
write_efer(struct vcpu *v, struct exit *e, uint64_t value)
{
	const uint64_t features = EFER_SCE | EFER_LME | EFER_NXE;
	uint64_t *efer = &v->state.efer;

	if (value & ~features)
		return not_implemented(v, e);
	if (value & EFER_SCE)
		return exit_stop(v, e, LAB_1A "#syscall",
				 "it set EFER.SCE: syscall would enter ring 0 on its own stack");
	if (value & EFER_LME)
		return exit_stop(v, e, LAB_1A "#limits", "%s has no long mode: EFER %lx",
				 v->engine->name, value);
	if (value != *efer) {
		*efer = value;
		if (v->domain->mmu)
			v->domain->mmu->nx(v);
	}
	vcpu_advance(v, e); /* safe: the register is written */
	return RESUME;
}

static uint64_t
read_msr(const struct vcpu *v, uint32_t n)
{
	return n == MSR_EFER_NUMBER ? v->state.efer : fixed_msr(n)->value;
}

static enum verdict
exit_msr(struct vcpu *v, struct exit *e)
{
	uint32_t n = gpr_read(&v->state, RCX, 4);
	bool write = e->insn_op == INSN_WRMSR;

	if (n == MSR_EFER_NUMBER && write)
		return write_efer(v, e,
				  gpr_read(&v->state, RAX, 4) | gpr_read(&v->state, RDX, 4) << 32);
	if (n != MSR_EFER_NUMBER && !fixed_msr(n))
		return not_implemented(v, e);
	if (!write) {
		gpr_write(&v->state, RAX, 4, (uint32_t)read_msr(v, n));
		gpr_write(&v->state, RDX, 4, read_msr(v, n) >> 32);
	}
	vcpu_advance(v, e); /* safe: the register is read, or what was written has no effect */
	return RESUME;
}
EXIT_HANDLER(MSR, "te", exit_msr);
