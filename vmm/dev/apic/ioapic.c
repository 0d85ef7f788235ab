/*
 * The I/O APIC. ioapic.h says what is modelled, and which datasheet is meant.
 */
#include <vmm/dev/apic/ioapic.h>

void
ioapic_init(struct ioapic *io)
{
	*io = (struct ioapic){ .version = IOAPIC_STATE };
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		io->entry[i] = ENTRY_MASKED;
}

/* An edge is remembered until it is sent, a level lasts as long as the line does. */
void
ioapic_set(struct ioapic *io, unsigned pin, bool level)
{
	uint32_t bit = 1u << pin;
	bool rises = level && !(io->lines & bit);

	io->lines = level ? io->lines | bit : io->lines & ~bit;
	if (io->entry[pin] & ENTRY_LEVEL)
		io->irr = level ? io->irr | bit : io->irr & ~bit;
	else if (rises && !(io->entry[pin] & ENTRY_MASKED))
		io->irr |= bit;
}

/* One that a CPU has in service and has not ended yet does not come again: remote IRR. */
static bool
is_due(const struct ioapic *io, unsigned pin)
{
	uint64_t e = io->entry[pin];

	return io->irr >> pin & 1 && !(e & (ENTRY_MASKED | ENTRY_REMOTE_IRR));
}

bool
ioapic_next(struct ioapic *io, struct apic_message *m)
{
	for (unsigned pin = 0; io->irr && pin < IOAPIC_PINS; pin++) {
		uint64_t *e = &io->entry[pin];

		if (!is_due(io, pin))
			continue;
		*m = (struct apic_message){ .vector = *e & ENTRY_VECTOR,
					    .mode = ENTRY_MODE(*e),
					    .logical = *e & ENTRY_LOGICAL,
					    .level = *e & ENTRY_LEVEL,
					    .destination = (uint8_t)(*e >> 56) };
		if (*e & ENTRY_LEVEL)
			*e |= ENTRY_REMOTE_IRR;
		else
			io->irr &= ~(1u << pin);
		return true;
	}
	return false;
}

void
ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		if ((io->entry[pin] & ENTRY_VECTOR) == vector && io->entry[pin] & ENTRY_LEVEL)
			io->entry[pin] &= ~ENTRY_REMOTE_IRR;
}

uint32_t
ioapic_read(const struct ioapic *io, unsigned offset)
{
	unsigned n = io->select - IOAPIC_REG_ENTRY;

	if (offset == IOAPIC_SELECT)
		return io->select;
	if (offset != IOAPIC_WINDOW)
		return 0;
	if (io->select == IOAPIC_REG_ID || io->select == IOAPIC_REG_ARB)
		return io->id;
	if (io->select == IOAPIC_REG_VERSION)
		return IOAPIC_VERSION;
	if (n >= 2 * IOAPIC_PINS)
		return 0;
	return (uint32_t)(n & 1 ? io->entry[n / 2] >> 32 : io->entry[n / 2]);
}

/* Its trigger may have changed: a level shows its line, and an edge has no remote IRR. */
static void
write_entry(struct ioapic *io, unsigned n, uint32_t value)
{
	uint64_t *e = &io->entry[n / 2], mask = n & 1 ? ~0ull << 32 : 0xffffffff;
	bool was_level = *e & ENTRY_LEVEL;
	uint32_t bit = 1u << n / 2;

	mask &= ENTRY_WRITABLE;
	*e = (*e & ~mask) | ((n & 1 ? (uint64_t)value << 32 : value) & mask);
	if (*e & ENTRY_LEVEL)
		io->irr = io->lines & bit ? io->irr | bit : io->irr & ~bit;
	else
		*e &= ~ENTRY_REMOTE_IRR;
	if (was_level && !(*e & ENTRY_LEVEL))
		io->irr &= ~bit;
}

void
ioapic_write(struct ioapic *io, unsigned offset, uint32_t value)
{
	unsigned n = io->select - IOAPIC_REG_ENTRY;

	if (offset == IOAPIC_SELECT)
		io->select = value & 0xff;
	else if (offset == IOAPIC_EOI)
		ioapic_eoi(io, (uint8_t)value);
	else if (offset != IOAPIC_WINDOW)
		return;
	else if (io->select == IOAPIC_REG_ID)
		io->id = value & 0x0f000000;
	else if (n < 2 * IOAPIC_PINS)
		write_entry(io, n, value);
}
