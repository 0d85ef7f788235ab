/*
 * The monitor's commands about guests: start, list, stop, exits, the last ones.
 */
#include <inc/errno.h>
#include <kern/gdb/gdb.h>
#include <vmm/debug/gdb.h>
#include <vmm/dev/platform.h>
#include <vmm/dev/typed.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/exitlog.h>
#include <vmm/load/load.h>
#include <vmm/mem/mmu.h>
#include <vmm/vcpu.h>
#include <vmm/words/monitor.h>

#define DEFAULT_RAM_MIB 8
#define RAM_MIB_MAX     (512u << 10) /* what a p2m covers */
#define RESETS_MAX      16           /* of a guest that does nothing else */

static int
list_modules(void)
{
	printf("guests to start:");
	for (unsigned i = 0; i < module_count; i++)
		printf(" %s", modules[i].name);
	printf(module_count ? "\n" : " none: no boot module was given\n");
	return MONITOR_SAID;
}

struct start {
	struct domain_config config;
	uint64_t mib, vcpus;
	bool background;
	char words[512]; /* for the guest's own command line: as many as a domain has */
};

static int
chosen(const char *what, const char *name, const void *found)
{
	if (found)
		return 0;
	printf("no %s %s in this build\n", what, name);
	return -ENODEV;
}

/* One more file for the guest's memory. */
static int
start_module(struct start *s, const char *name)
{
	for (unsigned i = 0; i < GUEST_MODULES; i++) {
		if (s->config.modules[i])
			continue;
		s->config.modules[i] = module_find(name);
		return s->config.modules[i] ? 0 : list_modules();
	}
	printf("a guest has at most %u modules\n", GUEST_MODULES);
	return -E2BIG;
}

/* How much memory a first touch gives: of a guest that has it on demand. */
static int
page_option(struct start *s, const char *size)
{
	static const char *const pages[] = { "4k", "2m", "1g" };
	unsigned i = 0;

	while (i < ARRAY_LEN(pages) && strcmp(pages[i], size))
		i++;
	s->config.page_frames = 1u << 9 * i;
	return i < ARRAY_LEN(pages) ? 0 : -EINVAL;
}

static int
start_option(struct start *s, const char *word)
{
	bool *flag;

	if (!strncmp(word, "module=", 7))
		return start_module(s, word + 7);
	if (!strncmp(word, "disk=", 5)) {
		s->config.disk = module_find(word + 5);
		return s->config.disk ? 0 : list_modules();
	}
	if (!strncmp(word, "engine=", 7))
		return chosen("engine", word + 7, s->config.engine = engine_find(word + 7));
	if (!strncmp(word, "mmu=", 4))
		return chosen("MMU mode", word + 4, s->config.mmu = mmu_find(word + 4));
	if (!strncmp(word, "platform=", 9))
		return chosen("platform", word + 9, s->config.platform = platform_find(word + 9));
	if (!strncmp(word, "boot=", 5))
		return chosen("loader", word + 5, s->config.loader = load_find(word + 5));
	if (!strncmp(word, "page=", 5))
		return page_option(s, word + 5);
	if (!strncmp(word, "vcpus=", 6))
		return parse_u64(word + 6, &s->vcpus) || s->vcpus > UINT32_MAX ? -EINVAL : 0;
	if (!strncmp(word, "weight=", 7))
		return parse_u64(word + 7, &s->config.weight) || !s->config.weight ||
				       s->config.weight > WEIGHT_MAX
			       ? -EINVAL
			       : 0;
	if (!strncmp(word, "mem=", 4))
		return parse_u64(word + 4, &s->mib) || s->mib > RAM_MIB_MAX ? -EINVAL : 0;
	if (!strncmp(word, "devices=", 8))
		return chosen("devices", word + 8, s->config.platform = platform_find(word + 8));
	if (!strcmp(word, "on-reset=restart"))
		return s->config.resets = RESETS_MAX, 0;
	flag = !strcmp(word, "&")               ? &s->background
	       : !strcmp(word, "keys=keyboard") ? &s->config.keyboard
	       : !strcmp(word, "log=1")         ? &s->config.logs_writes
	       : !strcmp(word, "xen=1")         ? &s->config.xen
						: NULL;
	if (flag)
		*flag = true;
	return flag ? 0 : -EINVAL;
}

/* What stands after the guest's name: options, then `--` and the guest's own words. */
static int
start_options(struct start *s, int argc, char **argv)
{
	int i = 2, err = 0;

	for (; i < argc && strcmp(argv[i], "--") && !err; i++)
		err = start_option(s, argv[i]);
	for (i++; i < argc && !err; i++) {
		size_t used = strlen(s->words);

		if (used + strlen(argv[i]) + 2 > sizeof(s->words))
			err = -E2BIG;
		else
			snprintf(s->words + used, sizeof(s->words) - used, "%s ", argv[i]);
	}
	return err;
}

int
monitor_start(int argc, char **argv, struct domain **out, bool *background)
{
	struct start s = { .mib = DEFAULT_RAM_MIB, .vcpus = 1 };
	struct module_options own;
	const struct module *m;
	int err;

	if (argc < 2)
		return list_modules();
	m = module_find(argv[1]);
	if (!m) {
		printf("no guest %s\n", argv[1]);
		return list_modules();
	}
	s.config.module = m;
	load_defaults(&s.config);
	err = start_options(&s, module_options(m, &own), own.argv);
	if (!err)
		err = start_options(&s, argc, argv);
	if (!err && !s.config.engine)
		err = -ENODEV;
	s.config.ram = s.mib << 20;
	s.config.vcpus = (unsigned)s.vcpus;
	s.config.words = s.words;
	if (!err)
		err = domain_create(out, &s.config);
	if (err)
		return err;
	printf("d%u %s: started on %s with %lu MiB\n", (*out)->id, (*out)->name,
	       s.config.engine->name, s.mib);
	*background = s.background;
	return 0;
}

static int
start(int argc, char **argv)
{
	bool background;
	struct domain *d;
	int err = monitor_start(argc, argv, &d, &background);

	if (!err && !background)
		typed_wait(d);
	return err;
}
MONITOR_COMMAND(
	start, "start",
	"[GUEST [engine=NAME] [mem=MIB] [mmu=NAME] [page=4k] [log=1] [platform=NAME] [boot=LOADER] [module=NAME] [disk=NAME] [vcpus=1] [weight=256] [xen=1] [keys=keyboard] [on-reset=restart] [&] [-- WORDS]]",
	"start a guest from a boot module and wait for its end");

static int
list(int argc, char **argv)
{
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		struct domain *d = domain_find(id);

		if (d)
			printf("d%-3u %-16s %-4s %5lu MiB %8lu exits  %s\n", id, d->name,
			       d->vcpu->engine->name, d->ram >> 20, domain_exits(d),
			       d->state == DOMAIN_ENDED ? d->end_reason
			       : d->vcpu->debug.held    ? "held by the debugger"
			       : d->paused              ? "paused"
							: "running");
	}
	return 0;
}
MONITOR_COMMAND(list, "list", "", "the guests, running and last ended");

/* The number behind this letter or, of a guest, from the start on; up to a point, or the end. */
static uint64_t
number_in(const char *word, char letter)
{
	char digits[8] = "";
	uint64_t n;

	word += *word == letter;
	for (unsigned i = 0; i < sizeof(digits) - 1 && word[i] && word[i] != '.'; i++)
		digits[i] = word[i];
	return parse_u64(digits, &n) ? ~0ul : n;
}

/*
 * The domain that a command means: by its number, or the debugger's, or the latest one. NULL, after
 * a line: there is none.
 */
struct domain *
monitor_domain(int argc, char **argv)
{
	struct domain *d = NULL;
	struct gdb_thread t;
	uint64_t id;

	if (argc > 1) {
		id = number_in(argv[1], 'd');
		d = id > DOMAIN_MAX ? NULL : domain_find((unsigned)id);
		if (!d)
			printf("there is no guest %s; `list` shows those that there are\n",
			       argv[1]);
		return d;
	}
	if (gdb_asks(&t))
		d = domain_find((unsigned)t.pid);
	for (unsigned i = DOMAIN_MAX; i && !d; i--)
		d = domain_find(i);
	if (!d)
		printf("no guest has been started yet\n");
	return d;
}

/* ... and its vCPU: d1.2, or the debugger's, or the first one. */
struct vcpu *
monitor_vcpu(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);
	const char *point = argc > 1 ? argv[1] : NULL;
	struct vcpu *v = d ? d->vcpu : NULL;
	struct gdb_thread t;

	if (argc < 2 && gdb_asks(&t) && gdb_vcpu(t))
		return gdb_vcpu(t);
	while (point && *point && *point != '.')
		point++;
	while (point && *point && v && v->number != number_in(point, '.'))
		v = v->next;
	if (d && !v)
		printf("d%u has no CPU %s\n", d->id, point + 1);
	return v;
}

/* Or a debugger holds one of its vCPUs, or another domain has its number by now. */
static bool
is_over(void *id)
{
	const struct domain *d = domain_find((unsigned)(uintptr_t)id);

	if (!d || d->state != DOMAIN_ENDED)
		return true;
	for_each_vcpu(v, d) if (v->debug.held) return true;
	return domain_is_over(d);
}

/* The next command finds its number free, and its frames. */
static int
stop(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);

	if (!d)
		return MONITOR_SAID;
	domain_stop(d, "by the monitor's stop command");
	monitor_wait(is_over, (void *)(uintptr_t)d->id, false);
	return 0;
}
MONITOR_COMMAND(stop, "stop", "[ID]", "end a guest");

static int
exits(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(argc, argv);

	if (!v)
		return MONITOR_SAID;
	exit_summary(v);
	if (v->domain->dropped)
		printf("  %lu writes to what is no memory were dropped\n", v->domain->dropped);
	return 0;
}
MONITOR_COMMAND(exits, "exits", "[ID[.CPU]]", "a guest's exits by reason");

static int
last(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(argc, argv);

	if (!v)
		return MONITOR_SAID;
	exit_print_last(v, EXIT_RING);
	return 0;
}
MONITOR_COMMAND(last, "last", "[ID[.CPU]]", "a guest's last exits in words");

SET_DECLARE(engines);

static int
list_engines(int argc, char **argv)
{
	set_foreach (const struct engine *, e, engines) {
		const char *why = e->probe ? e->probe() : NULL;

		printf("%-6s %s", e->name, e->what);
		for (unsigned m = 0; e->mmu_modes && e->mmu_modes[m]; m++)
			if (mmu_find(e->mmu_modes[m]))
				printf(", mmu=%s", e->mmu_modes[m]);
		printf(why ? "; not here: %s\n" : "\n", why);
	}
	return 0;
}
MONITOR_COMMAND(list_engines, "engines", "",
		"the engines of this build, and what this CPU lacks for them");
