/* BUILD: solutions/1-trap-emulate/segments.c */
/*
 * Shadow descriptors: the rules of DESIGN's "Address map and descriptors", on every kind of
 * descriptor.
 */
#include "draw.h"
#include "tap.h"

#include <vmm/x86/descriptor.h>

uint64_t shadow_descriptor(uint64_t guest, uint64_t window);

#define WINDOW    0xffc00000ull
#define FLAT_CODE 0x00cf9b000000ffffull
#define FLAT_DATA 0x00cf93000000ffffull

/* Whether a present shadow may be shown to the CPU at all; NULL, or the rule that it breaks. */
static const char *
broken_rule(uint64_t guest, uint64_t shadow)
{
	uint64_t last = (uint64_t)desc_base(shadow) + desc_limit(shadow);
	bool down = !(shadow & DESC_CODE) && shadow & DESC_EC;

	if (!(shadow & DESC_S))
		return "S=0";
	if (!(guest & DESC_P))
		return "the guest's is not present";
	if (shadow & DESC_L)
		return "L=1";
	if (!(shadow & DESC_A))
		return "A=0";
	if (desc_dpl(shadow) != (desc_dpl(guest) ? desc_dpl(guest) : 1))
		return "DPL";
	if (desc_dpl(shadow) != 1 && desc_dpl(shadow) != 3)
		return "DPL 0 or 2";
	if (shadow & DESC_CODE && (desc_dpl(shadow) == 3 || shadow & DESC_EC))
		return "code of ring 3, or conforming";
	if (desc_base(shadow) != desc_base(guest))
		return "another base";
	if (down && (shadow & DESC_DB || desc_base(shadow) + 0x10000ull > WINDOW))
		return "expand-down into the window";
	if (!down && last >= WINDOW)
		return "reaches into the window";
	if (!down && desc_limit(shadow) > desc_limit(guest))
		return "longer than the guest's";
	return NULL;
}

static void
random_descriptors(void)
{
	const char *rule = NULL;
	uint64_t d = 0;
	int present = 0;

	for (int i = 0; i < 2000000 && !rule; i++) {
		uint64_t shadow;

		d = drawn();
		if (i & 1)
			d |= 0xffull << 56; /* bases near the window are rare otherwise */
		shadow = shadow_descriptor(d, WINDOW);
		if (!(shadow & DESC_P))
			continue;
		present++;
		rule = broken_rule(d, shadow);
	}
	ok(!rule, "2,000,000 random descriptors keep the rules%s%s", rule ? ", but " : "",
	   rule ? rule : "");
	if (rule)
		diag("guest %016llx, shadow %016llx", (unsigned long long)d,
		     (unsigned long long)shadow_descriptor(d, WINDOW));
	ok(present > 100000, "%d of them have a shadow", present);
}

static void
limits(void)
{
	uint64_t s = shadow_descriptor(FLAT_DATA, WINDOW);

	ok(desc_limit(s) == WINDOW - 1, "flat data ends one byte below the window");
	ok(desc_dpl(s) == 1, "and has DPL 1");
	s = shadow_descriptor(desc_with_limit(FLAT_DATA, 0xffff), WINDOW);
	ok(desc_limit(s) == 0xffff, "a short segment keeps its limit");
	ok(!shadow_descriptor(FLAT_DATA | 0xffull << 56 | 0xc00000ull << 16, WINDOW),
	   "a segment that starts at the window has no shadow");
	s = shadow_descriptor(FLAT_DATA | 0xffull << 56 | 0xbff000ull << 16, WINDOW);
	ok(desc_limit(s) == 0xfff, "one that starts a page below it has a page");
}

static void
roundtrip(void)
{
	int bad = 0;

	for (int i = 0; i < 100000; i++) {
		uint64_t d = drawn();
		struct segment s = desc_segment(d, 8);

		bad += desc_of_segment(&s) != d;
	}
	ok(!bad, "descriptor -> segment register -> descriptor loses nothing");
	for (uint64_t limit = 0; limit <= 0xffffffff; limit += 0xfff001)
		bad += desc_limit(desc_with_limit(FLAT_DATA, limit)) > limit ||
		       desc_limit(desc_with_limit(FLAT_DATA, limit)) + 0x1000ull <= limit;
	ok(!bad, "a limit is rounded down, by less than a page");
}

int
main(void)
{
	limits();
	random_descriptors();
	roundtrip();
	done_testing();
}
