/*
 * A guest's pointers: what its kernel could reach by them itself, and no more: no address of the
 * guest's is ever one of the host's own. Within a page the CPU does it, as it would for the guest;
 * else Zeno walks the kernel's tables and goes through the direct map.
 */
#include <inc/errno.h>
#include <vmm/pv/memory.h>
#include <vmm/pv/pv.h>

/* dom0 maps a device's registers, too, and the direct map has memory alone. */
static bool
is_memory(pte_t entry)
{
	const struct frame *f = frame_of(mfn(PTE_ADDR(entry) >> PAGE_SHIFT));

	return f && f->type != FRAME_RESERVED;
}

/* The entry, which must allow it. */
static const pte_t *
allowed(mfn_t root, uint64_t va, bool write)
{
	const pte_t *entry = pv_entry(root, va);
	pte_t need = PTE_P | PTE_U | (write ? PTE_W : 0);

	return entry && (*entry & need) == need && is_memory(*entry) ? entry : NULL;
}

static uint8_t *
bytes_at(const pte_t *entry, uint64_t va)
{
	return (uint8_t *)hpa_ptr(hpa(PTE_ADDR(*entry))) + (va & PAGE_MASK);
}

static size_t
in_page_of(uint64_t va, uint64_t len)
{
	uint64_t left = PAGE_SIZE - (va & PAGE_MASK);

	return len < left ? len : left;
}

/* By a walk, and the direct map. */
static int
read_by(mfn_t root, void *to, uint64_t from, uint64_t len)
{
	if (!pv_is_guests(from, len))
		return -EFAULT;
	for (uint64_t done = 0, n; done < len; done += n) {
		const pte_t *entry = allowed(root, from + done, false);

		if (!entry)
			return -EFAULT;
		n = in_page_of(from + done, len - done);
		memcpy((uint8_t *)to + done, bytes_at(entry, from + done), n);
	}
	return 0;
}

/* ... or by tables that are the guest's own affair. */
static APART int
read_far(struct vcpu *v, void *to, uint64_t from, uint64_t len)
{
	const struct pv *pv = pv_of(v);

	return pv->far ? pv->far->read(v, to, from, len) : read_by(pv->kernel_root, to, from, len);
}

int
pv_read(struct vcpu *v, void *to, uint64_t from, uint64_t len)
{
	return pv_cpu_may(v, pv_of(v)->kernel_root, from, len) ? pv_copy((uint64_t)to, from, len)
							       : read_far(v, to, from, len);
}

const void *
pv_at(struct vcpu *v, uint64_t from, uint64_t len, void *copy)
{
	const pte_t *entry;

	if (!pv_in_one_page(from, len))
		return pv_read(v, copy, from, len) ? NULL : copy;
	entry = pv_is_guests(from, len) ? allowed(pv_of(v)->kernel_root, from, false) : NULL;
	return entry ? bytes_at(entry, from) : NULL;
}

int
pv_fetch(struct vcpu *v, void *to, uint64_t len)
{
	uint64_t from = v->state.rip;

	return pv_cpu_may(v, v->root, from, len) ? pv_copy((uint64_t)to, from, len)
						 : read_by(v->root, to, from, len);
}

/* All of it, or nothing. */
static int
write_by(mfn_t root, uint64_t to, const void *from, uint64_t len)
{
	if (!pv_is_guests(to, len))
		return -EFAULT;
	for (uint64_t done = 0; done < len; done += in_page_of(to + done, len - done))
		if (!allowed(root, to + done, true))
			return -EFAULT;
	for (uint64_t done = 0, n; done < len; done += n) {
		n = in_page_of(to + done, len - done);
		memcpy(bytes_at(allowed(root, to + done, true), to + done),
		       (const uint8_t *)from + done, n);
	}
	return 0;
}

static APART int
write_far(struct vcpu *v, uint64_t to, const void *from, uint64_t len)
{
	const struct pv *pv = pv_of(v);

	return pv->far ? pv->far->write(v, to, from, len)
		       : write_by(pv->kernel_root, to, from, len);
}

mfn_t
pv_frame_named(struct vcpu *v, uint64_t number)
{
	return pv_of(v)->far ? pv_of(v)->far->frame(v, number) : mfn(number);
}

int
pv_write(struct vcpu *v, uint64_t to, const void *from, uint64_t len)
{
	return pv_cpu_may(v, pv_of(v)->kernel_root, to, len) ? pv_copy(to, (uint64_t)from, len)
							     : write_far(v, to, from, len);
}
