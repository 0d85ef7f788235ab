/*
 * x2APIC mode. x2apic.h says what stands here, and which manual is meant.
 */
#include <stddef.h>

#include <vmm/dev/x2apic/x2apic.h>

#define LVT_STATUS 0x1000u /* can be written, and is not changed */
#define LVT_REMOTE 0x4000u

/* SDM 3A table 11-6 "Local APIC Register Address Map Supported by x2APIC". */
static const struct x2_register {
	uint16_t first, last;
	bool reads, writes;
	uint64_t bits; /* that can be written; another one is #GP */
} registers[] = {
	{ LAPIC_REG_ID, LAPIC_REG_VERSION, true, false, 0 },
	{ LAPIC_REG_TPR, LAPIC_REG_TPR, true, true, 0xff },
	{ LAPIC_REG_PPR, LAPIC_REG_PPR, true, false, 0 },
	{ LAPIC_REG_EOI, LAPIC_REG_EOI, false, true, 0 },
	{ LAPIC_REG_LDR, LAPIC_REG_LDR, true, false, 0 },
	{ LAPIC_REG_SVR, LAPIC_REG_SVR, true, true, 0x1ff },
	{ LAPIC_REG_ISR, LAPIC_REG_ESR - 0x10, true, false, 0 },
	{ LAPIC_REG_ESR, LAPIC_REG_ESR, true, true, 0 },
	{ LAPIC_REG_ICR, LAPIC_REG_ICR, true, true, 0xffffffff000ccffful },
	{ LAPIC_REG_LVT, LAPIC_REG_INITIAL - 0x10, true, true, 0 }, /* lapic_lvt_bits() */
	{ LAPIC_REG_INITIAL, LAPIC_REG_INITIAL, true, true, 0xffffffff },
	{ LAPIC_REG_CURRENT, LAPIC_REG_CURRENT, true, false, 0 },
	{ LAPIC_REG_DIVIDE, LAPIC_REG_DIVIDE, true, true, 0xb },
	{ X2_SELF_IPI, X2_SELF_IPI, false, true, 0xff },
};

static const struct x2_register *
register_of(unsigned offset)
{
	for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
		if (offset >= registers[i].first && offset <= registers[i].last)
			return &registers[i];
	return NULL;
}

bool
x2apic_allows(uint64_t base, uint64_t next)
{
	uint64_t from = base & APIC_BASE_MODE, to = next & APIC_BASE_MODE;

	if (to == APIC_BASE_X2 || (base ^ next) & ~APIC_BASE_MODE)
		return false;
	if (from == APIC_BASE_MODE)
		return to != APIC_BASE_ENABLED;
	return from || to != APIC_BASE_MODE;
}

/* SDM 3A 11.12.5.1: who turns it off loses all it holds; ID and LDR are the CPU's own, then. */
void
x2apic_mode(struct lapic *l, uint64_t base, uint8_t number, bool has_deadline)
{
	bool x2 = base & APIC_BASE_X2, off = !(base & APIC_BASE_ENABLED);

	if (off && !l->off)
		lapic_init(l, number, has_deadline);
	l->off = off;
	if (x2 && !l->x2) {
		l->id = number;
		l->ldr = (uint32_t)(number & ~0xfu) << 12 | 1u << (number & 0xf);
		l->icr[1] = 0;
	}
	l->x2 = x2;
}

bool
x2apic_read(struct lapic *l, uint32_t msr, uint64_t now, uint64_t *value)
{
	unsigned offset = (msr - X2_FIRST) << 4;
	const struct x2_register *r = register_of(offset);

	if (!l->x2 || !r || !r->reads)
		return false;
	*value = lapic_read(l, offset, now);
	if (offset == LAPIC_REG_ICR)
		*value |= (uint64_t)l->icr[1] << 32;
	return true;
}

bool
x2apic_takes(const struct lapic *l, uint32_t msr, uint64_t value)
{
	unsigned offset = (msr - X2_FIRST) << 4, entry = (offset - LAPIC_REG_LVT) >> 4;
	const struct x2_register *r = register_of(offset);
	uint64_t bits;

	if (!l->x2 || !r || !r->writes)
		return false;
	bits = r->bits;
	if (r->first == LAPIC_REG_LVT)
		bits = lapic_lvt_bits(l, entry) | LVT_STATUS;
	if (r->first == LAPIC_REG_LVT && (entry == LVT_LINT0 || entry == LVT_LINT1))
		bits |= LVT_REMOTE;
	return !(value & ~bits);
}
