/*
 * The monitor's commands that look into a vCPU. GDB runs them, too, and all others, as `monitor`;
 * tools/gdb/zeno.py builds on their output.
 */
#include <inc/errno.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <vmm/debug/gdb.h>
#include <vmm/exitlog.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mmu/window.h>
#include <vmm/words/monitor.h>
#include <vmm/x86/emulate.h>
#include <vmm/x86/insn.h>

static int
stop_on_exit(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "any";
	bool off = !strcmp(what, "off");

	if (debug_stop_on_exit(off ? NULL : what)) {
		printf("no exit is called %s; reasons:", what);
		for (unsigned i = 1; i < EXIT_COUNT; i++)
			printf(" %s", exit_tags[i]);
		printf("; or an instruction's name, or any, or off\n");
		return 0;
	}
	if (off)
		printf("exits stop nobody\n");
	else
		printf("a guest that has a debugger stops after each exit that is handled (%s)\n",
		       what);
	return 0;
}
MONITOR_COMMAND(stop_on_exit, "stop-on-exit", "[REASON|INSN|any|off]",
		"stop a debugged guest after each such exit");

/* Bytes of the cache, for tc's disassembly in GDB: the guest has nothing at their addresses. */
static int
tc_bytes(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(argc - 2, argv + 2);
	uint8_t bytes[64];
	uint64_t addr, left;
	size_t n;

	if (!v)
		return MONITOR_SAID;
	if (!v->engine->peek || argc < 3 || parse_u64(argv[1], &addr) || parse_u64(argv[2], &left))
		return -EINVAL;
	while (left && (n = v->engine->peek(v, addr, bytes, left < 64 ? left : 64)) > 0) {
		for (size_t i = 0; i < n; i++)
			printf("%02x", bytes[i]);
		printf("\n");
		addr += n;
		left -= n;
	}
	return 0;
}
MONITOR_COMMAND(tc_bytes, "tc-bytes", "ADDR LENGTH [ID]", "");

/* Paging is off: where an address leads in the p2m alone. */
static void
walk_flat(struct vcpu *v, uint64_t addr)
{
	static const char *const types[] = { "nothing", "RAM",       "MMIO", "RAM, write-logged",
					     "foreign", "ballooned", "ones" };
	const struct p2m_entry *e;

	printf("d%u: paging is off: %08lx is guest-physical\n", v->domain->id, addr);
	if (in_window(v->domain, addr, 1)) {
		printf("  it lies in the VMM window (from %08lx): the guest has nothing there\n",
		       v->domain->window);
		return;
	}
	e = p2m_entry(v->domain, gfn(addr >> PAGE_SHIFT));
	if (!e || e->type == P2M_NONE) {
		printf("  guest frame %lx: the guest has no memory there\n", addr >> PAGE_SHIFT);
		return;
	}
	printf("  guest frame %lx: %s, machine frame %x, host address %lx%s\n", addr >> PAGE_SHIFT,
	       types[e->type], e->mfn,
	       DIRECT_MAP + ((uint64_t)e->mfn << PAGE_SHIFT) + (addr & PAGE_MASK),
	       e->track ? "; writes are tracked:" : "");
	for (unsigned why = 0; why < TRACK_WHYS; why++)
		if (e->track & 1u << why)
			printf("  writes go to the owner of: %s\n",
			       (const char *const[]){ "the GDT", "the LDT", "page tables",
						      "translated code", "the dirty log" }[why]);
}

static int
gwalk(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(argc - 1, argv + 1);
	char line[160];
	uint64_t addr;

	if (!v)
		return MONITOR_SAID;
	vcpu_need(v, STATE_CR);
	if (argc < 2 || parse_u64(argv[1], &addr) ||
	    (addr > 0xffffffff && !(v->state.efer & EFER_LMA)))
		return -EINVAL;
	if (!(v->state.cr0 & CR0_PG))
		walk_flat(v, addr);
	else
		for (unsigned i = 0; v->domain->mmu->show(v, gva(addr), i, line, sizeof(line)); i++)
			printf("%s\n", line);
	return 0;
}
MONITOR_COMMAND(gwalk, "gwalk", "ADDR [ID]", "a guest's address through its tables and ours");

/* Sixteen registers, or an i386's eight, four in a line. */
static void
show_registers(const struct cpu_state *s, bool wide)
{
	static const char names[][4] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };

	for (unsigned i = 0; i < (wide ? GPR_COUNT : 8u); i++)
		if (i < 8)
			printf(wide ? "r%s %016lx%s" : "e%s %08lx%s", names[i], s->gpr[i],
			       i % 4 == 3 ? "\n" : " ");
		else
			printf("r%u%s %016lx%s", i, i < 10 ? " " : "", s->gpr[i],
			       i % 4 == 3 ? "\n" : " ");
	printf(wide ? "rip %016lx rflags %08lx" : "eip %08lx eflags %08lx", s->rip, s->rflags);
}

static int
vcpu(int argc, char **argv)
{
	static const char *const names[] = { "es", "cs", "ss", "ds", "fs", "gs" };
	struct vcpu *v = monitor_vcpu(argc, argv);
	const struct cpu_state *s;
	bool wide;

	if (!v)
		return MONITOR_SAID;
	vcpu_need(v, STATE_SEG | STATE_TABLES | STATE_CR | STATE_MSR);
	s = &v->state;
	wide = s->efer & EFER_LMA;
	printf("d%u %s, vCPU %u on %s, guest ring %u%s\n", v->domain->id, v->domain->name,
	       v->number, v->engine->name, vcpu_cpl(v),
	       !(s->cr0 & CR0_PE)         ? ", real mode"
	       : !wide                    ? ""
	       : cpu_mode_of(s) == MODE64 ? ", 64-bit code"
					  : ", long mode, compatibility code");
	show_registers(s, wide);
	printf(" IF=%u IOPL=%lu%s\n", !!(s->rflags & FLAG_IF), s->rflags >> 12 & 3,
	       s->sti_shadow ? ", in the shadow of sti" : "");
	printf("cr0 %08lx cr2 %08lx cr3 %08lx cr4 %08lx\n", s->cr0, s->cr2, s->cr3, s->cr4);
	if (wide)
		printf("efer %lx star %016lx lstar %016lx kernel gs %016lx\n", s->efer, s->star,
		       s->lstar, s->kernel_gs_base);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		printf("%s %04x base %08lx limit %08x attr %03x\n", names[i], s->seg[i].sel,
		       s->seg[i].base, s->seg[i].limit, s->seg[i].attr);
	printf("gdtr %08lx limit %04x  idtr %08lx limit %04x  ldtr %04x  tr %04x\n", s->gdtr.base,
	       s->gdtr.limit, s->idtr.base, s->idtr.limit, s->ldtr.sel, s->tr.sel);
	return 0;
}
MONITOR_COMMAND(vcpu, "vcpu", "[ID[.CPU]]", "all that the guest would see of its CPU");

/*
 * What the CPU finds at this selector while the guest runs: the window in the guest's own root.
 * Where a guest loads its own descriptors there is none.
 */
static uint64_t
shadow(struct vcpu *v, unsigned sel)
{
	int level;
	pte_t *pte;

	if (v->domain->window == WINDOW_NONE)
		return 0;
	pte = page_entry(v->root, GDT_WINDOW + sel, &level);
	if (!pte || !(*pte & PTE_P))
		return 0;
	return *(uint64_t *)hpa_ptr(hpa(PTE_ADDR(*pte) + (sel & PAGE_MASK)));
}

static int
gdt(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(argc, argv);
	uint64_t desc;

	if (!v)
		return MONITOR_SAID;
	vcpu_need(v, STATE_TABLES | STATE_CR);
	for (unsigned sel = 0; sel < GDT_GUEST_PAGES * PAGE_SIZE; sel += 8) {
		bool own = sel + 7 <= v->state.gdtr.limit &&
			   !gva_read_as(v, gva(v->state.gdtr.base + sel), ACCESS_PROBE, &desc, 8);

		if (!own)
			desc = 0;
		if (desc || shadow(v, sel))
			printf("%04x %016lx %016lx%s\n", sel, desc, shadow(v, sel),
			       own ? "" : " cached");
	}
	return 0;
}
MONITOR_COMMAND(gdt, "gdt", "[ID]", "a guest's descriptors, and their shadows");
