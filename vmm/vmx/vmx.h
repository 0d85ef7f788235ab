/*
 * The engine vmx: VT-x. The guest runs in VMX non-root operation, in whatever mode it likes, and
 * comes back at what the VMCS says that it must not do alone.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <vmm/engine.h>
#include <vmm/mmu/nested/tags.h>
#include <vmm/vcpu.h>
#include <vmm/vmx/rules.h>
#include <vmm/vmx/vmcs.h>

/* SDM 3C table 25-16 "Format of an MSR Entry". */
struct vmx_msr {
	uint32_t number, pad;
	uint64_t value;
};
#define VMX_MSRS  6u
#define VMX_SHOWN 96u /* fields of a VMCS that a debugger is shown, at most */

/* A vCPU's: one frame. The VMCS has another, whose inside is the CPU's. */
struct vmx {
	struct vmx_msr guest_msr[VMX_MSRS]; /* VT-x switches no register of these but by a list */
	hpa_t vmcs_at;
	struct vcpu *vcpu;
	bool filled;         /* the VMCS has its controls and the host's state */
	bool launched;       /* VMLAUNCH was done since the last VMCLEAR */
	uint32_t primary;    /* primary controls as the VMCS has them: windows come and go */
	uint32_t exceptions; /* that exit */
	uint32_t raw;        /* exit reason */
	uint32_t vectoring;  /* the event that was being delivered */
	struct tag vpid;
	/* What every entry might write, as the VMCS has it: VMWRITE is for what has changed. */
	uint64_t rip, rsp, rflags, interruptibility, pending_debug;
	uint64_t cr2, cr8, xcr0, apic_base; /* the guest's; no VMCS has them */
	uint64_t dr[8]; /* ... nor these but DR7: all that it wrote, and Zeno's #DB in DR6 */
	/* Of CR0 and CR4 what the guest reads from the VMCS's shadows, and writes by an exit. */
	uint64_t cr0_owned, cr4_owned;
	/* mmu=shadow: the CPU walks Zeno's tables, and these are the guest's own */
	bool shadowed;
	struct vmx_own {
		uint64_t cr3, efer, pdpte[4];
	} own;
	uint64_t before[VMX_SHOWN]; /* for a debugger: the VMCS as the guest was entered last */
};

static inline struct vmx *
vmx_of(struct vcpu *v)
{
	return v->engine_data;
}

/* features.c: what the rules of VM entries ask this CPU for; true behind vmx_prepare(). */
extern struct vmx_cpu vmx_cpu;
void vmx_ask_cpu(void);
/* Which bits of these controls may be 0 (those not in the low half), and 1 (in the high half). */
enum vmx_controls { PIN, PRIMARY, SECONDARY, EXIT, ENTRY, CONTROLS };
uint64_t vmx_choice(enum vmx_controls which);
bool vmx_has_rdtscp(void);
bool vmx_timer_rate(unsigned *rate); /* false: there is no preemption timer */
/* The bits of CR0 that VMX operation holds at 1 under an unrestricted guest. */
uint64_t vmx_cr0_ones(void);
/* What EPT this CPU has, for nested_ept; where a vCPU's tables begin, as the VMCS has it. */
void vmx_ept_features(void);
uint64_t vmx_ept_pointer(const struct vcpu *v);
/* VPIDs, where the CPU has them; true: this vCPU's may be another one's by now. */
void vmx_ask_vpids(void);
bool vmx_needs_vpid(const struct vmx *x);
/* The next entry finds nothing that the last ones have left, nor what nested tables allow less. */
void vmx_forget_translations(struct vcpu *v);
/* What the first four bytes of a VMCS and of VMXON's page must be. */
uint32_t vmx_revision(void);

/* What became of an entry. */
enum vmx_entry { ENTERED, NO_VMCS, REFUSED_VMCS };

/* capability.c: NULL, or what this CPU lacks, in a line. */
const char *vmx_probe(void);
/* Once, before anything else: 0, -ENOMEM, or -ENOSYS while that is not written. */
int vmx_prepare(void);
/* Unless it is so already. Other engines' guests must find the CPU as it was. */
void vmx_turn_on(void);
void vmx_turn_off(void);

/*
 * controls.c: what must exit. NULL, or which control this CPU lacks, where it has VT-x: of those
 * that are given, and of those that end a run.
 */
const char *vmx_lacks(void);
const char *vmx_lacks_exit(void);
/* For the VMCS: what Zeno wants of them, and what the CPU insists on. */
uint32_t vmx_controls(enum vmx_controls which);
void vmx_set_controls(struct vcpu *v);
void vmx_make_maps(void);

/* host.c: where the CPU comes back to; the host's GDTR and IDTR. */
struct vmx_tables {
	struct vmx_table {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdt, idt;
};
void vmx_set_host_state(void);

static inline void
vmx_tables_read(struct vmx_tables *t)
{
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(t->gdt), "=m"(t->idt));
}

static inline void
vmx_tables_load(const struct vmx_tables *t)
{
	__asm__ volatile("lgdt %0; lidt %1" : : "m"(t->gdt), "m"(t->idt));
}

/* Of a new VMCS: what every entry might write is 0 in it, and known to be. */
void vmx_write_known(struct vmx *x);

/* held.c: what holds interrupts back, and which #DB waits, into the VMCS and back. */
void vmx_held_to_vmcs(struct vcpu *v);
void vmx_held_from_vmcs(struct vcpu *v);

/* state.c: from the state to the VMCS what has changed, and back what every exit needs. */
#define VMX_CR4_GUEST                                                                             \
	((uint64_t)CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | \
	 CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_SMEP | CR4_SMAP)
/* Of CR0 what a guest sees from the shadow: VT-x wants NE, and CD and NW are the machine's. */
#define VMX_CR0_OWNED ((uint64_t)CR0_NE | CR0_CD | CR0_NW)
/* Of a field that every entry might write: VMWRITE is for what has changed. */
static inline void
vmx_put(enum vmcs_field field, uint64_t *known, uint64_t value)
{
	if (*known == value)
		return;
	*known = value;
	vmcs_write(field, value);
}

/* Into the VMCS what every entry takes there. */
static inline void
vmx_registers_to_vmcs(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);
	const struct cpu_state *s = &v->state;

	vmx_put(GUEST_RSP, &x->rsp, s->gpr[RSP]);
	vmx_put(GUEST_RIP, &x->rip, s->rip);
	vmx_put(GUEST_RFLAGS, &x->rflags, s->rflags);
}

/* That, and the groups that have changed. */
void vmx_state_to_vmcs(struct vcpu *v);
void vmx_state_from_vmcs(struct vcpu *v);
void vmx_fetch(struct vcpu *v, unsigned groups);
/* Of the VMCS: which MSRs go and come with the guest. */
void vmx_set_msr_lists(struct vmx *x);
/* vmx_enter(), and the registers that are in no VMCS: the guest's CR2, the host's own. */
enum vmx_entry vmx_enter_and_back(struct vmx *x, uint64_t gpr[GPR_COUNT]);

/*
 * enter.asm: VMLAUNCH or VMRESUME with these general registers, of which RSP is the VMCS's; they
 * have the guest's when it returns. ENTERED, or the CPU has refused, and no guest ran.
 */
int vmx_enter(uint64_t gpr[GPR_COUNT], bool launched);
extern const char vmx_exited[]; /* where the CPU comes back to */

/* exits.c: what the VMCS says of the exit, in neutral words. */
void vmx_translate(struct vcpu *v, struct exit *e);

/* show.c: all fields of the current VMCS in words, or those whose name begins so; 0. */
int vmx_show_vmcs(const char *wish);
/* ... before an entry, for what a debugger is told to have changed. */
void vmx_show_entry(struct vmx *x);

/* shadow.c: mmu=shadow. */
int vmx_shadow_init(struct vcpu *v);
void vmx_shadow_controls(struct vmx *x);
void vmx_shadow_registers(struct vmx *x, const struct cpu_state *s);
void vmx_shadow_registers_in(struct cpu_state *s, const struct vmx *x);
void vmx_shadow_enter(struct vcpu *v);

/* event.c */
enum injection vmx_inject(struct vcpu *v, const struct event *event);
int vmx_injected(struct vcpu *v);
void vmx_debug_controls(struct vcpu *v); /* of controls.c */
void vmx_window(struct vcpu *v);
/* What holds interrupts and NMIs back, for the VMCS. */
uint32_t vmx_interruptibility(const struct cpu_state *s);
/* What the CPU was delivering when it came back is put back to be delivered again. */
void vmx_take_back(struct vcpu *v);
