/*
 * Address kinds are types: an address of one kind is not accepted where another is meant.
 *
 *   gva   linear address in a guest, after segmentation, before the guest's paging
 *   gpa   guest-physical address        gfn   its frame number (4 KiB)
 *   hpa   host-physical address         mfn   its frame number: a machine frame, in Xen's words
 *
 * Xen's pfn, a number in a PV guest's own contiguous numbering, joins them in Lab 6. Host virtual
 * addresses are plain pointers. `gpa(x)` makes one from a number, `a.v` gives the number back: the
 * two places where a kind may change stay visible and can be searched for.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_KIND(name)                      \
	typedef struct {                        \
		uint64_t v;                     \
	} name##_t;                             \
	static inline name##_t name(uint64_t v) \
	{                                       \
		return (name##_t){ v };         \
	}

ADDRESS_KIND(gva)
ADDRESS_KIND(gpa)
ADDRESS_KIND(hpa)
ADDRESS_KIND(gfn)
ADDRESS_KIND(mfn)

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ul
#define PAGE_MASK  (PAGE_SIZE - 1)

static inline gfn_t
gpa_to_gfn(gpa_t a)
{
	return gfn(a.v >> PAGE_SHIFT);
}

static inline gpa_t
gfn_to_gpa(gfn_t f)
{
	return gpa(f.v << PAGE_SHIFT);
}

static inline mfn_t
hpa_to_mfn(hpa_t a)
{
	return mfn(a.v >> PAGE_SHIFT);
}

static inline hpa_t
mfn_to_hpa(mfn_t f)
{
	return hpa(f.v << PAGE_SHIFT);
}

#define MFN_NONE (mfn(~0ull))

static inline bool
mfn_ok(mfn_t f)
{
	return f.v != ~0ull;
}
