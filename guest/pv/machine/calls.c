/*
 * What a hypercall leaves in the registers, what comes before the next instruction, and one whose
 * next instruction can be nowhere.
 */
#include <guest/pv/lib/events.h>
#include <guest/pv/machine/machine.h>

#define READ  (PTE_P | PTE_U)
#define FLAT  (PTE_P | PTE_W | PTE_U)
#define LOW   (1ul << 47) /* the first address that is not canonical */
#define RAX   0
#define RCX   1
#define RSP   4
#define R11   11
#define FLAGS 16

#define EINVAL (-22)
#define ENOSYS (-38)

#define IF  0x202ul
#define OWN 0x240cd5ul /* ID AC OF DF SF ZF AF PF CF */
#define NT  0x4000ul

void do_registers(uint64_t words), do_edge(uint64_t at), do_flags(uint64_t flags); /* asm.asm */

static uint64_t tables[3][512] __attribute__((aligned(4096)));
static uint8_t code[4096] __attribute__((aligned(4096)));

/* syscall's own two (SDM 2B "SYSCALL"), the result; and nothing of the monitor's. */
static void
leaves(uint64_t number, uint64_t a, uint64_t b, uint64_t count, int64_t result)
{
	const uint64_t was[] = { number, 1, count,          3,  4,  5,  b,  a,
				 8,      9, XEN_DOMID_SELF, 11, 12, 13, 14, 15 };
	uint64_t words[17];

	for (unsigned n = 0; n < 16; n++)
		words[n] = was[n];
	do_registers((uint64_t)words);
	check((int64_t)words[RAX] == result, "a result", words[RAX]);
	check(words[RCX] == words[RSP], "rcx: where it goes on", words[RCX]);
	check(words[R11] == words[FLAGS], "r11: its flags", words[R11]);
	for (unsigned n = 0; n < 16; n++)
		if (n != RAX && n != RCX && n != RSP && n != R11)
			check(words[n] == was[n], "a register stays", number << 8 | n);
}

/* ... of calls that go over an array, too, to its end or not. */
static void
leave(void)
{
	const uint64_t frame = pv_page(code), at = frame << 12;
	const uint64_t page = ((const uint64_t *)XEN_VIRT_START)[frame];
	const struct xen_mmu_update some[] = { { at | XEN_MMU_MACHPHYS_UPDATE, 1 },
					       { at | XEN_MMU_MACHPHYS_UPDATE, page },
					       { at | 4, 0 } };
	const struct xen_mmuext_op flush[] = { { .cmd = XEN_MMUEXT_TLB_FLUSH_LOCAL },
					       { .cmd = XEN_MMUEXT_TLB_FLUSH_LOCAL } };

	leaves(XEN_xen_version, 0, 6, 2, 0x40011);
	leaves(XEN_mmu_update, (uint64_t)some, 2, 0, 0);
	leaves(XEN_mmu_update, (uint64_t)some, 3, 0, EINVAL);
	leaves(XEN_mmuext_op, (uint64_t)flush, 2, 0, 0);
	leaves(63, 0, 6, 2, ENOSYS);
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

/* Its own come back as they are, as does the one that is its kernel's on a machine: it is off. */
static void
flags(void)
{
	for (uint64_t bit = 0; bit < 22; bit++) {
		uint64_t at[1] = { IF | (OWN & 1ul << bit) };
		const uint64_t was = at[0];

		do_flags((uint64_t)at);
		check(at[0] == was, "a flag", at[0]);
	}
	for (uint64_t more = 0; more <= NT; more += NT) {
		uint64_t at[1] = { IF | OWN | more };

		do_flags((uint64_t)at);
		check(at[0] == (IF | OWN), "all flags", at[0]);
	}
}

static unsigned upcalls;

static void
upcall(struct pv_frame *f)
{
	if (f->vector != PV_EVENT)
		caught(f);
	else
		upcalls++;
	pv_vcpu->upcall_pending = 0;
}

/* Any call lets in what waits (Linux has it in xen_force_evtchn_callback): before it goes on. */
static void
lets_in(void)
{
	pv_events_init();
	pv_handler = upcall;
	for (unsigned masked = 0; masked < 2; masked++) {
		pv_vcpu->upcall_pending = 1;
		pv_vcpu->upcall_mask = (uint8_t)masked;
		check(pv_call(XEN_xen_version, 0, 0, 0, 0) == 0x40011, "its result, too", masked);
		check(upcalls == 1, "an event by a hypercall", upcalls);
	}
	pv_vcpu->upcall_pending = 0;
	pv_handler = caught;
	pv_call(XEN_set_callbacks, 0, 0, 0, 0);
}

/* A breakpoint on what comes behind it is neither lost nor seen twice. */
static void
stops_behind(void)
{
	uint8_t *at = (uint8_t *)do_flags;
	uint64_t words[1] = { IF };

	while (at[0] != 0x0f || at[1] != 0x05)
		at++;
	pv_call(XEN_set_debugreg, 0, (uint64_t)at + 2, 0, 0);
	pv_call(XEN_set_debugreg, 7, 1, 0, 0);
	raises("a breakpoint behind a hypercall", do_flags, (uint64_t)words, 1, 0);
	check(last.rip == (uint64_t)at + 2, "where it stops", last.rip);
	pv_call(XEN_set_debugreg, 7, 0, 0, 0);
	check(!try(do_flags, (uint64_t)words), "... and no more", last.vector);
}

/* Of no bytes nobody asks where they are. */
static void
nothing(void)
{
	int64_t result = pv_call(XEN_console_io, XEN_CONSOLEIO_write, 0, 0x1000, 0);

	check(!result, "nothing, from nowhere", (uint64_t)result);
}

static void
memory_map(void)
{
	struct xen_e820 e[2] = { { 0 } };
	struct xen_memory_map map = { .nr_entries = 2, .buffer = (uint64_t)e };

	check(!pv_call(XEN_memory_op, XEN_XENMEM_memory_map, (uint64_t)&map, 0, 0) &&
		      map.nr_entries == 1 && !e[0].base &&
		      e[0].size == pv_info->nr_pages * 4096ul && e[0].type == XEN_E820_RAM &&
		      !e[1].size,
	      "the memory map", e[0].size);
	map.nr_entries = 0;
	check(pv_call(XEN_memory_op, XEN_XENMEM_memory_map, (uint64_t)&map, 0, 0) == EINVAL,
	      "a map without room", map.nr_entries);
}

void
calls(void)
{
	memory_map();
	nothing();
	leave();
	flags();
	stops_behind();
	lets_in();
	beyond();
	faults();
}
