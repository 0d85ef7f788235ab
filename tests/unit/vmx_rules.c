/*
 * BUILD: vmm/vmx/rules.c vmm/vmx/rules_controls.c vmm/vmx/rules_host.c vmm/vmx/rules_guest.c
 *   vmm/vmx/rules_segments.c solutions/4-vmx/own_rules.c trials/vmx/broken/spoil.c
 *   trials/vmx/modes.c
 */
/*
 * The rules of VM entries: broken one at a time, by many values, each is the one that is named; and
 * what keeps to all of them is left alone, on CPUs that have more and less.
 */
#include <string.h>

#include <trials/vmx/broken/spoil.h>
#include <trials/vmx/modes.h>
#include <vmm/x86/state.h>

#include "tap.h"

#define SEEDS 1000

/* A CPU that has much, and fixes bits of every control. */
static const struct vmx_cpu plain = {
	.pin = { 0x16, 0xff },
	.primary = { 0x0401e172, 0xfffdfffe },
	.secondary = { 1u << 12, 0x3fff },
	.exit = { 0x36dfb, 0x00ffffff },
	.entry = { 0x11fb, 0x1ffff },
	.cr0_must = CR0_PE | CR0_NE | CR0_PG,
	.cr0_may = 0xffffffff,
	.cr4_must = CR4_VMXE,
	.cr4_may = 0x3727ff,
	.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
	.misc = 4ul << 16 | 7ul << 6,
	.ept = 1ul << 6 | 1ul << 8 | 1ul << 14,
	.phys_bits = 40,
	.linear_bits = 48,
	.long_host = true,
};

/* A guest of 32 bits on a host of 64. */
static struct vmcs_image
good(void)
{
	static const struct {
		enum vmcs_field field;
		uint64_t value;
	} fields[] = {
		{ PIN_CONTROLS, 0x7f },
		{ PRIMARY_CONTROLS, 0x9501e1f2 | 1u << 31 },
		{ SECONDARY_CONTROLS, 1u << 12 | SECONDARY_EPT | SECONDARY_UNRESTRICTED },
		{ EXIT_CONTROLS, 0x36ffb | EXIT_LOAD_PAT | EXIT_LOAD_EFER },
		{ ENTRY_CONTROLS, 0x11ff | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER },
		{ MSR_BITMAP, 0x5000 },
		{ EPT_POINTER, 0x60001e },
		{ EXIT_MSR_STORE, 0x7000 },
		{ EXIT_MSR_STORE_COUNT, 6 },
		{ EXIT_MSR_LOAD, 0x8000 },
		{ EXIT_MSR_LOAD_COUNT, 6 },
		{ ENTRY_MSR_LOAD, 0x7000 },
		{ ENTRY_MSR_LOAD_COUNT, 6 },
		{ LINK_POINTER, ~0ul },
		{ HOST_CR0, 0x80010031 },
		{ HOST_CR3, 0x1000 },
		{ HOST_CR4, CR4_VMXE | CR4_PAE },
		{ HOST_EFER, EFER_LME | EFER_LMA | EFER_NXE },
		{ HOST_PAT, 0x0007040600070406 },
		{ HOST_CS_SELECTOR, 0xe008 },
		{ HOST_TR_SELECTOR, 0xe040 },
		{ HOST_TR_BASE, 0xffff828000100000 },
		{ HOST_GDTR_BASE, 0xffff820000000000 },
		{ HOST_IDTR_BASE, 0xffff828000110000 },
		{ HOST_RIP, 0xffff828000120000 },
		{ GUEST_CR0, CR0_PE | CR0_NE },
		{ GUEST_CR4, CR4_VMXE },
		{ GUEST_PAT, 0x0007040600070406 },
		{ GUEST_DR7, 0x400 },
		{ GUEST_RIP, 0x100000 },
	};
	struct vmcs_image m;

	memset(&m, 0, sizeof(m));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		*image_field(&m, fields[i].field) = fields[i].value;
	mode_flat(&m);
	return m;
}

/* The number of the first rule that is broken, from a number on; ~0: none. */
static size_t
rule_from(const struct vmcs_image *m, const struct vmx_cpu *cpu, size_t n)
{
	struct vmx_attempt entry = { .read = image_read, .vmcs = m, .cpu = cpu };

	return vmx_rule_broken(&entry, &n) ? n : ~0ul;
}

/*
 * Rules that can't be broken alone: an SS of another ring than CS and its own DPL, VM=1 in long
 * mode, long mode on a host of 32 bits.
 */
static bool
breaks_others(const char *said)
{
	static const char *const words[] = { "RPL must be that of CS", "VM=1 needs",
					     "needs \"host address-space size\"" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(said, words[i]))
			return true;
	return false;
}

/* The CPU on which a rule can be broken. */
static struct vmx_cpu
cpu_for(const char *said)
{
	struct vmx_cpu cpu = plain;

	cpu.long_host = !strstr(said, "a host of 32 bits has ") &&
			!strstr(said, "0 in a host of 32 bits") &&
			!strstr(said, "needs \"host address-space size\"");
	return cpu;
}

/* The words of the first rule that is broken are those of this way to break it. */
static bool
is_named(const struct vmcs_image *m, const struct vmx_cpu *cpu, struct spoil_way way)
{
	struct vmx_attempt e = { .read = image_read, .vmcs = m, .cpu = cpu };

	return rule_from(m, cpu, 0) == way.row &&
	       !strcmp(vmx_rule_words(&e, vmx_rule(way.row)), way.words);
}

static void
broken(size_t which)
{
	struct spoil_way way = vmcs_spoil_way(which);
	const struct entry_rule *r = vmx_rule(way.row);
	struct vmx_cpu cpu = cpu_for(way.words);
	unsigned named = 0, alone = 0;
	uint64_t seed = 20261129 + which;

	for (unsigned n = 0; n < SEEDS; n++) {
		struct vmcs_image m = good();

		vmcs_spoil_rule(&m, &cpu, which, &seed);
		named += is_named(&m, &cpu, way);
		alone += rule_from(&m, &cpu, way.row + 1) == ~0ul;
	}
	ok(named == SEEDS, "%zu: %s, %s: named each time", which, r->field, way.words);
	ok(alone == SEEDS || breaks_others(way.words), "... and no other rule is");
	if (named < SEEDS || alone < SEEDS)
		diag("named %u, alone %u of %u", named, alone, SEEDS);
	ok(!strncmp(r->section, "SDM 3C 27.", 10) && strchr(r->section, '"'),
	   "... with its section");
}

static bool
taken(const struct vmcs_image *m)
{
	return rule_from(m, &plain, 0) == ~0ul;
}

/* What the modes set up is legal, so that each row breaks what it says. */
static void
modes(void)
{
	static void (*const all[])(struct vmcs_image *) = {
		mode_flat,
		mode_paged,
		mode_pae,
		mode_long,
		mode_restricted,
		mode_conforming,
		mode_ring3,
		mode_data_code,
		mode_v86,
		mode_ldtr,
		mode_sti,
		with_interrupt_if,
		with_nmi,
		with_ud,
		with_gp,
		with_int80,
		with_io_bitmaps,
		with_tpr_shadow,
		with_virtual_interrupts,
		with_apic_page,
	};
	unsigned wrong = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct vmcs_image m = good();

		all[i](&m);
		if (!taken(&m)) {
			wrong++;
			diag("mode %zu breaks rule %zu", i, rule_from(&m, &plain, 0));
		}
	}
	is_u64(wrong, 0, "guests in all modes are taken");
}

/* Values at the edges that no rule forbids. */
static void
legal(void)
{
	struct vmcs_image m = good();

	*image_field(&m, GUEST_CR0) = CR0_NE | CR0_NW | CR0_CD;
	*image_field(&m, GUEST_CR3) = (1ul << 40) - 1;
	*image_field(&m, GUEST_DR7) = 0xffffffff;
	*image_field(&m, GUEST_RFLAGS) = 0x3d7fd7 & ~(uint64_t)FLAG_TF;
	*image_field(&m, MSR_BITMAP) = (1ul << 40) - 0x1000;
	*image_field(&m, EXIT_MSR_LOAD) = (1ul << 40) - 0x60;
	ok(taken(&m), "the last values that are legal are taken, in real mode");
	mode_v86(&m);
	ok(taken(&m), "virtual-8086 mode is taken");
	*image_field(&m, SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_SS)) = RIGHTS_UNUSABLE;
	ok(!taken(&m), "but not with an unusable SS");
	m = good();
	for (unsigned n = 0; n < SEG_COUNT; n++)
		if (n != SEG_CS)
			*image_field(&m, SEGMENT_FIELD(GUEST_ES_RIGHTS, n)) = RIGHTS_UNUSABLE;
	ok(taken(&m), "unusable segments are, elsewhere");
	mode_restricted(&m);
	*image_field(&m, GUEST_CR0) &= ~(uint64_t)CR0_PG;
	ok(rule_from(&m, &plain, 0) != ~0ul, "no paging needs an unrestricted guest");
	m = good();
	*image_field(&m, ENTRY_EVENT) = 0x7fffffff;
	ok(taken(&m), "an event that is not valid is not looked at");
	*image_field(&m, EXIT_MSR_STORE_COUNT) = 0;
	*image_field(&m, EXIT_MSR_STORE) = 3;
	ok(taken(&m), "an empty list of MSRs may lie anywhere");
	*image_field(&m, GUEST_ACTIVITY) = 1;
	ok(taken(&m), "a halted guest is taken");
}

/* All types and vectors of events, against the manual's table written out once more. */
static void
events(void)
{
	static const uint8_t with_error[] = { 8, 10, 11, 12, 13, 14, 17 };
	unsigned wrong = 0;

	for (unsigned n = 0; n < 1u << 12; n++) {
		unsigned vector = n & 255, type = n >> 8 & 7, error = n >> 11;
		bool needs = type == 3 && memchr(with_error, (int)vector, sizeof(with_error));
		bool right = type != 1 && needs == error && !(type == 2 && vector != 2) &&
			     !(type == 3 && vector > 31) && !(type == 7 && vector);
		struct vmcs_image m = good();

		*image_field(&m, ENTRY_EVENT_LENGTH) = 1;
		*image_field(&m, GUEST_RFLAGS) |= FLAG_IF;
		*image_field(&m, ENTRY_EVENT) = VMX_EVENT_VALID | n;
		wrong += right != taken(&m);
	}
	is_u64(wrong, 0, "all 4,096 types and vectors of events, with an error code and without");
}

/* Whatever is in it: no endless list. */
static void
anything(void)
{
	uint64_t seed = 7;
	unsigned refused = 0, most = 0;

	for (unsigned n = 0; n < 20 * SEEDS; n++) {
		struct vmcs_image m = good();
		unsigned count = 0;

		for (unsigned i = 0; i < n % 8; i++)
			vmcs_spoil_bits(&m, &seed);
		for (size_t r = rule_from(&m, &plain, 0); r != ~0ul;
		     r = rule_from(&m, &plain, r + 1))
			count++;
		refused += count > 0;
		most = count > most ? count : most;
	}
	ok(refused > SEEDS && refused < 20 * SEEDS && most > 3 && most < vmcs_spoil_count,
	   "any bits: %u of %u refused, for up to %u rules", refused, 20 * SEEDS, most);
}

int
main(void)
{
	size_t count = 0, own = 0;

	modes();
	legal();
	for (; vmx_rule(count); count++)
		own += !vmx_rule(count)->words;
	is_u64(own, VMX_OWN_RULES, "rows that are asked of exercise 4.7");
	ok(count >= 110 && vmcs_spoil_way(vmcs_spoil_count - 1).row == count - 1,
	   "%zu rules, each with a way to break it", count);
	for (size_t i = 0; i < vmcs_spoil_count; i++)
		broken(i);
	events();
	anything();
	return done_testing();
}
