/*
 * The guest's state: one truth in struct cpu_state, and what the CPU takes in the VMCS.
 *
 * What every exit needs goes to and fro each time; the groups of the state (vmm/vcpu.h) go to the
 * VMCS where a handler has changed them, and come back when one asks: each field is an instruction.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <kern/map.h>
#include <vmm/cpu_setup.h>
#include <vmm/vmx/vmx.h>

/* SDM 3C table 25-2: the descriptor's flags lie four bits higher there, and P=0 is "unusable". */
static uint32_t
rights_out(uint16_t attr)
{
	return (attr & 0xffu) | (attr & 0xf00u) << 4 | (attr & ATTR_P ? 0 : RIGHTS_UNUSABLE);
}

static uint16_t
rights_in(uint64_t rights)
{
	uint16_t attr = (uint16_t)((rights & 0xff) | (rights >> 4 & 0xf00));

	return rights & RIGHTS_UNUSABLE ? attr & (uint16_t)~ATTR_P : attr;
}

static struct segment *
segment(struct cpu_state *s, unsigned n)
{
	return n == SEGMENT_LDTR ? &s->ldtr : n == SEGMENT_TR ? &s->tr : &s->seg[n];
}

static void
segments_out(struct cpu_state *s)
{
	for (unsigned n = 0; n <= SEGMENT_TR; n++) {
		const struct segment *from = segment(s, n);

		vmcs_write(SEGMENT_FIELD(GUEST_ES, n), from->sel);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_BASE, n), from->base);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_LIMIT, n), from->limit);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, n), rights_out(from->attr));
	}
}

static void
segments_in(struct cpu_state *s)
{
	for (unsigned n = 0; n <= SEGMENT_TR; n++) {
		struct segment *to = segment(s, n);

		to->sel = (uint16_t)vmcs_read(SEGMENT_FIELD(GUEST_ES, n));
		to->base = vmcs_read(SEGMENT_FIELD(GUEST_ES_BASE, n));
		to->limit = (uint32_t)vmcs_read(SEGMENT_FIELD(GUEST_ES_LIMIT, n));
		to->attr = rights_in(vmcs_read(SEGMENT_FIELD(GUEST_ES_RIGHTS, n)));
	}
}

static void
tables_out(const struct cpu_state *s)
{
	vmcs_write(GUEST_GDTR_BASE, s->gdtr.base);
	vmcs_write(GUEST_GDTR_LIMIT, s->gdtr.limit);
	vmcs_write(GUEST_IDTR_BASE, s->idtr.base);
	vmcs_write(GUEST_IDTR_LIMIT, s->idtr.limit);
}

static void
tables_in(struct cpu_state *s)
{
	s->gdtr.base = vmcs_read(GUEST_GDTR_BASE);
	s->gdtr.limit = (uint16_t)vmcs_read(GUEST_GDTR_LIMIT);
	s->idtr.base = vmcs_read(GUEST_IDTR_BASE);
	s->idtr.limit = (uint16_t)vmcs_read(GUEST_IDTR_LIMIT);
}

/*
 * Where the guest reads a bit that is the host's, it reads the shadow's (SDM 3C 25.6.6). CR2 is in
 * no VMCS. "IA-32e mode guest" is LMA, which the CPU keeps up when the guest turns paging on itself
 * (SDM 3C 28.2), and here it is Zeno that may have.
 */
static void
control_registers_out(struct vmx *x, const struct cpu_state *s)
{
	vmcs_write(CR0_SHADOW, s->cr0);
	vmcs_write(CR4_SHADOW, s->cr4);
	x->cr2 = s->cr2;
	x->cr8 = s->cr8;
	vmcs_write(ENTRY_CONTROLS,
		   s->efer & EFER_LMA ? vmx_controls(ENTRY) | ENTRY_IA32E : vmx_controls(ENTRY));
	if (x->shadowed) {
		vmx_shadow_registers(x, s);
		return;
	}
	vmcs_write(GUEST_CR0, (s->cr0 & ~x->cr0_owned) | vmx_cr0_ones());
	vmcs_write(GUEST_CR3, s->cr3);
	vmcs_write(GUEST_CR4, s->cr4 | CR4_VMXE);
	vmcs_write(GUEST_EFER, s->efer);
	for (unsigned i = 0; i < 4; i++)
		vmcs_write(SEGMENT_FIELD(GUEST_PDPTE, i), s->pdpte[i]);
}

static void
control_registers_in(struct cpu_state *s, const struct vmx *x)
{
	s->cr0 = (vmcs_read(GUEST_CR0) & ~x->cr0_owned) | (vmcs_read(CR0_SHADOW) & x->cr0_owned);
	s->cr2 = x->cr2;
	s->cr4 = (vmcs_read(GUEST_CR4) & ~x->cr4_owned) | (vmcs_read(CR4_SHADOW) & x->cr4_owned);
	s->cr8 = x->cr8;
	if (x->shadowed) {
		vmx_shadow_registers_in(s, x);
		return;
	}
	s->cr3 = vmcs_read(GUEST_CR3);
	s->efer = vmcs_read(GUEST_EFER);
	for (unsigned i = 0; i < 4; i++)
		s->pdpte[i] = vmcs_read(SEGMENT_FIELD(GUEST_PDPTE, i));
}

/* In the order of controls.c's list. */
static uint64_t *
listed_msr(struct cpu_state *s, unsigned n)
{
	uint64_t *const msrs[VMX_MSRS] = { &s->star,   &s->lstar,          &s->cstar,
					   &s->sfmask, &s->kernel_gs_base, &s->tsc_aux };

	return msrs[n];
}

static void
msrs_out(struct vmx *x, struct cpu_state *s)
{
	for (unsigned i = 0; i < VMX_MSRS; i++)
		x->guest_msr[i].value = *listed_msr(s, i);
	vmcs_write(GUEST_SYSENTER_CS, s->sysenter_cs);
	vmcs_write(GUEST_SYSENTER_ESP, s->sysenter_esp);
	vmcs_write(GUEST_SYSENTER_EIP, s->sysenter_eip);
	vmcs_write(GUEST_PAT, s->pat);
	vmcs_write(TSC_OFFSET, s->tsc_offset);
	x->xcr0 = s->xcr0;
	x->apic_base = s->apic_base;
}

static void
msrs_in(struct cpu_state *s, const struct vmx *x)
{
	for (unsigned i = 0; i < VMX_MSRS; i++)
		*listed_msr(s, i) = x->guest_msr[i].value;
	s->sysenter_cs = vmcs_read(GUEST_SYSENTER_CS);
	s->sysenter_esp = vmcs_read(GUEST_SYSENTER_ESP);
	s->sysenter_eip = vmcs_read(GUEST_SYSENTER_EIP);
	s->pat = vmcs_read(GUEST_PAT);
	s->tsc_offset = vmcs_read(TSC_OFFSET);
	s->xcr0 = x->xcr0;
	s->apic_base = x->apic_base;
}

/*
 * The thread has the CPU hold DR0 to DR3 while the vCPU runs (kern/thread.c), and DR7 is the
 * VMCS's. DR6 is what Zeno says: a #DB is an exit, and no move to or from DR6 comes to the CPU.
 */
static void
debug_registers_out(struct vmx *x, const struct cpu_state *s)
{
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3"
			 :
			 : "r"(s->dr[0]), "r"(s->dr[1]), "r"(s->dr[2]), "r"(s->dr[3]));
	memcpy(x->dr, s->dr, sizeof(x->dr));
	vmcs_write(GUEST_DR7, breakpoints_allowed(s->dr));
}

static void
put(enum vmcs_field field, uint64_t *known, uint64_t value)
{
	if (*known == value)
		return;
	*known = value;
	vmcs_write(field, value);
}

/*
 * SDM 3C 27.3.1.5: under a shadow, a step that is due must be among what is pending, and none
 * else.
 */
static void
shadows_out(struct vmx *x, struct cpu_state *s)
{
	uint64_t pending = s->pending_debug & (DR6_HITS | DR6_BS);

	if (s->sti_shadow || s->mov_ss_shadow)
		pending = (pending & DR6_HITS) | (s->rflags & FLAG_TF ? DR6_BS : 0);
	if (pending & DR6_HITS)
		pending |= PENDING_ENABLED;
	put(GUEST_PENDING_DEBUG, &x->pending_debug, pending);
	s->pending_debug = 0;
	put(GUEST_INTERRUPTIBILITY, &x->interruptibility, vmx_interruptibility(s));
}

void
vmx_state_to_vmcs(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;

	if (v->dirty & STATE_SEG)
		segments_out(s);
	if (v->dirty & STATE_TABLES)
		tables_out(s);
	if (v->dirty & STATE_CR)
		control_registers_out(x, s);
	if (v->dirty & STATE_MSR)
		msrs_out(x, s);
	if (v->dirty & STATE_DR)
		debug_registers_out(x, s);
	v->dirty = 0;
	put(GUEST_RSP, &x->rsp, s->gpr[RSP]);
	put(GUEST_RIP, &x->rip, s->rip);
	put(GUEST_RFLAGS, &x->rflags, s->rflags);
	shadows_out(x, s);
}

void
vmx_state_from_vmcs(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;

	s->gpr[RSP] = x->rsp = vmcs_read(GUEST_RSP);
	s->rip = x->rip = vmcs_read(GUEST_RIP);
	s->rflags = x->rflags = vmcs_read(GUEST_RFLAGS);
	s->seg[SEG_CS].attr = rights_in(vmcs_read(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_CS)));
	s->seg[SEG_SS].attr = rights_in(vmcs_read(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_SS)));
	x->interruptibility = vmcs_read(GUEST_INTERRUPTIBILITY);
	s->sti_shadow = !!(x->interruptibility & SHADOW_STI);
	s->mov_ss_shadow = !!(x->interruptibility & SHADOW_MOV_SS);
	s->nmi_blocked = !!(x->interruptibility & SHADOW_NMI);
	x->pending_debug = vmcs_read(GUEST_PENDING_DEBUG);
	s->pending_debug = x->pending_debug & (DR6_HITS | DR6_BS);
	v->valid = 0;
}

void
vmx_fetch(struct vcpu *v, unsigned groups)
{
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;

	if (groups & STATE_SEG)
		segments_in(s);
	if (groups & STATE_TABLES)
		tables_in(s);
	if (groups & STATE_CR)
		control_registers_in(s, x);
	if (groups & STATE_MSR)
		msrs_in(s, x);
	if (groups & STATE_DR)
		memcpy(s->dr, x->dr, sizeof(x->dr));
}
