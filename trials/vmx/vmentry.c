/*
 * Spoils copies of the last guest's VMCS, asks Zeno's rules and the CPU, and prints both verdicts.
 *
 * The guest itself is left alone: the copy has nested tables that map nothing. So a VMCS that the
 * CPU takes comes back at the guest's first access to memory, if not before.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/monitor.h>
#include <vmm/vmx/vmx.h>
#include <trials/vmx/spoil.h>

#define CASES_DEFAULT 200
#define EPT_FRAME     (~0xffful)

static mfn_t copy, no_memory;
static bool has_frames;
static struct vmcs_image good, image;
static bool there[IMAGE_FIELDS]; /* the CPU has this field, and takes writes to it */

/* SDM 3C table 25-21: all widths; controls, the guest's and the host's fields, but no exits. */
static void
each_field(void (*visit)(enum vmcs_field field))
{
	for (uint32_t width = 0; width < 4; width++)
		for (uint32_t type = 0; type < 4; type++)
			for (uint32_t index = 0; type != 1 && index < 32; index++)
				visit((enum vmcs_field)(width << 13 | type << 10 | index << 1));
}

static bool *
is_there(enum vmcs_field field)
{
	return &there[image_field(&good, field) - good.field];
}

static void
take(enum vmcs_field field)
{
	*is_there(field) = vmcs_has(field);
	if (*is_there(field))
		*image_field(&good, field) = vmcs_read(field);
}

static void
give(enum vmcs_field field)
{
	if (*is_there(field))
		vmcs_write(field, *image_field(&image, field));
}

/* What the CPU says; 0: it takes it, 7 and 8: the error of VMfail, 33 and 34: the exit reason. */
static unsigned
cpu_says(void)
{
	static struct vmx of_copy;
	uint64_t gpr[GPR_COUNT] = { 0 };
	uint64_t pat = rdmsr(MSR_PAT);
	enum vmx_entry entry;
	uint32_t reason;

	vmx_vmclear(mfn_to_hpa(copy).v);
	vmx_vmptrld(mfn_to_hpa(copy).v);
	each_field(give);
	entry = vmx_enter_and_back(&of_copy, gpr);
	wrmsr(MSR_PAT, pat);
	if (entry != ENTERED)
		return (unsigned)vmcs_read(INSTRUCTION_ERROR);
	reason = (uint32_t)vmcs_read(EXIT_REASON);
	return reason & VMX_ENTRY_FAILED ? VMX_REASON_BASIC(reason) : 0;
}

/* Bochs 2.7 dies of these, instead of refusing them. */
static bool
kills_bochs(void)
{
	uint64_t event = image_read(&image, ENTRY_EVENT);

	return event & VMX_EVENT_VALID && VMX_EVENT_TYPE(event) == VMX_EVENT_OTHER;
}

/* A CPU that takes these does not come back, or harms the host when it does. */
static bool
harmful(const struct entry_rule *broken)
{
	bool ept = image_read(&image, PRIMARY_CONTROLS) & PRIMARY_SECONDARY &&
		   image_read(&image, SECONDARY_CONTROLS) & SECONDARY_EPT;

	return !broken && (!ept || image_read(&image, GUEST_ACTIVITY) != ACTIVITY_RUNS);
}

static void
one_case(size_t number, uint64_t *seed)
{
	struct vmx_attempt entry = { .read = image_read, .vmcs = &image, .cpu = &vmx_cpu };
	const struct entry_rule *meant = vmx_rule(number), *r;
	struct spoiled s;
	size_t first = 0;
	unsigned says;

	image = good;
	if (meant) {
		vmcs_spoil_rule(&image, &vmx_cpu, number, seed);
		s = (struct spoiled){ meant->field, meant->at };
	} else {
		s = vmcs_spoil_bits(&image, seed);
	}
	printf("case %lu: %s = %lx: ", number, s.name, image_read(&image, s.field));
	r = vmx_rule_broken(&entry, &first);
	if (r)
		printf("Zeno: rule %lu, %s; ", first, r->field);
	else
		printf("Zeno: takes it; ");
	if (kills_bochs() || harmful(r) || (meant && !vmx_rule_breaks(&entry, meant))) {
		printf("CPU: not asked\n");
		return;
	}
	says = cpu_says();
	if (says)
		printf("CPU: refuses it (%u)\n", says);
	else
		printf("CPU: takes it\n");
}

/* They are kept from one trial to the next. */
static bool
get_frames(void)
{
	if (has_frames)
		return true;
	copy = frame_alloc(FRAME_HOST, OWNER_HOST);
	no_memory = frame_alloc(FRAME_HOST, OWNER_HOST);
	has_frames = mfn_ok(copy) && mfn_ok(no_memory);
	if (has_frames)
		*(uint32_t *)mfn_ptr(copy) = vmx_revision();
	else if (mfn_ok(copy))
		frame_put(copy);
	return has_frames;
}

static int
trial(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(0, NULL);
	uint64_t seed = 1, cases = CASES_DEFAULT;
	const struct entry_rule *r;

	if (!v)
		return MONITOR_SAID;
	if ((argc > 1 && parse_u64(argv[1], &seed)) || (argc > 2 && parse_u64(argv[2], &cases)))
		return -EINVAL;
	if (!get_frames())
		return -ENOMEM;
	for (size_t i = 0; (r = vmx_rule(i)); i++)
		printf("rule %lu: %s: %s: %s\n", i, r->section, r->field, r->words);
	v->engine->load(v);
	vmx_state_to_vmcs(v);
	each_field(take);
	*image_field(&good, EPT_POINTER) =
		(image_read(&good, EPT_POINTER) & ~EPT_FRAME) | mfn_to_hpa(no_memory).v;
	*image_field(&good, ENTRY_EVENT) = 0;
	for (uint64_t n = 0; n < cases; n++)
		one_case(n, &seed);
	vmx_vmclear(mfn_to_hpa(copy).v);
	vmx_vmptrld(vmx_of(v)->vmcs_at.v);
	return 0;
}
MONITOR_COMMAND(trial, "vmentry-trial", "[SEED] [CASES]",
		"spoil copies of the last guest's VMCS, and compare Zeno's rules with the CPU");

/* As if Zeno itself had written it: the guest's next entry breaks a rule. */
static int
break_rule(int argc, char **argv)
{
	uint64_t which, seed = 1;
	struct vcpu *v;

	if (argc < 3 || parse_u64(argv[2], &which) || !vmx_rule(which) ||
	    (argc > 3 && parse_u64(argv[3], &seed)))
		return -EINVAL;
	v = monitor_vcpu(argc, argv);
	if (!v)
		return MONITOR_SAID;
	v->engine->load(v);
	vmx_state_to_vmcs(v);
	each_field(take);
	image = good;
	vmcs_spoil_rule(&image, &vmx_cpu, which, &seed);
	each_field(give);
	return 0;
}
MONITOR_COMMAND(break_rule, "vmentry-break", "ID RULE [SEED]",
		"break a rule of VM entries in a guest's VMCS; vmentry-trial lists the rules");
