/*
 * `vmcheck`: the rules of exercise 4.7 or 4s.7 beside the CPU's verdict, on copies of a guest's
 * structure that are changed by chance.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <trials/rules/vmcheck.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/words/monitor.h>

#define CASES_DEFAULT 20

SET_DECLARE(vmchecks);

static const struct vmcheck *
check_of(struct vcpu *v)
{
	set_foreach (const struct vmcheck *, c, vmchecks)
		if (!strcmp(c->engine, v->engine->name))
			return c;
	return NULL;
}

/* The grader writes here what it likes, and looks at it again once the rules were asked. */
static NOINLINE void
vmcheck_look(void *structure, bool asked)
{
	__asm__ volatile("" : : "r"(structure), "r"(asked) : "memory");
}

/* `words`: one for each of the rules; `zeno`: a field that breaks another one. */
static NOINLINE void
vmcheck_verdict(const void *structure, const char *const *words, const struct vmcheck *c,
		const char *zeno, const char *cpu)
{
	bool any = false;

	for (unsigned i = 0; i < c->rules; i++) {
		if (words[i])
			printf("%s%s: %s", any ? ", " : "you: ", c->field(i), words[i]);
		any |= words[i] != NULL;
	}
	printf("%s; %s%s%sCPU: %s\n", any ? "" : "you: take it", zeno ? "Zeno: " : "",
	       zeno ? zeno : "", zeno ? "; " : "", cpu);
	__asm__ volatile("" : : "r"(structure), "r"(words) : "memory");
}

static bool
one_case(const struct vmcheck *c, struct vcpu *v, uint64_t number, uint64_t *seed, bool changed)
{
	const char *words[VMCHECK_RULES], *zeno;
	void *structure = c->copy(v);

	if (!structure)
		return false;
	printf("%lu: ", number);
	if (changed)
		c->change(structure, seed);
	vmcheck_look(structure, false);
	for (unsigned i = 0; i < c->rules; i++)
		words[i] = c->ask(structure, i);
	vmcheck_look(structure, true);
	zeno = c->zeno(structure);
	vmcheck_verdict(structure, words, c, zeno, c->cpu(v, structure));
	return true;
}

static int
vmcheck(int argc, char **argv)
{
	struct vcpu *v = monitor_vcpu(0, NULL);
	uint64_t state, seed = 1, cases = CASES_DEFAULT, n;
	const struct vmcheck *c;

	if (!v)
		return MONITOR_SAID;
	if ((argc > 1 && parse_u64(argv[1], &seed)) || (argc > 2 && parse_u64(argv[2], &cases)))
		return -EINVAL;
	c = check_of(v);
	if (!c) {
		printf("d%u has no VMCB and no VMCS: its engine is %s\n", v->domain->id,
		       v->engine->name);
		return MONITOR_SAID;
	}
	state = seeded_start(seed);
	for (n = 0; n < cases && one_case(c, v, n + 1, &state, seed); n++)
		continue;
	return n < cases ? -ENOMEM : 0;
}
MONITOR_COMMAND(
	vmcheck, "vmcheck", "[SEED] [CASES]",
	"change copies of the last guest's VMCS or VMCB (SEED 0: nothing of them): your rules, and what the CPU says");
