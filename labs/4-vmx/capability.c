/*
 * Lab 4, exercise 4.1: is VT-x there, may it be turned on, and on it goes.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/vmx/vmx.h>

static hpa_t vmxon_region;
static bool is_on, prepared;
static uint64_t cr0_changed, cr4_changed; /* bits that are otherwise while it is on */

/* EXERCISE 4.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4.0 */

/* What `engines` prints, and `start` before it makes a guest. */
const char *
vmx_probe(void)
{
	/*
	 * EXERCISE 4.1a: is it there?
	 * Holds: NULL where this CPU runs guests as Zeno wants it; else a line for a person,
	 *  another one for each thing that can be missing: VT-x, the firmware's leave, a
	 *  control.
	 * Beware: of other makers' CPUs: a register that is not there faults. Firmware may
	 *  have left the question open, and nothing is answered here by writing.
	 * Manual: SDM 3C "Discovering Support for VMX", "Enabling and Entering VMX
	 *  Operation".
	 * Tools: cpuid(), rdmsr(), vmx_lacks(), vmx_revision(), vmx_timer_rate() of vmm/vmx/vmx.h
	 */
	exercise_todo("4.1", "handouts/lab4a.md#ex-4-1");
	return "nobody has looked yet";
	/* END EXERCISE 4.1a */
}

/* Called once, on a CPU that vmx_probe() has found good. 0, or -ENOMEM. */
static int
make_region(hpa_t *region)
{
	/*
	 * EXERCISE 4.1b: what the CPU keeps for itself
	 * Holds: *region names a page that VMXON takes and nobody else has; or there is no
	 *  memory for it.
	 * Beware: the CPU knows of machine addresses only, and looks at the page's first
	 *  bytes before it takes it.
	 * Manual: SDM 3C "VMXON Region"; SDM 3D "Basic VMX Information".
	 * Tools: frame_alloc() of kern/frame.h, mfn_ok(), mfn_ptr(), mfn_to_hpa(), ptr_mfn()
	 *  of kern/map.h, vmx_revision() of vmm/vmx/vmx.h
	 */
	exercise_todo("4.1", "handouts/lab4a.md#ex-4-1");
	return -ENOSYS;
	/* END EXERCISE 4.1b */
}

/* Called while it is off, on a CPU that vmx_probe() has found good. 0. */
static int
enable(hpa_t region)
{
	/*
	 * EXERCISE 4.1c: is it on?
	 * Holds: the CPU is in VMX operation, with this region; the control registers and the
	 *  firmware's MSR have what that wants, else are as before.
	 * Beware: firmware may not have decided; once it has, a write faults. Which bits are
	 *  fixed, and at what, each CPU says for itself. Zeno comes here again after each
	 *  VMXOFF.
	 * Manual: SDM 3C "Restrictions on VMX Operation"; SDM 3D "VMX-Fixed Bits in CR0",
	 *  "VMX-Fixed Bits in CR4".
	 * Tools: rdmsr(), read_cr0(), read_cr3(), read_cr4(), vmx_vmxon() of vmm/vmx/vmcs.h,
	 *  write_cr0(), write_cr4(), wrmsr()
	 */
	exercise_todo("4.1", "handouts/lab4a.md#ex-4-1");
	return -ENOSYS;
	/* END EXERCISE 4.1c */
}

/* A bit that VMX operation fixes stays as it is meanwhile: so vmx_turn_off() can turn it back. */
static int
turn_on(void)
{
	uint64_t cr0 = read_cr0(), cr4 = read_cr4();
	int err = enable(vmxon_region);

	cr0_changed = cr0 ^ read_cr0();
	cr4_changed = cr4 ^ read_cr4();
	is_on = !err;
	return err;
}

int
vmx_prepare(void)
{
	int err;

	if (prepared)
		return 0;
	err = make_region(&vmxon_region);
	if (err)
		return err;
	err = turn_on();
	if (err) {
		frame_put(hpa_to_mfn(vmxon_region));
		return err;
	}
	vmx_ask_cpu();
	vmx_turn_off();
	prepared = true;
	return 0;
}

void
vmx_turn_on(void)
{
	if (!is_on)
		(void)turn_on(); /* it was on in vmx_prepare() */
}

void
vmx_turn_off(void)
{
	if (!is_on)
		return;
	vmx_vmxoff();
	write_cr4(read_cr4() ^ cr4_changed);
	write_cr0(read_cr0() ^ cr0_changed);
	is_on = false;
}
