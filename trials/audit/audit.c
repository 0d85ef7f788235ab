/*
 * What auditors have in common: the monitor's commands, and the boot option.
 */
#include <inc/errno.h>
#include <trials/audit/audit.h>
#include <vmm/audit.h>
#include <vmm/domain.h>
#include <vmm/words/monitor.h>

#define SHOWN    5u /* differences that are printed */
#define AUDITORS 5u

static const struct auditor *auditors[AUDITORS];

void
auditor_add(const struct auditor *a)
{
	unsigned n = 0;

	while (auditors[n])
		n++;
	ASSERT(n < AUDITORS);
	auditors[n] = a;
}

void
audit_differs(struct audit_report *report, const char *fmt, ...)
{
	char line[120];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (!report->silent && report->found < SHOWN)
		printf("audit: %s\n", line);
	report->found++;
}

/* The next one behind `i`; NULL: the CPU walks no tables of Zeno's for it, or no more of them. */
static const struct auditor *
auditor_of(struct vcpu *v, unsigned *i)
{
	while (*i < AUDITORS && auditors[*i]) {
		const struct auditor *a = auditors[(*i)++];

		if (a->is_for(v))
			return a;
	}
	return NULL;
}

static void
audit_all(struct vcpu *v, struct audit_report *report)
{
	const struct auditor *a;
	unsigned i = 0;

	while ((a = auditor_of(v, &i)))
		a->audit(v, report);
}

bool
audit_finds(struct vcpu *v)
{
	struct audit_report report = { true, 0 };

	audit_all(v, &report);
	return report.found;
}

static uint64_t every;

/* Vmm asks, each time that it has changed a table. */
static void
audit_at_last(struct vcpu *v)
{
	static uint64_t times;
	struct audit_report report = { false, 0 };
	const struct auditor *a;
	unsigned i = 0;

	if (++times % every)
		return;
	while ((a = auditor_of(v, &i))) {
		a->audit(v, &report);
		if (report.found)
			panic("the %s of d%u are wrong", a->what, v->domain->id);
	}
}

static void
audit_init(void)
{
	parse_u64(cmdline_get("audit", "0"), &every);
	if (every)
		audit_answers = audit_at_last;
}
INITCALL(40, audit_init);

static int
audit(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);
	struct audit_report report = { false, 0 };

	if (!d)
		return MONITOR_SAID;
	audit_all(d->vcpu, &report);
	printf("audit: %u differences\n", report.found);
	return 0;
}
MONITOR_COMMAND(audit, "audit", "[ID]", "compare a guest's tables with what they are made from");

/* damage SEED [ID] */
static int
damage(int argc, char **argv)
{
	const struct auditor *a;
	struct domain *d;
	unsigned i = 0;
	uint64_t seed;

	if (argc < 2 || parse_u64(argv[1], &seed))
		return -EINVAL;
	d = monitor_domain(argc - 1, argv + 1);
	if (!d)
		return MONITOR_SAID;
	while ((a = auditor_of(d->vcpu, &i)) && !a->damage)
		;
	if (!a) {
		printf("d%u has no tables to damage\n", d->id);
		return MONITOR_SAID;
	}
	a->damage(d->vcpu, seed);
	return 0;
}
MONITOR_COMMAND(damage, "damage", "SEED [ID]", "try out the audit of a guest that has ended");
