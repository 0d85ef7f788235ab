/*
 * The VMCB in words, for K> and for GDB.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40: appendix B "VMCB Layout".
 */
#include <vmm/domain.h>
#include <vmm/svm/svm.h>
#include <vmm/words/monitor.h>

static const struct field {
	char name[20];
	uint16_t at;
	uint8_t size;
} fields[] = {
#define FIELD(name)                                                                  \
	{                                                                            \
#name, offsetof(struct vmcb, name), sizeof(((struct vmcb *)0)->name) \
	}
#define SEGMENT(reg) FIELD(reg.sel), FIELD(reg.attr), FIELD(reg.limit), FIELD(reg.base)
	FIELD(cr_reads),
	FIELD(cr_writes),
	FIELD(dr_reads),
	FIELD(dr_writes),
	FIELD(exceptions),
	FIELD(intercepts[0]),
	FIELD(intercepts[1]),
	FIELD(intercepts[2]),
	FIELD(pause_threshold),
	FIELD(pause_count),
	FIELD(iopm_base),
	FIELD(msrpm_base),
	FIELD(tsc_offset),
	FIELD(asid),
	FIELD(tlb_control),
	FIELD(vintr),
	FIELD(interrupt_shadow),
	FIELD(exitcode),
	FIELD(exitinfo1),
	FIELD(exitinfo2),
	FIELD(exitintinfo),
	FIELD(np_enable),
	FIELD(eventinj),
	FIELD(n_cr3),
	FIELD(lbr),
	FIELD(clean),
	FIELD(nrip),
	SEGMENT(es),
	SEGMENT(cs),
	SEGMENT(ss),
	SEGMENT(ds),
	SEGMENT(fs),
	SEGMENT(gs),
	FIELD(gdtr.limit),
	FIELD(gdtr.base),
	SEGMENT(ldtr),
	FIELD(idtr.limit),
	FIELD(idtr.base),
	SEGMENT(tr),
	FIELD(cpl),
	FIELD(efer),
	FIELD(cr4),
	FIELD(cr3),
	FIELD(cr0),
	FIELD(dr7),
	FIELD(dr6),
	FIELD(rflags),
	FIELD(rip),
	FIELD(rsp),
	FIELD(rax),
	FIELD(star),
	FIELD(lstar),
	FIELD(cstar),
	FIELD(sfmask),
	FIELD(kernel_gs_base),
	FIELD(sysenter_cs),
	FIELD(sysenter_esp),
	FIELD(sysenter_eip),
	FIELD(cr2),
	FIELD(pat),
#undef SEGMENT
#undef FIELD
};

static const char *const intercept_names[96] = {
	[SVM_INTR] = "INTR",
	[SVM_NMI] = "NMI",
	[SVM_SMI] = "SMI",
	[SVM_INIT] = "INIT",
	[SVM_VINTR] = "VINTR",
	[SVM_CR0_SEL_WRITE] = "CR0_SEL_WRITE",
	[SVM_IDTR_READ] = "IDTR_READ",
	[SVM_GDTR_READ] = "GDTR_READ",
	[SVM_LDTR_READ] = "LDTR_READ",
	[SVM_TR_READ] = "TR_READ",
	[SVM_IDTR_WRITE] = "IDTR_WRITE",
	[SVM_GDTR_WRITE] = "GDTR_WRITE",
	[SVM_LDTR_WRITE] = "LDTR_WRITE",
	[SVM_TR_WRITE] = "TR_WRITE",
	[SVM_RDTSC] = "RDTSC",
	[SVM_RDPMC] = "RDPMC",
	[SVM_PUSHF] = "PUSHF",
	[SVM_POPF] = "POPF",
	[SVM_CPUID] = "CPUID",
	[SVM_RSM] = "RSM",
	[SVM_IRET] = "IRET",
	[SVM_SWINT] = "SWINT",
	[SVM_INVD] = "INVD",
	[SVM_PAUSE] = "PAUSE",
	[SVM_HLT] = "HLT",
	[SVM_INVLPG] = "INVLPG",
	[SVM_INVLPGA] = "INVLPGA",
	[SVM_IOIO] = "IOIO",
	[SVM_MSR] = "MSR",
	[SVM_TASK_SWITCH] = "TASK_SWITCH",
	[SVM_FERR_FREEZE] = "FERR_FREEZE",
	[SVM_SHUTDOWN] = "SHUTDOWN",
	[SVM_VMRUN] = "VMRUN",
	[SVM_VMMCALL] = "VMMCALL",
	[SVM_VMLOAD] = "VMLOAD",
	[SVM_VMSAVE] = "VMSAVE",
	[SVM_STGI] = "STGI",
	[SVM_CLGI] = "CLGI",
	[SVM_SKINIT] = "SKINIT",
	[SVM_RDTSCP] = "RDTSCP",
	[SVM_ICEBP] = "ICEBP",
	[SVM_WBINVD] = "WBINVD",
	[SVM_MONITOR] = "MONITOR",
	[SVM_MWAIT] = "MWAIT",
	[SVM_MWAIT_ARMED] = "MWAIT_ARMED",
	[SVM_XSETBV] = "XSETBV",
	[SVM_RDPRU] = "RDPRU",
};

/* EVENTINJ and EXITINTINFO (APM 2 15.20). */
static void
event_words(uint64_t event)
{
	static const char *const types[8] = { "interrupt",          "?", "NMI", "exception",
					      "software interrupt", "?", "?",   "?" };

	if (!(event & SVM_EVENT_VALID))
		return;
	printf("  %s %lu", types[SVM_EVENT_TYPE(event)], event & 0xff);
	if (event & SVM_EVENT_HAS_ERROR)
		printf(", error code %lx", event >> 32);
}

static void
exit_words_of(uint32_t code)
{
	unsigned which = code - SVM_EXIT_FIRST;

	if (code == SVM_EXIT_INVALID)
		printf("  INVALID");
	else if (code == SVM_EXIT_NPF)
		printf("  NPF");
	else if (code < SVM_EXIT_DR_READ)
		printf("  %s of CR%u", code < SVM_EXIT_CR_WRITE ? "read" : "write", code & 15);
	else if (code < SVM_EXIT_EXCEPTION)
		printf("  %s of DR%u", code < SVM_EXIT_DR_WRITE ? "read" : "write", code & 15);
	else if (code < SVM_EXIT_FIRST)
		printf("  exception %u", code & 31);
	else if (which < ARRAY_LEN(intercept_names) && intercept_names[which])
		printf("  %s", intercept_names[which]);
}

static void
show_field(const struct vmcb *b, const uint8_t *before, const struct field *f)
{
	uint64_t value = 0, was;

	memcpy(&value, (const uint8_t *)b + f->at, f->size);
	was = value;
	if (before)
		memcpy(&was, before + f->at, f->size);
	printf("%c %-16s %0*lx", value == was ? ' ' : '*', f->name, f->size * 2, value);
	if (value != was)
		printf("  was %lx", was);
	if (f->at == offsetof(struct vmcb, exitcode))
		exit_words_of((uint32_t)value);
	if (f->at == offsetof(struct vmcb, eventinj) || f->at == offsetof(struct vmcb, exitintinfo))
		event_words(value);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned bit = 0; f->at == offsetof(struct vmcb, intercepts[i]) && bit < 32;
		     bit++)
			if (value >> bit & 1 && intercept_names[32 * i + bit])
				printf(" %s", intercept_names[32 * i + bit]);
	printf("\n");
}

/* `before`: as it was, or NULL. */
static int
show_fields(const struct vmcb *b, const uint8_t *before, const char *wish)
{
	bool any = false;

	for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
		if (!strncmp(fields[i].name, wish, strlen(wish))) {
			show_field(b, before, &fields[i]);
			any = true;
		}
	if (!any)
		printf("a VMCB has no field %s; vmcb shows all\n", wish);
	return 0;
}

int
svm_show_vmcb(const struct vmcb *b, const char *wish)
{
	return show_fields(b, NULL, wish);
}

/* All, or those whose name begins so. */
static int
vmcb(int argc, char **argv)
{
	bool named = argc > 1 && (argv[1][0] < '0' || argv[1][0] > '9');
	struct vcpu *v = monitor_vcpu(argc - named, argv + named);

	if (!v)
		return MONITOR_SAID;
	if (strcmp(v->engine->name, "svm")) {
		printf("d%u has no VMCB: its engine is %s\n", v->domain->id, v->engine->name);
		return 0;
	}
	if (!v->debugged)
		printf("no debugger has d%u: what the last exit changed is not known\n",
		       v->domain->id);
	return show_fields(vmcb_of(v), v->debugged ? svm_of(v)->before : NULL,
			   named ? argv[1] : "");
}
MONITOR_COMMAND(vmcb, "vmcb", "[FIELD] [ID]",
		"what the CPU has of a guest of svm; *: changed by the last exit");
