/*
 * The guest's state: one truth in struct cpu_state, and what the CPU takes in the VMCS: exercise
 * 4.3. Filling in the records is given; when, and what besides them, is not.
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

/* What the guest may see of a segment, as the CPU wants it, and back. */
static uint32_t rights_out(uint16_t attr);
static uint16_t rights_in(uint64_t rights);

static struct segment *
segment(struct cpu_state *s, unsigned n)
{
	return n == SEGMENT_LDTR ? &s->ldtr : n == SEGMENT_TR ? &s->tr : &s->seg[n];
}

static APART void
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

static APART void
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
 * What the CPU walks tables by; CR2 and CR8 are in no VMCS. The last of its group: under mmu=shadow
 * it writes over CR0 and CR4, too.
 */
static APART void
paging_out(struct vmx *x, const struct cpu_state *s)
{
	x->cr2 = s->cr2;
	x->cr8 = s->cr8;
	if (x->shadowed) {
		vmx_shadow_registers(x, s);
		return;
	}
	vmcs_write(GUEST_CR3, s->cr3);
	vmcs_write(GUEST_EFER, s->efer);
	for (unsigned i = 0; i < 4; i++)
		vmcs_write(SEGMENT_FIELD(GUEST_PDPTE, i), s->pdpte[i]);
}

static void
paging_in(struct cpu_state *s, const struct vmx *x)
{
	s->cr2 = x->cr2;
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

/*
 * VT-x switches no register of these but by a list. And what the host has in them: nothing. The
 * last one, TSC_AUX, comes and goes with RDTSCP.
 */
static const uint32_t listed[VMX_MSRS] = { MSR_STAR,   MSR_LSTAR,     MSR_CSTAR,
					   MSR_SFMASK, MSR_KERNEL_GS, MSR_TSC_AUX };
static struct vmx_msr host_msr[VMX_MSRS] __attribute__((aligned(16)));

/* Of a vCPU whose VMCS is new. */
void
vmx_set_msr_lists(struct vmx *x)
{
	const uint64_t guest_msr = mfn_to_hpa(ptr_mfn(x)).v + offsetof(struct vmx, guest_msr);
	unsigned count = vmx_has_rdtscp() ? VMX_MSRS : VMX_MSRS - 1;

	for (unsigned i = 0; i < VMX_MSRS; i++)
		x->guest_msr[i].number = host_msr[i].number = listed[i];
	vmcs_write(ENTRY_MSR_LOAD, guest_msr); /* the guest's own ... */
	vmcs_write(ENTRY_MSR_LOAD_COUNT, count);
	vmcs_write(EXIT_MSR_STORE, guest_msr); /* ... which swapgs changes unseen */
	vmcs_write(EXIT_MSR_STORE_COUNT, count);
	vmcs_write(EXIT_MSR_LOAD, (uint64_t)host_msr - KB); /* no LSTAR of a guest's stays */
	vmcs_write(EXIT_MSR_LOAD_COUNT, count);
}

/* In the list's order. */
static uint64_t *
listed_msr(struct cpu_state *s, unsigned n)
{
	uint64_t *const msrs[VMX_MSRS] = { &s->star,   &s->lstar,          &s->cstar,
					   &s->sfmask, &s->kernel_gs_base, &s->tsc_aux };

	return msrs[n];
}

static APART void
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
 * DR0 to DR3, which no VMCS has: while a vCPU runs, and up to its thread's next switch, the CPU
 * holds the guest's (kern/sched/thread.c). All eight that the guest wrote are x->dr[] besides: no
 * move to or from them comes to the CPU.
 */
static void
load_breakpoints(const uint64_t dr[8])
{
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3"
			 :
			 : "r"(dr[0]), "r"(dr[1]), "r"(dr[2]), "r"(dr[3]));
}

/* EXERCISE 4.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4.0 */

/*
 * EXERCISE 4.3a: a segment's rights
 * Holds: each gives the other's form of what makes a segment: the CPU takes the first for the
 *  segment that the state describes, the second says what the guest has.
 * Beware: the state has twelve bits without a hole. A selector of 0 leaves what is no segment to
 *  the CPU. Of the ring it asks one segment, always.
 * Manual: SDM 3C "Guest Register State" with the format of access rights, "Checks on Guest
 *  Segment Registers".
 * Tools: ATTR_P, RIGHTS_L, RIGHTS_UNUSABLE of vmm/vmx/vmcs.h
 * Hint: how can a segment that is not there be told apart in each form?
 * Hint: a shelf of twelve books goes into two boxes, of which the second begins four places
 *  further on; and a label on the outside says that there is nothing to read inside. The books
 *  are in it all the same.
 * Hint: on AMD-V there is nothing to do: the VMCB has the twelve bits as they are, and the CPU
 *  asks P itself. But the ring is a field of its own there.
 * until then:
 * static uint32_t
 * rights_out(uint16_t attr)
 * {
 * 	(void)attr;
 * 	exercise_todo("4.3", "handouts/lab4a.md#ex-4-3");
 * 	return 0;
 * }
 *
 * static uint16_t
 * rights_in(uint64_t rights)
 * {
 * 	(void)rights;
 * 	exercise_todo("4.3", "handouts/lab4a.md#ex-4-3");
 * 	return 0;
 * }
 */
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
/* END EXERCISE 4.3a */

/* Before an entry, behind a handler that has changed a group of the state. */
static APART void
groups_out(struct vcpu *v)
{
	/*
	 * EXERCISE 4.3b: into the VMCS
	 * Holds: the guest goes on with what its state says, and the CPU takes it.
	 *  Nothing is written that nobody has changed since.
	 * Beware: some bits are not the guest's to have, and it reads them. Its mode the CPU is
	 *  told. Breakpoints may be armed at Zeno's addresses.
	 * Manual: SDM 3C "Guest/Host Masks and Read Shadows for CR0 and CR4", "Checks on Guest
	 *  Control Registers, Debug Registers, and MSRs".
	 * Tools: breakpoints_allowed(), CR4_VMXE, ENTRY_IA32E, load_breakpoints(), msrs_out(),
	 *  paging_out(), segments_out(), state_group, tables_out(), vcpu_cpl(), vmx_cr0_ones()
	 * Hint: for each of CR0 and CR4: which bits does the CPU take from you, which does the
	 *  guest see, and which of the two fields is for which?
	 * Hint: a tenant's door with two name plates: outside the house's number has to be there,
	 *  whatever he likes; inside hangs what he has written himself. A third note says which
	 *  part of the plate he reads inside.
	 * Hint: on AMD-V the guest's EFER goes in with one bit that no guest has set, and CR0 and
	 *  CR4 as they are: there is no shadow, and a guest reads what the CPU has.
	 * until then: (void)segments_out; (void)tables_out; (void)msrs_out; (void)paging_out;
	 * until then: (void)load_breakpoints; (void)v;
	 */
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;

	if (v->dirty & STATE_SEG)
		segments_out(s);
	if (v->dirty & STATE_TABLES)
		tables_out(s);
	if (v->dirty & STATE_CR) {
		uint64_t entry = vmcs_read(ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E;

		vmcs_write(CR0_SHADOW, s->cr0);
		vmcs_write(CR4_SHADOW, s->cr4);
		vmcs_write(GUEST_CR0, (s->cr0 & ~x->cr0_owned) | vmx_cr0_ones());
		vmcs_write(GUEST_CR4, s->cr4 | CR4_VMXE);
		vmcs_write(ENTRY_CONTROLS, s->efer & EFER_LMA ? entry | ENTRY_IA32E : entry);
		paging_out(x, s);
	}
	if (v->dirty & STATE_MSR)
		msrs_out(x, s);
	if (v->dirty & STATE_DR) {
		load_breakpoints(s->dr);
		memcpy(x->dr, s->dr, sizeof(x->dr));
		vmcs_write(GUEST_DR7, breakpoints_allowed(s->dr));
	}
	v->dirty = 0;
	/* END EXERCISE 4.3b */
}

/* Before an entry. The usual one, without a change, takes the registers alone: run() in vmx.c. */
void
vmx_state_to_vmcs(struct vcpu *v)
{
	vmx_registers_to_vmcs(v);
	if (v->dirty)
		groups_out(v);
}

/* Behind each exit. */
void
vmx_state_from_vmcs(struct vcpu *v)
{
	/*
	 * EXERCISE 4.3c: what is always true
	 * Holds: general registers, rip and rflags are the guest's as it left. All else of the
	 *  state is known to be old. (What holds interrupts back is the caller's, an interrupted
	 *  event 4.6's.)
	 * Beware: whoever believes that a group is there does not ask for it; and what the VMCS
	 *  has now, the next entry wants to know. Each field costs an instruction.
	 * Manual: SDM 3C "Saving Guest State".
	 * Tools: state_group of vmm/vcpu.h, vmcs_read()
	 * Hint: vmx_enter() has stored fifteen registers. Where is the last one?
	 * Hint: a photograph of yesterday's room is no help for finding a chair today: throw it
	 *  away, and take another one when somebody asks.
	 * Hint: on AMD-V rax is missing, too, and reading costs nothing; so nobody there has to
	 *  remember what the VMCB has in order to write less.
	 * until then: (void)v;
	 */
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;

	s->gpr[RSP] = x->rsp = vmcs_read(GUEST_RSP);
	s->rip = x->rip = vmcs_read(GUEST_RIP);
	s->rflags = x->rflags = vmcs_read(GUEST_RFLAGS);
	v->valid = 0;
	/* END EXERCISE 4.3c */
}

/* A handler asks for these groups. */
void
vmx_fetch(struct vcpu *v, unsigned groups)
{
	/*
	 * EXERCISE 4.3d: the rest, when asked
	 * Holds: these groups of the state are as the guest left them, and as it would see them
	 *  on a machine without Zeno.
	 * Beware: another group may have been changed by a handler, and not be in the VMCS yet.
	 *  The guest writes some bits of a control register itself, and others it can't.
	 * Manual: SDM 3C "Guest/Host Masks and Read Shadows for CR0 and CR4".
	 * Tools: msrs_in(), paging_in(), segments_in(), state_group of vmm/vcpu.h, tables_in(),
	 *  vcpu_changed()
	 * Hint: a bit of CR0 that the guest owns, and one that it does not: in which field does
	 *  each stand behind an exit?
	 * Hint: a form filled in with two pens, the tenant's and the house's. A stencil with holes
	 *  shows only the tenant's; turned round, the same one shows only the house's.
	 * Hint: on AMD-V the mirror of the way out is EFER: the bit that the CPU wanted goes away,
	 *  and one that was kept from the CPU comes back.
	 * until then: (void)segments_in; (void)tables_in; (void)msrs_in; (void)paging_in;
	 * until then: (void)v; (void)groups;
	 */
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;

	if (groups & STATE_SEG)
		segments_in(s);
	if (groups & STATE_TABLES)
		tables_in(s);
	if (groups & STATE_CR) {
		s->cr0 = (vmcs_read(GUEST_CR0) & ~x->cr0_owned) |
			 (vmcs_read(CR0_SHADOW) & x->cr0_owned);
		s->cr4 = (vmcs_read(GUEST_CR4) & ~x->cr4_owned) |
			 (vmcs_read(CR4_SHADOW) & x->cr4_owned);
		paging_in(s, x);
	}
	if (groups & STATE_MSR)
		msrs_in(s, x);
	if (groups & STATE_DR)
		memcpy(s->dr, x->dr, sizeof(x->dr));
	/* END EXERCISE 4.3d */
}

/* vmx_enter(), and what no VMCS has. Whoever calls has written the others with the two above. */
enum vmx_entry
vmx_enter_and_back(struct vmx *x, uint64_t gpr[GPR_COUNT])
{
	/*
	 * EXERCISE 4.3e: around the entry
	 * Holds: while the guest runs a register that no VMCS has is its own, and *x has it
	 *  behind the exit; what is the host's is as before, to the last bit. It keeps nothing in
	 *  CR2.
	 * Beware: at an exit the CPU loads two of the host's registers only in part, and makes up
	 *  the rest. A refused entry comes back here, too.
	 * Manual: SDM 3C "Loading Host Segment and Descriptor-Table Registers"; SDM 3A "Control
	 *  Registers".
	 * Tools: read_cr2(), read_cr4(), vmx_enter(), vmx_tables_load(), vmx_tables_read(),
	 *  write_cr2()
	 * Hint: the host-state area has bases of GDTR and IDTR. What else has such a register?
	 * Hint: a coat that is handed in at the cloakroom, and what was in its pockets: the
	 *  attendant gives back the coat. Look into your pockets before, and again behind.
	 * Hint: on AMD-V GDTR and IDTR come back whole, from the host's save area, and CR2 is in
	 *  the VMCB; but FS, GS and TR are in neither, so VMLOAD brings them.
	 * until then: return (enum vmx_entry)vmx_enter(gpr, x->launched);
	 */
	struct vmx_tables host;
	enum vmx_entry entry;

	vmx_tables_read(&host);
	if (read_cr2() != x->cr2)
		write_cr2(x->cr2);
	entry = (enum vmx_entry)vmx_enter(gpr, x->launched);
	x->cr2 = read_cr2();
	vmx_tables_load(&host);
	return entry;
	/* END EXERCISE 4.3e */
}
