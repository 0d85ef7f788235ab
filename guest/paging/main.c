/*
 * A small kernel with paging (Lab 2): 4 KiB and large pages, high addresses, faults of each kind,
 * rings, accessed and dirty bits, aliases, a page directory that maps itself, two address spaces.
 * It prints what it sees, so that its output can be compared with the bare machine's. Its words:
 *
 *   pae=1       PAE paging
 *   nx=1        EFER.NXE on, and tests of it
 *   fuzz=N      N random operations instead, from seed=S; log=M tells them from the Mth on (fuzz.c)
 *   hostile=X   an attack instead (hostile.c)
 */
#include "kernel.h"

#define COM1_LSR 0x3fd
#define LSR_TEMT 0x40
#define HIGH     0xc0000000u
#define SELF     0xff400000u /* its own tables; the VMM window is above */

static void
report(const char *what, uint32_t value)
{
	print(what);
	if (!fault_vector) {
		say(": ok", value);
		return;
	}
	print(": fault ");
	print_hex(fault_vector);
	print(" error ");
	print_hex(fault_error & 8 ? fault_error | P : fault_error); /* QEMU 7.2 forgets P there */
	say(fault_vector == 14 ? " cr2" : " at", fault_vector == 14 ? fault_cr2 : 0);
}

/* Every kind of access in both rings to one page. */
static void
all(const char *what, uint32_t va)
{
	print(what);
	put('\n');
	report("  kernel read", kernel_access(ACCESS_READ, va + 4, 0));
	report("  kernel write", kernel_access(ACCESS_WRITE, va + 8, 0x11111111));
	report("  user read", user_access(ACCESS_READ, va + 4, 0));
	report("  user write", user_access(ACCESS_WRITE, va + 12, 0x22222222));
	report("  user add", user_access(ACCESS_ADD, va + 12, 1));
}

static void
show(const char *what, uint32_t at)
{
	print(what);
	print(get(at) & P ? " P" : " -");
	print(get(at) & A ? "A" : "-");
	print(get(at) & D ? "D\n" : "-\n");
}

static void
rights(void)
{
	static const char *const names[] = { "supervisor, read-only", "supervisor, writable",
					     "user, read-only", "user, writable" };

	for (unsigned wp = 0; wp < 2; wp++) {
		write_cr0(wp ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
		print(wp ? "CR0.WP on\n" : "CR0.WP off\n");
		for (unsigned i = 0; i < 4; i++) {
			map(TEST, DATA | i << 1 | P);
			all(names[i], TEST);
		}
		set(pde_of(TEST), get(pde_of(TEST)) & ~(uint64_t)(U | W));
		invalidate(TEST);
		all("user, writable, in a table that is neither", TEST);
		set(pde_of(TEST), get(pde_of(TEST)) | U | W);
		invalidate(TEST);
	}
	map(TEST, DATA | U | W);
	all("not present", TEST);
	all("no page table", TEST + 0x800000);
	report("jump to nowhere", kernel_access(ACCESS_JUMP, TEST + 0x10, 0));
	report("push to nowhere", user_access(ACCESS_PUSH, TEST + 0x10, 0));
}

static void
accessed_dirty(void)
{
	uint32_t va = TEST + 0x1000, pte = pte_of(va), pde = pde_of(va);

	map(va, (DATA + 0x1000) | U | W | P);
	set(pde, get(pde) & ~(uint64_t)A);
	invalidate(va);
	show("new: table", pde), show("     page", pte);
	kernel_access(ACCESS_READ, va, 0);
	show("read: table", pde), show("      page", pte);
	kernel_access(ACCESS_WRITE, va, 1);
	show("written: table", pde), show("         page", pte);
	set(pte, get(pte) & ~(uint64_t)(A | D));
	invalidate(va);
	user_access(ACCESS_READ, va, 0);
	show("cleared, read: page", pte);
	set(pte, get(pte) & ~(uint64_t)D);
	invalidate(va);
	user_access(ACCESS_ADD, va, 1);
	show("cleared D, added: page", pte);
	map(va, (DATA + 0x1000) | U | P);
	user_access(ACCESS_WRITE, va, 1);
	show("write refused: page", pte);
}

static void
aliases(void)
{
	uint32_t a = TEST + 0x2000, b = TEST + 0x402000, pte = pte_of(a);

	map(a, (DATA + 0x2000) | U | W | P);
	map(b, (DATA + 0x2000) | U | W | P);
	kernel_access(ACCESS_WRITE, a, 0xa11a5000);
	report("alias", kernel_access(ACCESS_READ, b, 0));
	map(b, (pte & 0xfffff000) | W | P); /* a's page table itself */
	report("a's entry", kernel_access(ACCESS_READ, b + (pte & 0xfff), 0) & ~(uint32_t)(A | D));
	kernel_access(ACCESS_WRITE, b + (pte & 0xfff), (DATA + 0x3000) | U | W | P);
	invalidate(a);
	*(volatile uint32_t *)(DATA + 0x3000) = 0x33333333;
	report("a, moved through the alias", kernel_access(ACCESS_READ, a, 0));
	kernel_access(ACCESS_WRITE, b + (pte & 0xfff), 0);
	invalidate(a);
	report("a, taken away", kernel_access(ACCESS_READ, a, 0));
	for (uint32_t i = 0; i < 64; i++) /* more than anyone does with a table in use */
		kernel_access(ACCESS_WRITE, b + (pte & 0xfff), (DATA + (i & 7) * 4096) | U | W | P);
	invalidate(a);
	report("a, after many writes", kernel_access(ACCESS_READ, a, 0));
}

static void
crossing(void)
{
	uint32_t va = TEST + 0x10000;

	map(va, (DATA + 0x4000) | U | W | P);
	map(va + 4096, (DATA + 0x7000) | U | P);
	*(volatile uint32_t *)(DATA + 0x4ffc) = 0x44332211;
	*(volatile uint32_t *)(DATA + 0x7000) = 0x88776655;
	report("across two pages", kernel_access(ACCESS_READ, va + 4094, 0));
	report("write across, the second read-only",
	       user_access(ACCESS_WRITE, va + 4094, 0xffffffff));
	say("the first is as it was", *(volatile uint32_t *)(DATA + 0x4ffc));
	map(va + 4096, 0);
	report("across, the second absent", user_access(ACCESS_READ, va + 4094, 0));
}

static void
self_map(void)
{
	uint32_t pte = SELF + (TEST >> 12) * 4;

	if (pae)
		return;
	set(pde_of(SELF), PD | W | P);
	invalidate(SELF);
	map(TEST, DATA | U | W | P);
	report("own entry", kernel_access(ACCESS_READ, pte, 0) & ~(uint32_t)(A | D));
	report("own directory", kernel_access(ACCESS_READ, SELF + (SELF >> 10), 0) & 0xfffff01f);
	kernel_access(ACCESS_WRITE, pte, (DATA + 0x3000) | W | P);
	invalidate(TEST);
	report("moved through itself", kernel_access(ACCESS_READ, TEST, 0));
	kernel_access(ACCESS_WRITE, SELF + (SELF >> 10) + 4, DATA | PS); /* not present */
	report("the directory's last entry",
	       kernel_access(ACCESS_READ, SELF + (SELF >> 10) + 4, 0));
}

static void
large(void)
{
	uint32_t va = TEST + 0x1000000, size = pae ? 0x200000 : 0x400000, pde = pde_of(va);

	if (!pae) {
		set(pde, LARGE | U | W | P | PS); /* CR4.PSE is off: a page table at 4 MiB */
		*(volatile uint32_t *)(DATA + 0x5000) = 0x55555555;
		map(TEST, LARGE | W | P);
		*(volatile uint32_t *)TEST = (DATA + 0x5000) | U | W | P;
		invalidate(va);
		report("PS without CR4.PSE", kernel_access(ACCESS_READ, va, 0));
		write_cr4(read_cr4() | CR4_PSE);
	}
	set(pde, LARGE | U | W | P | PS);
	invalidate(va);
	show("large: entry", pde);
	kernel_access(ACCESS_READ, va, 0);
	show("read: entry", pde);
	kernel_access(ACCESS_WRITE, va + size - 4, 0x66666666);
	show("written: entry", pde);
	report("its end", user_access(ACCESS_READ, va + size - 4, 0));
	map(TEST, (LARGE + size - 4096) | U | W | P);
	report("a small page of it", user_access(ACCESS_READ, TEST + 4092, 0));
	set(pde, LARGE | U | P | PS);
	invalidate(va);
	all("large, read-only", va);
	set(pde, LARGE | W | P | PS);
	invalidate(va);
	all("large, supervisor", va + 0x1000);
	set(pde, LARGE | 0x200000 >> pae | W | U | P | PS);
	invalidate(va);
	all("large, reserved bit", va);
	set(pde, 0);
	invalidate(va);
	report("large, gone", kernel_access(ACCESS_READ, va, 0));
}

/* PAE: bits above the machine's addresses, and NX while EFER.NXE is 0. */
static void
reserved(void)
{
	if (!pae)
		return;
	map(TEST, DATA | U | W | P | 1ull << 51);
	all("address too high", TEST);
	if (nx)
		return;
	map(TEST, DATA | U | W | P | NX);
	all("NX, which is off", TEST);
}

static void
jumps(const char *what, uint32_t va)
{
	print(what);
	put('\n');
	report("  kernel jump", kernel_access(ACCESS_JUMP, va, 0));
	report("  user jump", user_access(ACCESS_JUMP, va, 0));
	report("  user read", user_access(ACCESS_READ, va, 0) & 0xff);
}

/* NX at each level, and EFER.NXE turned off and on over it. PAE's registers have no NX. */
static void
no_execute_bits(void)
{
	uint32_t va = TEST + 0x1400000, large = TEST + 0x1800000;

	map(va, (DATA + 0xa000) | U | W | P | NX);
	jumps("NX in the page's entry", va);
	kernel_access(ACCESS_WRITE, va, RET);
	jumps("NX, written", va);
	map(va, (DATA + 0xa000) | U | W | P);
	jumps("taken away", va);
	set(pde_of(va), get(pde_of(va)) | NX);
	invalidate(va);
	jumps("NX in the directory's entry", va);
	write_nxe(0);
	invalidate(va);
	say("EFER without NXE", read_efer());
	jumps("which is reserved now", va);
	write_nxe(1);
	invalidate(va);
	say("EFER with NXE", read_efer());
	jumps("and means NX again", va);
	set(pde_of(va), get(pde_of(va)) & ~NX);
	invalidate(va);
	jumps("no NX", va);
	set(pde_of(large), LARGE | U | W | P | PS | NX);
	*(volatile uint8_t *)va = 0;
	map(va, LARGE | U | W | P);
	*(volatile uint8_t *)va = RET;
	jumps("NX on a large page", large);
	jumps("the same frame, without", va);
	set(pde_of(large), LARGE | P | PS);
	invalidate(large);
	jumps("a supervisor's large page", large);
	set(pde_of(large), 0);
	invalidate(large);
}

/* Where NX does not exist or does not matter: what the error code of a fetch says. */
static void
no_execute(void)
{
	uint32_t va = TEST + 0x1400000;

	if (!nx)
		return;
	map(va, (DATA + 0xa000) | U | W | P);
	*(volatile uint8_t *)(DATA + 0xa000) = RET;
	jumps("code", va);
	map(va, (DATA + 0xa000) | W | P);
	jumps("a supervisor's code", va);
	map(va, 0);
	jumps("no code", va);
	if (pae)
		no_execute_bits();
}

/*
 * The CPU's own accesses to descriptor tables, which are a supervisor's: tables that end on a page
 * that is not there.
 */
static void
implicit(void)
{
	uint32_t page = TEST + 0x20000;
	uint8_t *table = (uint8_t *)(page + 4096 - 8 * 0x30);

	map(page, (DATA + 0x8000) | W | P);
	map(page + 4096, (DATA + 0x9000) | W | P);
	memcpy(table, idt, 8 * 64);
	load_idt(table, 8 * 64 - 1);
	report("int through a mapped gate", user_access(ACCESS_READ, USER_PAGE, 0) & 0xff);
	map(page + 4096, 0);
	report("int through one that is not", user_access(ACCESS_READ, USER_PAGE, 0) & 0xff);
	load_idt(idt, 8 * 64 - 1);
	table = (uint8_t *)(page + 4096 - 0x20);
	map(page + 4096, (DATA + 0x9000) | W | P);
	memcpy(table, gdt, 48);
	load_gdt(table, 47);
	report("a selector that is mapped", load_fs(0x23));
	map(page + 4096, 0);
	report("one that is not", load_fs(0x23));
	map(page + 4096, (DATA + 0x9000) | W | P);
	report("one that is again", load_fs(0x23));
	load_gdt(gdt, 47);
	load_fs(0);
}

static void
spaces(void)
{
	map(TEST, DATA | U | W | P);
	make_space(1);
	map(TEST, (DATA + 0x6000) | U | W | P);
	*(volatile uint32_t *)DATA = 0x5bace000;
	*(volatile uint32_t *)(DATA + 0x6000) = 0x5bace001;
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(cr3_of(i & 1));
		report("this space's", user_access(ACCESS_READ, TEST, 0));
	}
	space = 0;
	map(TEST, (DATA + 0x3000) | U | W | P); /* while the other space is in use */
	write_cr3(cr3_of(0));
	report("changed meanwhile", kernel_access(ACCESS_READ, TEST, 0));
	write_cr0(read_cr0() & ~CR0_PG);
	*(volatile uint32_t *)pte_of(TEST) = (DATA + 0x2000) | U | W | P;
	*(volatile uint32_t *)(DATA + 0x2000) = 0x0ff;
	write_cr0(read_cr0() | CR0_PG);
	report("changed while paging was off", kernel_access(ACCESS_READ, TEST, 0));
}

/* A function of the kernel's: returns this value. */
static void
write_code(uint32_t at, uint32_t value)
{
	*(volatile uint8_t *)at = 0xb8; /* mov eax, imm32 */
	*(volatile uint32_t *)(at + 1) = value;
	*(volatile uint8_t *)(at + 5) = RET;
}

static void
code_in(unsigned n, uint32_t va)
{
	write_cr3(cr3_of(n));
	say("code in space", n);
	report("  kernel's", kernel_access(ACCESS_JUMP, va, 0));
	report("  user's", user_access(ACCESS_JUMP, va, 0));
}

/*
 * Kernel code at one address in spaces with tables of their own: which frame it is in changes by
 * CR3, by an entry, by a table.
 */
static void
code_spaces(void)
{
	const uint32_t va = TEST + 0x2000000, one = DATA + 0xb000, two = DATA + 0xc000;
	uint64_t table;

	write_code(one, 0xc0de0001);
	write_code(two, 0xc0de0002);
	map(va, one | U | W | P);
	for (unsigned i = 1; i < SPACES_MAX; i++) {
		make_space(i);
		map(va, (i == 1 ? two : one) | U | W | P);
	}
	for (unsigned i = 0; i < 3 * SPACES_MAX; i++)
		code_in(i % SPACES_MAX, va);
	space = 2;
	map(va, 0);
	code_in(2, va);
	code_in(0, va);
	write_code(one, 0xc0de0003);
	map(va, one | U | W | P); /* space 2's; the other one is loaded */
	code_in(2, va);
	map(va, two | W | P);
	code_in(2, va);
	space = 1;
	table = get(pde_of(va));
	space = 2;
	set(pde_of(va), table);
	invalidate(va);
	code_in(2, va);
	space = 0;
	code_in(0, va);
	set(pde_of(va), table); /* the table of another space, and INVLPG alone says so */
	invalidate(va);
	report("by INVLPG", kernel_access(ACCESS_JUMP, va, 0));
	set(pde_of(va), 0);
	invalidate(va);
	code_in(0, va);
}

static void
one_by_one(void)
{
	rights();
	accessed_dirty();
	aliases();
	crossing();
	self_map();
	large();
	reserved();
	no_execute();
	implicit();
	code_spaces();
	spaces();
}

static uint32_t
number(const char *s)
{
	uint32_t n = 0;

	while (s && *s >= '0' && *s <= '9')
		n = n * 10 + (uint32_t)(*s++ - '0');
	return n;
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic;
	console_init();
	pae = option_is(option(info, "pae"), "1");
	nx = option_is(option(info, "nx"), "1");
	print(pae ? "a guest with PAE paging\n" : "a guest with paging\n");
	if (nx)
		write_nxe(1);
	tables_init();
	make_space(0);
	memcpy((void *)USER_PAGE, user_code, user_code_end - user_code);
	user_entry = USER_PAGE;
	user_stack = USER_PAGE + 4096;
	if (pae)
		write_cr4(read_cr4() | CR4_PAE);
	write_cr3(cr3_of(0));
	write_cr0(read_cr0() | CR0_PG);
	print("paging is on\n");
	map(HIGH, DATA | W | P);
	*(volatile uint32_t *)DATA = 0xcafe0001;
	report("high", kernel_access(ACCESS_READ, HIGH, 0));
	if (option(info, "hostile"))
		hostile(option(info, "hostile"));
	else if (option(info, "fuzz"))
		fuzz(number(option(info, "seed")), number(option(info, "fuzz")),
		     number(option(info, "log")));
	else
		one_by_one();
	say("faults", faults);
	while (!(inb(COM1_LSR) & LSR_TEMT)) /* Bochs loses what is still on its way */
		;
	return 0;
}
