/*
 * The first guest: sixteen bytes of code, in a VMCS that is given here, and no other part of Zeno.
 * With `spin` it is one of two bytes, which never exits: the host's interrupts bring it back. With
 * `bad` the CPU refuses its state, with `none` no VMCS is current. With `state` the guest's state
 * is not given: it comes from a vCPU's, and goes back there.
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
#include <vmm/cpu_setup.h>
#include <vmm/monitor.h>
#include <vmm/vmx/vmx.h>
#include <trials/vmx/first.h>

#define CODE_AT        0x200000u /* the only page of the guest's that there is */
#define CPUID_BYTES    2u
#define EPT_ALL        7u         /* SDM 3C 29.3.2: read, write, execute */
#define EPT_WRITE_BACK (6ul << 3) /* the memory type, in the entry of a page */
#define FLAT_CODE      0xc09bu    /* SDM 3C table 25-2: G, D, present, code, read, accessed */
#define FLAT_DATA      0xc093u    /* ... data, write */
#define FLAT_DATA_ATTR (ATTR_G | ATTR_DB | ATTR_P | ATTR_S | ATTR_RW | ATTR_A) /* a state's */
#define FLAT_CODE_ATTR (FLAT_DATA_ATTR | ATTR_CODE)
#define BUSY_TSS       0x8bu /* VM entry wants one, although nobody uses it */
#define HLT_EXITING    (1u << 7)
#define PAT_RESET      0x0007040600070406ul /* SDM 3A 12.12.4: after a reset */

/*   200000  mov eax, 1
 *   200005  xor ecx, ecx
 *   200007  cpuid
 *   200009  jmp 200000 */
static const uint8_t code[16] = { 0xb8, 1,    0,    0,    0,    0x31, 0xc9, 0x0f,
				  0xa2, 0xeb, 0xf5, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4 };

static const uint8_t spinning[] = { 0xeb, 0xfe }; /* 200000  jmp 200000 */

enum { VMCS, LEVEL4, LEVEL3, LEVEL2, LEVEL1, CODE, OWN, PAGES };
static mfn_t page[PAGES];
static bool launched;

static const char *const kinds[] = { "cpuid", "spin", "bad", "none", "state" };
enum kind { TO_CPUID, SPINS, BAD, NONE, STATE };

/* They are kept from one trial to the next. */
static bool
get_pages(void)
{
	static bool there;

	for (unsigned i = 0; i < PAGES && !there; i++) {
		page[i] = frame_alloc(FRAME_HOST, OWNER_HOST);
		if (mfn_ok(page[i]))
			continue;
		while (i--)
			frame_put(page[i]);
		return false;
	}
	there = true;
	return true;
}

/* One page of guest memory, at CODE_AT. */
static void
map(bool spins)
{
	static const unsigned slot[] = { [LEVEL2] = CODE_AT >> 21, [CODE] = 0 };

	for (unsigned i = LEVEL4; i < CODE; i++)
		((uint64_t *)mfn_ptr(page[i]))[slot[i]] =
			mfn_to_hpa(page[i + 1]).v | EPT_ALL | (i == LEVEL1 ? EPT_WRITE_BACK : 0);
	memcpy(mfn_ptr(page[CODE]), spins ? spinning : code,
	       spins ? sizeof(spinning) : sizeof(code));
}

static uint64_t
controls(enum vmx_controls which, uint32_t wanted)
{
	return (uint32_t)vmx_choice(which) | wanted;
}

/*
 * What must exit, and what is not the guest's to choose. Of all else the guest has nothing: no
 * lists of MSRs, no event.
 */
static void
given_controls(void)
{
	unsigned rate;
	uint32_t timer = vmx_timer_rate(&rate) ? PIN_TIMER : 0;
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ PIN_CONTROLS, controls(PIN, PIN_EXTERNAL_INTERRUPT | PIN_NMI | timer) },
		{ PRIMARY_CONTROLS, controls(PRIMARY, HLT_EXITING | PRIMARY_SECONDARY) },
		{ SECONDARY_CONTROLS, controls(SECONDARY, SECONDARY_EPT | SECONDARY_UNRESTRICTED) },
		{ EXIT_CONTROLS, controls(EXIT, EXIT_HOST_LONG | EXIT_LOAD_EFER | EXIT_LOAD_PAT) },
		{ ENTRY_CONTROLS, controls(ENTRY, ENTRY_LOAD_EFER) },
		{ EPT_POINTER, mfn_to_hpa(page[LEVEL4]).v | EPTP_FOUR_LEVELS | EPTP_WRITE_BACK },
		{ LINK_POINTER, ~0ul }, /* SDM 3C 25.4.2: no shadow VMCS */
		{ EXCEPTION_BITMAP, 0 },
		{ CR3_TARGET_COUNT, 0 },
		{ ENTRY_MSR_LOAD_COUNT, 0 },
		{ EXIT_MSR_STORE_COUNT, 0 },
		{ EXIT_MSR_LOAD_COUNT, 0 },
		{ ENTRY_EVENT, 0 },
		{ CR0_MASK, 0 },
		{ CR4_MASK, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
}

/* Flat 32-bit protected mode without paging, as a boot loader would leave it. */
static void
given_state(void)
{
	static const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ GUEST_CR3, 0 },
		{ GUEST_EFER, 0 },
		{ GUEST_DR7, DR7_RESET },
		{ GUEST_DEBUGCTL, 0 },
		{ GUEST_ACTIVITY, 0 },
		{ GUEST_INTERRUPTIBILITY, 0 },
		{ GUEST_PENDING_DEBUG, 0 },
		{ GUEST_GDTR_BASE, 0 },
		{ GUEST_GDTR_LIMIT, 0 },
		{ GUEST_IDTR_BASE, 0 },
		{ GUEST_IDTR_LIMIT, 0 },
		{ GUEST_SYSENTER_CS, 0 },
		{ GUEST_SYSENTER_ESP, 0 },
		{ GUEST_SYSENTER_EIP, 0 },
		{ GUEST_RFLAGS, FLAG_ONE },
		{ GUEST_RIP, CODE_AT },
		{ GUEST_RSP, CODE_AT + PAGE_SIZE },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
	vmcs_write(GUEST_CR0, vmx_cr0_ones() | CR0_PE | CR0_ET);
	vmcs_write(GUEST_CR4, rdmsr(MSR_VMX_CR4_FIXED0));
	for (unsigned n = 0; n <= SEGMENT_TR; n++) {
		vmcs_write(SEGMENT_FIELD(GUEST_ES, n), n == SEG_CS ? 8 : 16);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_BASE, n), 0);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_LIMIT, n), ~0u);
		vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, n), n == SEG_CS ? FLAT_CODE : FLAT_DATA);
	}
	vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEGMENT_LDTR), RIGHTS_UNUSABLE);
	vmcs_write(SEGMENT_FIELD(GUEST_ES_LIMIT, SEGMENT_TR), 0x67);
	vmcs_write(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEGMENT_TR), BUSY_TSS);
}

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

/* What goes with a vCPU's state: all of it, and back. */
static void
given_ways(struct vmx *x)
{
	const struct {
		enum vmcs_field field;
		uint64_t value;
	} given[] = {
		{ PRIMARY_CONTROLS,
		  controls(PRIMARY, HLT_EXITING | PRIMARY_TSC_OFFSET | PRIMARY_SECONDARY) },
		{ EXIT_CONTROLS, controls(EXIT, EXIT_SAVE_DEBUG | EXIT_HOST_LONG | EXIT_LOAD_PAT |
							EXIT_SAVE_EFER | EXIT_LOAD_EFER) },
		{ ENTRY_CONTROLS,
		  controls(ENTRY, ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER) },
		{ CR0_MASK, x->cr0_owned },
		{ CR4_MASK, x->cr4_owned },
		{ GUEST_DEBUGCTL, 0 },
		{ GUEST_ACTIVITY, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(given); i++)
		vmcs_write(given[i].field, given[i].value);
	vmx_set_msr_lists(x);
}

/* The same guest as a state, of a vCPU that is nobody's. */
static struct vcpu *
given_vcpu(void)
{
	static struct vcpu vcpu;
	struct cpu_state *s = &vcpu.state;
	struct vmx *x = mfn_ptr(page[OWN]);

	*x = (struct vmx){ .vmcs_at = mfn_to_hpa(page[VMCS]),
			   .vcpu = &vcpu,
			   .rip = ~0ul,
			   .rsp = ~0ul,
			   .rflags = ~0ul,
			   .interruptibility = ~0ul,
			   .pending_debug = ~0ul,
			   .cr0_owned = VMX_CR0_OWNED,
			   .cr4_owned = ~VMX_CR4_GUEST };
	vcpu = (struct vcpu){ .engine_data = x, .valid = STATE_ALL, .dirty = STATE_ALL };
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct segment){ .sel = 16, .attr = FLAT_DATA_ATTR, .limit = ~0u };
	s->seg[SEG_CS] = (struct segment){ .sel = 8, .attr = FLAT_CODE_ATTR, .limit = ~0u };
	s->tr = (struct segment){ .attr = BUSY_TSS, .limit = 0x67 };
	s->cr0 = CR0_PE | CR0_ET;
	s->dr[6] = DR6_RESET;
	s->dr[7] = DR7_RESET;
	s->pat = PAT_RESET;
	s->rflags = FLAG_ONE;
	s->rip = CODE_AT;
	s->gpr[RSP] = CODE_AT + PAGE_SIZE;
	return &vcpu;
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
	vmx_invept_all(); /* another guest's tables may have had these frames */
}

int
vmx_first_guest(const uint8_t *bytes, size_t count)
{
	int err = vmx_prepare();

	if (err)
		return err;
	if (!get_pages())
		return -ENOMEM;
	map(false);
	memcpy(mfn_ptr(page[CODE]), bytes, count);
	vmx_trial_take_cpu(page[VMCS]);
	launched = false;
	vmx_set_host_state();
	given_controls();
	given_state();
	return 0;
}

void
vmx_first_done(void)
{
	vmx_vmclear(mfn_to_hpa(page[VMCS]).v);
}

/* All rounds, or up to one that did not come to what it should. */
static void
rounds_of(enum kind kind, uint64_t rounds)
{
	uint64_t gpr[GPR_COUNT] = { 0 };
	struct vcpu *v = kind == STATE ? given_vcpu() : NULL;
	bool goes_on = true;

	if (v)
		given_ways(vmx_of(v));
	else
		given_state();
	if (kind == BAD)
		vmcs_write(GUEST_RFLAGS, 0); /* SDM 3C 27.3.1.4: bit 1 must be 1 */
	if (kind == NONE) {
		vmx_vmclear(mfn_to_hpa(page[VMCS]).v);
		print_exit((enum vmx_entry)vmx_enter(gpr, false), 1, false);
		return;
	}
	for (uint64_t n = 1; n <= rounds && goes_on; n++)
		goes_on = v               ? one_state(v, n)
			  : kind == SPINS ? one_turn(gpr, n)
					  : one_round(gpr, n, n != 1 && n != rounds);
	vmx_vmclear(mfn_to_hpa(page[VMCS]).v);
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
	if (why) {
		printf("vmx: not here: %s\n", why);
		return MONITOR_SAID;
	}
	err = vmx_prepare();
	if (err)
		return err;
	if (!get_pages())
		return -ENOMEM;
	map(kind == SPINS);
	vmx_trial_take_cpu(page[VMCS]);
	launched = false;
	printf("vmx: on, revision %x\n", vmx_revision());
	vmx_set_host_state();
	given_controls();
	rounds_of(kind, rounds);
	return 0;
}
MONITOR_COMMAND(first, "launch", "[ROUNDS [spin|bad|none|state]]",
		"run sixteen bytes of code on VT-x, in a VMCS that is given, to their cpuid");
