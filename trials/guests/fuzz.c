/*
 * The monitor's fuzz: guests that run rounds of random code (guest/fuzz), one after the other, each
 * with the next seed.
 *
 * A guest ends after its rounds, or when random code ends it; either way the next one starts. What
 * counts is that the host goes on. Each seed is told on the side channel when its guest ends, so
 * that the one that broke something is the next.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <trials/guests/one.h>
#include <vmm/engine.h>
#include <vmm/words/monitor.h>

#define FUZZ_RAM_MIB 6
#define FUZZ_REPORT  0x5ff000 /* guest/fuzz/fuzz.h: how many rounds are over */
#define FUZZ_TURNS   3

struct fuzz {
	const struct module *module;
	const struct engine *engine;
	uint64_t wanted, seed;
	uint64_t rounds, guests, stopped, put_out;
};

static int
fuzz_options(struct fuzz *f, int argc, char **argv)
{
	if (argc < 3 || parse_u64(argv[2], &f->wanted) || !f->wanted)
		return -EINVAL;
	f->module = module_find(argv[1]);
	if (!f->module) {
		printf("no guest %s\n", argv[1]);
		return -ENOENT;
	}
	for (int i = 3; i < argc; i++) {
		if (!strncmp(argv[i], "engine=", 7))
			f->engine = engine_find(argv[i] + 7);
		else if (strncmp(argv[i], "seed=", 5) || parse_u64(argv[i] + 5, &f->seed))
			return -EINVAL;
	}
	return f->engine ? 0 : -ENODEV;
}

/* The round that ended the guest counts, too. */
static int
fuzz_one(struct fuzz *f)
{
	const struct one_guest g = { f->module, f->engine, FUZZ_RAM_MIB, FUZZ_TURNS, FUZZ_REPORT };
	struct one_end end;
	char words[32];
	int err;

	snprintf(words, sizeof(words), "seed=%lu", f->seed);
	side_printf("@Z fuzz %s %s\n", f->engine->name, words);
	err = one_guest(&g, words, &end);
	if (err)
		return err;
	side_printf("@Z fuzzed %u %s\n", end.progress, end.why);
	f->rounds += end.progress + end.stopped;
	f->guests++;
	f->stopped += end.stopped && !end.put_out;
	f->put_out += end.put_out;
	f->seed++;
	return 0;
}

static int
fuzz(int argc, char **argv)
{
	struct fuzz f = { .engine = engine_find("te"), .seed = 1 };
	int err = fuzz_options(&f, argc, argv);
	uint64_t before, after;

	domain_forget(NULL);
	before = frames_free();
	while (!err && f.rounds < f.wanted)
		err = fuzz_one(&f);
	if (err)
		return err;
	after = frames_free();
	printf("fuzz: %lu rounds on %s by %lu guests up to seed %lu: %lu stopped, %lu put out; frames "
	       "free %lu before, %lu after\n",
	       f.rounds, f.engine->name, f.guests, f.seed - 1, f.stopped, f.put_out, before, after);
	return before == after ? 0 : -EIO;
}
MONITOR_COMMAND(fuzz, "fuzz", "GUEST ROUNDS [engine=te] [seed=1]",
		"start guest/fuzz again and again until it has run so many rounds");
