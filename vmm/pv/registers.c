/*
 * Registers of the CPU's that a PV kernel has by hypercalls: bases of FS and GS, breakpoints,
 * CR0.TS, the I/O privilege level.
 */
#include <inc/errno.h>
#include <inc/xen_events.h>
#include <kern/cpu.h>
#include <kern/fpu.h>
#include <vmm/cpu_setup.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

#define BREAKPOINTS  4u
#define DR7_WRITABLE 0xffff03fful

/* ---- bases ---- */

void
pv_load_bases(const struct vcpu *v)
{
	wrmsr(MSR_FS_BASE, v->state.seg[SEG_FS].base);
	wrmsr(MSR_GS_BASE, v->state.seg[SEG_GS].base);
}

/* Behind an exit: a selector that the guest has loaded brought a base of its descriptor's. */
void
pv_keep_bases(struct vcpu *v)
{
	v->state.seg[SEG_FS].base = rdmsr(MSR_FS_BASE);
	v->state.seg[SEG_GS].base = rdmsr(MSR_GS_BASE);
}

/*
 * The kernel's GS and its user's: one of them is in the CPU, and a selector may have brought it
 * there of which no exit has told.
 */
void
pv_swap_gs(struct vcpu *v)
{
	uint64_t other = v->state.kernel_gs_base;

	v->state.kernel_gs_base = rdmsr(MSR_GS_BASE);
	v->state.seg[SEG_GS].base = other;
	wrmsr(MSR_GS_BASE, other);
}

/* Any address: what lies there is the page tables' to say. */
int
pv_set_base(struct vcpu *v, uint64_t *base, uint64_t value)
{
	if (!pv_is_canonical(value))
		return -EINVAL;
	*base = value;
	if (base == &v->state.seg[SEG_FS].base)
		wrmsr(MSR_FS_BASE, value);
	if (base == &v->state.seg[SEG_GS].base)
		wrmsr(MSR_GS_BASE, value);
	return 0;
}

int64_t
pv_call_set_segment_base(struct vcpu *v, struct pv_call *c)
{
	switch ((uint32_t)c->arg[0]) {
	case XEN_SEGBASE_FS:
		return pv_set_base(v, &v->state.seg[SEG_FS].base, c->arg[1]);
	case XEN_SEGBASE_GS_USER: /* it is the kernel that asks */
		return pv_set_base(v, &v->state.kernel_gs_base, c->arg[1]);
	case XEN_SEGBASE_GS_KERNEL:
		return pv_set_base(v, &v->state.seg[SEG_GS].base, c->arg[1]);
	case XEN_SEGBASE_GS_USER_SEL:
		pv_set_user_gs(v, (uint16_t)c->arg[1]);
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- breakpoints ---- */

/*
 * One on data is refused: behind a `mov ss` from there the CPU keeps it for the next instruction's
 * end (SDM 3A 6.8.3), which may be the first of the host's handler of another #DB.
 */
static bool
watches_data(uint64_t dr7)
{
	for (unsigned n = 0; n < BREAKPOINTS; n++)
		if (DR7_ENABLED(dr7, n) && DR7_KIND(dr7, n) != DR7_EXECUTE)
			return true;
	return false;
}

/* What is the CPU's while the guest runs. None is armed whose address is Zeno's (cpu_setup.h). */
void
pv_load_breakpoints(const struct vcpu *v)
{
	uint64_t dr[8];

	if (!(v->state.dr[7] & DR7_ANY)) {
		debug_registers_clear();
		return;
	}
	memcpy(dr, v->state.dr, sizeof(dr));
	dr[6] = DR6_RESET;
	dr[7] = breakpoints_allowed(v->state.dr);
	debug_registers_restore(dr);
}

int
pv_write_dr(struct vcpu *v, uint64_t n, uint64_t value)
{
	if (n > 7 || n == 4 || n == 5)
		return -ENODEV;
	if (n < 4 && !pv_is_guests(value, 8))
		return -EPERM;
	if (n >= 6 && value >> 32)
		return -EINVAL;
	if (n == 7 && (value & DR7_GD || watches_data(value)))
		return -EPERM;
	if (n == 6)
		value = (value & ~0x1000ul) | DR6_RESET;
	if (n == 7)
		value = (value & DR7_WRITABLE) | DR7_RESET;
	v->state.dr[n] = value;
	if (v == pv_running)
		pv_load_breakpoints(v);
	return 0;
}

int64_t
pv_call_set_debugreg(struct vcpu *v, struct pv_call *c)
{
	return pv_write_dr(v, c->arg[0], c->arg[1]);
}

int64_t
pv_call_get_debugreg(struct vcpu *v, struct pv_call *c)
{
	uint64_t n = c->arg[0];

	return n > 7 || n == 4 || n == 5 ? -ENODEV : (int64_t)v->state.dr[n];
}

/* ---- others ---- */

int64_t
pv_call_fpu_taskswitch(struct vcpu *v, struct pv_call *c)
{
	pv_set_ts(v, c->arg[0]);
	return 0;
}

/* A domain without devices has ports that nobody answers at. Lab 7's has interrupt lines, too. */
int64_t
pv_call_physdev_op(struct vcpu *v, struct pv_call *c)
{
	uint32_t iopl;

	if ((uint32_t)c->arg[0] != XEN_PHYSDEVOP_set_iopl)
		return -ENOSYS;
	if (pv_read(v, &iopl, c->arg[1], sizeof(iopl)))
		return -EFAULT;
	if (iopl > 3)
		return -EINVAL;
	pv_of(v)->iopl = (uint8_t)iopl;
	return 0;
}
