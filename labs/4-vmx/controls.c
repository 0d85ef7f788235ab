/*
 * What must exit: all that reaches beyond the guest's own machine. And the host's state, which the
 * CPU loads then.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/map.h>
#include <kern/trap.h>
#include <vmm/vmx/vmx.h>

#define MSR_PAT          0x277
#define MSR_FS_BASE      0xc0000100
#define MSR_GS_BASE      0xc0000101
#define MSR_KERNEL_GS    0xc0000102
#define EPTP_WRITE_BACK  6ul /* SDM 3C table 25-9 */
#define EPTP_FOUR_LEVELS (3ul << 3)

/*
 * SDM 3C 25.6.9: four maps of 1 KiB, a bit per MSR: reads of 0 to 1fff and of c0000000 to c0001fff,
 * then writes. And what the host has in MSRs that VT-x switches only by a list: nothing.
 */
static uint8_t msr_map[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static struct vmx_msr host_msr[VMX_MSRS] __attribute__((aligned(16)));

static const uint32_t listed[VMX_MSRS] = { MSR_STAR,   MSR_LSTAR,     MSR_CSTAR,
					   MSR_SFMASK, MSR_KERNEL_GS, MSR_TSC_AUX };

static void
let_pass(uint32_t high_msr)
{
	unsigned bit = high_msr & 0x1fff;

	msr_map[1024 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
	msr_map[3072 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* What the guest has to itself, since entry and exit move it, needs no exit. */
void
vmx_make_maps(void)
{
	memset(msr_map, 0xff, sizeof(msr_map));
	let_pass(MSR_FS_BASE);
	let_pass(MSR_GS_BASE);
	let_pass(MSR_KERNEL_GS);
	for (unsigned i = 0; i < VMX_MSRS; i++)
		host_msr[i].number = listed[i];
}

/* The last of the list is TSC_AUX, which comes and goes with RDTSCP. */
static unsigned
msr_count(void)
{
	return vmx_has_rdtscp() ? VMX_MSRS : VMX_MSRS - 1;
}

/*
 * No guest stays longer than a tick of the host's: every entry loads this anew. On a CPU that comes
 * back for the host's interrupts it hardly ever runs out.
 */
static void
set_timer(void)
{
	unsigned rate;
	uint64_t tick;

	if (!vmx_timer_rate(&rate))
		return;
	tick = clock_tsc_hz() / TICK_HZ >> rate;
	vmcs_write(PREEMPTION_TIMER, tick ? tick : 1); /* with 0 the guest would never begin */
}

/*
 * The initial values of a VMCS beside the guest's state: the field, its value, and why. Fields that
 * are not here have no meaning with these controls.
 */
void
vmx_set_controls(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);
	const uint64_t guest_msr = mfn_to_hpa(ptr_mfn(x)).v + offsetof(struct vmx, guest_msr);
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} initial[] = {
		{ PIN_CONTROLS, vmx_controls(PIN) }, /* what comes from outside is the host's */
		{ PRIMARY_CONTROLS, vmx_controls(PRIMARY) },
		{ SECONDARY_CONTROLS, vmx_controls(SECONDARY) },
		{ EXIT_CONTROLS, vmx_controls(EXIT) },
		{ ENTRY_CONTROLS, vmx_controls(ENTRY) },
		{ EXCEPTION_BITMAP, x->exceptions },
		{ PAGE_FAULT_MASK, 0 }, /* every #PF is like the others */
		{ PAGE_FAULT_MATCH, 0 },
		{ CR3_TARGET_COUNT, 0 },    /* CR3 is the guest's own */
		{ CR0_MASK, x->cr0_owned }, /* NE is on, the caches are the machine's */
		{ CR4_MASK, x->cr4_owned }, /* VMXE among them */
		{ MSR_BITMAP, (uint64_t)msr_map - KB },
		{ ENTRY_MSR_LOAD, guest_msr }, /* the guest's own ... */
		{ ENTRY_MSR_LOAD_COUNT, msr_count() },
		{ EXIT_MSR_STORE, guest_msr }, /* ... which swapgs changes unseen */
		{ EXIT_MSR_STORE_COUNT, msr_count() },
		{ EXIT_MSR_LOAD, (uint64_t)host_msr - KB }, /* no LSTAR of a guest's stays */
		{ EXIT_MSR_LOAD_COUNT, msr_count() },
		{ EPT_POINTER, mfn_to_hpa(v->root).v | EPTP_FOUR_LEVELS | EPTP_WRITE_BACK },
		{ LINK_POINTER, ~0ul }, /* SDM 3C 25.4.2: no shadow VMCS */
		{ GUEST_DEBUGCTL, 0 },  /* no branch trap: TF steps instructions */
		{ GUEST_ACTIVITY, 0 },  /* it runs: hlt is an exit */
		{ GUEST_PENDING_DEBUG, 0 },
		{ ENTRY_EVENT, 0 },
	};

	for (unsigned i = 0; i < VMX_MSRS; i++)
		x->guest_msr[i].number = listed[i];
	for (unsigned i = 0; i < ARRAY_LEN(initial); i++)
		vmcs_write(initial[i].field, initial[i].value);
	set_timer();
	x->primary = vmx_controls(PRIMARY);
	if (x->shadowed)
		vmx_shadow_controls(x);
}

struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* A TSS's base is in four pieces (SDM 3A figure 8-4). */
static uint64_t
tss_base(void)
{
	const volatile uint64_t *d = (const volatile uint64_t *)(GDT_WINDOW + HOST_TSS);

	return (d[0] >> 16 & 0xffffff) | (d[0] >> 56) << 24 | d[1] << 32;
}

/* SDM 3C 25.5 "Host-State Area". Selectors of data segments are 0, as the host has them. */
void
vmx_set_host_state(void)
{
	struct table gdt, idt;

	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdt), "=m"(idt));
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} host[] = {
		{ HOST_CS_SELECTOR, HOST_CS64 },
		{ HOST_SS_SELECTOR, 0 },
		{ HOST_DS_SELECTOR, 0 },
		{ HOST_ES_SELECTOR, 0 },
		{ HOST_FS_SELECTOR, 0 }, /* the host uses neither FS nor GS */
		{ HOST_GS_SELECTOR, 0 },
		{ HOST_TR_SELECTOR, HOST_TSS },
		{ HOST_FS_BASE, 0 },
		{ HOST_GS_BASE, 0 },
		{ HOST_TR_BASE, tss_base() },
		{ HOST_GDTR_BASE, gdt.base },
		{ HOST_IDTR_BASE, idt.base },
		{ HOST_CR0, read_cr0() },
		{ HOST_CR3, mfn_to_hpa(host_root).v },
		{ HOST_CR4, read_cr4() },
		{ HOST_EFER, rdmsr(MSR_EFER) },
		{ HOST_PAT, rdmsr(MSR_PAT) },
		{ HOST_SYSENTER_CS, 0 }, /* sysenter is #GP */
		{ HOST_SYSENTER_ESP, 0 },
		{ HOST_SYSENTER_EIP, 0 },
		{ HOST_RIP, (uint64_t)vmx_exited },
	};

	for (unsigned i = 0; i < ARRAY_LEN(host); i++)
		vmcs_write(host[i].field, host[i].value);
}

/* For a debugger, before an entry. A breakpoint, int1, is a #DB, which is caught anyway. */
void
vmx_debug_controls(struct vcpu *v)
{
	vmcs_write(EXCEPTION_BITMAP, vmx_of(v)->exceptions | (v->debug.step ? STEP_EXCEPTIONS : 0));
}
