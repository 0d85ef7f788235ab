/*
 * The engine pv: entry and exit, and what belongs to each vCPU.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/cpu_setup.h>
#include <vmm/engine.h>
#include <vmm/exitlog.h>
#include <vmm/pv/shared.h>
#include <vmm/pv/spot.h>
#include <vmm/x86/insn.h>

/*
 * Of the host's page of descriptors: there while a PV guest runs, for a guest in ring 1 could take
 * them for itself (kern/gdt.c). 0xe023, whose code is 32 bits wide, is never there.
 */
#define CODE64      0x0020fb0000000000ul /* P, DPL 3, code, readable, accessed; L */
#define DATA        0x00cff3000000fffful /* P, DPL 3, data, writable, accessed */
#define GDT_AT(sel) (*(volatile uint64_t *)(GDT_WINDOW + ((sel) & ~7ul)))

/* STAR: what syscall loads, and what sysret would (SDM 3A 5.8.8). */
#define STAR       ((uint64_t)HOST_CS64 << 32 | (uint64_t)(XEN_FLAT_SS64 - 8) << 48)
#define SFMASK     (FLAG_IF | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_IOPL | FLAG_RF)
#define INT_N      0xcd
#define INT3       0xcc
#define ERROR_IDT  2u /* SDM 3A figure 6-7: the error code's index is one of the IDT */
#define PV_RAM_MAX (4ul << 30)

int
pv_create(struct vcpu *v)
{
	struct pv *pv = host_page();

	v->engine_data = v->pv = pv;
	if (!pv)
		return -ENOMEM;
	pv->kernel_root = pv->user_root = MFN_NONE;
	for (unsigned n = 0; n < GDT_GUEST_PAGES; n++)
		pv->gdt_frames[n] = MFN_NONE;
	pv->traps = host_page();
	pv->types = v->number ? pv_of(v->domain->vcpu)->types : host_page();
	pv->initialised = !v->number;
	pv->info = &pv_domain_of(v->domain)->shared->vcpu_info[v->number];
	v->watched |=
		!strcmp(cmdline_get("paranoid", "0"), "1"); /* no call is answered on the spot */
	if (!pv->traps || !pv->types)
		return -ENOMEM;
	pv->types->owner = v->domain->id;
	pv->types->flush = &v->domain->vcpu->flush;
	return 0;
}

static int
init(struct vcpu *v)
{
	if (v->engine_data)
		return 0;
	printf("engine pv: it takes kernels with Xen's notes\n");
	return -EINVAL;
}

static void
free_vcpu(struct vcpu *v)
{
	struct pv *pv = pv_of(v);

	pv_free_tables(v);
	if (pv_running == v)
		pv_running = NULL;
	host_page_put(pv->traps);
	if (!v->number) /* the domain's */
		host_page_put(pv->types);
	host_page_put(pv);
	v->engine_data = v->pv = NULL;
}

static void
leave(void)
{
	pv_runs(NULL);
	GDT_AT(XEN_FLAT_CS64) = 0;
	GDT_AT(XEN_FLAT_SS64) = 0;
	pv_show_tables(NULL);
	trap_debug_expected = false;
}

static const enum seg_reg kept[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };

/*
 * What lies in FS and GS first is a descriptor's: a null selector leaves the base what it was on
 * AMD (APM 2 4.5.3).
 */
static void
load_selectors(struct vcpu *v)
{
	uint16_t selectors[ARRAY_LEN(kept)];

	for (unsigned n = 0; n < ARRAY_LEN(kept); n++)
		selectors[n] = v->state.seg[kept[n]].sel;
	__asm__ volatile("mov %w0, %%fs; mov %w0, %%gs" : : "r"(HOST_DS));
	pv_of(v)->refused |= (uint8_t)pv_load_selectors(selectors);
}

/* Those that can't be loaded are null, and their kernel is told of it, or will be. */
void
pv_forget_refused(struct vcpu *v)
{
	for (unsigned n = 0; n < ARRAY_LEN(kept); n++)
		if (pv_of(v)->refused >> n & 1)
			v->state.seg[kept[n]].sel = 0;
	pv_of(v)->refused = 0;
}

/* It is the kernel that asks, whose own base stays. One that can't be loaded is null. */
void
pv_set_user_gs(struct vcpu *v, uint16_t selector)
{
	uint64_t base = rdmsr(MSR_GS_BASE);

	v->state.seg[SEG_GS].sel = pv_load_gs(selector) ? 0 : selector;
	v->state.kernel_gs_base = rdmsr(MSR_GS_BASE);
	wrmsr(MSR_GS_BASE, base);
}

static inline void
keep_selectors(struct vcpu *v)
{
	struct segment *seg = v->state.seg;

	__asm__ volatile("mov %%ds, %w0; mov %%es, %w1; mov %%fs, %w2; mov %%gs, %w3"
			 : "=r"(seg[SEG_DS].sel), "=r"(seg[SEG_ES].sel), "=r"(seg[SEG_FS].sel),
			   "=r"(seg[SEG_GS].sel));
	pv_keep_bases(v);
}

static void
load(struct vcpu *v)
{
	struct pv *pv = pv_of(v);
	const struct cpu_setup setup = {
		.cr3 = mfn_to_hpa(v->root).v,
		.efer = (rdmsr(MSR_EFER) & ~(uint64_t)EFER_SVME) | EFER_SCE,
		.star = STAR,
		.lstar = (uint64_t)pv_syscall,
		.cstar = (uint64_t)pv_syscall32,
		.sfmask = SFMASK,
		.ldt_limit = pv_ldt_limit(v),
		.rsp0 = (uint64_t)(&pv->frame + 1),
		.ring_exit = pv_trap,
		.leave = leave,
	};

	cpu_setup_load(&setup); /* another engine's leave() first */
	pv_show_tables(v);
	/*
	 * The CPU remembers nothing of what this vCPU's tables have been, for its CR3 was loaded:
	 * so whoever changes tables makes the one forget that runs, and the others begin so.
	 */
	v->flush = false;
	pv->types->flush = &v->flush;
	GDT_AT(XEN_FLAT_CS64) = CODE64;
	GDT_AT(XEN_FLAT_SS64) = DATA;
	load_selectors(v);
	pv_load_bases(v);
	write_cr0((read_cr0() & ~(uint64_t)(CR0_TS | CR0_EM | CR0_AM)) | CR0_MP |
		  (v->state.cr0 & CR0_TS));
	write_cr4(pv_cr4(v));
	pv_load_breakpoints(v);
	trap_debug_stack(true); /* for the first instruction of pv_syscall: enter.asm */
	trap_debug_expected = true;
	pv_runs(v);
}

/* Reads what a #DB was, and forgets it: the next one finds it clear. */
static void
take_dr6(struct vcpu *v)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0; mov %1, %%dr6" : "=&r"(dr6) : "r"(DR6_RESET));
	v->state.dr[6] |= dr6 & (DR6_BS | DR6_HITS);
}

/* Its end is rip: back on the instruction, as other exits are. */
static void
translate_syscall(struct vcpu *v, struct exit *e)
{
	v->state.rip -= PV_INSN;
	exit_begin(e, pv_of(v)->user ? EXIT_SYSCALL : EXIT_HYPERCALL, NO_TRAP, 0, v->state.rip);
}

/*
 * An `int n` whose gate is the host's: n by the instruction, for not every machine has it in the
 * error code (handouts/emulators.md#int-error).
 */
static void
translate_int(struct vcpu *v, struct exit *e)
{
	uint8_t insn[PV_INSN];

	if ((e->error & 7) != ERROR_IDT || pv_fetch(v, insn, sizeof(insn)) || insn[0] != INT_N)
		return;
	e->reason = EXIT_INT;
	e->vector = insn[1];
}

/* Back on the instruction, too; a debugger may have put it there. `int 3` is another one. */
static void
translate_int3(struct vcpu *v, struct exit *e)
{
	uint8_t byte;

	v->state.rip--;
	if (pv_fetch(v, &byte, 1) || byte != INT3) {
		v->state.rip++;
		return;
	}
	e->rip = v->state.rip;
	e->insn_op = INSN_INT3;
	e->insn_len = 1;
}

static void
pv_translate(struct vcpu *v, struct exit *e, const struct ring_frame *f)
{
	exit_begin(e, EXIT_EXCEPTION, (uint8_t)f->vector, (uint32_t)f->error, v->state.rip);
	switch (f->vector) {
	case VEC_DB:
		take_dr6(v);
		break;
	case VEC_BP:
		translate_int3(v, e);
		break;
	case VEC_PF:
		e->gva = read_cr2();
		pv_translate_write(v, e);
		break;
	case VEC_GP:
		translate_int(v, e);
		if (e->reason == EXIT_EXCEPTION)
			pv_translate_privileged(v, e);
		break;
	case VEC_UD:
		pv_translate_forced(v, e);
		break;
	case VEC_NM: /* its handler finds the FPU usable, as Xen does it */
		pv_set_ts(v, false);
		break;
	case VEC_DF:
	case VEC_MC:
		panic("%s from ring %lu: the host's own tables or the machine are broken",
		      vector_name((unsigned)f->vector), f->cs & 3);
	case VEC_NMI:
		e->reason = EXIT_IRQ;
		break;
	case PV_SYSCALL32: /* as Xen has it where its kernel takes none */
		v->state.rip -= PV_INSN;
		exit_begin(e, EXIT_EXCEPTION, VEC_UD, 0, v->state.rip);
		break;
	default:
		if (f->vector >= IRQ_BASE)
			e->reason = EXIT_IRQ;
	}
}

/*
 * It can't go on there: a data segment is none any more, for which there is a failsafe callback; or
 * CS, SS or rip (SDM 2A "IRET"), which is a #GP, as Xen has it. Either is its kernel's affair.
 */
static COLD void
not_entered(struct vcpu *v, struct exit *e, bool told, uint64_t failure)
{
	exit_begin(e, told ? EXIT_SEGMENT : EXIT_EXCEPTION, (uint8_t)failure,
		   (uint32_t)(failure >> 32), v->state.rip);
	if (!told)
		pv_forget_refused(v);
}

static void
run(struct vcpu *v, struct exit *e)
{
	struct pv *pv = pv_of(v);
	struct ring_frame *f = &pv->frame;
	struct cpu_state *s = &v->state;
	uint64_t failure;

	if (pv->refused) {
		not_entered(v, e, pv->failsafe_callback, VEC_GP);
		return;
	}
	pv_flush(v);
	pv_give_frame(s, f);
	failure = pv_enter(f, s->gpr);
	trap_debug_late = false;
	if (failure) {
		not_entered(v, e, false, failure);
		return;
	}
	e = exit_place(v); /* behind the calls that have been answered on the spot */
	v->entries++;
	keep_selectors(v);
	if (f->rflags & FLAG_VM) {
		exit_begin(e, EXIT_V86, (uint8_t)f->vector, 0, s->rip);
		return;
	}
	v->irq_pending = pv_upcall_is_due(pv);
	pv_keep_frame(s, f);
	if (f->vector == PV_SYSCALL)
		translate_syscall(v, e);
	else
		pv_translate(v, e, f);
}

static const char *const modes[] = { "direct", NULL };

static const struct engine pv_engine = {
	.name = "pv",
	.what = "paravirtualization: a kernel in ring 3 that knows",
	.long_mode = true,
	.max_vcpus = PV_VCPUS,
	.ram_max = PV_RAM_MAX,
	.mmu_modes = modes,
	.init = init,
	.free = free_vcpu,
	.load = load,
	.run = run,
	.inject = pv_bounce,
};
SET_ADD(engines, pv_engine);

/* handouts/emulators.md#iret-vm: what QEMU's iret allows is none of ours. */
static enum verdict
exit_v86(struct vcpu *v, struct exit *e)
{
	if (e->vector >= IRQ_BASE)
		irq(e->vector);
	return exit_stop(v, e, "emulators.md#iret-vm",
			 "an iret with VM set, which only QEMU allows");
}
EXIT_HANDLER(V86, "pv", exit_v86);
