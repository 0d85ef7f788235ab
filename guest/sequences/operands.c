/*
 * Operands that mean something: good ones, and bad ones of each kind.
 *
 * Not drawn for QEMU's sake (handouts/emulators.md): TF, which guest/steps has, VM, CR0.PE = 0, NW
 * without CD, CR4's reserved bits, MSRs that no CPU has. For te and bt (handouts/limits.md and
 * lab1a.md#limits): DR7.GD, breakpoints on ports, RPL 1, an RPL with no selector, gates and TSSs as
 * targets. Besides CR4.PAE under paging, and stacks that a handler could not use.
 */
#include "sequences.h"

#define CR0_USUAL 0x80010033u /* PG WP NE ET MP PE */
#define CR4_USUAL 0x210u      /* OSFXSR PSE */

int unpaged;
uint32_t chances;

uint32_t
one_of(const uint32_t *some, unsigned count)
{
	return some[below(count)];
}

/* For DS, ES, FS, GS, and where a selector is only looked at. */
uint32_t
selector(void)
{
	static const uint32_t some[] = { 0,         KCODE,    KDATA,    UCODE,    UDATA,
					 TSS_SEL,   LDT_SEL,  CODE16,   TSS2_SEL, CONFORMING,
					 DATA16,    READ_SEL, EXECUTE,  DOWN16,   GONE_DATA,
					 GONE_CODE, GONE_LDT, LDT2_SEL, GONE_TSS, BASED,
					 BEYOND,    0x3fc,    0x04,     0x0c,     0x14,
					 0x1c,      0x24,     KDATA,    UDATA,    0x3c };

	uint32_t sel = ONE_OF(some);

	return sel && !below(4) ? sel | 2 | below(2) : sel;
}

/* Flat, and for writing: what QEMU lets be used as other machines do. */
int
is_plain(uint32_t sel)
{
	sel &= ~3u;
	return sel == KDATA || sel == (UDATA & ~3u) || sel == 0x04 || sel == 0x14;
}

/* Of those that a stack may have, all that lead to STACK with the same ESP. */
uint32_t
stack_selector(void)
{
	static const uint32_t good[] = { KDATA, KDATA, DATA16, 0x04, 0x0c };
	uint32_t sel = selector(), plain_sel = sel & ~3u;

	if (below(3))
		return ONE_OF(good);
	return plain_sel == BASED || plain_sel == 0x1c ? KDATA | 2 : sel;
}

/* Without paging ABSENT is physical, and a machine reads there what it likes. */
uint32_t
address(void)
{
	uint32_t at;

	switch (below(12)) {
	case 0:
		at = ABSENT + below(16) * 4;
		return unpaged ? at - ABSENT + PLAY : at;
	case 1:
		return READ_ONLY + below(64) * 4;
	case 2:
		return PLAY + 0xffe + below(3);
	default:
		return PLAY + 0x400 + below(64) * 4;
	}
}

uint32_t
number(void)
{
	static const uint32_t some[] = { 0,      1,          2,          0x7f,       0x80,
					 0xff,   0x7fffffff, 0x80000000, 0xffffffff, 0x8000,
					 0xffff, 0x10,       0x23,       PLAY,       STACK };

	return below(2) ? ONE_OF(some) : next();
}

/* Of ID AC NT IOPL OF DF IF SF ZF AF PF CF. */
uint32_t
flags(void)
{
	uint32_t f = 2 | (next() & 0xcd5) | (below(4) ? 0x200 : 0);

	return below(3) ? f : f | (next() & 0x243000) | (below(4) ? 0 : 0x4000);
}

uint32_t
cr_value(unsigned n)
{
	static const uint32_t cr0[] = { 0x10000,    0x20, 2, 4, 8, 0x40000,   0x40000000,
					0x60000000, 8,    8, 0, 0, 0x80000000 };
	static const uint32_t cr4[] = { 1,     2, 4, 8, 0x40, 0x80,  0x100,
					0x400, 0, 0, 4, 4,    0x200, 0x80 };

	if (n == 0) {
		uint32_t value = CR0_USUAL ^ ONE_OF(cr0);

		unpaged |= !(value >> 31);
		return value;
	}
	if (n == 3)
		return (uint32_t)directories[below(2)] | (below(4) ? 0 : below(4) << 3);
	return n == 4 ? CR4_USUAL ^ ONE_OF(cr4) : number();
}

/* DR7 with one breakpoint at most, on data. */
uint32_t
dr_value(unsigned n)
{
	static const uint32_t dr7[] = { 0, 0x400, 0xd0401, 0x300, 0xf0402, 0x1d00404, 0xd0700 };

	if (n < 4)
		return PLAY + 0x400 + below(64) * 4;
	return n == 7 || n == 5 ? ONE_OF(dr7) : next() & 0xe00f;
}
