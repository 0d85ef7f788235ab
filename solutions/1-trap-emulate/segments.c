/*
 * The shadow of a descriptor: what the CPU may load on the guest's behalf. Lab 1A, exercise 1.3.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/te/te.h>

/* EXERCISE 1.0: free region for helpers of your own. */
/* END EXERCISE 1.0 */

/*
 * Cuts the limit of d (present, code or data, expand-up) so that its last byte lies below `window`.
 * 0 if nothing of it does.
 */
static uint64_t
truncate(uint64_t d, uint64_t window)
{
	/* EXERCISE 1.3a: Compare desc_base(d) + desc_limit(d) with the window, without an overflow in 32 bits,
	 * and cut with desc_with_limit(). A segment that starts at or beyond the window has no bytes to give: 0.
	 * A segment may also run over the end of the 4 GiB and begin again at 0: it crosses the window, too.
	 * (SDM 3A 5.3 "Limit Checking")
	 * until then: return d;
	 */
	uint64_t base = desc_base(d);

	if (base >= window)
		return 0;
	if (base + desc_limit(d) >= window)
		return desc_with_limit(d, window - 1 - base);
	return d;
	/* END EXERCISE 1.3a */
}

/*
 * The shadow of a descriptor of the guest's kernel; 0, "not present", where it has none. Pure: the
 * same for GDT, LDT and the host tests. `window` is the linear address at which the guest's memory
 * ends.
 */
uint64_t
shadow_descriptor(uint64_t guest, uint64_t window)
{
	uint64_t d = guest;

	/* EXERCISE 1.3b: The rules, in this order (see "The window and the shadow tables" in lab1a.md):
	 * only present code and data segments (S=1) have a shadow; gates, TSSs and LDTs never do (what could a
	 * call gate do? SDM 3A 5.8.3). DPL 0 becomes DPL 1; DPL 1 and 2 have no shadow; neither has *code* of
	 * DPL 3, for an iret from ring 1 to ring 3 does not trap. Code must not be conforming, for the same reason
	 * (SDM 3A 5.8.1.2), nor long: clear C and L (what is ring 1 in 64-bit mode to the pager? SDM 3A 4.6). A is set, so
	 * that the CPU never writes. Expand-down data grows towards the window: only one that cannot reach it,
	 * D/B=0 and below the window with 64 KiB from its base, is kept. The rest is truncate().
	 * until then: d = (d & ~DESC_DPL_MASK) | DESC_DPL(GUEST_KERNEL_RING) | DESC_A;
	 */
	if (!(d & DESC_P) || !(d & DESC_S))
		return 0;
	if (desc_dpl(d) == 1 || desc_dpl(d) == 2 || (desc_dpl(d) == 3 && d & DESC_CODE))
		return 0;
	if (desc_dpl(d) == 0)
		d |= DESC_DPL(GUEST_KERNEL_RING);
	d |= DESC_A;
	if (d & DESC_CODE)
		d &= ~(DESC_L | DESC_EC);
	else if (d & DESC_EC)
		return !(d & DESC_DB) && desc_base(d) + 0x10000ull <= window ? d & ~DESC_L : 0;
	d &= ~DESC_L;
	/* END EXERCISE 1.3b */
	return truncate(d, window);
}
