/*
 * What a hypercall leaves in the registers, and one whose next instruction can be nowhere.
 */
#include <guest/pv/machine/machine.h>

#define READ  (PTE_P | PTE_U)
#define FLAT  (PTE_P | PTE_W | PTE_U)
#define LOW   (1ul << 47) /* the first address that is not canonical */
#define RAX   0
#define RCX   1
#define RSP   4
#define RDI   7
#define R11   11
#define FLAGS 16

void do_registers(uint64_t words), do_edge(uint64_t at); /* asm.asm */

static uint64_t tables[3][512] __attribute__((aligned(4096)));
static uint8_t code[4096] __attribute__((aligned(4096)));

/* syscall's own two (SDM 2B "SYSCALL"), the result; and nothing of the monitor's. */
static void
leaves(void)
{
	uint64_t words[17] = { 0 };

	do_registers((uint64_t)words);
	check(words[RAX] == 0x40011, "a result", words[RAX]);
	check(words[RCX] == words[RSP], "rcx: where it goes on", words[RCX]);
	check(words[R11] == words[FLAGS], "r11: its flags", words[R11]);
	for (unsigned n = 0; n < 16; n++)
		if (n != RAX && n != RCX && n != RSP && n != R11)
			check(words[n] == (n == RDI ? 0 : n), "a register stays", words[n]);
}

/*
 * Its last two bytes are a syscall's, so that rcx is not canonical. sysret with it faults in ring 0
 * where some have made it (SDM 2B "SYSRET"), with the guest's rsp.
 */
static void
beyond(void)
{
	const uint64_t top = pv_page((void *)pv_info->pt_base) << 12 | 255 * 8;

	code[4094] = 0x0f;
	code[4095] = 0x05;
	tables[0][511] = pv_page(code) << 12 | READ;
	tables[1][511] = pv_page(tables[0]) << 12 | FLAT;
	tables[2][511] = pv_page(tables[1]) << 12 | FLAT;
	for (unsigned n = 0; n < 3; n++)
		check(!pv_map(tables[n], pv_page(tables[n]) << 12 | READ), "a table", n);
	check(!pv_update(top, pv_page(tables[2]) << 12 | FLAT), "the last page below", 0);
	raises("a syscall, and nowhere to go on", do_edge, LOW - 2, 13, 0);
	check(last.rip == LOW, "where it was to go on", last.rip);
	check(!pv_update(top, 0), "no page there", 0);
}

/* Of no bytes nobody asks where they are. */
static void
nothing(void)
{
	int64_t result = pv_call(XEN_console_io, XEN_CONSOLEIO_write, 0, 0x1000, 0);

	check(!result, "nothing, from nowhere", (uint64_t)result);
}

void
calls(void)
{
	nothing();
	leaves();
	beyond();
}
