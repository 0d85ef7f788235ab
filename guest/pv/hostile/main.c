/*
 * A PV kernel that means harm. `all`, its word by default, tries what must be refused and prints
 * what came of it; the others end it: tests/pv.t says in which words.
 */
#include <guest/pv/lib/check.h>

int guest_main(const struct xen_start_info *info);
void narrow(void); /* narrow.c */
void user_called(const uint64_t *frame);

/* asm.asm */
extern uint8_t user_code[], user_callback[];
void do_read(uint64_t at), do_write(uint64_t at), do_run(uint64_t at), do_call_at(uint64_t rsp);
void do_iret(const uint64_t *words), do_fault_at(uint64_t rsp, uint64_t reads);
void do_step(void), do_iretd(void);
void do_nulls(void);
void do_iretq(uint64_t flags, uint64_t cs), do_popf(uint64_t flags, uint64_t *out);
extern const struct insn {
	const char *name;
	void *code;
} insns[];

#define M2P      0xffff800000000000ul
#define DIRECT   0xffff830000000000ul
#define PAGE     4096ul
#define FLAT     (PTE_P | PTE_W | PTE_U)
#define EFAULT   (-14)
#define USER_CS  0xe033
#define FRAME_CS 0xe030

static uint8_t spare[2 * PAGE] __attribute__((aligned(4096)));
static uint8_t shared_at[PAGE] __attribute__((aligned(4096)));
static uint8_t user_stack[PAGE] __attribute__((aligned(4096)));
static uint8_t kernel_stack[PAGE] __attribute__((aligned(4096)));
static volatile struct xen_vcpu_info *shared = (void *)shared_at;

static void
memory(void)
{
	uint64_t table = pv_info->pt_base;

	raises("read of the direct map", do_read, DIRECT, 14, 1);
	check(shared->cr2 == DIRECT, "cr2", shared->cr2);
	raises("read of the host's image", do_read, 0xffff828000120000, 14, 1);
	raises("read of the frame table", do_read, 0xffff82c000000000, 14, 1);
	raises("read of its descriptors", do_read, 0xffff82000000e000, 14, 1);
	raises("write to the m2p", do_write, M2P, 14, 3);
	raises("running the m2p", do_run, M2P, 14, 0x11);
	raises("write to a page table", do_write, table, 14, 3);
	raises("write to start_info's tables, the last", do_write,
	       table + (pv_info->nr_pt_frames - 1) * PAGE, 14, 3);
	raises("read beyond canonical", do_read, 0x800000000000, 13, 0);
	raises("running beyond canonical", do_run, 0x8000000000000000, 13, 0);
	check(((uint64_t *)M2P)[pv_page(spare)] == ((uint64_t)spare - 0xffffffff80000000) / PAGE,
	      "the m2p tells of a page", ((uint64_t *)M2P)[pv_page(spare)]);
	check(!try(do_read, table), "a page table can be read", last.vector);
}

/* Every frame that the machine has: those of others are refused, and its own tables for writing. */
static void
mappings(void)
{
	struct xen_machphys_mapping m2p = { 0 };
	uint64_t own = 0, tables = 0, odd = 0;

	check(!pv_call(XEN_memory_op, XEN_XENMEM_machphys_mapping, (uint64_t)&m2p, 0, 0),
	      "where the m2p is", m2p.max_mfn);
	for (uint64_t mfn = 0; mfn <= m2p.max_mfn + 2; mfn++) {
		bool reads = !pv_map(spare, mfn << 12 | PTE_P | PTE_U);
		bool writes = !pv_map(spare, mfn << 12 | FLAT);

		own += reads;
		tables += reads && !writes;
		odd += writes && !reads;
	}
	check(own == pv_info->nr_pages + 1, "frames that it may map", own);
	check(tables == pv_info->nr_pt_frames, "... of those to be read alone", tables);
	check(!odd, "none is to be written alone", odd);
	for (unsigned bit = 3; bit < 63; bit++) { /* what no entry of level 1 may have */
		uint64_t entry = pv_page(spare + PAGE) << 12 | FLAT;
		bool harmless = bit == 5 || bit == 6 || (bit >= 9 && bit < 12) || bit >= 52;

		if (entry >> bit & 1)
			continue;
		if (bit >= 12 && bit < 52 &&
		    ((entry | 1ul << bit) >> 12 & 0xffffffffff) <= m2p.max_mfn)
			continue; /* another frame, which the loop above has tried */
		check(!pv_map(spare, entry | 1ul << bit) == harmless, "an entry with bit", bit);
	}
	check(pv_map((void *)M2P, 0) == -22, "an entry of the hole", 0);
	check(pv_map((void *)0x800000000000, 0) == -22, "an entry of no address", 0);
	check(pv_map((void *)0x1000, 0) == -22, "an entry of no table", 0);
	check(!pv_map(spare, pv_page(spare) << 12 | FLAT), "back", 0);
}

/* Each is a pointer of which not all is the guest's. */
static void
pointers(void)
{
	const uint64_t bad[] = {
		0,
		0x1000,
		0x7fffffffffff,
		0x800000000000,
		0xffff7fffffffffff,
		M2P - 8,
		M2P,
		DIRECT,
		0xffff87fffffffffc,
		0xffff87ffffffffff,
		~0ul,
		~0ul - 7,
		0x8000000000000000,
		(uint64_t)spare + PAGE - 4,
	};

	struct xen_memory_map map = { .nr_entries = 1 };

	pv_map(spare + PAGE, 0);
	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		uint64_t p = bad[n];

		check(pv_call(XEN_console_io, 0, 100, p, 0) == EFAULT, "console_io", p);
		check(pv_call(XEN_console_io, 1, 100, p, 0) == EFAULT, "console_io to read", p);
		check(pv_call(XEN_xen_version, 1, p, 0, 0) == EFAULT, "xen_version", p);
		check(pv_call(XEN_xen_version, 6, p, 0, 0) == EFAULT, "get_features", p);
		check(pv_call(XEN_multicall, p, 1, 0, 0) == EFAULT, "multicall", p);
		check(pv_call(XEN_memory_op, 12, p, 0, 0) == EFAULT, "memory_op", p);
		map.buffer = p;
		check(pv_call(XEN_memory_op, 9, p, 0, 0) == EFAULT &&
			      pv_call(XEN_memory_op, 9, (uint64_t)&map, 0, 0) == EFAULT,
		      "memory_map", p);
		check(pv_call(XEN_mmuext_op, p, 1, 0, XEN_DOMID_SELF) == EFAULT, "mmuext_op", p);
		if (p)
			check(pv_call(XEN_set_trap_table, p, 0, 0, 0) == EFAULT, "set_trap_table",
			      p);
		if (n != sizeof(bad) / sizeof(bad[0]) - 1)
			check(pv_call(XEN_sched_op, 2, p, 0, 0) == EFAULT, "shutdown", p);
		check(!try(do_call_at, p), "a hypercall with such an rsp", p);
	}
	check(pv_call(XEN_xen_version, 1, pv_info->pt_base, 0, 0) == EFAULT, "to a page table", 0);
	spare[PAGE - 64] = XEN_xen_version;
	check(pv_call(XEN_multicall, (uint64_t)spare + PAGE - 64, ~0u, 0, 0) == EFAULT,
	      "a multicall of four thousand million", 0);
	pv_map(spare + PAGE, pv_page(spare + PAGE) << 12 | FLAT);
}

static void
calls(void)
{
	struct xen_multicall_entry many[4] = {
		{ .op = XEN_multicall }, { .op = XEN_iret }, { .op = 64 }, { .op = XEN_xen_version }
	};
	struct xen_mmuext_op op = { .cmd = XEN_MMUEXT_NEW_BASEPTR, .arg1 = pv_page(spare) };

	for (unsigned n = 0; n < 2; n++) { /* the log has them once */
		check(pv_call(63, 0, 0, 0, 0) == -38, "number 63", n);
		check(pv_call(64, 0, 0, 0, 0) == -38, "number 64", n);
		check(pv_call(~0ul, 0, 0, 0, 0) == -38, "number -1", n);
		check(pv_call(1ul << 32 | XEN_xen_version, 0, 0, 0, 0) == -38, "a wide number", n);
	}
	if (pv_is_dom0()) /* Xen goes wherever such an iret leads */
		many[1] = many[0];
	check(!pv_call(XEN_multicall, (uint64_t)many, 4, 0, 0) && (int64_t)many[0].result == -22 &&
		      (int64_t)many[1].result == -22 && (int64_t)many[2].result == -38 &&
		      many[3].result == 0x40011,
	      "what no multicall may hold", many[0].result);
	check(pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF) == -22,
	      "any page as a root", 0);
	op.arg1 = pv_page((void *)pv_info->pt_base) + 1;
	check(pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, 5) == -1, "another domain's", 0);
	op.arg1 = 0x100;
	check(pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF) == -22,
	      "a root of Zeno's", 0);
}

static void
instructions(void)
{
	unsigned n = 0;

	for (; insns[n].name; n++) {
		bool came;

		last.vector = 99;
		came = try(insns[n].code, 0);
		check(came && (last.vector == 6 || last.vector == 13 || last.vector == 11),
		      insns[n].name, last.vector << 32 | last.error);
	}
	pv_printf("%u instructions raise #UD, #NP or #GP\n", n);
}

static void
iretq_to_host(uint64_t cs)
{
	do_iretq(0x202, cs);
}

static void
popf(uint64_t flags)
{
	uint64_t got;

	do_popf(flags, &got);
	check((got & 0x3200) == 0x200, "flags behind popf", got);
}

static void
iret_to(uint64_t rip)
{
	const uint64_t words[] = { 0,       0,     0, 0, rip, FRAME_CS, 0x3202 | 1 << 14 | 1 << 17,
				   try_rsp, 0xe02b };

	do_iret(words);
}

static void
iret_as(uint64_t cs, uint64_t ss)
{
	const uint64_t words[] = { 0, 0, 0, 0, (uint64_t)user_code, cs, 0x202, try_rsp, ss };

	do_iret(words);
}

/* Selectors of all kinds, as cs << 16 | ss: the CPU says of each of them what it is. */
static void
iret_by(uint64_t selectors)
{
	iret_as(selectors >> 16, selectors & 0xffff);
}

static void
selectors(void)
{
	raises("iret to the host's code", iret_by, 0xe008e02b, 13, 0xe008);
	raises("iret to the host's data", iret_by, 0xe030e010, 13, 0xe010);
	raises("iret to its TSS", iret_by, 0xe040e02b, 13, 0xe040);
	raises("iret to data", iret_by, 0xe028e02b, 13, 0xe028);
	raises("iret to nothing", iret_by, 0x0000e02b, 13, 0);
	raises("iret to no stack", iret_by, 0xe0300000, 13, 0);
	raises("iret beyond all descriptors", iret_by, 0xfff8e02b, 13, 0xfff8);
	raises("iret by an LDT that is none", iret_by, 0x0004e02b, 13, 4);
}

static void
flags_and_frames(void)
{
	raises("iretq to the host's code", iretq_to_host, 0xe008, 13, 0xe008);
	popf(0x3000);
	popf(0);
	raises("iret to no canonical rip", iret_to, 0x800000000000, 13, 0);
	raises("iret to the hole", iret_to, DIRECT, 14, 0x11);
	check(try(iret_to, (uint64_t)try_back) == 1, "iret with IOPL, NT and VM goes on", 0);
	raises("a step over mov ss and syscall", do_step, 0, 1, 0);
	check(!try(do_read, (uint64_t)spare), "no step is left", last.vector);
}

/* ---- its user ---- */

static unsigned user_came;

void
user_called(const uint64_t *frame)
{
	check(frame[0] == 77 && frame[4] == (USER_CS | (uint64_t)shared->upcall_mask << 32),
	      "user's syscall", frame[4]);
	user_came++;
}

static void
from_user(struct pv_frame *f)
{
	static const uint64_t vectors[] = { 128, 6, 14, 13 };
	unsigned n = user_came++ - 1;

	check(f->vector == vectors[n] && (f->cs & 0xffff) == USER_CS, "from the user", f->vector);
	f->rip += f->vector == 6 ? 2 : f->vector == 14 ? 3 : 0;
	if (n == 3) {
		f->cs = FRAME_CS;
		f->rip = (uint64_t)try_back;
		f->rsp = try_rsp;
	}
}

static void
into_user(uint64_t rip)
{
	const uint64_t words[] = { 0,     0, 0, 0, rip, USER_CS, 0x202, (uint64_t)user_stack + PAGE,
				   0xe02b };

	do_iret(words);
}

static void
user(void)
{
	struct xen_mmuext_op op = { .cmd = XEN_MMUEXT_NEW_USER_BASEPTR,
				    .arg1 = pv_page((void *)pv_info->pt_base) };

	check(!pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF), "its user's root", 0);
	pv_call(XEN_stack_switch, 0xe02b, (uint64_t)kernel_stack + PAGE, 0, 0);
	pv_call(XEN_set_callbacks, 0, 0, (uint64_t)user_callback, 0);
	pv_handler = from_user;
	try(into_user, (uint64_t)user_code);
	pv_handler = caught;
	check(user_came == 5, "what came from the user", user_came);
}

static void
all(void)
{
	check(!pv_map(shared_at, pv_info->shared_info | FLAT), "the shared page", 0);
	shared->upcall_mask = 0xff;
	memory();
	mappings();
	pointers();
	calls();
	instructions();
	flags_and_frames();
	selectors();
	user();
	narrow();
	check(!pv_map(spare, ~(uint64_t)PTE_P), "an entry that is not there, of no frame", 0);
	pv_printf("%u wrong; the end\n", wrong);
	pv_exit((int)wrong);
}

/* ---- what ends it ---- */

static uint64_t reads; /* an address that is none: its exception is a #PF; else, 0, a #UD */

static void
raise(void)
{
	if (reads)
		do_read(reads);
	__asm__ volatile("ud2");
}

static void
handler_at(uint64_t address)
{
	struct xen_trap_info t[2] = {
		{ .vector = reads ? 14 : 6, .cs = USER_CS, .address = address }
	};

	pv_call(XEN_set_trap_table, (uint64_t)t, 0, 0, 0);
	raise();
}

static void
into_v86(void)
{
	do_iretd();
}

static void
no_traps(void)
{
	pv_call(XEN_set_trap_table, 0, 0, 0, 0);
	raise();
}

/* ... behind calls that are answered on the spot: its last words have each of them. */
static void
nulls(void)
{
	pv_call(XEN_set_trap_table, 0, 0, 0, 0);
	do_nulls();
}

/* Its handler of #PF is where nothing is: each call of it is another one, and takes more stack. */
static void
for_ever(void)
{
	struct xen_trap_info t[2] = { { .vector = 14, .cs = USER_CS, .address = 0x123456 } };

	pv_call(XEN_set_trap_table, (uint64_t)t, 0, 0, 0);
	do_read(0x123456);
}

/* All its GDT is data without a limit, for ring 3. Whose else is it? */
static void
spin_with_descriptors(void)
{
	uint64_t frames[14];

	for (unsigned n = 0; n < PAGE / 8; n++) {
		((uint64_t *)spare)[n] = 0x00cff3000000ffff;
		frames[n % 14] = pv_page(spare);
	}
	pv_printf("gdt %lx\n", (uint64_t)pv_call(XEN_set_gdt, (uint64_t)frames, 7168, 0, 0));
	for (;;)
		;
}

/* CR4.TSD: it wants an exception of each rdtsc. */
static void
spin_without_time(void)
{
	__asm__ volatile("mov %%cr4, %%rax; or $4, %%rax; mov %%rax, %%cr4" : : : "rax");
	for (;;)
		;
}

static void
endless_calls(void)
{
	static struct xen_multicall_entry yields[4];

	for (unsigned n = 0; n < 4; n++)
		yields[n] = (struct xen_multicall_entry){ .op = XEN_sched_op };
	for (;;)
		pv_call(XEN_multicall, (uint64_t)yields, 4, 0, 0);
}

static void
endless_answers(void)
{
	for (;;)
		pv_call(XEN_xen_version, 0, 0, 0, 0);
}

#define ENDING(name, call)           \
	static void end_##name(void) \
	{                            \
		call;                \
	}
#define ENDINGS(E)                                                  \
	E(stack_unmapped, do_fault_at(0x2000, reads))               \
	E(stack_hole, do_fault_at(DIRECT + 0x1000, reads))          \
	E(stack_edge, do_fault_at(0xffff880000000010, reads))       \
	E(stack_wraps, do_fault_at(8, reads))                       \
	E(stack_table, do_fault_at(pv_info->pt_base + PAGE, reads)) \
	E(stack_wild, do_fault_at(0x800000000000, reads))           \
	E(iret_hole, do_iret((void *)DIRECT))                       \
	E(iret_edge, do_iret((void *)(~0ul - 16)))                  \
	E(iret_rootless, iret_as(USER_CS, 0xe02b))                  \
	E(handler_hole, handler_at(DIRECT))                         \
	E(handler_wild, handler_at(0x800000000000))                 \
	E(no_handler, no_traps())                                   \
	E(nulls, nulls())                                           \
	E(for_ever, for_ever())                                     \
	E(v86, into_v86())                                          \
	E(calls, endless_calls())                                   \
	E(answers, endless_answers())                               \
	E(descriptors, spin_with_descriptors())                     \
	E(spin, spin_without_time())
ENDINGS(ENDING)

static const struct {
	const char *name;
	void (*end)(void);
} endings[] = {
#define ENTRY(name, call) { #name, end_##name },
	ENDINGS(ENTRY)
};

static bool
same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return !*a && (!*b || *b == ' ');
}

int
guest_main(const struct xen_start_info *info)
{
	const char *word = info->cmd_line;

	pv_init(info);
	pv_take_traps();
	pv_handler = caught;
	while (*word && *word != '=')
		word++;
	if (!*word++)
		all();
	if (word[0] == 'p' && word[1] == 'f' && word[2] == '_') {
		reads = 0x1000;
		word += 3;
	}
	for (unsigned n = 0; n < sizeof(endings) / sizeof(endings[0]); n++)
		if (same(endings[n].name, word))
			endings[n].end();
	pv_printf("still there\n");
	return 1;
}
