/*
 * Segment descriptors taken apart (SDM 3A 3.4.5, figure 3-8). Pure functions, shared with the host
 * tests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <vmm/x86/state.h>

#define DESC_A        (1ull << 40)
#define DESC_RW       (1ull << 41)
#define DESC_EC       (1ull << 42) /* data: expand-down; code: conforming */
#define DESC_CODE     (1ull << 43)
#define DESC_S        (1ull << 44) /* code or data; clear: system segment or gate */
#define DESC_DPL(n)   ((uint64_t)(n) << 45)
#define DESC_DPL_MASK DESC_DPL(3)
#define DESC_P        (1ull << 47)
#define DESC_L        (1ull << 53)
#define DESC_DB       (1ull << 54)
#define DESC_G        (1ull << 55)

static inline uint32_t
desc_base(uint64_t d)
{
	return (uint32_t)((d >> 16) & 0xffffff) | (uint32_t)(d >> 56) << 24;
}

/* In bytes: the offset of the last byte (expand-down: of the last byte that is *not* valid). */
static inline uint32_t
desc_limit(uint64_t d)
{
	uint32_t raw = (uint32_t)(d & 0xffff) | (uint32_t)((d >> 32) & 0xf0000);

	return d & DESC_G ? raw << 12 | 0xfff : raw;
}

static inline unsigned
desc_dpl(uint64_t d)
{
	return (d >> 45) & 3;
}

/* d with another limit in bytes. With G=1 the limit is rounded down to the last whole page. */
static inline uint64_t
desc_with_limit(uint64_t d, uint32_t limit)
{
	uint32_t raw = limit;

	d &= ~(0xffffull | 0xfull << 48 | DESC_G);
	if (limit > 0xfffff) {
		raw = ((limit + 1) >> 12) - 1;
		d |= DESC_G;
	}
	return d | (raw & 0xffff) | (uint64_t)(raw & 0xf0000) << 32;
}

/* The hidden part that loading `sel` from this descriptor gives a segment register. */
static inline struct segment
desc_segment(uint64_t d, uint16_t sel)
{
	return (struct segment){
		.sel = sel,
		.attr = ((d >> 40) & 0xff) | ((d >> 44) & 0xf00),
		.limit = desc_limit(d),
		.base = desc_base(d),
	};
}

/* The other way round, for a segment whose descriptor is gone or never was in memory. */
static inline uint64_t
desc_of_segment(const struct segment *s)
{
	uint64_t d = (uint64_t)(s->attr & 0xff) << 40 | (uint64_t)(s->attr & 0xf00) << 44;

	d |= (s->base & 0xffffff) << 16 | (s->base >> 24 & 0xff) << 56;
	if (s->attr & ATTR_G)
		return d | (s->limit >> 12 & 0xffff) | (uint64_t)(s->limit >> 28) << 48;
	return d | (s->limit & 0xffff) | (uint64_t)(s->limit >> 16 & 0xf) << 48;
}
