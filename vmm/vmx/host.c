/*
 * The host's state, which the CPU loads at an exit.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/map.h>
#include <kern/trap.h>
#include <vmm/vmx/vmx.h>

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
	struct vmx_tables now;

	vmx_tables_read(&now);
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} host[] = {
		{ HOST_CS_SELECTOR, HOST_CS64 }, /* the host goes on in 64-bit code */
		{ HOST_SS_SELECTOR, 0 },
		{ HOST_DS_SELECTOR, 0 },
		{ HOST_ES_SELECTOR, 0 },
		{ HOST_FS_SELECTOR, 0 }, /* the host uses neither FS nor GS */
		{ HOST_GS_SELECTOR, 0 },
		{ HOST_TR_SELECTOR, HOST_TSS }, /* can't be 0: NMIs and #DF have stacks in it */
		{ HOST_FS_BASE, 0 },
		{ HOST_GS_BASE, 0 },
		{ HOST_TR_BASE, tss_base() }, /* no exit reads the GDT */
		{ HOST_GDTR_BASE, now.gdt.base },
		{ HOST_IDTR_BASE, now.idt.base },
		{ HOST_CR0, read_cr0() },              /* behind VMXON, whose bits they must have */
		{ HOST_CR3, mfn_to_hpa(host_root).v }, /* no guest's root: it may go first */
		{ HOST_CR4, read_cr4() },
		{ HOST_EFER, rdmsr(MSR_EFER) }, /* the guest's is loaded, too */
		{ HOST_PAT, rdmsr(MSR_PAT) },   /* ... or its types would be the host's */
		{ HOST_SYSENTER_CS, 0 },        /* sysenter is #GP */
		{ HOST_SYSENTER_ESP, 0 },
		{ HOST_SYSENTER_EIP, 0 },
		{ HOST_RIP, (uint64_t)vmx_exited },
	};

	for (unsigned i = 0; i < ARRAY_LEN(host); i++)
		vmcs_write(host[i].field, host[i].value);
}
