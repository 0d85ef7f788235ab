/*
 * The VMCS in words, for K> and for GDB.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023: 3D appendix B
 * "Field Encoding in VMCS".
 */
#include <vmm/domain.h>
#include <vmm/vmx/vmx.h>
#include <vmm/words/monitor.h>

/* How wide a field is its number says (SDM 3C table 25-21). */
static const struct field {
	char name[24];
	enum vmcs_field at;
} fields[] = {
#define SEGMENT(reg, n)                                             \
	{ reg "_selector", SEGMENT_FIELD(GUEST_ES, n) },            \
		{ reg "_base", SEGMENT_FIELD(GUEST_ES_BASE, n) },   \
		{ reg "_limit", SEGMENT_FIELD(GUEST_ES_LIMIT, n) }, \
	{                                                           \
		reg "_rights", SEGMENT_FIELD(GUEST_ES_RIGHTS, n)    \
	}
	{ "exit_reason", EXIT_REASON },
	{ "exit_qualification", EXIT_QUALIFICATION },
	{ "exit_length", EXIT_INSTRUCTION_LENGTH },
	{ "exit_info", EXIT_INSTRUCTION_INFO },
	{ "exit_event", EXIT_EVENT },
	{ "exit_event_error", EXIT_EVENT_ERROR },
	{ "guest_physical", GUEST_PHYSICAL_ADDRESS },
	{ "vectoring_event", VECTORING_EVENT },
	{ "vectoring_error", VECTORING_EVENT_ERROR },
	{ "instruction_error", INSTRUCTION_ERROR },
	{ "pin_controls", PIN_CONTROLS },
	{ "primary_controls", PRIMARY_CONTROLS },
	{ "secondary_controls", SECONDARY_CONTROLS },
	{ "exit_controls", EXIT_CONTROLS },
	{ "entry_controls", ENTRY_CONTROLS },
	{ "entry_event", ENTRY_EVENT },
	{ "entry_event_error", ENTRY_EVENT_ERROR },
	{ "entry_event_length", ENTRY_EVENT_LENGTH },
	{ "entry_msr_count", ENTRY_MSR_LOAD_COUNT },
	{ "exception_bitmap", EXCEPTION_BITMAP },
	{ "ept_pointer", EPT_POINTER },
	{ "msr_bitmap", MSR_BITMAP },
	{ "tsc_offset", TSC_OFFSET },
	{ "preemption_timer", PREEMPTION_TIMER },
	{ "cr0_mask", CR0_MASK },
	{ "cr0_shadow", CR0_SHADOW },
	{ "cr4_mask", CR4_MASK },
	{ "cr4_shadow", CR4_SHADOW },
	{ "cr0", GUEST_CR0 },
	{ "cr3", GUEST_CR3 },
	{ "cr4", GUEST_CR4 },
	{ "efer", GUEST_EFER },
	{ "pat", GUEST_PAT },
	{ "dr7", GUEST_DR7 },
	{ "rip", GUEST_RIP },
	{ "rsp", GUEST_RSP },
	{ "rflags", GUEST_RFLAGS },
	{ "interruptibility", GUEST_INTERRUPTIBILITY },
	{ "activity", GUEST_ACTIVITY },
	{ "pending_debug", GUEST_PENDING_DEBUG },
	SEGMENT("es", 0),
	SEGMENT("cs", 1),
	SEGMENT("ss", 2),
	SEGMENT("ds", 3),
	SEGMENT("fs", 4),
	SEGMENT("gs", 5),
	SEGMENT("ldtr", SEGMENT_LDTR),
	SEGMENT("tr", SEGMENT_TR),
	{ "gdtr_base", GUEST_GDTR_BASE },
	{ "gdtr_limit", GUEST_GDTR_LIMIT },
	{ "idtr_base", GUEST_IDTR_BASE },
	{ "idtr_limit", GUEST_IDTR_LIMIT },
	{ "sysenter_cs", GUEST_SYSENTER_CS },
	{ "sysenter_esp", GUEST_SYSENTER_ESP },
	{ "sysenter_eip", GUEST_SYSENTER_EIP },
	{ "host_rip", HOST_RIP },
	{ "host_cr3", HOST_CR3 },
#undef SEGMENT
};
_Static_assert(ARRAY_LEN(fields) <= VMX_SHOWN, "struct vmx keeps one value of each");

/* In the order of their numbers: SDM 3D appendix C "VMX Basic Exit Reasons". */
static const char reasons[] =
	"exception or NMI|external interrupt|triple fault|INIT signal|start-up IPI|"
	"I/O SMI|other SMI|interrupt window|NMI window|task switch|CPUID|GETSEC|HLT|"
	"INVD|INVLPG|RDPMC|RDTSC|RSM|VMCALL|VMCLEAR|VMLAUNCH|VMPTRLD|VMPTRST|VMREAD|"
	"VMRESUME|VMWRITE|VMXOFF|VMXON|control register|MOV DR|I/O instruction|RDMSR|"
	"WRMSR|invalid guest state|MSR loading||MWAIT|monitor trap flag||MONITOR|"
	"PAUSE|machine check||TPR below threshold|APIC access|virtualized EOI|"
	"GDTR or IDTR|LDTR or TR|EPT violation|EPT misconfiguration|INVEPT|RDTSCP|"
	"preemption timer|INVVPID|WBINVD|XSETBV|APIC write|RDRAND|INVPCID|VMFUNC|"
	"ENCLS|RDSEED|page-modification log|XSAVES|XRSTORS|PCONFIG|"
	"sub-page permission|UMWAIT|TPAUSE|LOADIWKEY|ENCLV||ENQCMD|ENQCMDS|bus lock|"
	"instruction timeout|SEAMCALL|TDCALL";

static void
reason_words(uint64_t reason)
{
	const char *name = reasons;
	int len;

	for (unsigned n = VMX_REASON_BASIC(reason); n && *name; name++)
		n -= *name == '|';
	for (len = 0; name[len] && name[len] != '|';)
		len++;
	if (len)
		printf("  %s%.*s", reason & VMX_ENTRY_FAILED ? "no entry: " : "", len, name);
}

/* SDM 3C tables 25-15, 25-17, 25-18. */
static void
event_words(uint64_t event)
{
	static const char *const types[8] = {
		[VMX_EVENT_INTERRUPT] = "interrupt",
		[VMX_EVENT_NMI] = "NMI",
		[VMX_EVENT_EXCEPTION] = "exception",
		[VMX_EVENT_SOFTWARE] = "software interrupt",
		[VMX_EVENT_INT1] = "int1",
		[VMX_EVENT_SOFTWARE_EXCEPTION] = "software exception",
		[VMX_EVENT_OTHER] = "other event",
	};
	const char *type = types[VMX_EVENT_TYPE(event)];

	if (event & VMX_EVENT_VALID)
		printf("  %s %lu", type ? type : "?", event & 0xff);
}

/* Before an entry, while a debugger has the guest: what the exit will have changed. */
void
vmx_show_entry(struct vmx *x)
{
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
		x->before[i] = vmcs_peek(fields[i].at);
}

static void
show_field(unsigned n, const uint64_t *before)
{
	static const int digits[4] = { 4, 16, 8, 16 };
	enum vmcs_field at = fields[n].at;
	uint64_t value = vmcs_peek(at), was = before ? before[n] : value;

	printf("%c %-20s %0*lx", value == was ? ' ' : '*', fields[n].name, digits[at >> 13 & 3],
	       value);
	if (value != was)
		printf("  was %lx", was);
	if (at == EXIT_REASON)
		reason_words(value);
	if (at == ENTRY_EVENT || at == EXIT_EVENT || at == VECTORING_EVENT)
		event_words(value);
	printf("\n");
}

/* Of the current VMCS. `before`: as it was, or NULL. */
static int
show_fields(const uint64_t *before, const char *wish)
{
	bool any = false;

	for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
		if (!strncmp(fields[i].name, wish, strlen(wish))) {
			show_field(i, before);
			any = true;
		}
	if (!any)
		printf("Zeno shows no field %s of a VMCS; vmcs shows all\n", wish);
	return 0;
}

int
vmx_show_vmcs(const char *wish)
{
	return show_fields(NULL, wish);
}

/* All, or those whose name begins so. */
static int
vmcs(int argc, char **argv)
{
	bool named = argc > 1 && (argv[1][0] < '0' || argv[1][0] > '9');
	struct vcpu *v = monitor_vcpu(argc - named, argv + named);

	if (!v)
		return MONITOR_SAID;
	if (strcmp(v->engine->name, "vmx")) {
		printf("d%u has no VMCS: its engine is %s\n", v->domain->id, v->engine->name);
		return 0;
	}
	if (!v->debugged)
		printf("no debugger has d%u: what the last exit changed is not known\n",
		       v->domain->id);
	v->engine->load(v); /* VMREAD knows the current one alone */
	return show_fields(v->debugged ? vmx_of(v)->before : NULL, named ? argv[1] : "");
}
MONITOR_COMMAND(vmcs, "vmcs", "[FIELD] [ID]",
		"what the CPU has of a guest of vmx; *: changed by the last exit");
