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

static inline unsigned
desc_type(uint64_t d) /* of a system segment or gate: SDM 3A 3.5, table 3-2 */
{
	return (d >> 40) & 15;
}

/* Conforming code is everybody's; all else only what DPL lets see it. */
static inline bool
desc_reachable(uint64_t d, uint16_t sel, unsigned cpl)
{
	if (d & DESC_S && d & DESC_CODE && d & DESC_EC)
		return true;
	return desc_dpl(d) >= cpl && desc_dpl(d) >= (sel & 3u);
}

/* What a selector is to be loaded for, and the manual's operation that says what it must be. */
enum desc_use {
	DESC_FOR_DATA,    /* DS ES FS GS: SDM 2B "MOV" */
	DESC_FOR_STACK,   /* SS, where CPL is or will be `cpl`: "MOV", SDM 2A "IRET" */
	DESC_FOR_JUMP,    /* CS, by jmp or call without a gate: SDM 2A "JMP" */
	DESC_FOR_RETURN,  /* CS, by iret or retf: SDM 2A "IRET" */
	DESC_FOR_HANDLER, /* CS, by an interrupt's or trap's gate: SDM 3A 6.12.1 */
	DESC_FOR_LDT,     /* SDM 2A "LLDT" */
	DESC_FOR_TSS,     /* SDM 2A "LTR" */
};

/* Whether the descriptor is one for this use, present or not. */
static inline bool
desc_suits(uint64_t d, uint16_t sel, unsigned cpl, enum desc_use use)
{
	bool code = d & DESC_CODE, conforming = code && d & DESC_EC;
	unsigned rpl = sel & 3, dpl = desc_dpl(d);

	if (!(d & DESC_S))
		return !(sel & 4) && (use == DESC_FOR_LDT   ? desc_type(d) == 2
				      : use == DESC_FOR_TSS ? desc_type(d) == 1 || desc_type(d) == 9
							    : false);
	switch (use) {
	case DESC_FOR_DATA:
		return (!code || d & DESC_RW) && desc_reachable(d, sel, cpl);
	case DESC_FOR_STACK:
		return !code && d & DESC_RW && rpl == cpl && dpl == cpl;
	case DESC_FOR_JUMP:
		return code && (conforming ? dpl <= cpl : rpl <= cpl && dpl == cpl);
	case DESC_FOR_RETURN:
		return code && rpl >= cpl && (conforming ? dpl <= rpl : dpl == rpl);
	case DESC_FOR_HANDLER:
		return code && dpl <= cpl;
	default:
		return false;
	}
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

/*
 * SDM 3A 5.3 "Limit checking" and 5.5: whether a segment lets itself be accessed at [offset, offset
 * + size).
 */
static inline bool
segment_allows(const struct segment *s, uint64_t offset, size_t size, bool write)
{
	uint16_t need = ATTR_P | ATTR_S | (write || s->attr & ATTR_CODE ? ATTR_RW : 0);
	uint64_t last = offset + size - 1;

	if ((s->attr & need) != need || (write && s->attr & ATTR_CODE))
		return false;
	if ((s->attr & (ATTR_CODE | ATTR_EC)) == ATTR_EC)
		return offset > s->limit && last <= (s->attr & ATTR_DB ? 0xffffffff : 0xffff);
	return last <= s->limit;
}
