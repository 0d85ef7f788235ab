/*
 * The answers of exercise 4s.8, and all of its faults, one after the other. This folder is not
 * handed out.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/kern.h>
#include <trials/svm/ill.h>

static int
ready(struct vmcb **b, struct patient **p)
{
	const char *why = svm_probe();
	int err;

	if (why) {
		printf("svm: not here: %s\n", why);
		return MONITOR_SAID;
	}
	err = svm_turn_on();
	if (err)
		return err;
	*p = ill_ready(b);
	return *p ? 0 : -ENOMEM;
}

/* The field and its right value, as diagnosis.txt has them. */
static int
key(int argc, char **argv)
{
	struct patient *p;
	struct vmcb *b;
	int err;

	if (argc != 2)
		return -EINVAL;
	err = ready(&b, &p);
	for (unsigned number = 1; number <= PATIENTS && !err; number++) {
		uint64_t seed;
		const struct ill_fault *f = ill_fault_of(argv[1], number, &seed);

		printf("%u.field: %s\n%u.value: 0x%lx\n", number, f->name, number,
		       ill_patient(b, p, f, seed));
	}
	return err;
}
MONITOR_COMMAND(key, "ill-key", "NAME", "the answers of exercise 4s.8");

/* As it is, and then with the right value. */
static void
both(struct vmcb *b, struct patient *p, const struct ill_fault *f, uint64_t seed)
{
	uint64_t well = ill_patient(b, p, f, seed);

	printf("ill: work%u, %s\n", p->wide ? 64 : 32, f->name);
	ill_run(b, p, 0);
	ill_patient(b, p, f, seed);
	memcpy((uint8_t *)b + f->at, &well, f->size);
	printf("well: %s = %lx\n", f->name, well);
	ill_run(b, p, 0);
}

static int
all(int argc, char **argv)
{
	struct patient *p;
	struct vmcb *b;
	uint64_t seed = 1;
	int err;

	if (argc > 1 && parse_u64(argv[1], &seed))
		return -EINVAL;
	err = ready(&b, &p);
	for (unsigned g = 0; g < PATIENTS && !err; g++)
		for (unsigned i = 0; i < ill_groups[g].count; i++)
			both(b, p, &ill_groups[g].faults[i], seed++);
	return err;
}
MONITOR_COMMAND(all, "ill-all", "[SEED]", "all faults of exercise 4s.8, and their cures");
