/*
 * The shell: commands with the names that xl has for them.
 */
#include <guest/dom0/disk.h>
#include <guest/dom0/dom0.h>

#define LINE  120u
#define WORDS 16u

static char line[LINE];
static unsigned len;

void
shell_prompt(void)
{
	say("dom0# %.*s", (int)len, line);
}

void
shell_init(void)
{
	say("dom0: `help` says what there is\n");
	shell_prompt();
}

/* ---- commands ---- */

static char *const *argument; /* of the command: word, and those behind it */

const char *
shell_word(unsigned n)
{
	return argument[n];
}

static void
list(const char *word)
{
	static const char *const states[] = { "running", "paused", "ended", "blocked" };
	struct zeno_look l;
	int64_t id = 0;

	say("Name                       ID     Mem  State    Time(s)\n");
	while ((id = control(ZENO_LOOK, (uint64_t)id + 1, (uint64_t)&l, 0)) > 0)
		say("%-24s %4u %7lu  %-8s %lu.%lu%s\n", l.name, l.domid, l.ram >> 20,
		    states[l.state], l.used / 1000000000, l.used / 100000000 % 10,
		    l.made || !l.domid ? "" : "  the monitor's");
}

static void
create(const char *word)
{
	domain_create(word);
}

static void
for_one(const char *word, enum zeno_control op)
{
	struct domu *u = domu_find(word);
	int64_t err = u ? control(op, u->id, 0, 0) : 0;

	if (err)
		say("%s: error %ld\n", word, -err);
}

static void
pause(const char *word)
{
	for_one(word, ZENO_PAUSE);
}

static void
unpause(const char *word)
{
	for_one(word, ZENO_UNPAUSE);
}

static void
destroy(const char *word)
{
	struct domu *u = domu_find(word);

	if (u)
		ends_destroy(u);
}

static void
shutdown(const char *word)
{
	struct domu *u = domu_find(word);

	if (u)
		daemon_asks(u, "poweroff");
}

static void
reboot(const char *word)
{
	struct domu *u = domu_find(word);

	if (u)
		daemon_asks(u, "reboot");
}

static bool
parse(const char *word, uint64_t *n)
{
	*n = 0;
	for (; *word >= '0' && *word <= '9' && *n < 1000000; word++)
		*n = *n * 10 + (unsigned)(*word - '0');
	return !*word;
}

static void
weights(void)
{
	struct zeno_look l;
	int64_t id = 0;

	say("Name                       ID Weight\n");
	while ((id = control(ZENO_LOOK, (uint64_t)id + 1, (uint64_t)&l, 0)) > 0)
		say("%-24s %4u %6lu\n", l.name, l.domid, l.weight);
}

/* xl's, without its caps: -d DOMAIN -w WEIGHT. */
static void
sched_credit(const char *word)
{
	bool is_dom0 = *word && (!strcmp(argument[1], "0") || !strcmp(argument[1], "dom0"));
	struct domu *u = *word && !is_dom0 ? domu_find(argument[1]) : NULL;
	uint64_t weight;

	if (!*word)
		weights();
	else if (strcmp(word, "-d") || strcmp(argument[2], "-w"))
		say("sched-credit -d DOMAIN -w WEIGHT\n");
	else if ((u || is_dom0) &&
		 (!parse(argument[3], &weight) || control(ZENO_WEIGHT, u ? u->id : 0, weight, 0)))
		say("%s: a weight is a number from 1 to 65535\n", argument[3]);
}

/* Of all; a domain's own clock, which stands while it is paused. */
static void
uptime(const char *word)
{
	struct domu *u = *word ? domu_find(word) : NULL;
	struct zeno_look l;
	int64_t id = 0;

	if (*word && !u)
		return;
	say("Name                       ID Uptime\n");
	while ((id = control(ZENO_LOOK, (uint64_t)id + 1, (uint64_t)&l, 0)) > 0) {
		uint64_t s = l.ns / 1000000000;

		if (!u || u->id == l.domid)
			say("%-24s %4u %lu:%lu%lu:%lu%lu\n", l.name, l.domid, s / 3600, s / 600 % 6,
			    s / 60 % 10, s / 10 % 6, s % 10);
	}
}

/* How it comes to that is its own affair: a balloon of its does it, or nobody. */
static void
mem_set(const char *word)
{
	struct domu *u = domu_find(word);
	uint64_t mib;

	if (u && (!parse(argument[1], &mib) || !mib || mib > u->most >> 20))
		say("%s: a number of MiB, up to the %lu that %s was made with\n", argument[1],
		    u->most >> 20, u->name);
	else if (u)
		daemon_wants(u, mib << 20);
}

/* ... and the same. */
static void
vcpu_set(const char *word)
{
	struct domu *u = domu_find(word);
	uint64_t count;

	if (u && (!parse(argument[1], &count) || !count || count > u->vcpus))
		say("%s: a number of vCPUs, up to the %u that %s was made with\n", argument[1],
		    u->vcpus, u->name);
	else if (u)
		daemon_wants_vcpus(u, (unsigned)count);
}

static void
console(const char *word)
{
	struct domu *u = domu_find(word);

	if (u)
		console_attach(u);
}

static void
info(const char *word)
{
	struct zeno_look l;
	struct domu *u;

	if (!*word) {
		int64_t version = pv_call(XEN_xen_version, XEN_XENVER_version, 0, 0, 0);

		say("Xen's ABI %ld.%ld; dom0 has %lu MiB, %lu KiB left for the store\n",
		    version >> 16, version & 0xffff, pv_info->nr_pages >> 8, alloc_left(0) >> 10);
		return;
	}
	u = domu_find(word);
	if (!u || control(ZENO_LOOK, u->id, (uint64_t)&l, 0) != u->id)
		return;
	say("%s: domain %u, %lu MiB, %u vCPUs, %lu exits\n", l.name, l.domid, l.ram >> 20, l.vcpus,
	    l.exits);
	say("  console: its page %lx, its port %u, dom0's %u\n", l.console_pfn, l.console_port,
	    u->console_port);
	say("  store:   its page %lx, its port %u, dom0's %u%s\n", l.store_pfn, l.store_port,
	    u->store_port, u->wire.broken ? "; it is closed to it" : "");
	say("  %lu KiB left for what it has in the store\n", alloc_left((uint16_t)u->id) >> 10);
}

static void
block_attach(const char *word)
{
	struct domu *u = domu_find(word);
	struct disk d;
	const char *wrong = u ? disk_read(&d, argument[1]) : NULL;

	if (u && !wrong)
		wrong = vbd_attach(u, &d);
	if (wrong)
		say("%s: %s\n", argument[1], wrong);
}

static void
block_detach(const char *word)
{
	struct domu *u = domu_find(word);

	if (u && !vbd_detach(u, argument[1]))
		say("%s has no disk %s\n", u->name, argument[1]);
}

static void
block_list(const char *word)
{
	struct domu *u = domu_find(word);

	if (u)
		vbds_list(u);
}

static void
xenstore_ls(const char *word)
{
	daemon_show(*word ? word : "/");
}

static void
halt(const char *word)
{
	out_flush();
	pv_exit(0);
}

static void help(const char *word);

static const struct command {
	const char *name, *argument, *what;
	void (*run)(const char *word);
} commands[] = {
	{ "list", "", "the domains", list },
	{ "create", "FILE", "make a domain as this file says", create },
	{ "pause", "DOMAIN", "it stands still, and its clock", pause },
	{ "unpause", "DOMAIN", "... and goes on", unpause },
	{ "shutdown", "DOMAIN", "ask it, by the store, to end", shutdown },
	{ "reboot", "DOMAIN", "... and to start again", reboot },
	{ "destroy", "DOMAIN", "end it", destroy },
	{ "save", "DOMAIN FILE", "put it away: in a new file, or phy:hda2", run_save },
	{ "restore", "FILE", "... and it goes on", run_restore },
	{ "migrate", "DOMAIN ADDRESS", "to the dom0 that waits at a card's address", run_migrate },
	{ "migrate-receive", "ADDRESS", "wait for one from there", run_migrate_receive },
	{ "mem-set", "DOMAIN MIB", "ask it, by the store, to have so much memory", mem_set },
	{ "vcpu-set", "DOMAIN COUNT", "... to use so many of its vCPUs", vcpu_set },
	{ "console", "DOMAIN", "type to it; Ctrl-T comes back", console },
	{ "info", "[DOMAIN]", "what there is of it, or of dom0", info },
	{ "sched-credit", "[-d DOMAIN -w WEIGHT]", "weights of all, or another one", sched_credit },
	{ "uptime", "[DOMAIN]", "for how long each has been there", uptime },
	{ "block-attach", "DOMAIN DISK", "it gets one more: file:NAME,xvdb,w or phy:hda1,xvdb,w",
	  block_attach },
	{ "block-detach", "DOMAIN VDEV", "it is asked to let go of one", block_detach },
	{ "block-list", "DOMAIN", "its disks", block_list },
	{ "disks", "", "drives of the machine, and their partitions, for phy:", run_disks },
	{ "nic", "", "the machine's network card, which is on from then on", run_nic },
	{ "network-attach", "DOMAIN [VIF]", "it gets a card: ip=10.0.2.7", run_network_attach },
	{ "network-detach", "DOMAIN NUMBER", "it is asked to let go of one", run_network_detach },
	{ "network-list", "DOMAIN", "its cards", run_network_list },
	{ "vif-rule", "DOMAIN NUMBER [RULE...]",
	  "what its card lets through: one more, none, or all", run_vif_rule },
	{ "cat", "FILE", "the text at its beginning, a disk's too", run_cat },
	{ "crc32", "FILE", "of a file of the ramdisk, and so of a disk", run_crc },
	{ "ls", "", "files of the ramdisk, and others", run_ls },
	{ "truncate", "SIZE FILE",
	  "a new one, 16M, say, of zeros; it takes memory as it is written", run_truncate },
	{ "rm", "FILE", "... and it is gone", run_rm },
	{ "dmesg", "", "what the monitor has said", run_dmesg },
	{ "xenstore-ls", "[PATH]", "what the store has", xenstore_ls },
	{ "xenstore-write", "PATH VALUE", "... has that there from now on", run_xenstore_write },
	{ "halt", "", "end dom0; its domains go on, and the next dom0 has them", halt },
	{ "help", "", "this", help },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
help(const char *word)
{
	for (const struct command *c = commands; c < commands + COMMANDS; c++)
		say("  %-14s %-13s %s\n", c->name, c->argument, c->what);
}

/* Up to there. */
static int
arguments(const char *from, const char *to)
{
	int count = from < to && *from;

	for (; from < to && *from; from++)
		count += *from == ' ' && from + 1 < to;
	return count;
}

/* Those in brackets are there all, or none; with dots, any number of them. */
static void
run(int words, char *const word[])
{
	for (const struct command *c = commands; c < commands + COMMANDS; c++) {
		const char *end = c->argument + strlen(c->argument), *bracket = c->argument;
		int most = arguments(c->argument, end), least;
		bool any = end > c->argument + 1 && end[-2] == '.';

		while (*bracket && *bracket != '[')
			bracket++;
		least = arguments(c->argument, bracket);
		if (strcmp(c->name, word[0]))
			continue;
		argument = word + 1;
		if (any ? words - 1 < least : words - 1 != least && words - 1 != most)
			say("%s %s\n", c->name, c->argument);
		else
			c->run(words > 1 ? word[1] : "");
		return;
	}
	say("%s: no such command; `help` says what there is\n", word[0]);
}

/* ---- the line ---- */

static void
split_and_run(void)
{
	char *word[WORDS + 1] = { NULL };
	int words = 0;
	bool inside = false;

	line[len] = '\0';
	for (char *c = line; *c; c++) {
		if (*c == ' ') {
			*c = '\0';
			inside = false;
		} else if (!inside && words < (int)WORDS) {
			word[words++] = c;
			inside = true;
		}
	}
	len = 0;
	if (words)
		run(words, word);
	if (!attached && !job_busy())
		shell_prompt();
}

static void
edit(char key)
{
	if (key == '\r' || key == '\n') {
		say("\n");
		split_and_run();
	} else if ((key == '\b' || key == 0x7f) && len) {
		len--;
		say("\b \b");
	} else if (key >= ' ' && key <= '~' && len < LINE - 1) {
		line[len++] = key;
		say("%c", key);
	}
}

bool
shell_serve(void)
{
	static int held = -1; /* the attached one has no room for it */
	bool any = false;
	int key;

	if (migrate_waits() && key_skip_to(ESCAPE))
		migrate_end_wait();
	while (!job_busy() && (key = held >= 0 ? held : key_next()) >= 0) {
		held = -1;
		if (!attached) {
			edit((char)key);
		} else if (key == ESCAPE) {
			console_attach(NULL);
		} else if (!console_type((char)key)) {
			held = key;
			if (!key_skip_to(ESCAPE)) /* who never listens does not keep her */
				return any;
			held = -1;
			console_attach(NULL);
		}
		any = true;
	}
	return any;
}
