/* BUILD: */
/*
 * What a VMCS says, in words (vmm/vmx/show.c), and in neutral terms (exits.c): of one of our own,
 * for vmread needs VT-x. Every exit reason of SDM 3D appendix C has a name; a debugger's marks are
 * those fields that an exit has changed; and what nobody asked for is told as such.
 */
#include <string.h>

#define vmcs_read  cpu_vmcs_read
#define vmcs_has   cpu_vmcs_has
#define vmcs_peek  cpu_vmcs_peek
#define vmcs_write cpu_vmcs_write
#include <vmm/vmx/vmcs.h>
#undef vmcs_read
#undef vmcs_has
#undef vmcs_peek
#undef vmcs_write

static uint64_t vmcs_of_ours[1 << 15];

static uint64_t
vmcs_peek(enum vmcs_field field)
{
	return vmcs_of_ours[field];
}
#define vmcs_read(field)         vmcs_peek(field)
#define vmcs_write(field, value) (void)(vmcs_of_ours[field] = (value))

static char said[20000];

static int say(const char *fmt, ...) __attribute__((format(__printf__, 1, 2)));
#define printf say
#include "../../vmm/vmx/show.c"
#undef printf
#define reasons neutral
#include "../../solutions/4-vmx/exits.c"
#undef reasons

#include "tap.h"

static int
say(const char *fmt, ...)
{
	size_t n = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said + n, sizeof(said) - n, fmt, ap);
	va_end(ap);
	return 0;
}

struct vcpu *
monitor_vcpu(int argc, char **argv)
{
	return NULL;
}

void
debug_trap(struct vcpu *v, struct exit *e)
{
}

void
panic(const char *fmt, ...)
{
	bail_out("the host panics: %s", fmt);
}

/* What is said of fields whose name begins so. */
static const char *
shown(const uint64_t *before, const char *wish)
{
	said[0] = 0;
	show_fields(before, wish);
	return said;
}

/* Some numbers have no reason. */
static void
names(void)
{
	static const unsigned none[] = { 35, 38, 42, 71 };
	static const struct {
		unsigned reason;
		const char *words;
	} some[] = { { 0, "exception or NMI" }, { 10, "CPUID" },
		     { 18, "VMCALL" },          { 33, "invalid guest state" },
		     { 34, "MSR loading" },     { 37, "monitor trap flag" },
		     { 40, "PAUSE" },           { 41, "machine check" },
		     { 48, "EPT violation" },   { 52, "preemption timer" },
		     { 55, "XSETBV" },          { 74, "bus lock" },
		     { 77, "TDCALL" } };
	unsigned unnamed = 0, wrong = 0;
	char line[100];

	for (unsigned n = 0; n < 78; n++) {
		bool has = true, named;

		for (unsigned i = 0; i < ARRAY_LEN(none); i++)
			has &= none[i] != n;
		vmcs_of_ours[EXIT_REASON] = n;
		snprintf(line, sizeof(line), "  exit_reason          %08x\n", n);
		named = strcmp(shown(NULL, "exit_reason"), line) != 0;
		unnamed += named != has;
	}
	ok(!unnamed, "each exit reason of the manual has a name, and no other number");
	for (unsigned i = 0; i < ARRAY_LEN(some); i++) {
		vmcs_of_ours[EXIT_REASON] = some[i].reason;
		snprintf(line, sizeof(line), "  exit_reason          %08x  %s\n", some[i].reason,
			 some[i].words);
		wrong += strcmp(shown(NULL, "exit_reason"), line) != 0;
	}
	ok(!wrong, "and it is the one of its number");
	vmcs_of_ours[EXIT_REASON] = VMX_ENTRY_FAILED | 34;
	ok(!strcmp(shown(NULL, "exit_reason"),
		   "  exit_reason          80000022  no entry: MSR loading\n"),
	   "an entry that failed is one that failed");
	vmcs_of_ours[EXIT_REASON] = 1u << 27 | 10;
	ok(strstr(shown(NULL, "exit_reason"), "0800000a  CPUID\n"),
	   "the other high bits belong to no number");
	vmcs_of_ours[EXIT_REASON] = 0xffff;
	ok(strstr(shown(NULL, "exit_reason"), "0000ffff\n"),
	   "nor has one a name that is not in the manual");
}

/* Each field alone, and none; a wish finds the fields that begin so. */
static void
marks(void)
{
	static struct vmx x;
	unsigned wrong = 0;
	char line[64];

	memset(vmcs_of_ours, 0, sizeof(vmcs_of_ours));
	vmx_show_entry(&x);
	ok(!strchr(shown(x.before, ""), '*'), "an exit that changed nothing marks nothing");
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		const char *star;

		vmcs_of_ours[fields[i].at] = 5;
		snprintf(line, sizeof(line), "* %-20s ", fields[i].name);
		star = strchr(shown(x.before, ""), '*');
		wrong += !star || strncmp(star, line, strlen(line)) || strchr(star + 1, '*') ||
			 !strstr(star, "5  was 0");
		wrong += strchr(shown(NULL, ""), '*') != NULL;
		vmcs_of_ours[fields[i].at] = 0;
	}
	ok(!wrong, "each of %zu fields is marked when it changed, and it alone, with what it was",
	   ARRAY_LEN(fields));
	ok(!strncmp(shown(NULL, "cs_r"), "  cs_rights ", 12) &&
		   strchr(said, '\n') == said + strlen(said) - 1,
	   "a wish shows what begins so");
	ok(strstr(shown(NULL, "bogus"), "Zeno shows no field bogus"), "or that there is none");
}

/* An instruction that the guest's CPU has not is #UD; what no instruction made is not. */
static void
neutral_words(void)
{
	static const unsigned asked[] = { 0,  1,  2,  3,  7,  8,  9,  10, 12, 13, 18,
					  28, 29, 30, 31, 32, 40, 48, 49, 52, 54, 55 };
	static const unsigned no_instruction[] = { 4, 5, 6, 37, 43, 44, 45, 56, 62, 66, 74, 75 };
	static struct vcpu v;
	static struct vmx x;
	struct exit e;
	unsigned wrong = 0, invalid = 0;

	v.engine_data = &x;
	for (unsigned n = 0; n < 78; n++) {
		bool is_asked = false, is_none = n >= VMX_REASONS;

		for (unsigned i = 0; i < ARRAY_LEN(asked); i++)
			is_asked |= asked[i] == n;
		for (unsigned i = 0; i < ARRAY_LEN(no_instruction); i++)
			is_none |= no_instruction[i] == n;
		if (is_asked)
			continue;
		x.raw = n;
		vmx_translate(&v, &e);
		wrong += is_none && e.reason != EXIT_OTHER;
		invalid += !is_none && (e.reason != EXIT_EXCEPTION || e.vector != VEC_UD);
	}
	ok(!wrong, "an exit that no instruction made, and nobody asked for, is told as such");
	ok(!invalid, "an instruction that is not there is #UD");
}

int
main(void)
{
	names();
	marks();
	neutral_words();
	return done_testing();
}
