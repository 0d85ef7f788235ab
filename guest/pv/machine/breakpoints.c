/*
 * Breakpoints, int3 and int1: what a kernel has of its CPU's debug registers, and a #DB that waits.
 */
#include <guest/pv/machine/machine.h>

#define EPERM  (-1)
#define ENODEV (-19)
#define EINVAL (-22)
#define HOLE   0xffff800000000000ul

/* asm.asm */
#define DO(name) void do_##name(uint64_t operand);
DO(watched)
DO(int3)
DO(int_3)
DO(to_dr0)
DO(from_dr0)
DO(to_dr7)
DO(held_int1)
DO(held_int3)
DO(held_int_80)
DO(held_ud2)
DO(held_read)
DO(held_call)
DO(held_cli)
DO(held_nop)

static int64_t
set_dr(uint64_t n, uint64_t to)
{
	return pv_call(XEN_set_debugreg, n, to, 0, 0);
}

/* Where the instruction is that comes behind such a function's `mov ss, edx`. */
static uint64_t
behind_mov_ss(void (*fn)(uint64_t))
{
	const uint8_t *at = (const uint8_t *)fn;

	while (at[0] != 0x8e || at[1] != 0xd2)
		at++;
	return (uint64_t)(at + 2);
}

/*
 * A #DB that waits may do so until the host's first instruction: there it is no end of the host. A
 * breakpoint on the next instruction waits as well, or comes, as the machine has it.
 */
static void
held(bool watched)
{
	const struct {
		void (*fn)(uint64_t);
		uint64_t vector, other;
	} what[] = { { do_held_int1, 1, 6 }, /* QEMU has no int1 */
		     { do_held_int3, 3, 3 }, { do_held_int_80, 0x80, 0x80 },
		     { do_held_ud2, 6, 6 },  { do_held_read, 14, 14 },
		     { do_held_call, 1, 1 }, { do_held_cli, 1, 1 },
		     { do_held_nop, 1, 1 } };

	for (unsigned n = 0; n < sizeof(what) / sizeof(what[0]); n++) {
		set_dr(0, behind_mov_ss(what[n].fn));
		check(!set_dr(7, watched ? 0x401 : 0x400), "DR7", n);
		check(!does(what[n].fn, 0) &&
			      (last.vector == what[n].vector || last.vector == what[n].other ||
			       (watched && last.vector == 1)),
		      watched ? "behind a mov ss under TF, and a breakpoint"
			      : "behind a mov ss under TF",
		      n << 8 | last.vector);
	}
	set_dr(7, 0x400);
}

void
breakpoints(void)
{
	const uint64_t at = (uint64_t)do_watched;
	uint64_t bad[] = { HOLE, 0xffff828000120000, 0xffff87fffffffff8, 0x800000000000, HOLE - 4 };

	check(!set_dr(0, at) && pv_call(XEN_get_debugreg, 0, 0, 0, 0) == (int64_t)at, "DR0", 0);
	check(!set_dr(7, 0x401) && !does(do_watched, 0) && last.vector == 1 && last.rip == at,
	      "a breakpoint", last.vector);
	check((pv_call(XEN_get_debugreg, 6, 0, 0, 0) & 0xf) == 1, "DR6", 0);
	check(does(do_yield, 0) && !does(do_watched, 0), "... behind others' turns", 0);
	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++)
		check(set_dr(n % 4, bad[n]) == EPERM, "a breakpoint on Zeno's", bad[n]);
	check(set_dr(7, 0x10401) == EPERM && set_dr(7, 0x30401) == EPERM, "on data", 0);
	check(set_dr(7, 0x20401) == EPERM && set_dr(7, 0x2401) == EPERM, "on ports; any move", 0);
	check(set_dr(4, 0) == ENODEV && set_dr(8, 0) == ENODEV && set_dr(~0ul, 0) == ENODEV &&
		      pv_call(XEN_get_debugreg, 5, 0, 0, 0) == ENODEV,
	      "no such register", 0);
	check(set_dr(7, 1ul << 32) == EINVAL && set_dr(6, ~0ul) == EINVAL, "too wide", 0);
	check(!does(do_int3, 0) && last.vector == 3 && last.rip == (uint64_t)do_int3 + 1, "int3",
	      last.rip);
	check(!does(do_int_3, 0) && last.vector == 3 && last.rip == (uint64_t)do_int_3 + 2, "int 3",
	      last.rip);
	check(does(do_to_dr7, 0x400) && does(do_watched, 0), "off by mov", last.vector);
	check(does(do_to_dr0, at + 1) && value(do_from_dr0) == at + 1 && !does(do_to_dr0, HOLE),
	      "mov to DR0", value(do_from_dr0));
	held(false);
	held(true);
}
