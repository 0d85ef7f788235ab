/*
 * A PV kernel that uses what its machine would have: privileged instructions, descriptors,
 * breakpoints. A line for each thing that is not as it should be.
 */
#include <guest/pv/machine/machine.h>

int guest_main(const struct xen_start_info *info);
void failsafe_called(void);

/* asm.asm */
#define DO(name) void do_##name(uint64_t operand);
DO(forced)
DO(nearly_forced)
DO(rdmsr)
DO(wrmsr)
DO(rdtsc)
DO(from_cr0)
DO(to_cr0)
DO(from_cr2)
DO(to_cr2)
DO(from_cr3)
DO(to_cr3)
DO(from_cr4)
DO(to_cr4)
DO(from_cr8)
DO(to_cr8)
DO(clts)
DO(cli)
DO(sti)
DO(wbinvd)
DO(fpu)
DO(ins)
DO(inb)
DO(inw)
DO(inl)
DO(in_imm)
DO(outl)
DO(fs)
DO(gs)
DO(to_ds)
DO(from_ds)
DO(to_es)
DO(to_fs)
DO(from_fs)
DO(to_gs)
DO(from_gs)
DO(lar)
DO(far)
DO(watched)
extern uint8_t user_code[];
extern uint64_t far_cs;
uint64_t failsafe_words[11];

#define PAGE   4096ul
#define EFAULT (-14)
#define EINVAL (-22)
#define ENOSYS (-38)
#define GP     13
#define UD     6
#define HOLE   0xffff800000000000ul
#define DIRECT 0xffff830000000000ul
#define EFER   0xd01ul /* SCE LME LMA NXE */

static uint64_t four[4];
static uint8_t page[4][PAGE] __attribute__((aligned(4096)));
static uint8_t user_stack[PAGE] __attribute__((aligned(4096)));
static uint8_t kernel_stack[PAGE] __attribute__((aligned(4096)));

/* An instruction with four registers; whether it went well. */
static bool
with(void *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	const uint64_t registers[] = { a, b, c, d };

	for (unsigned n = 0; n < 4; n++)
		four[n] = registers[n];
	return !try(fn, (uint64_t)four);
}

uint64_t
value(void *fn)
{
	four[0] = 0x5555;
	try(fn, (uint64_t)four);
	return four[0];
}

bool
does(void *fn, uint64_t operand)
{
	return !try(fn, operand);
}

/* Others have their turns; then its registers are loaded anew. */
void
do_yield(uint64_t operand)
{
	pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
}

static void
cpuid(void)
{
	const uint64_t high = 0xdead00000000;

	check(with(do_forced, high | 0x40000000, high, high, high) && four[0] == 0x40000002 &&
		      four[1] == 0x566e6558 && four[2] == 0x65584d4d && four[3] == 0x4d4d566e,
	      "the monitor's leaf", four[1]);
	check(with(do_forced, 0x40000001, 0, 0, 0) && four[0] == 0x40011, "its version", four[0]);
	check(with(do_forced, 1, 0, 0, 0) && four[2] >> 31 & 1, "a monitor", four[2]);
	check(!(four[2] &
		(1u << 3 | 1u << 17 | 1u << 21 | 1u << 24 | 1u << 26 | 1u << 27 | 1u << 28)),
	      "MONITOR, PCID, x2APIC, the deadline, XSAVE, AVX", four[2]);
	check(!(four[3] & (1u << 7 | 1u << 9 | 1u << 12 | 1u << 14)), "MCE, APIC, MTRR", four[3]);
	check(!(four[3] & (1u << 1 | 1u << 3 | 1u << 11 | 1u << 13 | 1u << 17)),
	      "VME, PSE, SEP, PGE, PSE-36", four[3]);
	check(with(do_forced, 7, 0, 0, 0) && !(four[1] & (1u | 1u << 7 | 1u << 10 | 1u << 20)),
	      "FSGSBASE, SMEP, INVPCID, SMAP", four[1]);
	check(with(do_forced, 0x80000001, 0, 0, 0) && !(four[2] & 4), "AMD-V", four[2]);
	check(!(four[3] & (1u << 3 | 1u << 13 | 1u << 17 | 1u << 26)) && four[3] >> 29 & 1,
	      "PSE, PGE, PSE-36, pages of 1 GiB; long mode", four[3]);
	check(!with(do_nearly_forced, 0, 0, 0, 0) && last.vector == UD, "nearly forced",
	      last.vector);
}

static bool
rdmsr(uint64_t number)
{
	return with(do_rdmsr, ~0ul, 0, ~0xfffffffful | number, ~0ul);
}

static bool
wrmsr(uint64_t number, uint64_t to)
{
	return with(do_wrmsr, to & 0xffffffff, 0, number, to >> 32);
}

static void
msrs(void)
{
	static const uint32_t none[] = { 0x174,      0x176,      0x1b0,      0xc0000081, 0xc0000082,
					 0xc0000083, 0xc0000084, 0xc0010114, 0xc0010117, 0x3a,
					 0x480,      0xdeadbeef, 0x40000000 };

	check(rdmsr(0xc0000080) && four[0] == EFER && !four[3], "EFER", four[0]);
	check(wrmsr(0xc0000080, EFER), "EFER as it is", last.vector);
	check(!wrmsr(0xc0000080, EFER | 0x1000) && !wrmsr(0xc0000080, 0), "another EFER", 0);
	check(rdmsr(0x277) && wrmsr(0x277, four[3] << 32 | four[0]) && !wrmsr(0x277, 0), "PAT",
	      four[0]);
	check(rdmsr(0x1b) && !wrmsr(0x1b, 0xfee00c00), "APIC_BASE", four[0]);
	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++)
		check(!rdmsr(none[n]) && last.vector == GP && !last.error && !wrmsr(none[n], 0) &&
			      last.vector == GP,
		      "no such register", none[n]);
}

static void
control_registers(void)
{
	uint64_t cr0 = value(do_from_cr0), cr4 = value(do_from_cr4), cr3 = value(do_from_cr3);

	check((cr0 & 0x80010039) == 0x80010031, "CR0", cr0);
	check(does(do_to_cr0, cr0 | 8) && value(do_from_cr0) == (cr0 | 8), "TS", 0);
	check(!does(do_fpu, 0) && last.vector == 7, "#NM", last.vector);
	check(does(do_fpu, 0) && value(do_from_cr0) == cr0, "... comes once", last.vector);
	check(!pv_call(XEN_fpu_taskswitch, 1, 0, 0, 0) && value(do_from_cr0) == (cr0 | 8), "", 1);
	check(does(do_clts, 0) && does(do_fpu, 0) && value(do_from_cr0) == cr0, "clts", 0);
	for (unsigned bit = 0; bit < 64; bit++)
		check(bit == 3 || !does(do_to_cr0, cr0 ^ 1ul << bit), "a bit of CR0", bit);
	check(does(do_to_cr2, 0x1234567890) && value(do_from_cr2) == 0x1234567890, "CR2", 0);
	check(cr3 == pv_page((void *)pv_info->pt_base) << 12 && does(do_to_cr3, cr3), "CR3", cr3);
	check(!does(do_to_cr3, 0) && !does(do_to_cr3, pv_page(page) << 12) &&
		      !does(do_to_cr3, ~0ul) && !does(do_to_cr3, cr3 + PAGE),
	      "another CR3", 0);
	check(does(do_to_cr4, ~0xcul) && value(do_from_cr4) == cr4, "CR4", cr4);
	check(does(do_to_cr4, cr4 | 4) && with(do_rdtsc, ~0ul, 0, 0, ~0ul) && !(four[0] >> 32) &&
		      does(do_to_cr4, cr4),
	      "rdtsc with TSD", four[0]);
	check(!value(do_from_cr8) && does(do_to_cr8, 0) && !does(do_to_cr8, 1), "CR8", 0);
	check(does(do_wbinvd, 0), "wbinvd", last.vector);
}

static void
ports(void)
{
	uint32_t iopl = 1, many = 4;

	check(!with(do_inb, 0, 0, 0, 0x60) && !with(do_outl, 0, 0, 0, 0xf4) &&
		      !with(do_in_imm, 0, 0, 0, 0),
	      "ports without IOPL", last.vector);
	check(!does(do_cli, 0) && last.vector == GP && !does(do_sti, 0), "cli without", 0);
	check(pv_call(XEN_physdev_op, 6, (uint64_t)&many, 0, 0) == EINVAL, "IOPL 4", 0);
	check(pv_call(XEN_physdev_op, 6, HOLE, 0, 0) == EFAULT, "IOPL of the hole", 0);
	check(pv_call(XEN_physdev_op, 1000, (uint64_t)&many, 0, 0) == ENOSYS, "physdev_op", 0);
	check(!pv_call(XEN_physdev_op, 6, (uint64_t)&iopl, 0, 0), "IOPL 1", 0);
	check(does(do_cli, 0) && does(do_sti, 0), "cli and sti with it", last.vector);
	if (pv_is_dom0()) /* its ports are the machine's */
		return;
	check(with(do_inb, ~0xfful, 0, 0, 0x60) && four[0] == ~0ul, "a byte", four[0]);
	check(with(do_inw, 0, 0, 0, 0xffff) && four[0] == 0xffff, "a word", four[0]);
	check(with(do_inl, ~0ul << 32, 0, 0, 0xcfc) && four[0] == 0xffffffff, "four", four[0]);
	check(with(do_in_imm, 0, 0, 0, 0) && four[0] == 0xff, "in al, 60", four[0]);
	check(with(do_outl, 0, 0, 0, 0xf4), "out", last.vector);
	check(does(do_ins, (uint64_t)page[3]) && page[3][0] == 0xff, "insb", page[3][0]);
	check(!does(do_ins, pv_info->pt_base) && !does(do_ins, HOLE), "... to what is not its", 0);
}

/* ---- descriptors ---- */

#define CODE64             0x00209a0000000000ul /* DPL 0 */
#define CODE32             0x00cf9a000000fffful
#define DATA               0x00cf92000000fffful
#define GATE               0x00008c0000330000ul /* a call gate */
#define TSS                0x0000890000000067ul
#define BASE               0x12345600ul
#define WITH_BASE(d, base) ((d) | ((base)&0xffffff) << 16 | ((base) >> 24 & 0xff) << 56)

static uint64_t *const gdt = (uint64_t *)page[0], *const ldt = (uint64_t *)page[1];
static uint64_t other[512] __attribute__((aligned(4096)));

static int64_t
set_gdt(uint64_t frame, unsigned entries)
{
	return pv_call(XEN_set_gdt, (uint64_t)&frame, entries, 0, 0);
}

static int64_t
update(unsigned index, uint64_t descriptor)
{
	return pv_call(XEN_update_descriptor, (pv_page(gdt) << 12) + index * 8, descriptor, 0, 0);
}

static int64_t
set_ldt(uint64_t at, uint64_t entries)
{
	struct xen_mmuext_op op = { .cmd = XEN_MMUEXT_SET_LDT, .arg1 = at, .arg2 = entries };

	return pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF);
}

static uint64_t
rights(uint64_t selector)
{
	four[0] = selector;
	try(do_lar, (uint64_t)four);
	return four[0] & 0xf0ff00; /* others mean nothing: SDM 2A "LAR" */
}

static void
gdt_refused(void)
{
	const uint64_t own = pv_page(gdt),
		       bad[] = { GATE, TSS, GATE | 3ul << 45, TSS | 0x0600ul << 32 };
	bool is_taken;

	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		other[100] = bad[n];
		pv_read_only(other);
		is_taken = !set_gdt(pv_page(other), 512);
		check(!is_taken, "a GDT with a gate, or a TSS", bad[n]);
		if (is_taken)
			set_gdt(own, 512);
		pv_map(other, pv_page(other) << 12 | PTE_P | PTE_W | PTE_U);
		check(update(6, bad[n]) == EINVAL, "a gate, or a TSS", bad[n]);
	}
	check(set_gdt(0, 512) == EINVAL && set_gdt(~0ul, 1) == EINVAL, "a GDT of others", 0);
	check(set_gdt(own, 14 * 512 + 1) == EINVAL && set_gdt(own, ~0u) == EINVAL, "too long", 0);
	check(pv_call(XEN_set_gdt, HOLE, 512, 0, 0) == EFAULT, "a list in the hole", 0);
	check(pv_call(XEN_update_descriptor, 0, DATA, 0, 0) == EINVAL &&
		      pv_call(XEN_update_descriptor, ~7ul, DATA, 0, 0) == EINVAL &&
		      pv_call(XEN_update_descriptor, (own << 12) + 4, DATA, 0, 0) == EINVAL &&
		      pv_call(XEN_update_descriptor, pv_page((void *)pv_info->pt_base) << 12, DATA,
			      0, 0) == EINVAL,
	      "a descriptor elsewhere", 0);
}

static void
descriptors(void)
{
	gdt[1] = DATA;
	gdt[2] = CODE64;
	gdt[3] = WITH_BASE(DATA | 3ul << 45, BASE);
	gdt[4] = GATE & ~(1ul << 47);
	pv_read_only(gdt);
	check(!set_gdt(pv_page(gdt), 512), "set_gdt", 0);
	check(rights(8) == 0xc0f300 && rights(0x10) == 0x20fb00, "they are ring 3's", rights(8));
	check(!rights(0x20) && !rights(0x28), "none is none", 0);
	check(does(do_to_ds, 0xb) && value(do_from_ds) == 0xb && does(do_to_es, 8), "DS", 0);
	check(does(do_to_fs, 0x1b) && !does(do_fs, (uint64_t)four) && last.vector == 14, "FS", 0);
	check(rdmsr(0xc0000100) && four[0] == BASE && !four[3], "FS' base", four[0]);
	check(does(do_far, 0x13) && far_cs == 0x13, "a code segment of its own", far_cs);
	check(!does(do_far, 0x23) && !does(do_far, 0x0b), "none that is none", 0);
	if (!pv_is_dom0()) { /* Zeno has a copy, Xen's it could not write */
		pv_map(gdt, pv_page(gdt) << 12 | PTE_P | PTE_W | PTE_U);
		gdt[5] = DATA; /* which nobody has heard of */
	}
	check(!rights(0x28) && !update(5, DATA) && rights(0x28) == 0xc0f300, "update",
	      rights(0x28));
	check(gdt[5] == DATA && !update(5, 0) && !gdt[5] && !rights(0x28), "... to nothing", 0);
	gdt_refused();
	check(rights(8) == 0xc0f300, "the old one stays", rights(8));
	ldt[0] = ldt[511] = DATA;
	pv_read_only(ldt);
	check(!set_ldt((uint64_t)ldt, 512) && rights(4) == 0xc0f300 && rights(511 * 8 + 4), "LDT",
	      0);
	check(!set_ldt((uint64_t)ldt, 1) && rights(4) && !rights(511 * 8 + 4), "of one", 0);
	check(!pv_call(XEN_update_descriptor, pv_page(ldt) << 12, 0, 0, 0) && !rights(4), "", 2);
	check(set_ldt(HOLE, 512) == EINVAL && set_ldt(HOLE - PAGE, 1024) == EINVAL &&
		      set_ldt((uint64_t)ldt + 8, 1) == EINVAL && set_ldt(0, 8193) == EINVAL &&
		      set_ldt(0x1000, 1) == EFAULT && set_ldt((uint64_t)ldt, ~0ul) == EINVAL,
	      "LDTs that are none", 0);
	pv_map(ldt, pv_page(ldt) << 12 | PTE_P | PTE_W | PTE_U);
	ldt[1] = GATE;
	check(set_ldt((uint64_t)ldt, 512) == EINVAL && !set_ldt(0, 0) && !rights(4), "no LDT", 0);
}

void
failsafe_called(void)
{
	last.vector = 100;
	pv_return(try_back, try_rsp);
}

/* A segment that goes while it is loaded: at the next turn it can't be, which may begin at once. */
static void
do_without(uint64_t operand)
{
	update(5, 0);
	do_yield(operand);
}

static void
failsafes(void)
{
	struct xen_callback_register r = { .type = 1, .address = (uint64_t)failsafe };
	uint64_t *w = failsafe_words;
	static const uint64_t words[] = {
		0, 0, 0, 0, (uint64_t)do_watched, 0x28, 0x202, (uint64_t)kernel_stack + PAGE, 0xe02b
	};

	check(!pv_call(XEN_callback_op, 0, (uint64_t)&r, 0, 0), "callback_op", 0);
	update(5, DATA);
	check(does(do_to_ds, 0x2b) && does(do_to_fs, 0x0b), "", 3);
	last.vector = 99;
	check(!does(do_without, 0) && last.vector == 100 && w[2] == 0x2b && w[4] == 0x0b,
	      "its failsafe callback", last.vector);
	check(!value(do_from_ds) && value(do_from_fs) == 0x0b, "DS is null", value(do_from_ds));
	last.vector = 99;
	check(!does(do_iret, (uint64_t)words) && last.vector == GP && last.error == 0x28 &&
		      last.rip == (uint64_t)do_watched && (last.cs & 0xffff) == 0x28,
	      "iret to no segment", last.vector);
	r.address = 0x800000000000;
	check(pv_call(XEN_callback_op, 0, (uint64_t)&r, 0, 0) == EINVAL, "a wild callback", 0);
	r.address = (uint64_t)failsafe;
	r.type = 9;
	check(pv_call(XEN_callback_op, 0, (uint64_t)&r, 0, 0) == ENOSYS &&
		      pv_call(XEN_callback_op, 7, (uint64_t)&r, 0, 0) == ENOSYS &&
		      pv_call(XEN_callback_op, 0, HOLE, 0, 0) == EFAULT,
	      "callback_op", 9);
	pv_call(XEN_set_callbacks, 0, 0, 0, 0);
}

/* ---- bases, and its user ---- */

static void
bases(void)
{
	const uint64_t wild = 0x800000000000;

	page[2][0] = 22;
	page[3][0] = 33;
	check(!pv_call(XEN_set_segment_base, 0, (uint64_t)page[2], 0, 0) && value(do_fs) == 22,
	      "FS", value(do_fs));
	check(!pv_call(XEN_set_segment_base, 2, (uint64_t)page[3], 0, 0) && value(do_gs) == 33,
	      "GS", value(do_gs));
	check(does(do_yield, 0) && value(do_fs) == 22 && value(do_gs) == 33, "... behind turns", 0);
	for (unsigned n = 0; n < 3; n++)
		check(pv_call(XEN_set_segment_base, n, wild, 0, 0) == EINVAL, "a wild base", n);
	check(pv_call(XEN_set_segment_base, 4, 0, 0, 0) == EINVAL, "no base", 0);
	check(rdmsr(0xc0000101) && (uint32_t)four[0] == (uint32_t)(uint64_t)page[3], "MSR",
	      four[0]);
	check(wrmsr(0xc0000100, (uint64_t)page[3]) && value(do_fs) == 33, "FS by MSR", 0);
	check(!wrmsr(0xc0000100, wild) && !wrmsr(0xc0000101, wild) && !wrmsr(0xc0000102, wild) &&
		      value(do_fs) == 33,
	      "a wild base by MSR", 0);
	check(!pv_call(XEN_set_segment_base, 0, DIRECT, 0, 0) && !does(do_fs, (uint64_t)four) &&
		      last.vector == 14,
	      "FS into the hole", last.vector);
	check(!pv_call(XEN_set_segment_base, 3, 0x1b, 0, 0) && rdmsr(0xc0000102) &&
		      four[0] == BASE && value(do_gs) == 33 && value(do_from_gs) == 0x1b,
	      "its user's GS by selector", four[0]);
	check(!pv_call(XEN_set_segment_base, 3, 0x2b, 0, 0) && rdmsr(0xc0000102) && !four[0] &&
		      !value(do_from_gs),
	      "... by one that is none", four[0]);
}

static void
from_user(struct pv_frame *f)
{
	static unsigned came;
	uint64_t rsp = try_rsp;

	if (came++ == 0) {
		check(f->vector == UD && f->r12 == 44 && f->r13 == 22 && f->r14 == 0x566e6558,
		      "what its user found", f->r12);
		check(value(do_gs) == 33, "GS is the kernel's again", value(do_gs));
		try_rsp = rsp;
		f->rip += 2;
		do_to_cr4(four[1] | 4);
		return;
	}
	check(f->vector == GP, "its user's rdtsc", f->vector);
	caught(f);
}

static void
user(void)
{
	struct xen_mmuext_op op = { .cmd = XEN_MMUEXT_NEW_USER_BASEPTR,
				    .arg1 = pv_page((void *)pv_info->pt_base) };
	const uint64_t words[] = {
		0, 0, 0, 0, (uint64_t)user_code, 0xe033, 0x202, (uint64_t)user_stack + PAGE, 0xe02b
	};

	four[1] = value(do_from_cr4);
	user_stack[0] = 44;
	check(!pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF), "its user's root", 0);
	pv_call(XEN_stack_switch, 0xe02b, (uint64_t)kernel_stack + PAGE, 0, 0);
	pv_call(XEN_set_segment_base, 0, (uint64_t)page[2], 0, 0);
	pv_call(XEN_set_segment_base, 1, (uint64_t)user_stack, 0, 0);
	pv_handler = from_user;
	check(!does(do_iret, (uint64_t)words), "its user", 0);
	pv_handler = caught;
	do_to_cr4(four[1] & ~4ul);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_take_traps();
	pv_handler = caught;
	cpuid();
	msrs();
	control_registers();
	ports();
	descriptors();
	failsafes();
	bases();
	user();
	breakpoints();
	compat();
	calls();
	pv_printf("%u wrong; the end\n", wrong);
	return (int)wrong;
}
