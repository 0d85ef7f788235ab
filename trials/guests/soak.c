/*
 * The monitor's soak: guests that start and end by the thousand, and the frames that must come
 * back.
 *
 * Whatever a domain takes it takes in frames, so the count of free frames is the same before the
 * first guest and after each one, whether it ended in order, was stopped for what it did, or was
 * stopped from outside while it slept or ran.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <trials/guests/one.h>
#include <vmm/engine.h>
#include <vmm/vcpu.h>
#include <vmm/words/monitor.h>

#define SOAK_RAM_MIB  2 /* the least that a guest can have: its RAM is zeroed each time */
#define SOAK_TURNS    3 /* of real time: an honest guest needs more where the machine stood still */
#define SOAK_PROGRESS 1000
#define SOAK_WORDS    16

struct soak {
	const struct module *module;
	const struct engine *engine;
	uint64_t count, mib, turns;
	char words[256];               /* the guests' command lines, one behind the other */
	const char *lines[SOAK_WORDS]; /* each of them; guest i has the i-th, round and round */
	unsigned line_count;
	uint64_t ended, stopped, put_out; /* in order; for what they did; from outside */
};

/* What stands behind `--`: command lines with `|` between them. */
static int
soak_lines(struct soak *s, int argc, char **argv)
{
	size_t used = 0;

	s->lines[s->line_count++] = s->words;
	for (int i = 0; i < argc; i++) {
		size_t length = strlen(argv[i]);
		bool next = !strcmp(argv[i], "|");

		if (used + length + 2 > sizeof(s->words) || (next && s->line_count == SOAK_WORDS))
			return -E2BIG;
		if (next)
			s->words[used++] = '\0';
		else
			used += (size_t)snprintf(s->words + used, sizeof(s->words) - used, "%s ",
						 argv[i]);
		if (next)
			s->lines[s->line_count++] = s->words + used;
	}
	return 0;
}

static int
soak_options(struct soak *s, int argc, char **argv)
{
	int i = 3;

	if (argc < 3 || parse_u64(argv[2], &s->count) || !s->count)
		return -EINVAL;
	s->module = module_find(argv[1]);
	if (!s->module) {
		printf("no guest %s\n", argv[1]);
		return MONITOR_SAID;
	}
	for (; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strncmp(argv[i], "engine=", 7))
			s->engine = engine_find(argv[i] + 7);
		else if (!strncmp(argv[i], "turns=", 6)) {
			if (parse_u64(argv[i] + 6, &s->turns) || !s->turns)
				return -EINVAL;
		} else if (strncmp(argv[i], "mem=", 4) || parse_u64(argv[i] + 4, &s->mib) ||
			   s->mib < 2 || s->mib > 512ul << 10)
			return -EINVAL;
	}
	if (!s->engine)
		return -ENODEV;
	return soak_lines(s, i < argc ? argc - i - 1 : 0, argv + i + 1);
}

/* One guest more, from nothing to nothing. */
static int
soak_one(struct soak *s, uint64_t i)
{
	const struct one_guest g = { s->module, s->engine, s->mib, s->turns, 0 };
	struct one_end end;
	int err = one_guest(&g, s->lines[i % s->line_count], &end);

	if (err)
		return err;
	if (!end.stopped)
		s->ended++;
	else if (end.put_out)
		s->put_out++;
	else
		s->stopped++;
	return 0;
}

static void
soak_progress(const struct soak *s, uint64_t done)
{
	printf("soak: %5lu guests: %lu ended, %lu stopped, %lu stopped by soak; %lu frames free\n",
	       done, s->ended, s->stopped, s->put_out, frames_free());
}

static int
soak(int argc, char **argv)
{
	static struct soak s;
	uint64_t before, after, i;
	int err;

	s = (struct soak){ .engine = engine_find("te"), .mib = SOAK_RAM_MIB, .turns = SOAK_TURNS };
	err = soak_options(&s, argc, argv);
	if (err)
		return err;
	domain_forget(NULL);
	before = frames_free();
	printf("soak: %lu times %s on %s with %lu MiB; %lu frames free\n", s.count, s.module->name,
	       s.engine->name, s.mib, before);
	for (i = 0; i < s.count && !err; i++) {
		err = soak_one(&s, i);
		if (!err && ((i + 1) % SOAK_PROGRESS == 0 || i + 1 == s.count))
			soak_progress(&s, i + 1);
	}
	if (err)
		return err;
	after = frames_free();
	printf("soak: %lu frames free before, %lu after: %s\n", before, after,
	       before == after ? "none lost" : "FRAMES WERE LOST");
	return before == after ? 0 : -EIO;
}
MONITOR_COMMAND(soak, "soak", "GUEST COUNT [engine=te] [mem=2] [turns=3] [-- WORDS [| WORDS]...]",
		"start a guest again and again, and count the frames that come back");
