/*
 * The host's own TLB: where in the direct map the pages lie that it reads and writes for the guest.
 *
 * One interrupt takes a dozen accesses to the guest's memory, for gate, descriptors, TSS and stack,
 * and the next one takes the same. An entry remembers the page that a walk found, and the kinds of
 * access that it was found for: A and D bits are set by then. It lasts as long as one of the CPU's
 * TLB may, and goes when that must go: on a load of CR3, INVLPG, and a #PF for the page (SDM 3A
 * 4.10.4.1).
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#pragma once

#include <inc/errno.h>
#include <vmm/domain.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/vcpu.h>

/*
 * What an entry of this page is marked with; below is a bit for each `how` that was found allowed.
 * Addresses are canonical, or have 32 bits: of two, bits 47:12 differ.
 */
static inline uint64_t
tlb_tag(const struct tlb *t, gva_t a)
{
	return t->key ^ (a.v & ~PAGE_MASK);
}

/* Those of `how` with ACCESS_FETCH. */
#define TLB_FETCHES 0xf0u

static inline struct tlb_entry *
tlb_at(struct vcpu *v, gva_t a)
{
	return &v->tlb.entry[a.v >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
}

/*
 * tlb.c: by a walk. NULL: the guest's tables say no (v->page_fault, unless ACCESS_PROBE), or there
 * is no memory.
 */
const struct tlb_entry *tlb_fill(struct vcpu *v, gva_t a, unsigned how);

/* The host's own entry for the page at `a` ends. */
static inline void
tlb_drop(struct vcpu *v, gva_t a)
{
	struct tlb_entry *e = tlb_at(v, a);

	if ((e->tag & ~PAGE_MASK) != tlb_tag(&v->tlb, a))
		return;
	v->tlb.code += !!(e->tag & TLB_FETCHES);
	e->tag = 0;
}

/* Ends the host's own alone: what an engine's exit does, whose guest moves its tables unseen. */
static inline void
tlb_forget(struct vcpu *v)
{
	v->tlb.key = ++v->tlb.generation << 48;
	if (__builtin_expect(!v->tlb.key, 0))
		memset(v->tlb.entry, 0, PAGE_SIZE);
}

/* The page that `a` leads to in an access of this kind, if it is known. NULL: ask tlb_find(). */
static inline const struct tlb_entry *
tlb_hit(struct vcpu *v, gva_t a, unsigned how)
{
	const struct tlb_entry *e = tlb_at(v, a);
	uint64_t allowed = 1ull << (how & (ACCESS_WRITE | ACCESS_USER | ACCESS_FETCH));

	return (e->tag & (~PAGE_MASK | allowed)) == (tlb_tag(&v->tlb, a) | allowed) ? e : NULL;
}

/* The page that `a` leads to in an access of this kind; NULL as tlb_fill(). */
static inline const struct tlb_entry *
tlb_find(struct vcpu *v, gva_t a, unsigned how)
{
	const struct tlb_entry *e = tlb_hit(v, a, how);

	return e ? e : tlb_fill(v, a, how);
}

/* Whoever tracks the frame hears of [a, a + len), which has just been written through *e. */
static inline void
tlb_written(struct vcpu *v, const struct tlb_entry *e, gva_t a, size_t len)
{
	if (e->frame->track)
		page_track_tell(v->domain, e->frame,
				gpa((uint64_t)e->gfn << PAGE_SHIFT | (a.v & PAGE_MASK)), len);
}

static inline bool
within_page(gva_t a, size_t len)
{
	return (a.v & PAGE_MASK) + len <= PAGE_SIZE;
}

/* Words of a stack mostly, or a descriptor. */
static inline void
copy_few(void *dst, const void *src, size_t len)
{
	size_t i = 0;

	if (len % 2) {
		memcpy(dst, src, len);
		return;
	}
	for (; i + 4 <= len; i += 4)
		__builtin_memcpy((uint8_t *)dst + i, (const uint8_t *)src + i, 4);
	if (i < len)
		__builtin_memcpy((uint8_t *)dst + i, (const uint8_t *)src + i, 2);
}

/* gva_read_as() and, for the guest's kernel, gva_write_as(), where that is most often needed. */
static inline int
tlb_read(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t len)
{
	const struct tlb_entry *e = tlb_hit(v, a, how);

	if (!e || !within_page(a, len))
		return gva_read_as(v, a, how, buf, len);
	copy_few(buf, e->page + (a.v & PAGE_MASK), len);
	return 0;
}

static inline int
gva_write(struct vcpu *v, gva_t a, const void *buf, size_t len)
{
	const struct tlb_entry *e = tlb_hit(v, a, ACCESS_WRITE);

	if (!e || !within_page(a, len))
		return gva_write_as(v, a, 0, buf, len);
	copy_few(e->page + (a.v & PAGE_MASK), buf, len);
	tlb_written(v, e, a, len);
	return 0;
}

/* As the guest's kernel does. 0, or -EFAULT as gva_read_as(). */
static inline int
gva_read(struct vcpu *v, gva_t a, void *buf, size_t len)
{
	return tlb_read(v, a, 0, buf, len);
}
