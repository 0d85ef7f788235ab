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
	 * Hint: who may answer your question, and how do you know that it can be asked?
	 * Hint: three doors, each behind the one before: does the CPU say yes, has the
	 *  firmware locked it out, is there what Zeno wants besides? The second one has a
	 *  key and a bolt: it is shut only if the bolt is drawn and the key is not in it.
	 * Hint: for AMD-V the doors would be: the last extended leaf is 8000000A or more;
	 *  bit 2 in ECX of leaf 80000001; only then does VM_CR exist, whose bit 4 says that
	 *  firmware forbids it; and nested paging in the leaf of its own.
	 * until then: return "nobody has looked yet";
	 */
	uint32_t r[4];
	uint64_t feature;

	cpuid(1, 0, r);
	if (!(r[2] & 1u << 5))
		return "this CPU has no VT-x (CPUID 1, ECX bit 5)";
	feature = rdmsr(MSR_FEATURE_CONTROL);
	if (feature & FEATURE_LOCKED && !(feature & FEATURE_VMX))
		return "the firmware has disabled VT-x (IA32_FEATURE_CONTROL)";
	return vmx_lacks();
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
	 * Hint: a frame has a number, an address in Zeno's map, and one in the machine:
	 *  which of the three does each of these functions give?
	 * Hint: one page, two views: through the one you write, the other you hand on.
	 * Hint: on AMD-V it is a page, too: allocated like any other, its machine address
	 *  goes to VM_HSAVE_PA, and not a byte of it is written by Zeno: AMD's CPU asks for
	 *  no revision.
	 * until then: return -ENOSYS;
	 */
	mfn_t page = frame_alloc(FRAME_HOST, OWNER_HOST);

	if (!mfn_ok(page))
		return -ENOMEM;
	*(uint32_t *)mfn_ptr(page) = vmx_revision();
	*region = mfn_to_hpa(page);
	return 0;
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
	 * Hint: four bits: a CPU that wants a 1, one that wants a 0, and one that does not
	 *  mind. How do two registers say so of each bit?
	 * Hint: for three bits, 010 in the first and 011 in the second: the leftmost must be
	 *  0, the middle one must be 1, the last is as it was. Three ways to be wrong: to
	 *  write one of the two as it is, to forget either, to forget what was there.
	 * Hint: on AMD-V there is one switch, and nothing is fixed: EFER is read, bit 12
	 *  comes on top, and it is written back. Who locks is VM_CR.
	 * until then: return -ENOSYS;
	 */
	uint64_t feature = rdmsr(MSR_FEATURE_CONTROL);

	if (!(feature & FEATURE_LOCKED))
		wrmsr(MSR_FEATURE_CONTROL, feature | FEATURE_LOCKED | FEATURE_VMX);
	write_cr0((read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0)) & rdmsr(MSR_VMX_CR0_FIXED1));
	write_cr4((read_cr4() | rdmsr(MSR_VMX_CR4_FIXED0)) & rdmsr(MSR_VMX_CR4_FIXED1));
	vmx_vmxon(region.v);
	return 0;
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
