/*
 * Breaks a VMCS, by rule or by chance. Pure: the unit test and the trial on the CPU share it.
 */
#include <trials/vmx/broken/spoil.h>
#include <trials/vmx/modes.h>
#include <vmm/x86/state.h>

/* How a field is broken; `mask` says where. */
enum how {
	KEEP,    /* the mode breaks it */
	ONE,     /* one of these bits is set ... */
	ONE_HAD, /* ... that the CPU has among its secondary controls */
	NONE,    /* one of them is cleared */
	ALL,     /* all are set ... */
	CLEAR,   /* ... or cleared */
	FLIP,    /* one is turned over */
	VALUE,   /* this value */
	BEYOND,  /* a bit that no physical address has */
	NO_PAGE, /* such a bit, or one of the mask's */
	PAT,     /* a byte is no memory type */
	MUST,    /* a control is 0 that must be 1; the mask is where struct vmx_cpu has it ... */
	MAY,     /* ... or 1 that can't be */
	MORE,    /* more CR3 targets than there are */
	LENGTH,  /* an instruction of more than 15 bytes */
	NO_TYPE, /* of an event */
	TYPE_OF, /* one of these types of a segment */
};

struct spoil {
	enum vmcs_field field;
	enum how how;
	uint64_t mask;
	void (*mode)(struct vmcs_image *m); /* NULL: mode_flat */
	const char *words; /* of exercise 4.7, whose rows can be broken in many ways */
};

#define LOW         0xfffful
#define HIGH        (~0ul << 32)
#define CANONICAL   (~0ul << 47)
#define EFER_OTHERS (~(uint64_t)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
#define CPU(member) offsetof(struct vmx_cpu, member)
#define SEL(n)      SEGMENT_FIELD(GUEST_ES, n)
#define BASE(n)     SEGMENT_FIELD(GUEST_ES_BASE, n)
#define LIMIT(n)    SEGMENT_FIELD(GUEST_ES_LIMIT, n)
#define RIGHTS(n)   SEGMENT_FIELD(GUEST_ES_RIGHTS, n)

#define CANONICAL_SAID "must be canonical"
#define FIXED          "bits that VMX operation fixes"

#define IN_V86(n)                                                                                \
	{ BASE(n), FLIP, 0xfffff, mode_v86, NULL }, { LIMIT(n), FLIP, 0xfffff, mode_v86, NULL }, \
	{                                                                                        \
		RIGHTS(n), FLIP, 0x1f0ff, mode_v86, NULL                                         \
	}
#define EVERY(n, granularity, mode)                                                             \
	{ RIGHTS(n), CLEAR, RIGHTS_P, mode, NULL }, { RIGHTS(n), ONE, 0xfffe0f00, mode, NULL }, \
	{                                                                                       \
		RIGHTS(n), granularity, RIGHTS_G, mode, NULL                                    \
	}
#define DATA(n)                                                                         \
	{ RIGHTS(n), TYPE_OF, 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 9, NULL, NULL }, \
		{ RIGHTS(n), CLEAR, RIGHTS_S, NULL, NULL },                             \
		{ SEL(n), ALL, 3, mode_restricted, NULL }, EVERY(n, CLEAR, NULL)

/* In the order of the rules: rules_controls.c, _host.c, _guest.c, _segments.c. */
static const struct spoil spoils[] = {
	{ PIN_CONTROLS, MUST, CPU(pin), NULL, NULL },
	{ PIN_CONTROLS, MAY, CPU(pin), NULL, NULL },
	{ PRIMARY_CONTROLS, MUST, CPU(primary), NULL, NULL },
	{ PRIMARY_CONTROLS, MAY, CPU(primary), NULL, NULL },
	{ SECONDARY_CONTROLS, MUST, CPU(secondary), NULL, NULL },
	{ SECONDARY_CONTROLS, MAY, CPU(secondary), NULL, NULL },
	{ CR3_TARGET_COUNT, MORE, 0, NULL, NULL },
	{ IO_BITMAP_A, NO_PAGE, 0xfff, with_io_bitmaps, NULL },
	{ IO_BITMAP_B, NO_PAGE, 0xfff, with_io_bitmaps, NULL },
	{ MSR_BITMAP, NO_PAGE, 0xfff, NULL, NULL },
	{ VIRTUAL_APIC, NO_PAGE, 0xfff, with_tpr_shadow, NULL },
	{ TPR_THRESHOLD, ONE, 0xfffffff0, with_tpr_shadow, NULL },
	{ SECONDARY_CONTROLS, ONE_HAD,
	  SECONDARY_X2APIC | SECONDARY_APIC_REGISTERS | SECONDARY_VIRTUAL_INTERRUPTS, NULL, NULL },
	{ PIN_CONTROLS, CLEAR, PIN_NMI, NULL, NULL },
	{ PIN_CONTROLS, CLEAR, PIN_VIRTUAL_NMIS, with_nmi_window, NULL },
	{ APIC_ACCESS, NO_PAGE, 0xfff, with_apic_page, NULL },
	{ SECONDARY_CONTROLS, ALL, SECONDARY_X2APIC | SECONDARY_APIC_ACCESSES, with_tpr_shadow,
	  NULL },
	{ PIN_CONTROLS, CLEAR, PIN_EXTERNAL_INTERRUPT, with_virtual_interrupts, NULL },
	{ VPID, VALUE, 0, with_vpid, NULL },
	{ EPT_POINTER, FLIP, 7, NULL, NULL },
	{ EPT_POINTER, FLIP, 7 << 3, NULL, NULL },
	{ EPT_POINTER, ALL, 1 << 6, NULL, NULL },
	{ EPT_POINTER, NO_PAGE, 0xf80, NULL, NULL },
	{ SECONDARY_CONTROLS, CLEAR, SECONDARY_EPT, NULL, NULL },
	{ EXIT_CONTROLS, MUST, CPU(exit), NULL, NULL },
	{ EXIT_CONTROLS, MAY, CPU(exit), NULL, NULL },
	{ EXIT_CONTROLS, ALL, EXIT_SAVE_TIMER, with_no_timer, NULL },
	{ EXIT_MSR_STORE, NO_PAGE, 0xf, NULL, NULL },
	{ EXIT_MSR_LOAD, NO_PAGE, 0xf, NULL, NULL },
	{ ENTRY_CONTROLS, MUST, CPU(entry), NULL, NULL },
	{ ENTRY_CONTROLS, MAY, CPU(entry), NULL, NULL },
	{ ENTRY_EVENT, NO_TYPE, 0, NULL, "bits 10:8 are no type of an event" },
	{ ENTRY_EVENT, FLIP, 0xe0, with_nmi, "the vector is none of its type's" },
	{ ENTRY_EVENT, ALL, VMX_EVENT_HAS_ERROR, with_ud, "this event has no error code" },
	{ ENTRY_EVENT, CLEAR, VMX_EVENT_HAS_ERROR, with_gp,
	  "this exception must have an error code" },
	{ ENTRY_EVENT, ONE, 0x7ffff000, with_ud, "bits 30:12 must be 0" },
	{ ENTRY_EVENT_ERROR, ONE, 0xffff0000, with_gp, NULL },
	{ ENTRY_EVENT_LENGTH, LENGTH, 0, with_int80, NULL },
	{ ENTRY_MSR_LOAD, NO_PAGE, 0xf, NULL, NULL },
	{ ENTRY_CONTROLS, ONE, ENTRY_TO_SMM | ENTRY_END_DUAL_MONITOR, NULL, NULL },

	{ HOST_CR0, NONE, CR0_PE | CR0_NE | CR0_PG, NULL, NULL },
	{ HOST_CR4, NONE, CR4_VMXE, NULL, NULL },
	{ HOST_CR3, BEYOND, 0, NULL, NULL },
	{ HOST_SYSENTER_ESP, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ HOST_SYSENTER_EIP, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ HOST_PAT, PAT, 0, NULL, NULL },
	{ HOST_EFER, ONE, EFER_OTHERS, NULL, NULL },
	{ HOST_EFER, NONE, EFER_LME | EFER_LMA, NULL, NULL },
	{ HOST_ES_SELECTOR, ONE, 7, NULL, NULL },
	{ HOST_CS_SELECTOR, ONE, 7, NULL, NULL },
	{ HOST_SS_SELECTOR, ONE, 7, NULL, NULL },
	{ HOST_DS_SELECTOR, ONE, 7, NULL, NULL },
	{ HOST_FS_SELECTOR, ONE, 7, NULL, NULL },
	{ HOST_GS_SELECTOR, ONE, 7, NULL, NULL },
	{ HOST_TR_SELECTOR, ONE, 7, NULL, NULL },
	{ HOST_CS_SELECTOR, VALUE, 0, NULL, NULL },
	{ HOST_TR_SELECTOR, VALUE, 0, NULL, NULL },
	{ HOST_SS_SELECTOR, VALUE, 0, mode_short_host, NULL },
	{ HOST_FS_BASE, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ HOST_GS_BASE, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ HOST_TR_BASE, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ HOST_GDTR_BASE, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ HOST_IDTR_BASE, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ EXIT_CONTROLS, KEEP, 0, mode_short_host, NULL },
	{ ENTRY_CONTROLS, ALL, ENTRY_IA32E, mode_short_host, NULL },
	{ HOST_CR4, CLEAR, CR4_PAE, NULL, NULL },
	{ HOST_CR4, ALL, CR4_PCIDE, mode_short_host, NULL },
	{ HOST_RIP, ONE, 0x7ffful << 32, mode_short_host, NULL },
	{ HOST_RIP, FLIP, CANONICAL, NULL, CANONICAL_SAID },

	{ GUEST_CR0, CLEAR, CR0_NE, NULL, FIXED },
	{ GUEST_CR0, CLEAR, CR0_PE, mode_paged, "PG=1 needs PE=1" },
	{ GUEST_CR0, CLEAR, CR0_PG, mode_long, "\"IA-32e mode guest\" needs PG=1" },
	{ GUEST_CR4, CLEAR, CR4_VMXE, NULL, FIXED },
	{ GUEST_CR4, CLEAR, CR4_PAE, mode_long, "\"IA-32e mode guest\" needs PAE=1" },
	{ GUEST_CR4, ALL, CR4_PCIDE, NULL, "PCIDE=1 needs \"IA-32e mode guest\"" },
	{ GUEST_DEBUGCTL, ONE, ~0xffc3ul, NULL, NULL },
	{ GUEST_CR3, BEYOND, 0, NULL, NULL },
	{ GUEST_DR7, ONE, HIGH, NULL, NULL },
	{ GUEST_SYSENTER_ESP, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ GUEST_SYSENTER_EIP, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ GUEST_PAT, PAT, 0, NULL, NULL },
	{ GUEST_EFER, ONE, EFER_OTHERS, NULL, NULL },
	{ GUEST_EFER, ALL, EFER_LMA, NULL, NULL },
	{ GUEST_EFER, ALL, EFER_LME, mode_paged, NULL },
	{ GUEST_GDTR_BASE, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ GUEST_IDTR_BASE, FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ GUEST_GDTR_LIMIT, ONE, 0xffff0000, NULL, NULL },
	{ GUEST_IDTR_LIMIT, ONE, 0xffff0000, NULL, NULL },
	{ GUEST_RIP, ONE, HIGH, NULL, "bits 63:32 must be 0 outside of 64-bit code" },
	{ GUEST_RIP, FLIP, ~0ul << 48, mode_long, "bits beyond a linear address must be equal" },
	{ GUEST_RFLAGS, FLIP, (~0ul << 22) | 1 << 15 | 1 << 5 | 1 << 3 | FLAG_ONE, NULL,
	  "bit 1 must be 1, bits 63:22, 15, 5 and 3 must be 0" },
	{ GUEST_RFLAGS, ALL, FLAG_VM, mode_long,
	  "VM=1 needs CR0.PE=1, and no \"IA-32e mode guest\"" },
	{ GUEST_RFLAGS, CLEAR, FLAG_IF, with_interrupt,
	  "IF must be 1 where an interrupt is injected" },
	{ GUEST_ACTIVITY, ONE, 0xfffffffc, NULL, NULL },
	{ GUEST_ACTIVITY, KEEP, 0, with_halt_ring3, NULL },
	{ GUEST_ACTIVITY, VALUE, ACTIVITY_HALTED, mode_sti, NULL },
	{ GUEST_ACTIVITY, VALUE, ACTIVITY_HALTED, with_ud, NULL },
	{ GUEST_INTERRUPTIBILITY, ONE, 0xfffffff0, NULL, NULL },
	{ GUEST_INTERRUPTIBILITY, ALL, SHADOW_MOV_SS, mode_sti, NULL },
	{ GUEST_RFLAGS, CLEAR, FLAG_IF, mode_sti, NULL },
	{ GUEST_INTERRUPTIBILITY, ONE, SHADOW_STI | SHADOW_MOV_SS, with_interrupt_if, NULL },
	{ GUEST_INTERRUPTIBILITY, VALUE, SHADOW_MOV_SS, with_nmi, NULL },
	{ GUEST_INTERRUPTIBILITY, VALUE, SHADOW_SMI, NULL, NULL },
	{ GUEST_INTERRUPTIBILITY, VALUE, SHADOW_NMI, with_nmi, NULL },
	{ GUEST_PENDING_DEBUG, ONE, ~0x500ful, NULL, NULL },
	{ GUEST_PENDING_DEBUG, KEEP, 0, mode_step, NULL },
	{ LINK_POINTER, NONE, 0xfff, NULL, NULL },
	{ SEGMENT_FIELD(GUEST_PDPTE, 0), ONE, 0x1e6, mode_pae, NULL },
	{ SEGMENT_FIELD(GUEST_PDPTE, 1), ONE, 0x1e6, mode_pae, NULL },
	{ SEGMENT_FIELD(GUEST_PDPTE, 2), ONE, 0x1e6, mode_pae, NULL },
	{ SEGMENT_FIELD(GUEST_PDPTE, 3), ONE, 0x1e6, mode_pae, NULL },

	{ SEL(SEGMENT_TR), ALL, 4, NULL, NULL },
	{ SEL(SEGMENT_LDTR), ALL, 4, mode_ldtr, NULL },
	{ SEL(SEG_SS), ONE, 3, mode_restricted, NULL },
	IN_V86(SEG_CS),
	IN_V86(SEG_SS),
	IN_V86(SEG_DS),
	IN_V86(SEG_ES),
	IN_V86(SEG_FS),
	IN_V86(SEG_GS),
	{ BASE(SEGMENT_TR), FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ BASE(SEG_FS), FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ BASE(SEG_GS), FLIP, CANONICAL, NULL, CANONICAL_SAID },
	{ BASE(SEGMENT_LDTR), FLIP, CANONICAL, mode_ldtr, CANONICAL_SAID },
	{ BASE(SEG_CS), ONE, HIGH, NULL, NULL },
	{ BASE(SEG_SS), ONE, HIGH, NULL, NULL },
	{ BASE(SEG_DS), ONE, HIGH, NULL, NULL },
	{ BASE(SEG_ES), ONE, HIGH, NULL, NULL },
	{ RIGHTS(SEG_CS), TYPE_OF, 0x55f7, NULL,
	  "type 9, 11, 13 or 15, and 3 for an unrestricted guest" },
	{ RIGHTS(SEG_CS), ONE, 3 << 5, NULL, "DPL as SS has it; conforming: no more; type 3: 0" },
	{ RIGHTS(SEG_CS), ALL, RIGHTS_L | RIGHTS_DB, mode_long,
	  "in long mode L and D can't both be 1" },
	{ RIGHTS(SEG_CS), CLEAR, RIGHTS_S, NULL, NULL },
	EVERY(SEG_CS, CLEAR, NULL),
	{ RIGHTS(SEG_SS), TYPE_OF, 0xff77, NULL, "type 3 or 7" },
	{ RIGHTS(SEG_SS), ONE, 3 << 5, mode_conforming, "DPL must be the selector's RPL" },
	{ RIGHTS(SEG_SS), ONE, 3 << 5, mode_data_code, "DPL 0 where CS has type 3 or CR0.PE is 0" },
	{ RIGHTS(SEG_SS), CLEAR, RIGHTS_S, NULL, NULL },
	EVERY(SEG_SS, CLEAR, NULL),
	DATA(SEG_DS),
	DATA(SEG_ES),
	DATA(SEG_FS),
	DATA(SEG_GS),
	{ RIGHTS(SEGMENT_TR), TYPE_OF, 0xf7f7, NULL, NULL },
	{ RIGHTS(SEGMENT_TR), ALL, RIGHTS_S, NULL, NULL },
	{ RIGHTS(SEGMENT_TR), ALL, RIGHTS_UNUSABLE, NULL, NULL },
	EVERY(SEGMENT_TR, ALL, NULL),
	{ RIGHTS(SEGMENT_LDTR), TYPE_OF, 0xfffb, mode_ldtr, NULL },
	{ RIGHTS(SEGMENT_LDTR), ALL, RIGHTS_S, mode_ldtr, NULL },
	EVERY(SEGMENT_LDTR, ALL, mode_ldtr),
};
const size_t vmcs_spoil_count = sizeof(spoils) / sizeof(spoils[0]);

struct spoil_way
vmcs_spoil_way(size_t which)
{
	const char *words = spoils[which].words;
	size_t row = 0;

	for (size_t i = 1; i <= which; i++)
		row += !spoils[i].words || !spoils[i - 1].words ||
		       spoils[i].field != spoils[i - 1].field;
	return (struct spoil_way){ row, words ? words : vmx_rule(row)->words };
}

static unsigned
pick(uint64_t *seed, unsigned below)
{
	*seed = *seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)((*seed >> 33) % below);
}

/* A bit of the mask; 0 where it has none. */
static uint64_t
one_of(uint64_t mask, uint64_t *seed)
{
	unsigned n = pick(seed, 64);

	while (mask && !(mask & 1ul << n))
		n = (n + 1) % 64;
	return mask & 1ul << n;
}

static uint64_t
no_event(const struct vmx_cpu *cpu, uint64_t *seed)
{
	bool has_other = cpu->primary.may & PRIMARY_MONITOR_TRAP;
	unsigned type = has_other || pick(seed, 2) ? 1 : VMX_EVENT_OTHER;

	return VMX_EVENT_VALID | type << 8 | pick(seed, 256);
}

static uint64_t
no_memory_type(uint64_t pat, uint64_t *seed)
{
	static const uint8_t none[] = { 2, 3, 8, 0x86 };
	unsigned byte = 8 * pick(seed, 8);

	return (pat & ~(0xfful << byte)) | (uint64_t)none[pick(seed, 4)] << byte;
}

/* The bits of a field's width; SDM 3D appendix B. */
static uint64_t
wide(uint32_t encoding)
{
	static const uint64_t bits[] = { LOW, ~0ul, 0xffffffff, ~0ul };

	return bits[encoding >> 13 & 3];
}

static const struct vmx_allowed *
allowed_at(const struct vmx_cpu *cpu, size_t at)
{
	return (const void *)((const char *)cpu + at);
}

static uint64_t
spoiled(const struct spoil *s, uint64_t old, const struct vmx_cpu *cpu, uint64_t *seed)
{
	uint64_t beyond = ~0ul << cpu->phys_bits;

	switch (s->how) {
	case ONE:
		return old | one_of(s->mask & ~old & wide(s->field), seed);
	case ONE_HAD:
		return old | one_of(s->mask & cpu->secondary.may, seed);
	case NONE:
		return old & ~one_of(s->mask & old, seed);
	case ALL:
		return old | s->mask;
	case CLEAR:
		return old & ~s->mask;
	case FLIP:
		return old ^ one_of(s->mask, seed);
	case VALUE:
		return s->mask;
	case BEYOND:
		return old | one_of(beyond, seed);
	case NO_PAGE:
		return old | one_of(pick(seed, 2) ? s->mask : beyond, seed);
	case PAT:
		return no_memory_type(old, seed);
	case MUST:
		return old & ~one_of(allowed_at(cpu, s->mask)->must, seed);
	case MAY:
		return old | one_of(~allowed_at(cpu, s->mask)->may & 0xfffffffful, seed);
	case MORE:
		return (cpu->misc >> 16 & 0x1ff) + 1 + pick(seed, 1000);
	case LENGTH:
		return 16 + pick(seed, 1000);
	case NO_TYPE:
		return no_event(cpu, seed);
	case TYPE_OF:
		return (old & ~15ul) | (unsigned)__builtin_ctzl(one_of(s->mask, seed));
	case KEEP:
		break;
	}
	return old;
}

void
vmcs_spoil_rule(struct vmcs_image *image, const struct vmx_cpu *cpu, size_t which, uint64_t *seed)
{
	const struct spoil *s = &spoils[which];
	uint64_t *field = image_field(image, s->field);

	(s->mode ? s->mode : mode_flat)(image);
	*field = spoiled(s, *field, cpu, seed);
}

/*
 * Fields and bits that do no harm where the CPU takes them: not what it does with the host's
 * registers, interrupts and memory.
 */
static const struct {
	const char *name;
	enum vmcs_field field;
	uint64_t mask;
} fields[] = {
	{ "pin-based controls", PIN_CONTROLS, 0xffffff7e },
	{ "primary controls", PRIMARY_CONTROLS, 0x7fffffff },
	{ "secondary controls", SECONDARY_CONTROLS, 0x1ffd },
	{ "VM-exit controls", EXIT_CONTROLS, ~(uint64_t)EXIT_LOAD_EFER & 0xffffffff },
	{ "VM-entry controls", ENTRY_CONTROLS, 0xffffffff },
	{ "CR3-target count", CR3_TARGET_COUNT, 0xf },
	{ "MSR bitmap", MSR_BITMAP, ~0ul },
	{ "EPT pointer", EPT_POINTER, 0xfff },
	{ "VM-entry interruption information", ENTRY_EVENT, VMX_EVENT_VALID | 0xfff },
	{ "host IA32_SYSENTER_ESP", HOST_SYSENTER_ESP, ~0ul },
	{ "host FS base", HOST_FS_BASE, ~0ul },
	{ "host IA32_PAT", HOST_PAT, ~0ul },
	{ "host DS selector", HOST_DS_SELECTOR, 7 },
	{ "guest CR0", GUEST_CR0, ~0ul },
	{ "guest CR0", GUEST_CR0, 0xffffffff },
	{ "guest CR3", GUEST_CR3, ~0ul },
	{ "guest CR4", GUEST_CR4, ~0ul },
	{ "guest CR4", GUEST_CR4, 0x1ffffff },
	{ "guest IA32_EFER", GUEST_EFER, ~0ul },
	{ "guest IA32_EFER", GUEST_EFER, 0xffff },
	{ "guest IA32_PAT", GUEST_PAT, ~0ul },
	{ "guest IA32_DEBUGCTL", GUEST_DEBUGCTL, 0xffff },
	{ "guest DR7", GUEST_DR7, ~0ul },
	{ "guest RFLAGS", GUEST_RFLAGS, ~0ul },
	{ "guest RFLAGS", GUEST_RFLAGS, 0x3fffff },
	{ "guest RIP", GUEST_RIP, ~0ul },
	{ "guest GDTR base", GUEST_GDTR_BASE, ~0ul },
	{ "guest GDTR limit", GUEST_GDTR_LIMIT, 0xffffffff },
	{ "activity state", GUEST_ACTIVITY, 7 },
	{ "interruptibility state", GUEST_INTERRUPTIBILITY, 0x1f },
	{ "pending debug exceptions", GUEST_PENDING_DEBUG, 0x1ffff },
	{ "guest CS access rights", RIGHTS(SEG_CS), 0x1ffff },
	{ "guest SS access rights", RIGHTS(SEG_SS), 0x1ffff },
	{ "guest ES access rights", RIGHTS(SEG_ES), 0x1ffff },
	{ "guest GS access rights", RIGHTS(SEG_GS), 0x1ffff },
	{ "guest TR access rights", RIGHTS(SEGMENT_TR), 0x1ffff },
	{ "guest LDTR access rights", RIGHTS(SEGMENT_LDTR), 0x1ffff },
	{ "guest CS limit", LIMIT(SEG_CS), 0xffffffff },
	{ "guest CS base", BASE(SEG_CS), ~0ul },
	{ "guest FS base", BASE(SEG_FS), ~0ul },
	{ "guest TR selector", SEL(SEGMENT_TR), 0xffff },
};

struct spoiled
vmcs_spoil_bits(struct vmcs_image *image, uint64_t *seed)
{
	unsigned which = pick(seed, sizeof(fields) / sizeof(fields[0]));
	struct spoiled done = { fields[which].name, fields[which].field };

	for (unsigned n = 1 + pick(seed, 3); n; n--)
		*image_field(image, done.field) ^= one_of(fields[which].mask, seed);
	return done;
}
