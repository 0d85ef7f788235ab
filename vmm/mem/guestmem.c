/*
 * Guest memory by linear address, walked in software. The host never dereferences a guest's
 * address.
 */
#include <inc/errno.h>
#include <vmm/mem/tlb.h>

/* With paging off, linear addresses wrap at 4 GiB and are guest-physical. */
int
gva_to_gpa(struct vcpu *v, gva_t a, unsigned how, gpa_t *out)
{
	struct page_fault fault;
	int err;

	vcpu_need(v, STATE_CR);
	if (!(v->state.efer & EFER_LMA))
		a.v &= 0xffffffff;
	*out = gpa(a.v);
	if (!(v->state.cr0 & CR0_PG))
		return 0;
	err = v->domain->mmu->translate(v, a, how, out, &fault);
	if (err && !(how & ACCESS_PROBE))
		v->page_fault = fault;
	return err;
}

/* Whether the host's TLB serves: not for a debugger, which is to see the tables as they are. */
static bool
through_tlb(struct vcpu *v, gva_t a, unsigned how, size_t len)
{
	vcpu_need(v, STATE_CR);
	return !(how & ACCESS_PROBE) && within_page(a, len);
}

int
gva_read_as(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t len)
{
	if (through_tlb(v, a, how, len)) {
		const struct tlb_entry *e = tlb_find(v, a, how);

		if (!e)
			return -EFAULT;
		copy_few(buf, e->page + (a.v & PAGE_MASK), len);
		return 0;
	}
	for (size_t done = 0; done < len;) {
		size_t n = in_page(gva(a.v + done), len - done);
		gpa_t at;
		int err = gva_to_gpa(v, gva(a.v + done), how, &at);

		if (!err)
			err = gpa_read(v->domain, at, (uint8_t *)buf + done, n);
		if (err)
			return err;
		done += n;
	}
	return 0;
}

/* Where a write to the page of `a` goes. -EFAULT: nowhere, or the guest's tables say no. */
static int
write_goes_to(struct vcpu *v, gva_t a, unsigned how, gpa_t *at)
{
	size_t one = 1;

	return gva_to_gpa(v, a, how, at) || !gpa_ptr(v->domain, *at, &one) ? -EFAULT : 0;
}

/*
 * Nothing is written before both pages are known to be writable, and where: the second's table may
 * lie in the first. Asked as for the write itself, for a mode allows all to who only looks.
 */
int
gva_write_as(struct vcpu *v, gva_t a, unsigned how, const void *buf, size_t len)
{
	size_t first = in_page(a, len); /* what is behind it lies in one page, too */
	gpa_t at = gpa(0), next = gpa(0);
	int err;

	how |= how & ACCESS_PROBE ? ACCESS_FORCE : ACCESS_WRITE;
	if (through_tlb(v, a, how, len)) {
		const struct tlb_entry *e = tlb_find(v, a, how);

		if (!e)
			return -EFAULT;
		copy_few(e->page + (a.v & PAGE_MASK), buf, len);
		tlb_written(v, e, a, len);
		return 0;
	}
	err = len ? write_goes_to(v, a, how, &at) : 0;
	if (!err && first < len)
		err = write_goes_to(v, gva(a.v + first), how, &next);
	if (err)
		return err;
	gpa_write(v->domain, at, buf, first);
	gpa_write(v->domain, next, (const uint8_t *)buf + first, len - first);
	return 0;
}

uint8_t *
gva_byte(struct vcpu *v, gva_t a)
{
	size_t one = 1;
	gpa_t at;

	return gva_to_gpa(v, a, ACCESS_PROBE, &at) ? NULL : gpa_ptr(v->domain, at, &one);
}
