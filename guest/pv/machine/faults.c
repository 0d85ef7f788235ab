/*
 * Exceptions whose handler goes on behind them: what it finds and leaves, wherever its stack is,
 * and an event that waits for its end.
 */
#include <guest/pv/lib/events.h>
#include <guest/pv/machine/machine.h>

#define PAGE 4096ul
#define IF   0x202ul
#define RF   0x10000ul  /* a CPU sets it for what is a fault (SDM 3B 17.3.1.1); QEMU does not */
#define OWN  0x240cd5ul /* ID AC OF DF SF ZF AF PF CF */

void do_faults(uint64_t words); /* asm.asm */

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
	pv_vcpu->upcall_mask = 1;
	pv_handler = caught;
	pv_call(XEN_set_callbacks, 0, 0, 0, 0);
}
