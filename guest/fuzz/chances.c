/*
 * The fuzzer guest's chances: addresses, selectors and numbers that are worth a try.
 */
#include "fuzz.h"

uint32_t chances;

uint32_t
address(void)
{
	switch (below(16)) {
	case 0:
		return WINDOW + below(0x5000) - 0x1000;
	case 1:
		return 0xfffffff0 + below(16);
	case 2:
		return GDT + below(0x2000);
	case 3:
	case 4:
		return TABLES + below(2) * 0x1000 + below(64);
	case 5:
		return CODE + below(CODE_SIZE);
	case 6:
		return below(2) ? TEXT + below(0x3000) : DATA + below(0x2000);
	case 7:
		return next();
	case 8:
		return STACK + below(0x1000);
	case 9:
	case 10:
	case 11:
	case 12:
		return TEST + below(2) * (pae ? 0x200000 : 0x400000) + below(8) * 4096 +
		       (below(4) ? 0 : 4090) + below(16);
	default:
		return PLAY + below(0x4000);
	}
}

/* Mostly the guest's own; some of the host's, some of nobody's. */
uint32_t
selector(void)
{
	switch (below(8)) {
	case 0:
		return 0xe000 + below(0x80);
	case 1:
		return next() & 0xffff;
	case 2:
		return below(8) * 8 + 4 + below(4);
	case 3:
		return PLAY_SEL + below(SELS - PLAY_SEL / 8) * 8 + below(4);
	case 4:
		return below(32) ? UDATA : UCODE;
	default:
		return below(8) ? UDATA : below(7) * 8 + below(4);
	}
}

uint32_t
number(void)
{
	static const uint32_t some[] = { 0,          1,          2,          0x7f,       0x80,
					 0xff,       0x7fffffff, 0x80000000, 0xffffffff, 0xc0000080,
					 0x80000011, 0x00000630, 0x00003000, 0x00000202, 0x00020202,
					 0x00000102, 0x00004202, 0x00200002 };

	switch (below(4)) {
	case 0:
		return some[below(sizeof(some) / sizeof(some[0]))];
	case 1:
		return next();
	case 2:
		return below(64);
	default:
		return address();
	}
}
