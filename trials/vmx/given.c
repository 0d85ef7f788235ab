/*
 * What is given of a VMCS to a guest of a few bytes of code, and the same guest as a state.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <vmm/cpu_setup.h>
#include <trials/vmx/first.h>

#define FLAT_CODE            0xc09bu /* SDM 3C table 25-2: G, D, present, code, read, accessed */
#define FLAT_DATA            0xc093u /* ... data, write */
#define FLAT_DATA_ATTR       (ATTR_G | ATTR_DB | ATTR_P | ATTR_S | ATTR_RW | ATTR_A) /* a state's */
#define FLAT_FIRST_CODE_ATTR (FLAT_DATA_ATTR | ATTR_CODE)
#define BUSY_TSS             0x8bu /* VM entry wants one, although nobody uses it */
#define HLT_EXITING          (1u << 7)

static uint64_t
controls(enum vmx_controls which, uint32_t wanted)
{
	return (uint32_t)vmx_choice(which) | wanted;
}

/*
 * What must exit, and what is not the guest's to choose. Of all else the guest has nothing: no
 * lists of MSRs, no event.
 */
void
vmx_given_controls(hpa_t tables)
{
	unsigned rate;
	uint32_t timer = vmx_timer_rate(&rate) ? PIN_TIMER : 0;
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ PIN_CONTROLS, controls(PIN, PIN_EXTERNAL_INTERRUPT | PIN_NMI | timer) },
		{ PRIMARY_CONTROLS, controls(PRIMARY, HLT_EXITING | PRIMARY_SECONDARY) },
		{ SECONDARY_CONTROLS, controls(SECONDARY, SECONDARY_EPT | SECONDARY_UNRESTRICTED) },
		{ EXIT_CONTROLS, controls(EXIT, EXIT_HOST_LONG | EXIT_LOAD_EFER | EXIT_LOAD_PAT) },
		{ ENTRY_CONTROLS, controls(ENTRY, ENTRY_LOAD_EFER) },
		{ EPT_POINTER, tables.v | EPTP_FOUR_LEVELS | EPTP_WRITE_BACK },
		{ LINK_POINTER, ~0ul }, /* SDM 3C 25.4.2: no shadow VMCS */
		{ EXCEPTION_BITMAP, 0 },
		{ CR3_TARGET_COUNT, 0 },
		{ ENTRY_MSR_LOAD_COUNT, 0 },
		{ EXIT_MSR_STORE_COUNT, 0 },
		{ EXIT_MSR_LOAD_COUNT, 0 },
		{ ENTRY_EVENT, 0 },
		{ CR0_MASK, 0 },
		{ CR4_MASK, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
}

/* Flat 32-bit protected mode without paging, as a boot loader would leave it. */
void
vmx_given_state(void)
{
	static const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ GUEST_CR3, 0 },
		{ GUEST_EFER, 0 },
		{ GUEST_DR7, DR7_RESET },
		{ GUEST_DEBUGCTL, 0 },
		{ GUEST_ACTIVITY, 0 },
		{ GUEST_INTERRUPTIBILITY, 0 },
		{ GUEST_PENDING_DEBUG, 0 },
		{ GUEST_GDTR_BASE, 0 },
		{ GUEST_GDTR_LIMIT, 0 },
		{ GUEST_IDTR_BASE, 0 },
		{ GUEST_IDTR_LIMIT, 0 },
		{ GUEST_SYSENTER_CS, 0 },
		{ GUEST_SYSENTER_ESP, 0 },
		{ GUEST_SYSENTER_EIP, 0 },
		{ GUEST_RFLAGS, FLAG_ONE },
		{ GUEST_RIP, FIRST_CODE_AT },
		{ GUEST_RSP, FIRST_CODE_AT + PAGE_SIZE },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
	vmcs_write(GUEST_CR0, vmx_cr0_ones() | CR0_PE | CR0_ET);
	vmcs_write(GUEST_CR4, rdmsr(MSR_VMX_CR4_FIXED0));
	for (unsigned n = 0; n <= SEGMENT_TR; n++) {
		vmcs_write(SEGMENT_FIELD(GUEST_ES, n), n == SEG_CS ? 8 : 16);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_BASE, n), 0);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_LIMIT, n), ~0u);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, n), n == SEG_CS ? FLAT_CODE : FLAT_DATA);
	}
	vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEGMENT_LDTR), RIGHTS_UNUSABLE);
	vmcs_write(SEGMENT_FIELD(GUEST_ES_LIMIT, SEGMENT_TR), 0x67);
	vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEGMENT_TR), BUSY_TSS);
}

/* What goes with a vCPU's state: all of it, and back. */
void
vmx_given_ways(struct vmx *x)
{
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ PRIMARY_CONTROLS,
		  controls(PRIMARY, HLT_EXITING | PRIMARY_TSC_OFFSET | PRIMARY_SECONDARY) },
		{ EXIT_CONTROLS, controls(EXIT, EXIT_SAVE_DEBUG | EXIT_HOST_LONG | EXIT_LOAD_PAT |
							EXIT_SAVE_EFER | EXIT_LOAD_EFER) },
		{ ENTRY_CONTROLS,
		  controls(ENTRY, ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER) },
		{ CR0_MASK, x->cr0_owned },
		{ CR4_MASK, x->cr4_owned },
		{ GUEST_DEBUGCTL, 0 },
		{ GUEST_ACTIVITY, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
	vmx_set_msr_lists(x);
	vmx_write_known(x);
}

/* The same guest as a state, of a vCPU that is nobody's. */
struct vcpu *
vmx_given_vcpu(struct vmx *x, hpa_t vmcs)
{
	static struct vcpu vcpu;
	struct cpu_state *s = &vcpu.state;

	*x = (struct vmx){ .vmcs_at = vmcs,
			   .vcpu = &vcpu,
			   .cr0_owned = VMX_CR0_OWNED,
			   .cr4_owned = ~VMX_CR4_GUEST };
	vcpu = (struct vcpu){ .engine_data = x, .valid = STATE_ALL, .dirty = STATE_ALL };
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct segment){ .sel = 16, .attr = FLAT_DATA_ATTR, .limit = ~0u };
	s->seg[SEG_CS] = (struct segment){ .sel = 8, .attr = FLAT_FIRST_CODE_ATTR, .limit = ~0u };
	s->tr = (struct segment){ .attr = BUSY_TSS, .limit = 0x67 };
	s->cr0 = CR0_PE | CR0_ET;
	s->dr[6] = DR6_RESET;
	s->dr[7] = DR7_RESET;
	s->pat = FIRST_PAT;
	s->rflags = FLAG_ONE;
	s->rip = FIRST_CODE_AT;
	s->gpr[RSP] = FIRST_CODE_AT + PAGE_SIZE;
	return &vcpu;
}
