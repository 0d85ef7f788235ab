/*
 * Exceptions whose handler goes on behind them: what it finds and leaves, wherever its stack is, an
 * event that waits for its end, and a user's GS.
 */
#include <guest/pv/lib/events.h>
#include <guest/pv/machine/machine.h>

#define PAGE 4096ul
#define IF   0x202ul
#define RF   0x10000ul /* a CPU sets it for what is a fault (SDM 3B 17.3.1.1); QEMU does not */
#define TF   0x100ul
#define OWN  0x240cd5ul /* ID AC OF DF SF ZF AF PF CF */

#define GS_BASE 0xc0000101ul
#define KERNELS 0x3400ul
#define USERS   0x5600ul
#define DATA    0x00cff2000000fffful

void do_faults(uint64_t words), do_rdmsr(uint64_t four), do_to_gs(uint64_t selector); /* asm.asm */
void do_watched(uint64_t unused), do_read(uint64_t at);
extern uint8_t user_gs[];
extern const uint64_t pv_handlers[];

static uint8_t stack[2 * PAGE] __attribute__((aligned(4096)));
static struct pv_frame found;
static unsigned faulted, upcalls;
static bool late; /* an event comes, which the end of the handler lets in */

static void
skip(struct pv_frame *f)
{
	if (f->vector == PV_EVENT) {
		check(faulted == 1, "an event behind the handler", faulted);
		pv_vcpu->upcall_pending = 0;
		upcalls++;
		return;
	}
	found = *f;
	faulted++;
	f->rip += 2;
	if (!late)
		return;
	pv_vcpu->upcall_mask = 1;
	pv_vcpu->upcall_pending = 1;
}

static void
fault(uint64_t flags, uint64_t rsp, uint64_t is_pf)
{
	uint64_t words[] = { flags, rsp, is_pf };

	faulted = 0;
	do_faults((uint64_t)words);
	check(found.vector == (is_pf ? 14 : 6) && faulted == 1, "one comes", found.vector);
	check((found.rflags & ~RF) == flags && words[0] == flags, "with its flags, and back",
	      words[0]);
	check(found.rsp == rsp && found.cs == 0xe030 && found.ss == 0xe02b, "its stack", found.rsp);
	check(!is_pf || (pv_vcpu->cr2 == 0x3000 && found.error == 0), "#PF's two words",
	      found.error);
}

/* ---- a user with a GS of its own ---- */

static uint64_t gdt[PAGE / 8] __attribute__((aligned(4096)));

/* Each of both finds its own base when it goes on, wherever it has it from. */
static void
keeps_gs(struct pv_frame *f)
{
	const uint64_t bases[] = { 0x1200, KERNELS }, addresses[] = { 0x3000, USERS };
	uint64_t msr[4] = { 0, 0, GS_BASE, 0 };

	do_rdmsr((uint64_t)msr);
	check(f->vector == 14 && faulted < 2, "its user's #PF", f->vector);
	check(msr[0] == bases[faulted % 2], "the kernel's GS", msr[0]);
	check(pv_vcpu->cr2 == addresses[faulted % 2], "its user's GS", pv_vcpu->cr2);
	if (faulted++) {
		caught(f);
		return;
	}
	do_to_gs(0x13);
	f->rip += 2;
}

static void
users_gs(void)
{
	const uint64_t frame = pv_page(gdt), words[] = {
		0, 0, 0, 0, (uint64_t)user_gs, 0xe033, IF, (uint64_t)stack + PAGE, 0xe02b
	};

	gdt[1] = DATA; /* ES and FS have it since descriptors(): at the next turn they are loaded */
	gdt[2] = DATA | KERNELS << 16;
	gdt[3] = DATA | USERS << 16;
	faulted = 0;
	pv_read_only(gdt);
	check(!pv_call(XEN_set_gdt, (uint64_t)&frame, 512, 0, 0), "a GDT", frame);
	pv_call(XEN_stack_switch, 0xe02b, (uint64_t)stack + 2 * PAGE, 0, 0);
	pv_call(XEN_set_segment_base, XEN_SEGBASE_GS_KERNEL, 0x1200, 0, 0);
	pv_handler = keeps_gs;
	check(try(do_iret, (uint64_t)words) && faulted == 2, "its user, and back", faulted);
}

/* ---- debug exceptions behind both of them ---- */

static void
debugged(void)
{
	const uint64_t words[] = {
		0, 0, 0, 0, (uint64_t)do_watched, 0xe030, IF | TF, (uint64_t)stack + PAGE, 0xe02b
	};

	check(try(do_iret, (uint64_t)words) && last.vector == 1 &&
		      last.rip == (uint64_t)do_watched + 1,
	      "a step behind an iret", last.rip);
	pv_call(XEN_set_debugreg, 0, pv_handlers[14], 0, 0);
	pv_call(XEN_set_debugreg, 7, 0x401, 0, 0);
	check(try((void *)do_watched, 0) == 0, "none elsewhere", last.rip);
	check(try(do_read, 0x3000) && last.vector == 1 && last.rip == pv_handlers[14],
	      "a breakpoint on #PF's handler", last.rip);
	pv_call(XEN_set_debugreg, 7, 0, 0, 0);
}

void
faults(void)
{
	const uint64_t edge = (uint64_t)stack + PAGE;

	pv_events_init();
	pv_vcpu->upcall_mask = 0;
	pv_handler = skip;
	for (uint64_t is_pf = 0; is_pf < 2; is_pf++) {
		for (uint64_t bit = 0; bit < 22; bit++)
			fault(IF | (OWN & 1ul << bit), edge + PAGE, is_pf);
		fault(IF | OWN, edge + PAGE, is_pf);
		for (uint64_t at = 0; at < 160; at += 8) /* frames on both sides, and across */
			fault(IF, edge + at, is_pf);
	}
	late = true;
	fault(IF, edge + PAGE, 1);
	late = false;
	check(upcalls == 1 && !pv_vcpu->upcall_mask, "it has come", upcalls);
	users_gs();
	pv_vcpu->upcall_mask = 1;
	pv_handler = caught;
	debugged();
	pv_call(XEN_set_callbacks, 0, 0, 0, 0);
}
