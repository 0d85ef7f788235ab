/*
 * The debugger's `monitor` commands: what GDB has no word for. tools/gdb/zeno.py builds on their
 * output.
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

static int command_help(struct vcpu *v, int argc, char **argv);

static int
stop_on_exit(struct vcpu *v, int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "any";
	bool off = !strcmp(what, "off");

	(void)v;
	if (debug_stop_on_exit(off ? NULL : what)) {
		gdb_print("no exit is called %s; reasons:", what);
		for (unsigned i = 1; i < EXIT_COUNT; i++)
			gdb_print(" %s", exit_tag(i));
		gdb_print("; or an instruction's name, or any, or off\n");
		return 0;
	}
	if (off)
		gdb_print("exits stop nobody\n");
	else
		gdb_print("a guest stops after each exit that is handled (%s)\n", what);
	return 0;
}

/* The totals, then the last N in words. */
static int
exits(struct vcpu *v, int argc, char **argv)
{
	uint64_t count = 10;
	char line[128];

	if (argc > 1 && (parse_u64(argv[1], &count) || count > EXIT_RING))
		count = EXIT_RING;
	gdb_print("d%u %s: %lu exits\n", v->domain->id, v->domain->name, v->exits);
	for (unsigned i = 0; i < EXIT_COUNT; i++)
		if (v->exits_by[i])
			gdb_print("  %8lu  %s\n", v->exits_by[i], exit_names[i]);
	if (count > v->exits)
		count = v->exits;
	for (uint64_t i = v->exits - count; i < v->exits; i++) {
		exit_words(&v->log->ring[i % EXIT_RING], line, sizeof(line));
		gdb_print("  %s\n", line);
	}
	return 0;
}

static int
list(struct vcpu *v, int argc, char **argv)
{
	(void)v, (void)argc, (void)argv;
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		struct domain *d = domain_find(id);

		if (d && d->vcpu)
			gdb_print("d%u %s %s %lu MiB, %lu exits, %s\n", id, d->name,
				  d->vcpu->engine->name, d->ram >> 20, d->vcpu->exits,
				  d->state == DOMAIN_ENDED  ? d->end_reason
				  : d->vcpu->debug.held     ? "held by the debugger"
				  : d->vcpu->debug.attached ? "running, attached"
							    : "running, not attached");
	}
	return 0;
}

static int
tc(struct vcpu *v, int argc, char **argv)
{
	uint64_t addr = 0;
	char line[200];

	if (!v->engine->show || (argc > 1 && parse_u64(argv[1], &addr))) {
		gdb_print(v->engine->show ? "tc takes an address, as 0x100000\n"
					  : "this guest's engine translates nothing\n");
		return 0;
	}
	for (unsigned i = 0; v->engine->show(v, addr, i, line, sizeof(line)); i++)
		gdb_print("%s\n", line);
	return 0;
}

/* Bytes of the cache, for tc's disassembly in GDB: the guest has nothing at their addresses. */
static int
tc_bytes(struct vcpu *v, int argc, char **argv)
{
	uint8_t bytes[64];
	uint64_t addr, left;
	size_t n;

	if (!v->engine->peek || argc < 3 || parse_u64(argv[1], &addr) || parse_u64(argv[2], &left))
		return 0;
	while (left && (n = v->engine->peek(v, addr, bytes, left < 64 ? left : 64)) > 0) {
		for (size_t i = 0; i < n; i++)
			gdb_print("%02x", bytes[i]);
		addr += n;
		left -= n;
	}
	gdb_print("\n");
	return 0;
}

static int
walk_tables(struct vcpu *v, uint64_t addr)
{
	char line[160];

	gdb_print("linear %08lx through the guest's page tables and through ours\n", addr);
	for (unsigned i = 0; v->domain->mmu->show(v, gva(addr), i, line, sizeof(line)); i++)
		gdb_print("%s\n", line);
	return 0;
}

static int
walk(struct vcpu *v, int argc, char **argv)
{
	static const char *const types[] = { "nothing",           "RAM",     "MMIO",
					     "RAM, write-logged", "foreign", "ballooned" };
	const struct p2m_entry *e;
	uint64_t addr;

	if (argc < 2 || parse_u64(argv[1], &addr) || addr > 0xffffffff) {
		gdb_print("walk takes an address below 4 GiB, as 0x100000\n");
		return 0;
	}
	if (v->state.cr0 & CR0_PG)
		return walk_tables(v, addr);
	gdb_print("linear %08lx: paging is off, so it is guest-physical %08lx\n", addr, addr);
	if (in_window(v->domain, addr, 1)) {
		gdb_print("  it lies in the VMM window (from %08lx): the guest has nothing there\n",
			  v->domain->window);
		return 0;
	}
	e = p2m_entry(v->domain, gfn(addr >> PAGE_SHIFT));
	if (!e || e->type == P2M_NONE) {
		gdb_print("  guest frame %lx: the guest has no memory there\n", addr >> PAGE_SHIFT);
		return 0;
	}
	gdb_print("  guest frame %lx: %s, machine frame %x, host address %lx%s\n",
		  addr >> PAGE_SHIFT, types[e->type], e->mfn,
		  DIRECT_MAP + ((uint64_t)e->mfn << PAGE_SHIFT) + (addr & PAGE_MASK),
		  e->track ? "; writes are tracked:" : "");
	for (unsigned why = 0; why < TRACK_WHYS; why++)
		if (e->track & 1u << why)
			gdb_print("  writes go to the owner of: %s\n",
				  (const char *const[]){ "the GDT", "the LDT", "page tables",
							 "translated code" }[why]);
	return 0;
}

static int
vcpu(struct vcpu *v, int argc, char **argv)
{
	static const char *const names[] = { "es", "cs", "ss", "ds", "fs", "gs" };
	const struct cpu_state *s = &v->state;

	(void)argc, (void)argv;
	gdb_print("d%u %s, vCPU 0 on %s, guest ring %u\n", v->domain->id, v->domain->name,
		  v->engine->name, s->seg[SEG_CS].sel & 3);
	gdb_print("eax %08lx ecx %08lx edx %08lx ebx %08lx\n", s->gpr[RAX], s->gpr[RCX],
		  s->gpr[RDX], s->gpr[RBX]);
	gdb_print("esp %08lx ebp %08lx esi %08lx edi %08lx\n", s->gpr[RSP], s->gpr[RBP],
		  s->gpr[RSI], s->gpr[RDI]);
	gdb_print("eip %08lx eflags %08lx IF=%u IOPL=%lu%s\n", s->rip, s->rflags,
		  !!(s->rflags & FLAG_IF), s->rflags >> 12 & 3,
		  v->state.sti_shadow ? ", in the shadow of sti" : "");
	gdb_print("cr0 %08lx cr2 %08lx cr3 %08lx cr4 %08lx\n", s->cr0, s->cr2, s->cr3, s->cr4);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		gdb_print("%s %04x base %08lx limit %08x attr %03x\n", names[i], s->seg[i].sel,
			  s->seg[i].base, s->seg[i].limit, s->seg[i].attr);
	gdb_print("gdtr %08lx limit %04x  idtr %08lx limit %04x  ldtr %04x  tr %04x\n",
		  s->gdtr.base, s->gdtr.limit, s->idtr.base, s->idtr.limit, s->ldtr.sel, s->tr.sel);
	return 0;
}

/* What the CPU finds at this selector while the guest runs: the window in the guest's own root. */
static uint64_t
shadow(struct vcpu *v, unsigned sel)
{
	int level;
	pte_t *pte = page_entry(v->domain->root, GDT_WINDOW + sel, &level);

	if (!pte || !(*pte & PTE_P))
		return 0;
	return *(uint64_t *)hpa_ptr(hpa(PTE_ADDR(*pte) + (sel & PAGE_MASK)));
}

static int
gdt(struct vcpu *v, int argc, char **argv)
{
	uint64_t desc;

	(void)argc, (void)argv;
	for (unsigned sel = 0; sel < GDT_GUEST_PAGES * PAGE_SIZE; sel += 8) {
		bool own = sel + 7 <= v->state.gdtr.limit &&
			   !gva_read_as(v, gva(v->state.gdtr.base + sel), ACCESS_PROBE, &desc, 8);

		if (!own)
			desc = 0;
		if (desc || shadow(v, sel))
			gdb_print("%04x %016lx %016lx%s\n", sel, desc, shadow(v, sel),
				  own ? "" : " cached");
	}
	return 0;
}

static const struct {
	const char *name, *args, *help;
	int (*run)(struct vcpu *v, int argc, char **argv);
	bool needs_vcpu;
} commands[] = {
	{ "help", "", "this list", command_help, false },
	{ "stop-on-exit", "[REASON|INSN|any|off]", "stop after each such exit is handled",
	  stop_on_exit, false },
	{ "exits", "[N]", "exits by reason, and the last N in words", exits, true },
	{ "list", "", "the domains", list, false },
	{ "tc", "[ADDR]", "the translation cache, or the block at ADDR", tc, true },
	{ "tc-bytes", "ADDR LENGTH", "what the translation cache holds at its own address ADDR",
	  tc_bytes, true },
	{ "walk", "ADDR", "from a guest's address to the machine's", walk, true },
	{ "vcpu", "", "all that the guest would see of its CPU", vcpu, true },
	{ "gdt", "", "selector, the guest's descriptor, its shadow", gdt, true },
};

static int
command_help(struct vcpu *v, int argc, char **argv)
{
	(void)v, (void)argc, (void)argv;
	for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
		gdb_print("%s %s: %s\n", commands[i].name, commands[i].args, commands[i].help);
	return 0;
}

int
debug_command(struct gdb_thread t, int argc, char **argv)
{
	struct vcpu *v = gdb_vcpu(t);

	for (unsigned i = 0; argc && i < ARRAY_LEN(commands); i++) {
		if (strcmp(argv[0], commands[i].name))
			continue;
		if (commands[i].needs_vcpu && !v) {
			gdb_print("no guest is attached\n");
			return 0;
		}
		return commands[i].run(v, argc, argv);
	}
	return -ENOSYS;
}
