/*
 * The platform `pc-apic`: the modes of its local APICs, and their registers as MSRs.
 */
#include <vmm/dev/apic/pc_apic.h>
#include <vmm/dev/platform.h>
#include <vmm/dev/x2apic/x2apic.h>

#define ICR_TO_SELF (APIC_SELF << 18)

static void
change_mode(struct vcpu *v, uint64_t base)
{
	v->state.apic_base = base;
	vcpu_changed(v, STATE_MSR);
	x2apic_mode(lapic_of(v), base, (uint8_t)v->number, pc_has_deadlines());
}

/* SDM 3A 11.12.11 "SELF IPI Register": as by ICR, which keeps what it has. */
static void
write_register(struct vcpu *v, unsigned reg, uint64_t value)
{
	struct lapic *l = lapic_of(v);
	uint32_t icr = l->icr[0];

	if (reg == X2_SELF_IPI) {
		pc_lapic_write(v, LAPIC_REG_ICR, ICR_TO_SELF | (uint32_t)value);
		l->icr[0] = icr;
		return;
	}
	if (reg == LAPIC_REG_ICR)
		l->icr[1] = (uint32_t)(value >> 32);
	pc_lapic_write(v, reg, (uint32_t)value);
}

bool
x2apic_msr(struct vcpu *v, uint32_t n, bool write, uint64_t *value)
{
	struct lapic *l = lapic_of(v);

	if (n == MSR_APIC_BASE && write) {
		if (!x2apic_allows(v->state.apic_base, *value))
			return false;
		change_mode(v, *value);
	} else if (n < X2_FIRST || n > X2_LAST) {
		return pc_msr(v, n, write, value);
	} else if (write) {
		if (!x2apic_takes(l, n, *value))
			return false;
		write_register(v, (n - X2_FIRST) << 4, *value);
	} else if (!x2apic_read(l, n, domain_now(v->domain), value)) {
		return false;
	}
	platform_lines(v->domain);
	return true;
}

/* It keeps its mode, and its ID (SDM 3A 11.4.7.3, 11.12.5.1). */
void
x2apic_init_ipi(struct vcpu *v)
{
	struct lapic *l = lapic_of(v);
	uint64_t base = APIC_BASE_ENABLED | (l->x2 ? APIC_BASE_X2 : 0);

	lapic_init(l, (uint8_t)(l->x2 ? v->number : l->id >> 24), pc_has_deadlines());
	x2apic_mode(l, base, (uint8_t)v->number, pc_has_deadlines());
}
