/*
 * A domain's buses: which device an access goes to, and what is not claimed.
 *
 * A port that no device claims reads as ones and swallows writes, as an ISA bus with pull-ups does;
 * each such access is counted. Nothing here ever touches a port of the host.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/domain.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/p2m.h>
#include <vmm/vcpu.h>

#define ALARM_MIN   200000 /* ns */
#define ALARM_SLACK 3000   /* the 8254's clock and the TSC's are two: never just too early */

SET_DECLARE(platforms);
SET_DECLARE(device_memories);

const struct platform *
platform_find(const char *name)
{
	set_foreach (const struct platform *, p, platforms)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

uint64_t
platform_deadline(struct domain *d)
{
	uint64_t at = d->platform && d->platform->deadline ? d->platform->deadline(d) : CLOCK_NEVER;

	return at == CLOCK_NEVER || d->paused ? CLOCK_NEVER : at + d->clock_offset;
}

/* What one CPU does to a device may bring the moment nearer that another one sleeps for. */
static void
look_earlier(struct domain *d)
{
	uint64_t at = platform_deadline(d);

	for_each_vcpu(v, d)
	{
		if (v->thread.state == THREAD_BLOCKED && at < v->thread.deadline)
			v->thread.deadline = at;
	}
}

void
platform_lines(struct domain *d)
{
	enum changed changed = d->changed;

	d->changed = CHANGED_LINES;
	if (!d->platform || changed == CHANGED_NOTHING)
		return;
	if (changed == CHANGED_LINES)
		d->platform->lines(d);
	for_each_vcpu(v, d)
	{
		v->irq_pending = d->platform->pending(v);
		if (v->irq_pending)
			v->thread.deadline = 0;
	}
	if (d->vcpu->next)
		look_earlier(d);
}

/* Not too soon: a guest must come to its next instruction, however short its timer's period. */
void
platform_alarm(struct domain *d)
{
	uint64_t at, now;

	if (!d->platform || !d->platform->punctual)
		return;
	at = platform_deadline(d);
	now = clock_ns();
	if (at < now + 1000000000 / TICK_HZ)
		clock_sooner((at > now + ALARM_MIN ? at : now + ALARM_MIN) + ALARM_SLACK);
}

void
platform_priority(struct vcpu *v)
{
	if (!v->domain->platform || !v->domain->platform->priority)
		return;
	v->domain->platform->priority(v);
	platform_lines(v->domain);
}

uint8_t
platform_ack(struct vcpu *v)
{
	const struct platform *p = v->domain->platform;
	uint8_t vector = p->ack(v);

	v->irq_pending = p->pending(v);
	return vector;
}

/* Who has which of the ports that most devices lie at: each access asks for one. */
static void
io_init(void)
{
	set_foreach (const struct platform *, p, platforms)
		for (unsigned i = 0; p->ports && p->ports[i].count; i++)
			for (unsigned n = 0; n < p->ports[i].count; n++)
				if (p->ports[i].base + n < LOW_PORTS)
					p->claims[p->ports[i].base + n] = (uint8_t)(i + 1);
}
INITCALL(40, io_init);

static COLD const struct io_range *
high_claimant(const struct io_range *r, uint16_t port)
{
	for (; r->count; r++)
		if (port >= r->base && port - r->base < r->count)
			return r;
	return NULL;
}

static inline const struct io_range *
port_claimant(const struct domain *d, uint16_t port)
{
	const struct platform *p = d->platform;

	if (!p || !p->ports)
		return NULL;
	if (port >= LOW_PORTS)
		return high_claimant(p->ports, port);
	return p->claims[port] ? &p->ports[p->claims[port] - 1] : NULL;
}

/* Whether an access goes to this device in one piece; r: NULL, nobody's. */
static inline bool
port_whole(const struct io_range *r, uint16_t port, unsigned size)
{
	return size == 1 ||
	       (r && size <= r->width && !(port & (size - 1)) && port + size <= r->base + r->count);
}

/* How many of `size` bytes from `port` on go to this device at once. */
static unsigned
port_part(const struct io_range *r, uint16_t port, unsigned size)
{
	unsigned n = r ? r->width : 1;

	while (n > size || port % n || (r && port + n > r->base + r->count))
		n /= 2;
	return n;
}

static COLD void
count_port(struct domain *d, uint16_t port)
{
	struct port_count *p = d->unclaimed_ports, *end = p + UNCLAIMED_PORTS;

	while (p < end && p->count && p->port != port)
		p++;
	if (p < end) {
		p->port = port;
		p->count++;
	}
}

/* Counted by port, for the first few: a guest's last words name them. What is read there. */
uint32_t
io_nobody(struct domain *d, uint16_t port, unsigned size)
{
	struct port_count *first = d->unclaimed_ports;

	d->unclaimed++;
	if (first->port == port && first->count)
		first->count++;
	else
		count_port(d, port);
	return 0xffffffff >> (32 - 8 * size);
}

/* "3f2 (2 times), 80 (17 times)"; an empty text: there are none. */
void
io_unclaimed(const struct domain *d, char *buf, size_t size)
{
	const struct port_count *p = d->unclaimed_ports;
	uint64_t rest = d->unclaimed;
	size_t used = 0;

	*buf = '\0';
	for (unsigned i = 0; i < UNCLAIMED_PORTS && p[i].count && used < size; i++) {
		used += (size_t)snprintf(buf + used, size - used, "%s%x (%u times)", i ? ", " : "",
					 p[i].port, p[i].count);
		rest -= p[i].count;
	}
	if (rest && used < size)
		snprintf(buf + used, size - used, ", others (%lu times)", rest);
}

static APART uint32_t
device_reads(struct domain *d, const struct io_range *r, uint16_t port, unsigned size)
{
	uint32_t value = r->read(d, port, size);

	platform_lines(d);
	return value;
}

static inline uint32_t
read_part(struct domain *d, const struct io_range *r, uint16_t port, unsigned size)
{
	return r && r->read ? device_reads(d, r, port, size) : io_nobody(d, port, size);
}

static void
write_part(struct domain *d, const struct io_range *r, uint16_t port, unsigned size, uint32_t value)
{
	if (!r || !r->write) {
		io_nobody(d, port, size);
		return;
	}
	r->write(d, port, size, value);
	platform_lines(d);
}

static APART uint32_t
read_parts(struct domain *d, uint16_t port, unsigned size)
{
	uint32_t value = 0;
	unsigned n;

	for (unsigned i = 0; i < size; i += n) {
		uint16_t at = (uint16_t)(port + i);
		const struct io_range *r = port_claimant(d, at);

		n = port_part(r, at, size - i);
		value |= read_part(d, r, at, n) << (8 * i);
	}
	return value;
}

/* Each way ends in a call, so none saves a register. */
uint32_t
io_read(struct domain *d, uint16_t port, unsigned size)
{
	const struct platform *p = d->platform;
	const struct io_range *r;

	if (!p || !p->claims || port >= LOW_PORTS)
		return read_parts(d, port, size);
	if (!p->claims[port])
		return size == 1 ? io_nobody(d, port, 1) : read_parts(d, port, size);
	r = &p->ports[p->claims[port] - 1];
	return r->read && port_whole(r, port, size) ? device_reads(d, r, port, size)
						    : read_parts(d, port, size);
}

static COLD void
write_parts(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	unsigned n;

	for (unsigned i = 0; i < size; i += n) {
		uint16_t at = (uint16_t)(port + i);
		const struct io_range *r = port_claimant(d, at);

		n = port_part(r, at, size - i);
		write_part(d, r, at, n, value >> (8 * i) & 0xffffffff >> (32 - 8 * n));
	}
}

void
io_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	const struct io_range *r = port_claimant(d, port);

	if (port_whole(r, port, size))
		write_part(d, r, port, size, value & 0xffffffff >> (32 - 8 * size));
	else
		write_parts(d, port, size, value);
}

static const struct mmio_range *
mmio_claimant(const struct domain *d, gpa_t a, unsigned size)
{
	const struct mmio_range *r = d->platform ? d->platform->mmio : NULL;

	for (; r && r->size; r++)
		if (a.v >= r->base && a.v - r->base <= r->size - size)
			return r;
	return NULL;
}

uint64_t
mmio_read(struct vcpu *v, gpa_t a, unsigned size)
{
	const struct mmio_range *r = mmio_claimant(v->domain, a, size);
	uint64_t value;

	if (!r)
		return ~0ull;
	value = r->read(v, a.v - r->base, size);
	platform_lines(v->domain);
	return value;
}

void
mmio_write(struct vcpu *v, gpa_t a, unsigned size, uint64_t value)
{
	const struct mmio_range *r = mmio_claimant(v->domain, a, size);

	if (!r) {
		v->domain->dropped++;
		return;
	}
	r->write(v, a.v - r->base, size, value);
	platform_lines(v->domain);
}

/* A limit of builds without Lab 5. */
static int
too_much(struct vcpu *v, gva_t a, unsigned how, gpa_t at, size_t size)
{
	if (how & ACCESS_USER) {
		v->page_fault = (struct page_fault){ a.v, PF_P | PF_U, true };
		return -EFAULT;
	}
	domain_stop(v->domain, "%zu bytes at %08lx, beyond RAM, are more than a register (Lab 5)",
		    size, at.v);
	return 0;
}

/*
 * By all that can be seen of it: where it lies in its page. mmio_move() does well where that is
 * wrong, too, for a register's width of RAM.
 */
bool
mmio_is_meant(const struct vcpu *v, gva_t a, size_t size)
{
	const struct exit *e = v->exit;

	return e->reason == EXIT_MMU && !e->gva && !((e->gpa ^ a.v) & PAGE_MASK) &&
	       size <= sizeof(uint64_t) && in_page(a, size) == size;
}

int
mmio_move(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t size, bool store)
{
	uint64_t value = 0;
	gpa_t at;

	set_foreach (const struct device_memory *, m, device_memories)
		return m->move(v, a, how, buf, size, store);
	if (gva_to_gpa(v, a, how, &at))
		return -EFAULT;
	if (size > sizeof(value) || in_page(a, size) < size)
		return too_much(v, a, how, at, size);
	if (!(store ? gpa_write(v->domain, at, buf, size) : gpa_read(v->domain, at, buf, size)))
		return 0; /* it was ROM, and for reading */
	memcpy(&value, buf, size);
	if (store)
		mmio_write(v, at, (unsigned)size, value);
	else
		value = mmio_read(v, at, (unsigned)size);
	memcpy(buf, &value, size);
	return 0;
}
