/*
 * A domain's I/O ports: who claims which, and what is not claimed.
 *
 * A port that no device claims reads as ones and swallows writes, as an ISA bus with pull-ups does; each
 * such access is counted. Nothing here ever touches a port of the host.
 */
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/domain.h>

static const struct io_range *
claimant(uint16_t port)
{
	for (const struct io_range *r = io_ranges; r->count; r++)
		if (port >= r->base && port - r->base < r->count)
			return r;
	return NULL;
}

static uint8_t
read_byte(struct domain *d, uint16_t port)
{
	const struct io_range *r = claimant(port);

	if (r && r->read) {
		uint8_t value = r->read(d, port);

		platform_lines(d);
		return value;
	}
	d->unclaimed++;
	return 0xff;
}

static void
write_byte(struct domain *d, uint16_t port, uint8_t value)
{
	const struct io_range *r = claimant(port);

	if (r && r->write) {
		r->write(d, port, value);
		platform_lines(d);
	} else
		d->unclaimed++;
}

/* size is 1, 2 or 4 bytes; ports wrap at 64 Ki. */
uint32_t
io_read(struct domain *d, uint16_t port, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)read_byte(d, (uint16_t)(port + i)) << (8 * i);
	return value;
}

void
io_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++)
		write_byte(d, (uint16_t)(port + i), (uint8_t)(value >> (8 * i)));
}
