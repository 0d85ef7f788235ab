/*
 * Guest memory by linear address, walked in software. The host never dereferences a guest's address.
 */
#include <inc/errno.h>
#include <vmm/domain.h>

/* Whether any byte of [linear, linear + len) lies in the VMM window. */
bool
in_window(const struct domain *d, uint64_t linear, size_t len)
{
	return linear < d->window + WINDOW_SIZE && linear + len > d->window;
}

/* Guest paging is off until Lab 2: linear addresses wrap at 4 GiB and are guest-physical. */
static gpa_t
gva_to_gpa(struct vcpu *v, gva_t a)
{
	return gpa(a.v & 0xffffffff);
}

/* Splits where the address space wraps, so that no range below is ever ambiguous. */
static size_t
until_wrap(gva_t a, size_t len)
{
	uint64_t left = 0x100000000ul - (a.v & 0xffffffff);

	return len < left ? len : left;
}

int
gva_read(struct vcpu *v, gva_t a, void *buf, size_t len)
{
	size_t first = until_wrap(a, len);
	int err = gpa_read(v->domain, gva_to_gpa(v, a), buf, first);

	if (err || first == len)
		return err;
	return gpa_read(v->domain, gva_to_gpa(v, gva(a.v + first)), (uint8_t *)buf + first,
			len - first);
}

int
gva_write(struct vcpu *v, gva_t a, const void *buf, size_t len)
{
	size_t first = until_wrap(a, len);
	int err = gpa_write(v->domain, gva_to_gpa(v, a), buf, first);

	if (err || first == len)
		return err;
	return gpa_write(v->domain, gva_to_gpa(v, gva(a.v + first)), (const uint8_t *)buf + first,
			 len - first);
}

uint8_t *
gva_byte(struct vcpu *v, gva_t a)
{
	size_t one = 1;

	return gpa_ptr(v->domain, gva_to_gpa(v, a), &one);
}
