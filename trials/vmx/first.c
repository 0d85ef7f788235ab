/*
 * The first guest: sixteen bytes of code, in a VMCS that is given, and no other part of Zeno.
 * With `spin` it is one of two bytes, which never exits: the host's interrupts bring it back. With
 * `bad` the CPU refuses its state, with `none` no VMCS is current. With `state` the guest's state
 * is not given: it comes from a vCPU's, and goes back there. With `controls` it is what ends the
 * guest's run.
 *
 * It needs nothing of Lab 4 but what turns VT-x on and what enters the guest, and the part of the
 * VMCS that is not given: see handouts/lab4a.md.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <kern/trap.h>
#include <trials/vmx/first.h>
#include <vmm/cpu_setup.h>
#include <vmm/vmx/vmx.h>
#include <vmm/words/monitor.h>

#define CPUID_BYTES    2u
#define EPT_ALL        7u         /* SDM 3C 29.3.2: read, write, execute */
#define EPT_WRITE_BACK (6ul << 3) /* the memory type, in the entry of a page */

static bool launched;

static const char *const kinds[] = { "cpuid", "spin", "bad", "none", "state", "controls" };
enum kind { TO_CPUID, SPINS, BAD, NONE, STATE, ENDS };

/* Bochs 2.7 needs it for a guest with IF=0 (handouts/emulators.md): no longer than a tick. */
static void
set_timer(void)
{
	unsigned rate;

	if (vmx_timer_rate(&rate))
		vmcs_write(PREEMPTION_TIMER, (clock_tsc_hz() / TICK_HZ >> rate) + 1);
}

bool
vmx_trial_hosts_turn(uint64_t reason)
{
	return reason == VMX_EXTERNAL_INTERRUPT || reason == VMX_PREEMPTION_TIMER;
}

/* In words; false: there is no next round. */
static bool
print_exit(enum vmx_entry entry, uint64_t n, bool quiet)
{
	uint64_t reason, rip;

	if (entry != ENTERED && entry != REFUSED_VMCS) {
		printf("no exit: vmx_enter() says that no VMCS is current\n");
		return false;
	}
	if (entry == REFUSED_VMCS) {
		printf("no exit: the CPU refuses the VMCS (VM-instruction error %lu)\n",
		       vmcs_read(INSTRUCTION_ERROR));
		return false;
	}
	reason = vmcs_read(EXIT_REASON);
	rip = vmcs_read(GUEST_RIP);
	if (reason == VMX_CPUID) {
		if (!quiet)
			printf("exit %lu: cpuid at %lx\n", n, rip);
		return true;
	}
	if (reason & VMX_ENTRY_FAILED)
		printf("no exit: the CPU refuses the guest's state (exit reason %u)\n",
		       VMX_REASON_BASIC(reason));
	else if (reason == VMX_TRIPLE_FAULT)
		printf("exit %lu: a triple fault\n", n);
	else
		printf("exit %lu: exit reason %lu at %lx\n", n, reason, rip);
	return false;
}

enum vmx_entry
vmx_trial_enter(uint64_t gpr[GPR_COUNT], bool *was_launched)
{
	struct vmx_tables host;
	enum vmx_entry entry;

	set_timer();
	vmx_tables_read(&host);
	entry = (enum vmx_entry)vmx_enter(gpr, *was_launched);
	vmx_tables_load(&host);
	if (entry == ENTERED && !(vmcs_read(EXIT_REASON) & VMX_ENTRY_FAILED))
		*was_launched = true;
	return entry;
}

static enum vmx_entry
enter(uint64_t gpr[GPR_COUNT])
{
	return vmx_trial_enter(gpr, &launched);
}

/* What the host's interrupts do to a guest that never exits; its own IF does not matter. */
static bool
one_turn(uint64_t gpr[GPR_COUNT], uint64_t n)
{
	enum vmx_entry entry;

	vmcs_write(GUEST_RFLAGS, FLAG_ONE | (n & 1 ? FLAG_IF : 0));
	entry = enter(gpr);
	if (entry != ENTERED || !vmx_trial_hosts_turn(vmcs_read(EXIT_REASON)))
		return print_exit(entry, n, false);
	preempt_point();
	printf("exit %lu: the host's turn at %lx\n", n, vmcs_read(GUEST_RIP));
	return true;
}

/* Up to the first exit that is not for the host's sake. */
static bool
one_round(uint64_t gpr[GPR_COUNT], uint64_t n, bool quiet)
{
	enum vmx_entry entry;
	bool again;

	do {
		entry = enter(gpr);
		again = entry == ENTERED && vmx_trial_hosts_turn(vmcs_read(EXIT_REASON));
		if (again)
			preempt_point();
	} while (again);
	if (!print_exit(entry, n, quiet))
		return false;
	vmcs_write(GUEST_RIP, vmcs_read(GUEST_RIP) + CPUID_BYTES);
	return true;
}

/* In and out of the VMCS by way of the state. */
static bool
one_state(struct vcpu *v, uint64_t n)
{
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;
	enum vmx_entry entry;
	bool again;

	do {
		set_timer();
		vmx_state_to_vmcs(v);
		entry = vmx_enter_and_back(x, s->gpr);
		if (entry != ENTERED || vmcs_read(EXIT_REASON) & VMX_ENTRY_FAILED)
			return print_exit(entry, n, false);
		x->launched = true;
		vmx_state_from_vmcs(v);
		again = vmx_trial_hosts_turn(vmcs_read(EXIT_REASON));
		if (again)
			preempt_point();
	} while (again);
	vmx_fetch(v, STATE_CR | STATE_SEG);
	if (!print_exit(entry, n, false))
		return false;
	printf("  the state says: rip %lx, rax %lx, cs %04x, cr0 %lx, efer %lx\n", s->rip,
	       s->gpr[RAX], s->seg[SEG_CS].sel, s->cr0, s->efer);
	s->rip += CPUID_BYTES;
	return true;
}

/* The student's, for a guest whose memory is the trial's. */
static void
own_controls(struct vcpu *v)
{
	vmx_make_maps();
	v->root = first_page[FIRST_LEVEL4];
	vmx_of(v)->exceptions = 1u << VEC_DB | 1u << VEC_AC;
	vmx_set_controls(v);
	vmcs_write(CR0_SHADOW, CR0_PE | CR0_ET);
	vmcs_write(CR4_SHADOW, 0);
	vmcs_write(GUEST_PAT, FIRST_PAT);
	vmcs_write(TSC_OFFSET, 0);
}

/* Up to an exit that is not for the host's sake, whatever it is; then the guest begins anew. */
static bool
one_exit(uint64_t gpr[GPR_COUNT], uint64_t n)
{
	enum vmx_entry entry;
	bool again;

	do {
		vmcs_write(GUEST_RIP, FIRST_CODE_AT);
		entry = enter(gpr);
		again = entry == ENTERED && vmx_trial_hosts_turn(vmcs_read(EXIT_REASON));
		if (again)
			preempt_point();
	} while (again);
	print_exit(entry, n, false);
	return entry == ENTERED && !(vmcs_read(EXIT_REASON) & VMX_ENTRY_FAILED);
}

/* No guest's engine has the CPU now, and what this leaves the next one undoes. */
void
vmx_trial_take_cpu(mfn_t vmcs)
{
	const struct cpu_setup setup = {
		.cr3 = mfn_to_hpa(host_root).v,
		.efer = rdmsr(MSR_EFER) & ~(uint64_t)EFER_SCE,
		.ring_exit = nobody_exits,
		.leave = vmx_turn_off,
	};

	cpu_setup_load(&setup);
	vmx_turn_on();
	memset(mfn_ptr(vmcs), 0, PAGE_SIZE);
	*(uint32_t *)mfn_ptr(vmcs) = vmx_revision();
	vmx_vmclear(mfn_to_hpa(vmcs).v);
	vmx_vmptrld(mfn_to_hpa(vmcs).v);
	vmx_invept(INVALIDATE_ALL, 0); /* another guest's tables may have had these frames */
}

int
vmx_first_guest(const uint8_t *bytes, size_t count)
{
	int err = vmx_prepare();

	if (err)
		return err;
	if (!first_pages())
		return -ENOMEM;
	first_map(false, EPT_ALL, EPT_WRITE_BACK);
	memcpy(mfn_ptr(first_page[FIRST_CODE]), bytes, count);
	vmx_trial_take_cpu(first_page[FIRST_CONTROL]);
	launched = false;
	vmx_set_host_state();
	vmx_given_controls(mfn_to_hpa(first_page[FIRST_LEVEL4]));
	vmx_given_state();
	return 0;
}

void
vmx_first_done(void)
{
	vmx_vmclear(mfn_to_hpa(first_page[FIRST_CONTROL]).v);
}

/* All rounds, or up to one that did not come to what it should. */
static void
rounds_of(enum kind kind, uint64_t rounds)
{
	uint64_t gpr[GPR_COUNT] = { 0 };
	struct vcpu *v = kind >= STATE ? vmx_given_vcpu(mfn_ptr(first_page[FIRST_OWN]),
							mfn_to_hpa(first_page[FIRST_CONTROL]))
				       : NULL;
	bool goes_on = true;

	if (kind == STATE)
		vmx_given_ways(vmx_of(v));
	else
		vmx_given_state();
	if (kind == ENDS)
		own_controls(v);
	if (kind == BAD)
		vmcs_write(GUEST_RFLAGS, 0); /* SDM 3C 27.3.1.4: bit 1 must be 1 */
	if (kind == NONE) {
		vmx_vmclear(mfn_to_hpa(first_page[FIRST_CONTROL]).v);
		print_exit((enum vmx_entry)vmx_enter(gpr, false), 1, false);
		return;
	}
	for (uint64_t n = 1; n <= rounds && goes_on; n++)
		goes_on = kind == STATE   ? one_state(v, n)
			  : kind == ENDS  ? one_exit(gpr, n)
			  : kind == SPINS ? one_turn(gpr, n)
					  : one_round(gpr, n, n != 1 && n != rounds);
	vmx_vmclear(mfn_to_hpa(first_page[FIRST_CONTROL]).v);
}

static bool
parse(int argc, char **argv, uint64_t *rounds, enum kind *kind)
{
	*rounds = 1;
	*kind = TO_CPUID;
	if (argc > 1 && (parse_u64(argv[1], rounds) || !*rounds))
		return false;
	if (argc < 3)
		return true;
	for (*kind = SPINS; *kind < ARRAY_LEN(kinds); ++*kind)
		if (!strcmp(argv[2], kinds[*kind]))
			return true;
	return false;
}

static int
first(int argc, char **argv)
{
	const char *why = vmx_probe();
	uint64_t rounds;
	enum kind kind;
	int err;

	if (!parse(argc, argv, &rounds, &kind))
		return -EINVAL;
	if (!why && kind == ENDS)
		why = vmx_lacks_exit();
	if (why) {
		printf("vmx: not here: %s\n", why);
		return MONITOR_SAID;
	}
	err = vmx_prepare();
	if (err)
		return err;
	if (!first_pages())
		return -ENOMEM;
	first_map(kind == SPINS, EPT_ALL, EPT_WRITE_BACK);
	vmx_trial_take_cpu(first_page[FIRST_CONTROL]);
	launched = false;
	printf("vmx: on, revision %x\n", vmx_revision());
	vmx_set_host_state();
	vmx_given_controls(mfn_to_hpa(first_page[FIRST_LEVEL4]));
	rounds_of(kind, rounds);
	return 0;
}
MONITOR_COMMAND(first, "launch", "[ROUNDS [spin|bad|none|state|controls]]",
		"run sixteen bytes of code on VT-x, in a VMCS that is given, to their cpuid");
