/*
 * Random operations on page tables, and random accesses; all that can be seen of them goes into a
 * checksum. The same seed must give the same sum on the bare machine and under any hypervisor.
 *
 * What the manual leaves open is kept out: after each change the TLB is told, and after a fault the
 * accessed bit of the table's entry, and behind an add the page's, is set by hand, for CPUs differ
 * in whether a walk that fails sets it (SDM 3A 4.8).
 *
 * With nx=1 there are jumps, too. A CPU may then set the accessed bit where it only might fetch
 * (SDM 3A 4.8), and bt does: so accessed bits that are seen do not count.
 */
#include "kernel.h"

#define SLOTS  8u /* page directory entries of each space that are played with */
#define PAGES  8u /* pages below each */
#define PTS    4u /* page tables that they share */
#define FRAMES 16u
#define CODE   0x800u /* in each page: a ret */

static uint32_t state, sum, seen = ~0u; /* the bits of an entry that count */
static int logging;
static uint32_t tables[PTS];

static uint32_t
pick(uint32_t below)
{
	state = state * 1664525u + 1013904223u;
	return (state >> 8) % below;
}

static void
mix(uint32_t value)
{
	sum = (sum ^ value) * 16777619u;
}

static uint32_t
address(void)
{
	return TEST + pick(SLOTS) * (pae ? 0x200000 : 0x400000) + pick(PAGES) * 4096;
}

static uint64_t
maybe_nx(void)
{
	return nx && pae && !pick(4) ? NX : 0;
}

/* An entry for a page: most are good ones. Sometimes it is a page table's frame. */
static uint64_t
page_entry(void)
{
	uint32_t flags = P | W | U;

	if (pick(2))
		flags = pick(8);
	flags |= pick(4) * A;
	return (pick(8) ? DATA + pick(FRAMES) * 4096 : tables[pick(PTS)]) | flags | maybe_nx();
}

static uint64_t
directory_entry(void)
{
	uint64_t flags = (pick(3) ? P | W | U : pick(8)) | maybe_nx();

	if (!pick(6))
		return LARGE | PS | flags | pick(4) * A;
	return tables[pick(PTS)] | flags | pick(2) * A;
}

/* One page's entry has changed, and a table may be shown at several places. */
static void
flush(uint32_t va)
{
	if (pick(2)) {
		write_cr3(read_cr3());
		return;
	}
	for (uint32_t i = 0; i < SLOTS; i++)
		invalidate(TEST + i * (pae ? 0x200000 : 0x400000) + (va & 0x1fffff));
}

static void
change_page(void)
{
	uint32_t va = address(), at = tables[pick(PTS)];

	at += (va >> 12) % PAGES * (pae ? 8 : 4);
	switch (pick(5)) {
	case 0:
		set(at, DATA);
		break;
	case 1:
		set(at, get(at) & ~(uint64_t)(A | D));
		break;
	case 2:
		*(volatile uint8_t *)at = (uint8_t)page_entry(); /* a part of an entry */
		break;
	default:
		set(at, page_entry());
	}
	write_cr3(read_cr3());
}

static void
change_directory(void)
{
	uint32_t va = address();

	space = pick(SPACES_MAX);
	if (pick(4))
		set(pde_of(va), directory_entry());
	else
		set(pde_of(va), get(pde_of(va)) & ~(uint64_t)(A | D));
	write_cr3(read_cr3());
}

/*
 * Whether an access reads page tables. An instruction that reads the entry for what it writes
 * itself, an add or a copy, may see it with or without A and D: CPUs differ, and so do those that
 * run it again after a fault.
 */
static int
leads_to_table(uint32_t va)
{
	uint32_t pde, pte;

	space = (read_cr3() - cr3_of(0)) / (cr3_of(1) - cr3_of(0));
	pde = (uint32_t)get(pde_of(va));
	if (!(pde & P) || pde & PS)
		return 0;
	pte = (uint32_t)get((pde & 0xfffff000) + (va >> 12) % PAGES * (pae ? 8 : 4));
	return (pte & 0xfffff000) >= TABLES && (pte & 0xfffff000) < next_table;
}

/* Whether a jump ends in one of our rets, or in a fault: what else may lie there nobody knows. */
static int
may_jump(uint32_t va)
{
	uint64_t pde, pte;
	uint32_t at;

	space = (read_cr3() - cr3_of(0)) / (cr3_of(1) - cr3_of(0));
	pde = get(pde_of(va));
	if (!(pde & P))
		return 1;
	if (pde & PS)
		return (pde & ~NX) >> 12 == LARGE >> 12;
	at = (uint32_t)pde & 0xfffff000;
	if ((pde & ~NX) >> 32 || at >= LARGE)
		return 0;
	pte = get(at + (va >> 12) % PAGES * (pae ? 8 : 4));
	at = (uint32_t)pte & 0xfffff000;
	if (!(pte & P))
		return 1;
	return !((pte & ~NX) >> 32) && at < LARGE && *(volatile uint8_t *)(at + CODE) == RET;
}

/*
 * Where the CPU refused the write of an add it may have made the read before (QEMU 7.2 has), which
 * sets the accessed bit of the page's entry, or may have asked for both at once (SDM 3A 4.8).
 */
static void
mark_page(uint32_t va)
{
	uint32_t pde = (uint32_t)get(pde_of(va)), at;

	if (!(pde & P) || pde & PS)
		return;
	at = (pde & 0xfffff000) + (va >> 12) % PAGES * (pae ? 8 : 4);
	if (get(at) & P)
		set(at, get(at) | A);
}

static void
access(void)
{
	uint32_t va = address() + pick(PAGES) * (pae ? 8 : 4), value = (uint32_t)page_entry();
	uint32_t kind = pick(4);
	int from_table;

	if (nx && !pick(4) && may_jump(va))
		kind = ACCESS_JUMP, va = (va & 0xfffff000) + CODE;
	else if (kind == 3)
		kind = ACCESS_COPY, value = address();
	else if (kind == ACCESS_ADD)
		value = pick(2);
	if ((kind == ACCESS_ADD && leads_to_table(va)) ||
	    (kind == ACCESS_COPY && leads_to_table(value)))
		kind = ACCESS_READ;
	from_table = kind == ACCESS_READ && leads_to_table(va);
	value = pick(3) ? user_access(kind, va, value) : kernel_access(kind, va, value);
	if (from_table)
		value &= seen;
	if (kind == ACCESS_ADD)
		fault_error &= ~W; /* QEMU reads first */
	if (logging) {
		print_hex(kind), put(' '), print_hex(va), put(' '), print_hex(value), put(' ');
		print_hex(fault_vector), put(' '),
			print_hex(fault_error & 8 ? fault_error | P : fault_error), put(' ');
		say("access", fault_cr2);
	}
	mix(value);
	mix(fault_vector);
	if (fault_vector) {
		mix(fault_error & 8 ? fault_error | P : fault_error);
		mix(fault_cr2);
		space = (read_cr3() - cr3_of(0)) / (cr3_of(1) - cr3_of(0));
		if (get(pde_of(fault_cr2)) & P)
			set(pde_of(fault_cr2), get(pde_of(fault_cr2)) | A);
		if (kind == ACCESS_ADD)
			mark_page(fault_cr2);
	}
	flush(va); /* what was written may have been a page table */
}

static void
look(void)
{
	uint32_t va = address(), pde, pte;

	space = pick(SPACES_MAX);
	pde = (uint32_t)get(pde_of(va));
	pte = (uint32_t)get(tables[pick(PTS)] + pick(PAGES) * (pae ? 8 : 4));
	pde &= seen;
	pte &= seen;
	if (logging)
		say("directory entry", pde), say("page entry", pte);
	mix(pde);
	mix(pte);
}

/*
 * Every frame that an access may lead to can be jumped to. A page table has an entry there that
 * nothing uses.
 */
static void
code_everywhere(uint32_t at, uint32_t frames)
{
	for (uint32_t i = 0; i < frames; i++)
		*(volatile uint8_t *)(at + i * 4096 + CODE) = RET;
}

void
fuzz(uint32_t seed, uint32_t count, uint32_t log)
{
	static volatile uint32_t nowhere; /* 0, but not NULL to the compiler */

	state = seed;
	if (nx)
		seen = ~A;
	memset((void *)nowhere, 0, 4096); /* entries that were written in part lead here */
	code_everywhere(nowhere, 1);
	code_everywhere(DATA, FRAMES);
	for (uint32_t i = 0; i < PAGES; i++) { /* beyond what the kernel has mapped */
		map(TEST, (LARGE + i * 4096) | W | P);
		code_everywhere(TEST, 1);
	}
	code_everywhere(next_table, PTS);
	write_cr4(read_cr4() | CR4_PSE);
	for (unsigned i = 1; i < SPACES_MAX; i++) /* space 0 is in use */
		make_space(i);
	for (unsigned i = 0; i < PTS; i++) {
		tables[i] = next_table;
		for (unsigned j = 0; j < PAGES; j++)
			set(next_table + j * (pae ? 8 : 4), DATA);
		next_table += 4096;
	}
	for (unsigned i = 0; i < SPACES_MAX; i++)
		for (unsigned j = 0; j < SLOTS; j++) {
			space = i;
			set(pde_of(TEST + j * (pae ? 0x200000 : 0x400000)), directory_entry());
		}
	for (uint32_t n = 1; n <= count; n++) {
		uint32_t what = pick(16);

		logging = log && n >= log;
		if (what < 8)
			access();
		else if (what < 11)
			change_page();
		else if (what < 12)
			change_directory();
		else if (what < 13)
			write_cr3(cr3_of(pick(SPACES_MAX)));
		else if (what < 15)
			look();
		else
			write_cr0(read_cr0() ^ CR0_WP);
		if (n % 1024 == 0 || logging)
			say("sum", sum);
	}
	say("sum", sum);
}
